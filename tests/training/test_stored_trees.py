"""Trees that are kept with the samples: what the search finds between originals, and no search the next time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.inter import InterCodec
from deepsphere_codec.models.memory import References
from deepsphere_codec.models.quality import inter_quality
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.loss import inter_loss
from deepsphere_codec.training.stored_trees import BatchTrees, StoredTrees, motion_lmbda

FRAMES, QUALITY = 6, torch.tensor([2.0, 5.0])


@pytest.fixture(scope="module")
def network(narrow) -> SphereDVC:
    torch.manual_seed(2)
    return SphereDVC(ModelConfig(**narrow), PatchGrid(128, 5, 64, 0, 64))


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    """Squares that drift."""
    first = torch.rand(2, 8, 8, 3).repeat_interleave(8, 1).repeat_interleave(8, 2)
    return torch.stack([first.roll(2 * t, 2) for t in range(FRAMES)], 1).reshape(2, FRAMES, 4096, 3)


def no_search(monkeypatch) -> None:
    def refuse(*args):
        raise AssertionError("a tree was searched for")

    monkeypatch.setattr(InterCodec, "find_motion", refuse)


def test_trees_lead_from_originals_to_originals(network, x, tmp_path):
    trees = StoredTrees(tmp_path, network.inter, 2).of(3)
    order = trees.order(FRAMES)
    assert len(order) == FRAMES - 1
    moving = 0
    for place in order:
        found = trees.motion(x, place, QUALITY)
        numbers = [n for n in (place.first, place.second) if n is not None]
        states = [network.inter.begin(x[:, n], torch.zeros(2, 16, 8)) for n in numbers]
        references = References(*states[:1], states[1] if len(states) > 1 else None, place.distances)
        weight = motion_lmbda(inter_quality(QUALITY, network.config, place.layer))
        expected = Motion.of(network.inter.find_motion(x[:, place.number], references, weight))
        assert torch.equal(found.fields, expected.fields) and torch.equal(found.level, expected.level)
        moving += int((found.fields[..., 2:] != 0).any())
    assert moving >= 3


def test_the_next_time_nothing_is_searched(network, x, tmp_path, monkeypatch):
    trees = StoredTrees(tmp_path, network.inter, 2).of(3)
    found = {place.number: trees.motion(x, place, QUALITY) for place in trees.order(FRAMES)}
    trees.keep()
    no_search(monkeypatch)
    again = StoredTrees(tmp_path, network.inter, 2).of(3)
    assert again.order(FRAMES) == trees.order(FRAMES)
    for place in again.order(FRAMES):
        motion, before = again.motion(x, place, QUALITY), found[place.number]
        assert torch.equal(motion.fields, before.fields) and torch.equal(motion.level, before.level)
        assert motion.fields.dtype == motion.level.dtype == torch.int64
    with pytest.raises(AssertionError, match="a tree was searched for"):
        StoredTrees(tmp_path, network.inter, 2).of(4).motion(x, again.order(FRAMES)[0], QUALITY)


def test_more_pictures_are_added_to_a_file(network, x, tmp_path):
    order = BatchTrees(tmp_path / "0.npz", network.inter, 0).order(FRAMES)
    for places in (order[:2], order[2:]):
        one = BatchTrees(tmp_path / "0.npz", network.inter, 0)
        for place in places:
            one.motion(x, place, QUALITY)
        one.keep()
    with np.load(tmp_path / "0.npz") as stored:
        assert {int(name) for name in stored.files} == set(range(1, FRAMES))


def test_other_choices_of_the_codec_have_other_trees(network, narrow, tmp_path):
    other = SphereDVC(ModelConfig(**narrow, layer_steps=(0.0, -1.0, -1.0, -1.0)), PatchGrid(128, 5, 64, 0, 64))
    assert StoredTrees(tmp_path, network.inter, 2).folder != StoredTrees(tmp_path, other.inter, 2).folder
    assert StoredTrees(tmp_path, network.inter, 2).folder != StoredTrees(tmp_path, network.inter, 4).folder


def test_a_loss_searches_once(network, x, tmp_path, monkeypatch):
    torch.manual_seed(9)
    first = inter_loss(network, x, QUALITY, 5, False, trees=StoredTrees(tmp_path, network.inter, 2).of(0))
    no_search(monkeypatch)
    torch.manual_seed(9)
    again = inter_loss(network, x, QUALITY, 5, False, trees=StoredTrees(tmp_path, network.inter, 2).of(0))
    assert first.total.isfinite() and torch.equal(first.total, again.total)
