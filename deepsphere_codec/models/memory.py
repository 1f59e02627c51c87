"""Memory of decoded pictures that encoder and decoder share: picture, motion, and integers for the entropy coder."""

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
"""Time constant of the activity in pictures: each picture's latents have a weight of 1/4, the previous activity 3/4."""

QualityMap = Int8[np.ndarray, " blocks"]
"""Offset of the quality in each block of 64 x 64 nodes, in quarter steps (`quality_map.MAP_STEP`)."""


class LatentMemory(NamedTuple):
    """Memory of decoded latents, as input of the entropy coder's integer networks; all values are integers.

    Attributes:
        last: Latents of the picture times FINE, -127 … 127.
        activity: Magnitudes of the latents, an exponentially fading mean over the pictures it was predicted from, 0 …
            127.
    """

    last: Float[Tensor, "batch latent m"]
    activity: Float[Tensor, "batch latent m"]

    @classmethod
    def empty(cls, like: Float[Tensor, "batch latent m"], channels: int) -> LatentMemory:
        """Create a memory of zeros.

        Args:
            like: Tensor with the batch, the nodes and the device of the result, [batch, latent, m].
            channels: Number of channels.
        Returns:
            The memory.
        """
        zeros = torch.zeros(*like.shape[:2], channels, dtype=torch.float64, device=like.device)
        return cls(zeros, zeros)

    def after(self, fine: Float[Tensor, "batch latent m"]) -> LatentMemory:
        """Return the memory after one more picture with these latents (times FINE), [batch, latent, m].

        The result is exact, since quarters of integers are exact in floating point.
        """
        last = fine.double().clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        return LatentMemory(last, ((_FADE - 1) * self.activity + last.abs()).div(_FADE).floor())

    @property
    def both(self) -> Float[Tensor, "batch latent m2"]:
        """Both parts, concatenated along the channels, [batch, latent, 2 m]."""
        return torch.cat([self.last, self.activity], -1)


class State(NamedTuple):
    """Decoded picture, with everything that pictures predicted from it need.

    Attributes:
        x_hat: The picture, [batch, npix, 3].
        intra: Magnitudes of the I-frame's latents times FINE, integers 0 … 127, [batch, latent, i]; large where there
            is detail.
        residual: Memory of the latents of the pictures since.
        tree: Motion tree; None for an I-frame or a picture without motion.
        distances: Display number of each reference minus that of the picture.
        quality_map: Quality map of the picture; None where it is flat.
        check: CRC-32 of all latents, trees and maps that the picture depends on, on which encoder and decoder must
            agree.
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
        """Create the state after an I-frame.

        Args:
            x_hat: Decoded picture, [batch, npix, 3].
            fine: Decoded latents times FINE, integers, [batch, latent, i].
            residual: Memory of residual latents, empty.
        Returns:
            The state.
        """
        return cls(x_hat, fine.double().abs().clamp_max(ACTIVATION_LIMIT), residual)

    def sealed(self, check: int, *numbers: Tensor | np.ndarray) -> State:
        """Return the state with its checksum.

        Args:
            check: Checksum of everything that the picture depends on.
            *numbers: Integers of the picture itself (latents times FINE, tree, map).
        Returns:
            The state with its checksum.
        """
        for each in numbers:
            array = each.to("cpu", torch.int32).numpy() if isinstance(each, Tensor) else each
            check = zlib.crc32(array.astype("<i4", copy=False).tobytes(), check)
        return self._replace(check=check)

    def detach(self) -> State:
        """Return the state with its picture detached from the autograd graph."""
        return self._replace(x_hat=self.x_hat.detach())


class References(NamedTuple):
    """Decoded pictures that a picture is predicted from.

    Attributes:
        first: Nearer past reference.
        second: For a P-frame the anchor before the first reference, for a B-frame the future reference; None if there
            is none.
        distances: Display number of each reference minus that of the picture, in frames, negative in the past; 0
            without a second reference.
    """

    first: State
    second: State | None = None
    distances: tuple[int, int] = (-1, 0)

    @property
    def states(self) -> list[State]:
        """States of the one or two references."""
        return [self.first] if self.second is None else [self.first, self.second]

    @property
    def memory(self) -> Float[Tensor, "batch latent r"]:
        """Context of the entropy parameters, integers, [batch, latent, r].

        It has the latents of the first reference, the activity of both, and the magnitudes of the I-frame's latents.
        """
        return torch.cat([self.residual.both, self.first.intra], -1)

    @property
    def residual(self) -> LatentMemory:
        """Memory of both references, integers: the first one's latents and the mean activity."""
        last, activity = self.first.residual
        if self.second is not None:
            activity = ((activity + self.second.residual.activity) / 2).floor()
        return LatentMemory(last, activity)

    @property
    def check(self) -> int:
        """Checksum over the checksums of both references."""
        return zlib.crc32(struct.pack("<2I", self.first.check, self.second.check if self.second else 0))

    def after(
        self,
        x_hat: Tensor,
        fine: Float[Tensor, "batch latent m"],
        tree: MotionTree | None = None,
        quality_map: QualityMap | None = None,
    ) -> State:
        """Create the state of a picture predicted from these references.

        Args:
            x_hat: Decoded picture, [batch, npix, 3].
            fine: Decoded latents of the residual times FINE, integers, [batch, latent, m].
            tree: Motion tree; None without motion.
            quality_map: Quality map of the picture; None where it is flat.
        Returns:
            The state, without its checksum.
        """
        memory = self.residual.after(fine)
        return State(x_hat, self.first.intra, memory, tree, self.distances, quality_map)

    def repeated(self, second: bool = False) -> State:
        """Create the state of a picture that repeats the first reference, or the second if `second` is true."""
        source = self.second if second and self.second is not None else self.first
        nothing = torch.zeros_like(self.first.residual.last)
        state = self.after(source.x_hat, nothing, None, source.quality_map)
        return state._replace(check=self.check)
