"""Memory of a decoded picture that encoder and decoder share: the picture, its motion, whole numbers for the coder."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int8
from torch import Tensor

from deepsphere_codec.entropy.exact import ACTIVATION_LIMIT
from deepsphere_codec.motion.tree import MotionTree

_FADE = 4
"""An activity keeps 3/4 of what it was and takes 1/4 of what is new: it looks back about four pictures."""

QualityMap = Int8[np.ndarray, " blocks"]
"""Quarter steps of quality, added to that of the picture, for each block of nside / 64."""


class LatentMemory(NamedTuple):
    """Latents decoded so far, as the entropy coder's networks of integers take them; whole numbers all.

    Attributes:
        last: Of the picture, times FINE, -127 … 127.
        activity: Magnitudes, fading over the pictures that it was predicted from, 0 … 127.
    """

    last: Float[Tensor, "batch latent m"]
    activity: Float[Tensor, "batch latent m"]

    @classmethod
    def empty(cls, like: Float[Tensor, "batch latent m"], channels: int) -> LatentMemory:
        """Nothing decoded yet, on the nodes and the device of `like`."""
        zeros = torch.zeros(*like.shape[:2], channels, dtype=torch.float64, device=like.device)
        return cls(zeros, zeros)

    def after(self, fine: Float[Tensor, "batch latent m"]) -> LatentMemory:
        """With the latents of one picture more (times FINE); exact, since a quarter of a whole number is."""
        last = fine.double().clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        return LatentMemory(last, ((_FADE - 1) * self.activity + last.abs()).div(_FADE).floor())

    @property
    def both(self) -> Float[Tensor, "batch latent m2"]:
        return torch.cat([self.last, self.activity], -1)


class State(NamedTuple):
    """A decoded picture, and what pictures that refer to it need to know.

    Attributes:
        x_hat: The picture.
        intra: Magnitudes of the I-frame's latents, whole numbers 0 … 127: where there is detail.
        residual: Latents of the pictures since.
        tree: Its motion, None of an I-frame or where nothing moves.
        distances: Display numbers of its references less its own.
        quality_map: Of the picture; None where it is flat.
        check: CRC-32 of all latents that it depends on: what encoder and decoder must agree on.
    """

    x_hat: Float[Tensor, "batch npix 3"]
    intra: Float[Tensor, "batch latent i"]
    residual: LatentMemory
    tree: MotionTree | None = None
    distances: tuple[int, int] = (0, 0)
    quality_map: QualityMap | None = None
    check: int = 0

    @classmethod
    def begin(cls, x_hat: Tensor, fine: Float[Tensor, "batch latent i"], residual: LatentMemory) -> State:
        """State of an I-frame with these latents (times FINE), and an empty memory."""
        return cls(x_hat, fine.double().abs().clamp_max(ACTIVATION_LIMIT), residual)

    def sealed(self, check: int, *numbers: Tensor | np.ndarray) -> State:
        """With a checksum over what it depends on, and over whole numbers of its own (latents times FINE, a tree)."""
        for each in numbers:
            array = each.to("cpu", torch.int32).numpy() if isinstance(each, Tensor) else each
            check = zlib.crc32(array.astype("<i4", copy=False).tobytes(), check)
        return self._replace(check=check)

    def detach(self) -> State:
        """Without the graph of gradients."""
        return self._replace(x_hat=self.x_hat.detach())


class References(NamedTuple):
    """The decoded pictures that a picture is predicted from.

    Attributes:
        first: The nearer past one.
        second: Of a P-frame the anchor before the first, if there is one; of a B-frame the future one.
        distances: Display number of each less that of the picture, in frames, negative in the past; 0 without a second.
    """

    first: State
    second: State | None = None
    distances: tuple[int, int] = (-1, 0)

    @property
    def states(self) -> list[State]:
        """The references that are there, one or two."""
        return [self.first] if self.second is None else [self.first, self.second]

    @property
    def memory(self) -> Float[Tensor, "batch latent r"]:
        """Context of the entropy parameters: latents of the first, activity of both, detail of the I-frame."""
        return torch.cat([self.residual.both, self.first.intra], -1)

    @property
    def residual(self) -> LatentMemory:
        """Memory of both; whole numbers."""
        last, activity = self.first.residual
        if self.second is not None:
            activity = ((activity + self.second.residual.activity) / 2).floor()
        return LatentMemory(last, activity)

    @property
    def check(self) -> int:
        """Checksum over the checks of both."""
        return zlib.crc32(struct.pack("<2I", self.first.check, self.second.check if self.second else 0))

    def after(
        self,
        x_hat: Tensor,
        fine: Float[Tensor, "batch latent m"],
        tree: MotionTree | None = None,
        quality_map: QualityMap | None = None,
    ) -> State:
        """The picture that was predicted from them, with these latents (times FINE)."""
        memory = self.residual.after(fine)
        return State(x_hat, self.first.intra, memory, tree, self.distances, quality_map)

    def repeated(self, second: bool = False) -> State:
        """The first reference, or the second, once more in place of a picture."""
        source = self.second if second and self.second is not None else self.first
        nothing = torch.zeros_like(self.first.residual.last)
        state = self.after(source.x_hat, nothing, None, source.quality_map)
        return state._replace(check=self.check)
