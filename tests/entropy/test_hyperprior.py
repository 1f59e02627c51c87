"""The hyperprior: what is written is what is read, costs what training counts, and its integers are exact."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter, Tables
from deepsphere_codec.entropy.exact import ExactConv
from deepsphere_codec.entropy.hyperprior import (
    HYPER_LIMIT,
    LEVELS,
    SCALE_MAX,
    SCALE_MIN,
    SKIP_LEVEL,
    ScaleHyperprior,
)
from deepsphere_codec.layers import unfold_children
from deepsphere_codec.sphere import HealpixGrid

NPIX = 12 * 16**2
# (dx, dy) in the order of HealpixGrid.neighbors: SW, W, NW, N, NE, E, SE, S.
STEPS = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]


def write(module: ScaleHyperprior, y: torch.Tensor) -> tuple[bytes, torch.Tensor]:
    writer = SymbolWriter()
    y_hat = module.write(y, writer)
    return writer.finish(), y_hat


def read(module: ScaleHyperprior, payload: bytes, channels: int = 8) -> torch.Tensor:
    return module.read(SymbolReader(payload), torch.empty(1, NPIX, channels))


def fix_hyper_latents(module: ScaleHyperprior, z: list[float]) -> torch.Tensor:
    """Side information that does not depend on y; returns the levels it leads to."""
    module.h_a[-1].weight.zero_()
    module.h_a[-1].bias.copy_(torch.tensor(z))
    return module.levels(torch.tensor(z).round().double().expand(1, module.nodes, -1))


def set_level(module: ScaleHyperprior, level: int) -> None:
    module.h_s[-1].weight.zero_()
    module.h_s[-1].bias.fill_(level)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0, 1000.0])
def test_what_is_written_is_what_is_read(hyperprior, scale):
    y = torch.randn(1, NPIX, 8) * scale
    payload, y_hat = write(hyperprior, y)
    assert torch.equal(read(hyperprior, payload), y_hat)
    assert (y_hat == y.round()).double().mean() > 0.5, "and what is coded is y, rounded"
    assert ((y_hat == y.round()) | (y_hat == 0)).all()


def test_two_of_them_share_a_payload(hyperprior):
    y = [torch.randn(1, NPIX, 8) * scale for scale in (3.0, 0.5)]
    writer = SymbolWriter()
    y_hat = [hyperprior.write(part, writer) for part in y]
    reader = SymbolReader(writer.finish())
    assert all(torch.equal(hyperprior.read(reader, part), coded) for part, coded in zip(y, y_hat, strict=True))


def test_estimated_bits_are_real_ones(hyperprior):
    """Latents distributed as the levels say: what training counts is what the file holds, within a percent."""
    levels = fix_hyper_latents(hyperprior, [0.0, 2.0, -3.0, 5.0, -8.0, 20.0])
    assert levels.unique().numel() > 20, "many scales at once"
    scale = SCALE_MIN * (SCALE_MAX / SCALE_MIN) ** (levels / (LEVELS - 1))
    y = torch.randn(1, NPIX, 8) * scale.float()
    payload, y_hat = write(hyperprior, y)
    assert (y_hat == y.round()).double().mean() > 0.9999  # at scales up to 0.12 a one in 30,000 is dropped
    _, rate = hyperprior(y, straight=True)
    assert len(payload) * 8 == pytest.approx(float(rate.latents + rate.hyper), rel=0.01)


def off_centre(module: ScaleHyperprior) -> torch.Tensor:
    """Densities as training leaves them: narrow, and centred anywhere, seldom on a whole number; their medians."""
    for biases, matrices in zip(module.prior.biases, module.prior.matrices, strict=True):
        matrices += 0.7
        biases += 2 * torch.randn_like(biases)
    module.build_tables()
    centre = copy.deepcopy(module.prior)
    centre.update(force=True, update_quantiles=True)
    assert ((centre.quantiles[:, 0, 1] - centre.quantiles[:, 0, 1].round()).abs() > 0.1).any()
    return centre.quantiles[:, 0, 1]


def test_side_informations_tables_follow_densities_off_centre(hyperprior):
    """On whole numbers, whatever the median: what is coded is z rounded, not z minus its median."""
    centre = off_centre(hyperprior)
    density = copy.deepcopy(hyperprior.prior)
    density.quantiles.zero_()  # then CompressAI's forward evaluates the density at whole numbers
    rows, _, offsets = Tables(hyperprior.z_cdf, hyperprior.z_length, hyperprior.z_offset).lists()
    for step in (-1, 0, 1):
        symbols = centre.round() + step
        _, expected = density(symbols.expand(1, 1, -1).permute(0, 2, 1))
        for channel, symbol in enumerate(symbols.int().tolist()):
            entry = symbol - offsets[channel]
            found = (rows[channel][entry + 1] - rows[channel][entry]) / 2**16
            assert found == pytest.approx(float(expected[0, channel]), rel=0.02, abs=5e-4)


def test_side_informations_bits_are_real_ones_where_its_centre_is_not_zero(hyperprior):
    centre = off_centre(hyperprior).round()
    fix_hyper_latents(hyperprior, centre.tolist())
    set_level(hyperprior, 0)
    zeros = torch.zeros(1, NPIX, 8)
    payload, _ = write(hyperprior, zeros)
    _, rate = hyperprior(zeros, straight=True)
    assert len(payload) * 8 == pytest.approx(float(rate.hyper), rel=0.01, abs=80)
    fix_hyper_latents(hyperprior, (centre + 4).tolist())
    assert len(write(hyperprior, zeros)[0]) > 1.5 * len(payload)


def test_rounding_noise_costs_about_what_rounding_does(hyperprior):
    levels = fix_hyper_latents(hyperprior, [0.0, 2.0, -3.0, 5.0, -8.0, 20.0])
    set_level(hyperprior, 40)
    y = torch.randn(1, NPIX, 8) * SCALE_MIN * (SCALE_MAX / SCALE_MIN) ** (40 / (LEVELS - 1))
    assert levels.shape == y.shape
    hyperprior.train()
    noisy, straight = (float(hyperprior(y, straight=flag)[1].latents) for flag in (False, True))
    assert noisy == pytest.approx(straight, rel=0.02)


def test_skipped_levels_cost_nothing_and_are_zero(hyperprior):
    fix_hyper_latents(hyperprior, [0.0] * 6)
    y = torch.randn(1, NPIX, 8) * 50
    set_level(hyperprior, SKIP_LEVEL)
    payload, y_hat = write(hyperprior, y)
    nothing, _ = write(hyperprior, torch.zeros_like(y))
    assert payload == nothing, "side information alone"
    assert torch.equal(y_hat, torch.zeros_like(y)) and torch.equal(read(hyperprior, payload), y_hat)
    set_level(hyperprior, SKIP_LEVEL + 1)
    payload, y_hat = write(hyperprior, y)
    assert len(payload) > 20 * len(nothing) and torch.equal(y_hat, y.round())


def test_levels_that_are_skipped_are_those_of_a_scale_up_to_012():
    scales = [SCALE_MIN * (SCALE_MAX / SCALE_MIN) ** (level / (LEVELS - 1)) for level in range(LEVELS)]
    assert scales[SKIP_LEVEL] <= 0.12 < scales[SKIP_LEVEL + 1]
    assert math.erfc(0.5 / scales[SKIP_LEVEL] / math.sqrt(2)) < 1 / 20000, "so seldom is one of them not zero"


def test_nothing_costs_little(hyperprior):
    set_level(hyperprior, SKIP_LEVEL + 1)
    payload, _ = write(hyperprior, torch.zeros(1, NPIX, 8))
    _, rate = hyperprior(torch.zeros(1, NPIX, 8), straight=True)
    assert 8 * len(payload) - float(rate.hyper) < 0.01 * NPIX * 8


def test_mixed_levels_code_some_and_skip_others(hyperprior):
    """A channel each side of the limit: the skipped one is zero for the encoder as well."""
    fix_hyper_latents(hyperprior, [0.0] * 6)
    hyperprior.h_s[-1].weight.zero_()
    hyperprior.h_s[-1].bias.copy_(torch.tensor([0.0, 30, 5, 9, 10, 31, 0, 25]))
    y = torch.randn(1, NPIX, 8) * 2
    payload, y_hat = write(hyperprior, y)
    coded = torch.tensor([0.0, 30, 5, 9, 10, 31, 0, 25]) > SKIP_LEVEL
    assert torch.equal(y_hat, y.round() * coded)
    assert torch.equal(read(hyperprior, payload), y_hat)


def lively(module: ScaleHyperprior) -> ScaleHyperprior:
    """Weights as after training: not multiples of 2^-10, with levels over the whole range."""
    for conv in module.h_s:
        conv.weight *= 1.37
        conv.bias += torch.randn_like(conv.bias)
    return module


def side_information(module: ScaleHyperprior) -> torch.Tensor:
    return (torch.randn(1, module.nodes, 6) * 4).round().clamp(-HYPER_LIMIT, HYPER_LIMIT)


def test_levels_are_whole_numbers_of_the_table(hyperprior):
    levels = lively(hyperprior).levels(side_information(hyperprior).double())
    assert torch.equal(levels, levels.round())
    assert levels.min() >= 0 and levels.max() <= LEVELS - 1 and levels.unique().numel() > 30


def test_side_information_out_of_range_is_held_in_it(hyperprior):
    z = torch.full((1, hyperprior.nodes, 6), 1e6, dtype=torch.float64)
    assert torch.equal(hyperprior.levels(z), hyperprior.levels(torch.full_like(z, HYPER_LIMIT)))
    assert torch.equal(hyperprior.levels(-z), hyperprior.levels(torch.full_like(z, -HYPER_LIMIT)))
    y = torch.randn(1, NPIX, 8)
    for sign in (1, -1):
        hyperprior.h_a[-1].bias.fill_(sign * 1e6)
        payload, y_hat = write(hyperprior, y)
        assert torch.equal(read(hyperprior, payload), y_hat)
        fix_hyper_latents(hyperprior, [sign * HYPER_LIMIT] * 6)
        assert write(hyperprior, y)[0] == payload, "before it is coded already"


def by_integers(conv: ExactConv, x: np.ndarray, nside: int) -> np.ndarray:
    """One layer in int64, weights in units of 2^-10."""
    weight, bias = (np.rint(p.double().numpy() * 1024).astype(np.int64) for p in (conv.weight, conv.bias))
    total = x @ weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2].T + bias
    if conv.padding is not None:
        for (dx, dy), neighbor in zip(STEPS, HealpixGrid(nside).neighbors.T, strict=True):
            there = (neighbor >= 0)[:, None]
            total = total + np.where(there, x[np.maximum(neighbor, 0)], 0) @ weight[:, :, 1 + dy, 1 + dx].T
    return np.clip((total + 512) >> 10, 0, conv.limit)


def unfold(x: np.ndarray, side: int) -> np.ndarray:
    return unfold_children(torch.from_numpy(x)[None], side)[0].numpy()


def test_levels_equal_integer_arithmetic(hyperprior):
    z = side_information(hyperprior)
    one, two, three, four = lively(hyperprior).h_s
    a = unfold(by_integers(one, z[0].long().numpy(), 4), 4)
    a = unfold(by_integers(three, by_integers(two, a, 8), 8), 8)
    assert (hyperprior.levels(z.double())[0].numpy() == by_integers(four, a, 16)).all()


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_change_neither_levels_nor_bytes(hyperprior, threads, on_threads):
    lively(hyperprior).build_tables()
    z, y = side_information(hyperprior).double(), torch.randn(1, NPIX, 8) * 3
    assert torch.equal(hyperprior.levels(z), on_threads(threads, lambda: hyperprior.levels(z)))
    payload, y_hat = write(hyperprior, y)
    assert on_threads(threads, lambda: write(hyperprior, y)[0]) == payload
    assert torch.equal(on_threads(threads, lambda: read(hyperprior, payload)), y_hat)


def test_the_decoder_needs_no_float_network(hyperprior):
    """Decision 7: symbols follow from the payload, the tables and the integer network alone."""
    payload, y_hat = write(hyperprior, torch.randn(1, NPIX, 8) * 3)
    other = copy.deepcopy(hyperprior)
    for p in [*other.h_a.parameters(), *other.prior.parameters()]:
        p.fill_(math.nan)
    assert torch.equal(read(other, payload), y_hat)


def test_tables_do_not_depend_on_what_was_built_before(hyperprior):
    before = {name: b.clone() for name, b in hyperprior.named_buffers() if name[:2] in ("y_", "z_")}
    assert len(before) == 6
    hyperprior.build_tables()
    assert all(torch.equal(hyperprior.get_buffer(name), b) for name, b in before.items())


def test_training_reaches_every_network(hyperprior):
    hyperprior.train().requires_grad_(True)
    y = (torch.randn(1, NPIX, 8) * 2).requires_grad_()
    y_hat, rate = hyperprior(y, straight=False)
    assert torch.equal(y_hat, y.round())
    (rate.latents + rate.hyper).backward()
    untouched = {name for name, p in hyperprior.named_parameters() if p.grad is None or not p.grad.any()}
    assert untouched <= {"prior.quantiles"}  # CompressAI's; searched for when the tables are built
    assert y.grad is not None and torch.isfinite(y.grad).all() and y.grad.any()


def test_it_is_refused_without_tables(hyperprior):
    for name in ("z_cdf", "y_cdf"):
        setattr(hyperprior, name, torch.zeros(0, 0, dtype=torch.int32))
    with pytest.raises(AssertionError, match="build_tables"):
        write(hyperprior, torch.zeros(1, NPIX, 8))
