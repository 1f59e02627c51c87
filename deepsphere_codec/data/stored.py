"""Training samples that are drawn once and kept on disk: to draw one takes longer than to read it back."""

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
    """The first `count` samples of a data set, over and over.

    A sample is drawn when it is first asked for and read from disk after that, its signal in half precision (an error
    of at most 1/16 of an 8-bit step). What comes is the same either way.

    Args:
        drawn: Draws the samples.
        count: Samples that are kept.
        folder: Where they are kept, in a folder of their own: other settings or films have another.
    Attributes:
        films: That the samples are drawn from.
        folder: That folder.
        period: Steps after which the samples come again.
    Raises:
        UsageError: the samples are no whole number of steps.
    """

    def __init__(self, drawn: PatchDataset | PlanarPatches, count: int, folder: Path) -> None:
        if count < 1 or count % drawn.batch:
            raise UsageError(f"train.kept is {count}: expected a multiple of the {drawn.batch} samples of a step")
        self.drawn, self.count, self.period = drawn, count, count // drawn.batch
        self.films, self.folder = drawn.films, folder / _name(drawn)

    def block(self, step: int) -> Patch:
        """The block of a step."""
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
    """Short name of the folder, a hash of all that the samples follow from."""
    films = [(list(film.shape), int(film[0, 0, :64].sum())) for film in drawn.films]
    numbers = [drawn.batch, drawn.relocate, drawn.seed, asdict(drawn.settings), films]
    return hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:16]
