"""Training samples stored on disk: drawing a sample takes longer than reading it back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from deepsphere_codec.data.patches import PatchDataset, PatchSample
from deepsphere_codec.data.planar import PlanarPatches
from deepsphere_codec.errors import UsageError
from deepsphere_codec.models.pyramid import Patch
from deepsphere_codec.runtime.atomic import atomic_output


class StoredSamples(Dataset):
    """The first `count` samples of a data set, repeated.

    A sample is drawn on first access and read from disk afterwards, its signal in half precision (an error of at most
    1/16 of an 8-bit step). Both accesses return the same values.

    Args:
        drawn: Data set that draws the samples.
        count: Number of stored samples, a multiple of the samples per step.
        folder: Folder for a subfolder that is specific to the settings and films.
    Attributes:
        films: Films that the samples are drawn from.
        folder: Subfolder with the stored samples.
        period: Number of steps after which the samples repeat.
    Raises:
        UsageError: `count` is not a multiple of the samples per step.
    """

    def __init__(self, drawn: PatchDataset | PlanarPatches, count: int, folder: Path) -> None:
        if count < 1 or count % drawn.batch:
            raise UsageError(f"train.kept is {count}: expected a multiple of the {drawn.batch} samples of a step")
        self.drawn, self.count, self.period = drawn, count, count // drawn.batch
        self.films, self.folder = drawn.films, folder / _name(drawn)

    def block(self, step: int) -> Patch:
        """Return the patch of a step."""
        return self.drawn.block(step % self.period)

    def __getitem__(self, index: int) -> PatchSample:
        number = index % self.count
        place = self.folder / f"{number:06}.npz"
        if not place.exists():
            x, quality, _ = self.drawn[number]
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_output(place, force=True) as new, open(new, "wb") as file:
                np.savez(file, x=x.half().numpy(), quality=np.float64(quality))
        with np.load(place) as stored:
            x = torch.from_numpy(stored["x"]).float()
            return PatchSample(x, float(stored["quality"]), self.drawn.block(number // self.drawn.batch))


def _name(drawn: PatchDataset | PlanarPatches) -> str:
    """Short name of the subfolder: a hash of everything that determines the samples."""
    films = [(list(film.shape), int(film[0, 0, :64].sum())) for film in drawn.films]
    numbers = [drawn.batch, drawn.relocate, drawn.seed, asdict(drawn.settings), films]
    return hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:16]
