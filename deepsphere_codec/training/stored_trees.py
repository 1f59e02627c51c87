"""Trees of motion of training samples, found once and kept beside the samples: training then runs no search."""

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
    """Bits that a unit of luma's squared error in the prediction is worth, of each sample."""
    return lmbda_of(quality).double().cpu().numpy() * (MOTION_SHARE * PLANE_WEIGHTS[0] * 255**2)


class StoredTrees:
    """Trees of all samples that are kept.

    Args:
        folder: Where the samples are kept.
        inter: The codec that finds trees; they are kept in a folder for its choices.
        samples: Number of samples in a batch.
    """

    def __init__(self, folder: Path, inter: InterCodec, samples: int) -> None:
        self.inter = inter
        choices = f"{samples} {inter.config.blurs} {inter.config.layer_steps} {MOTION_SHARE}"
        self.folder = folder / f"trees-{zlib.crc32(choices.encode()):08x}"

    def of(self, batch: int) -> BatchTrees:
        """Trees of the samples of a batch, which always come together."""
        return BatchTrees(self.folder / f"{batch:06}.npz", self.inter, batch)


class BatchTrees:
    """Trees of the samples of one batch.

    Trees lead from an original picture to original pictures. The search is then a function of the samples alone: trees
    stay as they are while the networks learn.

    Args:
        file: Where they are kept.
        inter: Finds those that are not there.
        seed: Of the order in which the pictures are coded.
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
        """All pictures behind the I-frame in coding order, the same whenever these samples come."""
        return random_order(frames, torch.Generator().manual_seed(self.seed))

    def motion(
        self, x: Float[Tensor, "batch frames npix 3"], place: PicturePlace, quality: Float[Tensor, " batch"]
    ) -> Motion:
        """Trees of one picture of each sample.

        Args:
            x: The samples.
            quality: Asked of the film.
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
        """Write the file, if there is anything new."""
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
    """A picture as a reference that has no latents."""
    nothing = x.new_zeros(len(x), 0, 0)
    return State(x, nothing, LatentMemory(nothing, nothing))
