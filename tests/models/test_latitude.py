"""The planar twin that knows of the sphere: latitudes in whole numbers, quality that falls with the solid angle."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from deepsphere_codec.entropy.exact import ExactConv
from deepsphere_codec.models import ModelConfig, References, SphereDVC
from deepsphere_codec.models.latitude import TOP, Latitude, latitude_levels
from deepsphere_codec.models.quality import LatitudeTilt, QualityBank
from deepsphere_codec.sphere import ErpGrid, ErpPatch, erp_directions

HEIGHT, WIDTH, QUALITY = 128, 256, 5.0
PATCH = ErpPatch(HEIGHT, WIDTH, 0, 0, 64, 64)


@pytest.fixture(scope="module")
def config(tiny: ModelConfig) -> ModelConfig:
    return replace(tiny, geometry="erp", positional=True, latitude_quality=True)


@pytest.fixture(scope="module")
def network(config, make_lively) -> SphereDVC:
    """Shared, not to be changed."""
    return make_lively(config, ErpGrid(HEIGHT, WIDTH))


@pytest.fixture(scope="module")
def film() -> tuple[torch.Tensor, torch.Tensor]:
    p = torch.from_numpy(erp_directions(HEIGHT, WIDTH)).view(-1, 3)
    waves = torch.tensor([[9.0, 2, -4], [-3, 8, 5], [2, -6, 11]], dtype=torch.float64)
    x = (0.5 + 0.3 * (p @ waves).sin()).float()[None]
    return x, x.unflatten(1, (HEIGHT, WIDTH)).roll(1, 2).flatten(1, 2) + 0.02 * (p[:, 2] > 0)[None, :, None]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_decoder_sees_what_the_encoder_kept_bit_for_bit(network, film, threads, on_threads):
    first = network.encode_intra(film[0], QUALITY)
    second = network.encode_inter(film[1], References(first.state), QUALITY, 0)
    apart = copy.deepcopy(network)

    def decode():
        state = apart.decode_intra(first.payload, QUALITY)
        return state, apart.decode_inter(second.payload, References(state), QUALITY, 0)

    for ours, kept in zip(on_threads(threads, decode), (first, second), strict=True):
        assert torch.equal(ours.x_hat, kept.state.x_hat)


def test_no_row_lies_on_a_half():
    """So that every machine rounds alike: of all heights up to those of a film 16384 wide, at every depth."""
    for rows in range(1, 8193 // 16):
        cosines = TOP * ErpGrid(rows, 2).cos_lat
        assert np.abs(cosines - np.floor(cosines) - 0.5).min() > 1e-9
        levels = latitude_levels(ErpGrid(rows, 2).cos_lat)
        assert np.array_equal(levels, levels[::-1]) and 0 <= levels.min() <= levels.max() <= TOP


def test_what_is_told_is_whole_and_makes_whole_numbers(network, film):
    """The integer networks see nothing but integers, and say nothing else; in training these are floating-point."""
    seen: list[torch.Tensor] = []
    prior = network.intra.latents.hyperprior
    hooks = [
        module.register_forward_hook(lambda module, a, out: seen.extend([a[0], out]))
        for module in prior.modules()
        if isinstance(module, ExactConv)
    ]
    with torch.no_grad():
        network.intra(film[0], torch.tensor([QUALITY]))
    trained = len(seen)
    network.encode_intra(film[0], QUALITY)
    for hook in hooks:
        hook.remove()
    assert trained > 10 and all(torch.equal(value, value.round()) for value in seen[:trained])
    assert not any(value.is_floating_point() for value in seen[trained:])
    assert max(float(value.abs().max()) for value in seen) <= 1023
    for context in (seen[0], seen[trained]):
        assert torch.equal(context[0, :, -1:].double(), network.pyramid.latitude(4).level)


def test_a_latitude_is_that_of_its_row():
    whole, patch = Latitude(ErpGrid(HEIGHT, WIDTH)), Latitude(PATCH)
    place = replace(PATCH, row=64, column=128)
    patch.place(place)
    nodes = torch.from_numpy(place.nodes)
    assert torch.equal(whole.level[nodes], patch.level) and torch.allclose(whole.area[nodes], patch.area)
    assert whole.area.mean() == pytest.approx(1, abs=1e-6)
    lat = math.pi / 2 - (5 + 0.5) * math.pi / HEIGHT
    assert whole.level.view(HEIGHT, WIDTH)[5].unique().tolist() == [round(TOP * math.cos(lat))]
    assert torch.allclose(whole.log_cos[5], torch.tensor(math.log2(math.cos(lat))))


def test_a_gain_tilts_as_that_of_a_lower_quality():
    """Where cos(latitude) is 1/2, λ is half as large, and the gain that of a quality less; the inverse undoes it."""
    latitude = Latitude(ErpGrid(HEIGHT, WIDTH))
    tilt, bank = LatitudeTilt(latitude), QualityBank(3, 2.0, 2**0.5)
    row = int((latitude.log_cos + 1).abs().argmin())
    off = -float(latitude.log_cos[row])
    with torch.no_grad():
        here = bank(torch.tensor([5.0])) * tilt(1)[row * WIDTH]
        assert torch.allclose(here, bank(torch.tensor([5.0 - off])), rtol=1e-5) and off == pytest.approx(1, abs=0.05)
        assert torch.allclose(tilt(1) * tilt(-1), torch.ones(HEIGHT * WIDTH, 1))
    tilt(1).sum().backward()
    assert tilt.slope.grad is not None and tilt.slope.grad.abs() > 1


def test_less_is_kept_where_pixels_are_small(network):
    """Rounding errors of latents, row by row: inverse to the square root of the solid angle."""
    codec = network.intra.latents
    y = 20 * torch.randn(1, HEIGHT * WIDTH // 256, 24)
    with torch.no_grad():
        decoded, _ = codec(y, torch.tensor([5.0]), straight=True)
    error = (decoded.y_hat - y).view(HEIGHT // 16, -1).square().mean(1).sqrt()
    expected = ErpGrid(HEIGHT // 16, WIDTH // 16).cos_lat ** -0.5
    assert np.allclose(error / error.min(), expected / expected.min(), rtol=0.1) and expected[0] > 2


def test_where_a_patch_lies_is_seen(config, make_lively):
    network = make_lively(config, PATCH)
    x = torch.rand(1, 64 * 64, 3, generator=torch.Generator().manual_seed(1))
    one = network.encode_intra(x, QUALITY)
    network.pyramid.place(replace(PATCH, column=128))
    assert network.encode_intra(x, QUALITY).payload == one.payload, "the same rows"
    network.pyramid.place(replace(PATCH, row=64))
    other = network.encode_intra(x, QUALITY)
    assert torch.equal(network.decode_intra(other.payload, QUALITY).x_hat, other.state.x_hat)
    assert not torch.equal(other.state.x_hat, one.state.x_hat)


def test_the_encoder_weighs_errors_by_area(network):
    x = torch.zeros(1, HEIGHT * WIDTH, 3)
    near_pole, at_equator = x.clone(), x.clone()
    near_pole[:, :WIDTH], at_equator[:, 64 * WIDTH : 65 * WIDTH] = 0.1, 0.1
    quality = torch.full((1, 1), 4.0)
    ratio = network._error(x, near_pole, quality) / network._error(x, at_equator, quality)
    assert ratio == pytest.approx(math.sin(math.pi / 256) / math.cos(math.pi / 256), rel=1e-3)


def test_training_reaches_the_slopes(config, make_lively):
    network = make_lively(config, PATCH).train().requires_grad_(True)
    x = torch.rand(2, 64 * 64, 3)
    picture, rate = network.intra(x, torch.tensor([2.0, 6.0]))
    ((picture.x_hat - x).square().sum() + rate.bits).backward()
    assert network.intra.latents.tilt.slope.grad.abs() > 0
    assert network.intra.latents.hyperprior.recall.weight.grad[:, -1].abs().max() > 0, "the latitude's weights"
