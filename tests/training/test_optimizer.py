"""Muon for weights that are matrices and Adam for all others: the step, the choice of weights, the rates."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import Adam

from deepsphere_codec.graph import build_graph
from deepsphere_codec.layers import GDN
from deepsphere_codec.layers.blocks import KINDS, Resolution, sphere_conv
from deepsphere_codec.layers.operators import RescaledLaplacian
from deepsphere_codec.layers.padding import FacePadding
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.quality import QualityBank
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.training import optimizer as optimizer_module
from deepsphere_codec.training.checkpoint import load_checkpoint, save_checkpoint
from deepsphere_codec.training.loop import learning_rate
from deepsphere_codec.training.optimizer import MuonAdam, make_optimizer, matrix_weights
from deepsphere_codec.training.schedule import Schedule
from deepsphere_codec.training.settings import load_settings
from deepsphere_codec.training.trainer import Trainer

MUON = Schedule(optimizer="muon", rate=1e-2, rate_muon=5e-2)


def network() -> nn.Module:
    torch.manual_seed(5)
    return nn.ModuleDict({"wide": nn.Linear(3, 7), "gain": QualityBank(7), "narrow": nn.Linear(7, 2)})


def gradients(model: nn.Module, seed: int) -> None:
    """Give every parameter a gradient; those of matrices have next to no rank, as those of a small batch."""
    torch.manual_seed(seed)
    for p in model.parameters():
        p.grad = torch.randn_like(p) if p.ndim < 2 else torch.randn(len(p), 2) @ torch.randn(2, p[0].numel())


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, seeds: range) -> None:
    for seed in seeds:
        gradients(model, seed)
        optimizer.step()


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch before 2.9 has no Muon")
def test_steps_are_those_of_pytorchs_muon_and_adam(monkeypatch):
    """But for what bfloat16 rounds: PyTorch's iterations are all in it, and never on the Gram matrix."""
    monkeypatch.setattr(optimizer_module, "quick_bfloat16", lambda device: True)
    begun, ours, theirs = (network() for _ in range(3))
    for model in (begun, ours, theirs):
        torch.manual_seed(6)
        model["square"], model["large"] = nn.Linear(20, 24, bias=False), nn.Linear(400, 96, bias=False)
    matrices = [theirs[name].weight for name in ("wide", "narrow", "square", "large")]
    others = [theirs["wide"].bias, theirs["gain"].log_gain, theirs["narrow"].bias]
    muon, adam = torch.optim.Muon(matrices, lr=5e-2, weight_decay=0.0), Adam(others, lr=1e-2)
    steps(ours, make_optimizer(ours, ours.parameters(), MUON), range(4))
    for seed in range(4):
        steps(theirs, muon, range(seed, seed + 1))
        adam.step()
    for p, q, start in zip(ours.parameters(), theirs.parameters(), begun.parameters(), strict=True):
        assert (p - q).norm() < 0.1 * (q - start).norm()
    assert torch.equal(ours["square"].weight, theirs["square"].weight)
    assert torch.equal(ours["gain"].log_gain, theirs["gain"].log_gain)


@pytest.mark.parametrize("low, tolerance", [(False, 2e-3), (True, 5e-2)])
@pytest.mark.parametrize("shape", [(30, 200), (200, 30), (96, 400), (400, 96), (96, 100)])
def test_singular_values_go_through_the_quintic(shape, low, tolerance, monkeypatch):
    monkeypatch.setattr(optimizer_module, "quick_bfloat16", lambda device: low)
    torch.manual_seed(11)
    matrix = torch.randn(shape)
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / s.norm()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    expected = u @ torch.diag(s) @ v
    assert (optimizer_module._orthogonal(matrix).double() - expected).norm() < tolerance * expected.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_a_convolution_is_stepped_as_a_matrix_of_outputs_by_inputs(kind):
    at = Resolution(8, RescaledLaplacian(build_graph(8)), FacePadding(HealpixGrid.cached(8), 1))
    conv = sphere_conv(kind, 4, 40, at, order=2)
    (weight,) = matrix_weights(conv)
    assert weight.parameter is conv.weight
    out, rest = weight.matrix(conv.weight).shape
    assert out == 40 and rest * out == conv.weight.numel()
    before = weight.matrix(conv.weight.detach().clone())
    optimizer = make_optimizer(conv, conv.parameters(), MUON)
    for p in conv.parameters():
        p.grad = torch.randn_like(p)
    optimizer.step()
    change = (before - weight.matrix(conv.weight.detach())) / (MUON.rate_muon * math.sqrt(max(1, out / rest)))
    values = torch.linalg.svdvals(change)
    assert len(values) == min(out, rest) and 0.6 < float(values.min()) and float(values.max()) < 1.3


def test_only_weights_of_convolutions_are_matrices(configuration):
    settings = load_settings(configuration, [])
    model = SphereDVC(settings.model, HealpixGrid.cached(64))
    names = {id(p): name for name, p in model.named_parameters()}
    taken = {names[id(weight.parameter)] for weight in matrix_weights(model)}
    assert taken == {name for name, p in model.named_parameters() if name.endswith(".weight")}
    left = {name.rpartition(".")[2] for name in names.values() if name not in taken}
    assert left >= {"bias", "beta", "gamma", "log_gain"} and "weight" not in left
    optimizer = make_optimizer(model, model.intra.parameters(), MUON)
    moved = [p for group in optimizer.param_groups for p in group["params"]]
    assert sorted(map(id, moved)) == sorted(map(id, model.intra.parameters()))


def test_gdn_is_adams():
    assert not matrix_weights(GDN(4))


def test_both_rates_follow_the_schedule(configuration: Path, clips: Path, tmp_path: Path):
    changes = ["train.part=intra", "train.optimizer=muon", "train.rate=1e-3", "train.rate_muon=4e-3"]
    settings = load_settings(configuration, changes)
    trainer = Trainer(settings, tmp_path, clips, torch.device("cpu"), workers=0)
    for step in range(4):
        trainer.run(until=0)
        rate = learning_rate(settings.train, step)
        assert [group["lr"] for group in trainer.optimizer.param_groups] == pytest.approx([rate, 4 * rate])


def test_weights_without_a_gradient_stay_and_have_no_moments():
    model = network()
    optimizer = make_optimizer(model, model.parameters(), MUON)
    before = model["wide"].weight.detach().clone()
    gradients(model, 0)
    model["wide"].weight.grad = None
    optimizer.step()
    assert torch.equal(model["wide"].weight, before) and len(optimizer.state) == len(list(model.parameters())) - 1


def test_what_goes_on_from_a_checkpoint_goes_on_alike(tmp_path):
    model, other = network(), network()
    optimizer, resumed = (make_optimizer(each, each.parameters(), MUON) for each in (model, other))
    steps(model, optimizer, range(3))
    save_checkpoint(tmp_path / "a", model, optimizer, {"step": 3})
    assert load_checkpoint(tmp_path / "a", other, resumed) == {"step": 3}
    steps(model, optimizer, range(3, 6))
    anew = network()
    load_checkpoint(tmp_path / "a", anew)
    steps(other, resumed, range(3, 6))
    steps(anew, make_optimizer(anew, anew.parameters(), MUON), range(3, 6))
    assert equal(model, other) and not equal(model, anew)


@pytest.mark.parametrize("first, second", [("adam", "muon"), ("muon", "adam")])
def test_a_run_may_go_on_with_the_other_optimizer(tmp_path, first, second):
    """Weights that both give to Adam keep their moments; the others begin without."""
    model, other = network(), network()
    optimizer = make_optimizer(model, model.parameters(), Schedule(optimizer=first))
    steps(model, optimizer, range(2))
    save_checkpoint(tmp_path / "a", model, optimizer, {})
    resumed = make_optimizer(other, other.parameters(), Schedule(optimizer=second))
    load_checkpoint(tmp_path / "a", other, resumed)
    assert set(resumed.state) == {other["wide"].bias, other["narrow"].bias, other["gain"].log_gain}
    steps(other, resumed, range(2, 3))
    assert all(torch.isfinite(p).all() for p in other.parameters())


def test_adam_alone_is_one_group():
    model = network()
    optimizer = make_optimizer(model, model.parameters(), Schedule(rate=1e-3))
    assert isinstance(optimizer, Adam) and not isinstance(optimizer, MuonAdam)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3]
