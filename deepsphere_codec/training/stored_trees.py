"""Motion trees of training samples, searched once and stored with the samples, so that later epochs need no search."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from deepsphere_codec.models.dvc import MOTION_SHARE
from deepsphere_codec.models.inter import InterCodec
from deepsphere_codec.models.memory import LatentMemory, References, State
from deepsphere_codec.models.quality import PLANE_WEIGHTS, inter_quality, lmbda_of
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.runtime.atomic import atomic_output
from deepsphere_codec.training.order import PicturePlace, random_order


def motion_lmbda(quality: Float[Tensor, " batch"]) -> Float64[np.ndarray, " batch"]:
    """Compute the weight of the prediction's squared error of luma in the motion search, in bits.

    Args:
        quality: Quality of each sample, [batch].
    Returns:
        Weight for each sample, [batch].
    """
    return lmbda_of(quality).double().cpu().numpy() * (MOTION_SHARE * PLANE_WEIGHTS[0] * 255**2)


class StoredTrees:
    """Motion trees of all stored samples.

    Args:
        folder: Folder of the stored samples.
        inter: Codec that searches trees; each set of its options has a folder of its own.
        samples: Number of samples in a batch.
    """

    def __init__(self, folder: Path, inter: InterCodec, samples: int) -> None:
        self.inter = inter
        choices = f"{samples} {inter.config.blurs} {inter.config.layer_steps} {MOTION_SHARE}"
        self.folder = folder / f"trees-{zlib.crc32(choices.encode()):08x}"

    def of(self, batch: int) -> BatchTrees:
        """Return the trees of a batch, whose samples are always the same."""
        return BatchTrees(self.folder / f"{batch:06}.npz", self.inter, batch)


class BatchTrees:
    """Motion trees of the samples of one batch.

    The search uses original pictures as references. It is then a function of the samples alone, and the trees stay
    valid while the networks are trained.

    Args:
        file: File of the stored trees.
        inter: Codec that searches trees not in the file.
        seed: Seed of the coding order of the pictures.
    """

    def __init__(self, file: Path, inter: InterCodec, seed: int) -> None:
        self.file, self.inter, self.seed = file, inter, seed
        self._motion: dict[int, Motion] = {}
        self._new = False
        if file.exists():
            with np.load(file) as stored:
                for name in stored.files:
                    fields, level = np.split(stored[name], [6], axis=-1)
                    numbers = (torch.from_numpy(each).long() for each in (fields, level[..., 0]))
                    self._motion[int(name)] = Motion(*numbers)

    def order(self, frames: int) -> list[PicturePlace]:
        """Return the pictures after the I-frame in coding order, which is the same each time these samples are used."""
        return random_order(frames, torch.Generator().manual_seed(self.seed))

    def motion(
        self, x: Float[Tensor, "batch frames npix 3"], place: PicturePlace, quality: Float[Tensor, " batch"]
    ) -> Motion:
        """Return the trees of one picture of each sample, searching them if they are not stored.

        Args:
            x: Samples, [batch, frames, npix, 3].
            place: The picture and its references.
            quality: Requested quality of each film, [batch].
        Returns:
            The trees.
        """
        if place.number not in self._motion:
            asked = inter_quality(quality, self.inter.config, place.layer)
            first = _original(x[:, place.first])
            second = None if place.second is None else _original(x[:, place.second])
            references = References(first, second, place.distances)
            trees = self.inter.find_motion(x[:, place.number], references, motion_lmbda(asked))
            self._motion[place.number] = Motion.of(trees)
            self._new = True
        return Motion(*(each.to(x.device) for each in self._motion[place.number]))

    def keep(self) -> None:
        """Write the file if there are new trees."""
        if not self._new:
            return
        arrays = {
            str(number): torch.cat([motion.fields, motion.level[..., None]], -1).numpy().astype(np.int16)
            for number, motion in self._motion.items()
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_output(self.file, force=True) as new, open(new, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        self._new = False


def _original(x: Float[Tensor, "batch npix 3"]) -> State:
    """State of an original picture as a reference, without latents."""
    nothing = x.new_zeros(len(x), 0, 0)
    return State(x, nothing, LatentMemory(nothing, nothing))
