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


@pytest.fixture(params=["gated", "chebyshev"])
def kind(request) -> str:
    return request.param


def radial_and_directional(kind: str, at: Resolution, taps: torch.Tensor, tmp_path):
    directional = sphere_conv("directional", taps.shape[1], taps.shape[0], at)
    directional.weight.data, directional.bias.data = taps, torch.arange(float(taps.shape[0]))
    radial = torch.nn.ModuleDict({"a": sphere_conv(kind, taps.shape[1], taps.shape[0], at)})
    save_file({"model.a.weight": taps, "model.a.bias": directional.bias.data}, tmp_path / "taps")
    inner = ".filter" if kind == "gated" else ""
    assert begin_from(tmp_path / "taps", radial) == [f"a{inner}.bias", f"a{inner}.weight"]
    return radial["a"], directional


def test_a_centre_tap_is_kept(kind, at, tmp_path):
    """It is a radial filter, so nothing of it is lost."""
    taps = torch.zeros(5, 3, 3, 3)
    taps[:, :, 1, 1] = torch.randn(5, 3)
    radial, directional = radial_and_directional(kind, at, taps, tmp_path)
    x = torch.randn(2, at.side**2, 3)
    torch.testing.assert_close(radial(x), directional(x), atol=1e-4, rtol=0)


def test_taps_equal_in_all_directions_are_nearly_kept(kind, at, tmp_path):
    """A binomial blur is nearly radial: what the filter loses of it is a small part."""
    taps = torch.tensor([1.0, 2, 1])
    radial, directional = radial_and_directional(kind, at, (taps[:, None] * taps / 16)[None, None], tmp_path)
    x = torch.randn(1, at.side**2, 1)
    inner = torch.arange(at.side**2).view(at.side, at.side)[4:-4, 4:-4].flatten()
    error = (radial(x) - directional(x))[:, inner].square().mean() / directional(x)[:, inner].square().mean()
    assert error < 0.02


def test_a_difference_has_no_radial_part(at):
    basis = nine_taps_to_chebyshev(at.laplacian, 3)
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).flatten()
    assert (basis @ sobel).norm() < 0.1 * (basis @ sobel.abs()).norm()


def test_a_checkpoint_of_its_own_kind_is_left_alone(kind, at, tmp_path):
    own = torch.nn.ModuleDict({"a": sphere_conv(kind, 3, 3, at)})
    save_file({f"model.{name}": p.detach() for name, p in own.named_parameters()}, tmp_path / "own")
    assert begin_from(tmp_path / "own", own) == []


def test_a_chebyshev_model_begins_as_the_radial_part_of_a_directional_one(narrow, tmp_path):
    """Weights of all other layers are copied; new layers stay as they began."""
    place = PatchGrid(128, 4, 64, 64, 64)
    directional = SphereDVC(ModelConfig(**narrow), place)
    save_file({name: p.detach() for name, p in directional.named_parameters()}, tmp_path / "directional")
    kinds = {"kinds": ("chebyshev", "chebyshev"), "stem": "chebyshev", "cheb_order": 2, "deep_context": True}
    model = SphereDVC(ModelConfig(**narrow | kinds), place)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    carried = begin_from(tmp_path / "directional", model)
    theirs = dict(directional.named_parameters())
    assert carried and all(name.split(".")[1] in ("g_a", "g_s") for name in carried)
    for name, p in model.named_parameters():
        if name in carried and name.endswith("bias"):
            assert torch.equal(p, theirs[name])
        elif name not in carried:
            assert torch.equal(p, theirs[name] if name in theirs else before[name])


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
