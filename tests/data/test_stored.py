"""Samples that are kept: those that would be drawn, the same from disk, over and over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deepsphere_codec.data.patches import PatchDataset, PatchSettings
from deepsphere_codec.data.planar import PlanarPatches, PlanarSettings
from deepsphere_codec.data.stored import StoredSamples
from deepsphere_codec.errors import UsageError

SETTINGS = PatchSettings(nside=128, side=64, frames=2)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("films"), np.random.default_rng(3)
    np.save(folder / "film.npy", rng.integers(16, 235, (5, 96, 128)).astype(np.uint8))
    return folder


def drawn(films: Path, seed: int = 1, batch: int = 2) -> PatchDataset:
    return PatchDataset(films, SETTINGS, batch, 3, seed)


def test_a_sample_comes_from_disk_as_it_came_first(films, tmp_path):
    source = drawn(films)
    first = StoredSamples(source, 6, tmp_path)[4]
    again = StoredSamples(drawn(films), 6, tmp_path)
    again.drawn.films = []  # nothing can be drawn any more
    x, quality, patch = again[4]
    assert torch.equal(first[0], x) and first[1] == quality == source[4][1]
    assert first.patch == patch == source.block(2)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x, source[4][0], rtol=2**-11, atol=2**-12)
    with pytest.raises(ValueError):
        again[5]


def test_samples_and_blocks_come_again(films, tmp_path):
    source = drawn(films)
    stored = StoredSamples(source, 8, tmp_path)
    assert stored.period == 4
    assert torch.equal(stored[1][0], stored[9][0]) and not torch.equal(stored[1][0], stored[2][0])
    assert [stored.block(step) for step in range(8)] == 2 * [source.block(step) for step in range(4)]


def test_other_choices_are_kept_elsewhere(films, tmp_path):
    folders = {StoredSamples(drawn(films, *other), 8, tmp_path).folder for other in ((1, 2), (2, 2), (1, 4))}
    planar = PlanarPatches(films, PlanarSettings(64, 128, 64, 64), 2, 3, 1)
    folders.add(StoredSamples(planar, 8, tmp_path).folder)
    assert len(folders) == 4


@pytest.mark.parametrize("count", [0, 7])
def test_a_count_that_is_no_whole_number_of_steps_is_refused(films, tmp_path, count):
    with pytest.raises(UsageError, match=f"train.kept is {count}: expected a multiple of the 2 samples"):
        StoredSamples(drawn(films), count, tmp_path)


def test_a_sample_that_was_cut_short_is_not_taken_for_whole(films, tmp_path, monkeypatch):
    stored = StoredSamples(drawn(films), 2, tmp_path)

    def cut(file, **arrays):
        file.write(b"PK")
        raise OSError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", cut)
        with pytest.raises(OSError, match="no room"):
            stored[0]
    assert not list(stored.folder.iterdir())
    assert stored[0][0].isfinite().all()
