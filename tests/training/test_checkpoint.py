"""Checkpoints: everything a run goes on from, in a file that is whole or not there."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel

from deepsphere_codec.errors import UsageError
from deepsphere_codec.training import checkpoint
from deepsphere_codec.training.checkpoint import load_checkpoint, save_checkpoint, save_mean


def network(width: int = 5) -> nn.Module:
    return nn.ModuleDict({"intra": nn.Linear(3, width), "inter": nn.Linear(width, 2)})


def step(model: nn.Module, optimizer: Adam, seed: int) -> None:
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    model["inter"](model["intra"](x).tanh()).square().sum().backward()
    optimizer.step()


def trained(steps: int = 3) -> tuple[nn.Module, Adam]:
    model = network()
    optimizer = Adam(model.parameters(), lr=0.1)
    for seed in range(steps):
        step(model, optimizer, seed)
    return model, optimizer


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_what_goes_on_from_it_goes_on_alike(tmp_path):
    model, optimizer = trained()
    state = {"step": 3, "settings": {"train": {"rate": 1e-3}, "name": "über"}}
    save_checkpoint(tmp_path / "runs" / "a.safetensors", model, optimizer, state)
    other = network()
    other_optimizer = Adam(other.parameters(), lr=0.1)
    assert load_checkpoint(tmp_path / "runs" / "a.safetensors", other, other_optimizer) == state
    assert equal(model, other)
    for seed in range(3, 6):
        step(model, optimizer, seed)
        step(other, other_optimizer, seed)
    assert equal(model, other)


def test_without_the_moments_it_goes_on_differently(tmp_path):
    """The test above would not notice an optimiser that starts anew, were this not so."""
    model, optimizer = trained()
    save_checkpoint(tmp_path / "a", model, optimizer, {})
    other = network()
    load_checkpoint(tmp_path / "a", other)
    step(model, optimizer, 3)
    step(other, Adam(other.parameters(), lr=0.1), 3)
    assert not equal(model, other)


def test_weights_that_stood_still_have_no_moments(tmp_path):
    model = network()
    model["intra"].requires_grad_(False)
    optimizer = Adam(model["inter"].parameters(), lr=0.1)
    step(model, optimizer, 0)
    save_checkpoint(tmp_path / "a", model, optimizer, {"step": 1})
    other = network()
    other_optimizer = Adam(other["inter"].parameters(), lr=0.1)
    assert load_checkpoint(tmp_path / "a", other, other_optimizer)["step"] == 1
    assert equal(model, other) and len(other_optimizer.state) == 2


def test_moments_of_weights_that_no_longer_move_are_left_out(tmp_path):
    model, optimizer = trained()
    save_checkpoint(tmp_path / "a", model, optimizer, {})
    other = network()
    other_optimizer = Adam(other["inter"].parameters(), lr=0.1)
    load_checkpoint(tmp_path / "a", other, other_optimizer)
    assert set(other_optimizer.state) == set(other["inter"].parameters())


def test_parts_of_it_are_read_by_the_beginning_of_their_names(tmp_path):
    model, optimizer = trained()
    save_checkpoint(tmp_path / "a", model, optimizer, {})
    other = network()
    before = copy.deepcopy(other)
    load_checkpoint(tmp_path / "a", other, only="intra.")
    assert equal(other["intra"], model["intra"]) and equal(other["inter"], before["inter"])


def test_released_weights_may_be_started_from(tmp_path):
    """Their names have no prefix, some are halved, and they carry tables that are no parameters."""
    model = network()
    tensors = {name: p.detach().half() for name, p in model.named_parameters()}
    save_file(tensors | {"intra.scale_cdf": torch.zeros(3)}, tmp_path / "weights.safetensors")
    other = network()
    assert load_checkpoint(tmp_path / "weights.safetensors", other) == {}
    assert equal(other, model.half().float())


def test_parameters_that_the_file_lacks_keep_their_values(tmp_path):
    save_file({"model.intra.weight": torch.ones(5, 3)}, tmp_path / "a")
    other = network()
    before = copy.deepcopy(other)
    load_checkpoint(tmp_path / "a", other)
    assert torch.equal(other["intra"].weight, torch.ones(5, 3))
    assert torch.equal(other["intra"].bias, before["intra"].bias) and equal(other["inter"], before["inter"])


def test_weights_of_another_shape_are_refused(tmp_path):
    save_checkpoint(tmp_path / "a", *trained(), {})
    with pytest.raises(UsageError, match=r"a: intra.weight is \[5, 3\], the model's is \[6, 3\]"):
        load_checkpoint(tmp_path / "a", network(6))


@pytest.mark.parametrize("content", [None, b"", b"no tensors here", b"\x10\0\0\0\0\0\0\0{broken"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "a"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="a is not a checkpoint: "):
        load_checkpoint(path, network())


def test_a_save_that_fails_leaves_the_last_whole_one(tmp_path, monkeypatch):
    path = tmp_path / "a"
    save_checkpoint(path, *trained(1), {"step": 1})
    before = path.read_bytes()

    def half(tensors: dict, target: Path, metadata: dict) -> None:
        Path(target).write_bytes(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_file", half)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, *trained(2), {"step": 2})
    assert path.read_bytes() == before


def test_a_full_disk_is_told_in_one_line_and_leaves_the_last_whole_one(tmp_path, monkeypatch):
    path = tmp_path / "a"
    save_checkpoint(path, *trained(1), {"step": 1})
    before = path.read_bytes()

    def full(tensors: dict, target: Path, metadata: dict) -> None:
        Path(target).write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(UsageError, match="a cannot be written, the one before stays: .*No space left"):
        save_checkpoint(path, *trained(2), {"step": 2})
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_one_is_refused_and_fills_nothing(tmp_path, share):
    path = tmp_path / "a"
    save_checkpoint(path, *trained(), {"step": 3})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    other = network()
    before = copy.deepcopy(other)
    with pytest.raises(UsageError, match="a is not a checkpoint: "):
        load_checkpoint(path, other)
    assert equal(other, before)


def test_the_running_mean_is_kept_and_taken_where_a_run_begins(tmp_path):
    model, optimizer = trained()
    average = AveragedModel(model)
    average.update_parameters(model)
    average.module["intra"].weight.data.zero_()
    save_checkpoint(tmp_path / "a", model, optimizer, {"step": 3}, average)
    begun, resumed = network(), network()
    load_checkpoint(tmp_path / "a", begun)
    assert equal(begun, average.module)
    other = AveragedModel(resumed)
    assert load_checkpoint(tmp_path / "a", resumed, Adam(resumed.parameters()), average=other)["step"] == 3
    assert equal(resumed, model) and equal(other.module, average.module) and int(other.n_averaged) == 1


def test_the_mean_of_a_part_is_kept_in_sixteen_bits(tmp_path):
    model, optimizer = trained()
    average = AveragedModel(network())
    save_checkpoint(tmp_path / "a", model, optimizer, {"step": 3}, average)
    assert save_mean(tmp_path / "a", tmp_path / "b", "intra.") == 3
    other = network()
    before = copy.deepcopy(other["inter"])
    load_checkpoint(tmp_path / "b", other)
    for p, mean in zip(other["intra"].parameters(), average.module["intra"].parameters(), strict=True):
        assert torch.equal(p, mean.half().float())
    assert equal(other["inter"], before)
    with pytest.raises(UsageError, match="holds no weights that begin with 'other'"):
        save_mean(tmp_path / "a", tmp_path / "c", "other")
    assert not (tmp_path / "c").exists()
