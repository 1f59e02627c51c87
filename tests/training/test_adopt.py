"""A model that begins with the weights of a kin: gated for directional filters, a latitude beside the latents."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from deepsphere_codec.errors import UsageError
from deepsphere_codec.layers.blocks import Resolution, sphere_conv
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.geometry import whole_grid
from deepsphere_codec.models.pyramid import Pyramid
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.adopt import begin_from, nine_taps_to_chebyshev


@pytest.fixture(scope="module", params=[8, 20])
def at(request) -> Resolution:
    return Pyramid(PatchGrid(256, 4, 64, 64, 64), request.param).at[2]


def gated_and_directional(at: Resolution, taps: torch.Tensor, tmp_path):
    directional = sphere_conv("directional", taps.shape[1], taps.shape[0], at)
    directional.weight.data, directional.bias.data = taps, torch.arange(float(taps.shape[0]))
    gated = torch.nn.ModuleDict({"a": sphere_conv("gated", taps.shape[1], taps.shape[0], at)})
    save_file({"model.a.weight": taps, "model.a.bias": directional.bias.data}, tmp_path / "taps")
    assert begin_from(tmp_path / "taps", gated) == ["a.filter.bias", "a.filter.weight"]
    return gated["a"], directional


def test_a_centre_tap_is_kept(at, tmp_path):
    """It is a radial filter, so nothing of it is lost."""
    taps = torch.zeros(5, 3, 3, 3)
    taps[:, :, 1, 1] = torch.randn(5, 3)
    gated, directional = gated_and_directional(at, taps, tmp_path)
    x = torch.randn(2, at.side**2, 3)
    torch.testing.assert_close(gated(x), directional(x), atol=1e-4, rtol=0)


def test_taps_equal_in_all_directions_are_nearly_kept(at, tmp_path):
    """A binomial blur is nearly radial: what the filter loses of it is a small part."""
    taps = torch.tensor([1.0, 2, 1])
    gated, directional = gated_and_directional(at, (taps[:, None] * taps / 16)[None, None], tmp_path)
    x = torch.randn(1, at.side**2, 1)
    inner = torch.arange(at.side**2).view(at.side, at.side)[4:-4, 4:-4].flatten()
    error = (gated(x) - directional(x))[:, inner].square().mean() / directional(x)[:, inner].square().mean()
    assert error < 0.02


def test_a_difference_has_no_radial_part(at):
    basis = nine_taps_to_chebyshev(at.laplacian, at.side, 3)
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).flatten()
    assert (basis @ sobel).norm() < 0.1 * (basis @ sobel.abs()).norm()


def test_a_checkpoint_of_its_own_kind_is_left_alone(at, tmp_path):
    gated = torch.nn.ModuleDict({"a": sphere_conv("gated", 3, 3, at)})
    save_file({f"model.{name}": p.detach() for name, p in gated.named_parameters()}, tmp_path / "own")
    assert begin_from(tmp_path / "own", gated) == []


def test_a_plane_that_knows_its_latitude_begins_as_one_that_does_not(narrow, tmp_path):
    place = whole_grid("erp", 64)
    plain, told = (
        SphereDVC(ModelConfig(geometry="erp", positional=positional, **narrow), place).eval()
        for positional in (False, True)
    )
    save_file({name: p.detach() for name, p in plain.named_parameters()}, tmp_path / "plain")
    carried = begin_from(tmp_path / "plain", told)
    codecs = "intra.latents", "inter.residual_latents"
    assert carried == sorted(f"{codec}.hyperprior.recall.weight" for codec in codecs)
    ours, theirs = (each.inter.residual_latents for each in (plain, told))
    channels, nodes = ours.hyperprior.channels, len(ours.hyperprior.anchors)
    y, asked = 3 * torch.randn(1, nodes, channels), torch.tensor([4.0])
    memory = torch.randint(0, 9, (1, nodes, ours.hyperprior.recall.weight.shape[1] - 1)).float()
    with torch.no_grad():
        (a, rate), (b, other_rate) = (each(y, asked, memory, straight=True) for each in (ours, theirs))
    torch.testing.assert_close((a, rate), (b, other_rate))


def test_another_architecture_is_refused(narrow, tmp_path):
    place = PatchGrid(128, 4, 64, 64, 64)
    wide = SphereDVC(ModelConfig(**narrow | {"work_channels": 16}), place)
    save_file({name: p.detach() for name, p in wide.named_parameters()}, tmp_path / "wide")
    with pytest.raises(UsageError, match="the model's is"):
        begin_from(tmp_path / "wide", SphereDVC(ModelConfig(**narrow), place))
