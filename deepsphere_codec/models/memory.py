"""What encoder and decoder both remember from frame to frame: a picture, and whole numbers for the entropy coder."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from deepsphere_codec.entropy.exact import ACTIVATION_LIMIT

_FADE = 4
"""An activity keeps 3/4 of what it was and takes 1/4 of what is new: it looks back about four frames."""


class LatentMemory(NamedTuple):
    """Latents decoded so far, as the entropy coder's networks of integers take them; whole numbers all.

    Attributes:
        last: Of the frame before, times FINE, -255 … 255.
        activity: Their magnitudes, fading over the frames, 0 … 255.
    """

    last: Float[Tensor, "batch latent m"]
    activity: Float[Tensor, "batch latent m"]

    @classmethod
    def empty(cls, like: Float[Tensor, "batch latent m"], channels: int) -> LatentMemory:
        """Nothing decoded yet, on the nodes and the device of `like`."""
        zeros = torch.zeros(*like.shape[:2], channels, dtype=torch.float64, device=like.device)
        return cls(zeros, zeros)

    def after(self, fine: Float[Tensor, "batch latent m"]) -> LatentMemory:
        """With the latents of one frame more (times FINE); exact, since a quarter of a whole number is."""
        last = fine.double().clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        return LatentMemory(last, ((_FADE - 1) * self.activity + last.abs()).div(_FADE).floor())

    @property
    def both(self) -> Float[Tensor, "batch latent m2"]:
        return torch.cat([self.last, self.activity], -1)


class State(NamedTuple):
    """A decoded picture, and what is remembered of it.

    Attributes:
        x_hat: The last decoded frame.
        intra: Magnitudes of the I-frame's latents, whole numbers 0 … 255: where there is detail.
        motion, residual: Of the P-frames since.
        age: How many these are.
        check: CRC-32 of all latents decoded since the I-frame began: what encoder and decoder must agree on.
    """

    x_hat: Float[Tensor, "batch npix 3"]
    intra: Float[Tensor, "batch latent i"]
    motion: LatentMemory
    residual: LatentMemory
    age: int = 0
    check: int = 0

    @classmethod
    def begin(
        cls, x_hat: Tensor, fine: Float[Tensor, "batch latent i"], motion: LatentMemory, residual: LatentMemory
    ) -> State:
        """After an I-frame with these latents (times FINE), and empty memories."""
        return cls(x_hat, fine.double().abs().clamp_max(ACTIVATION_LIMIT), motion, residual)

    def after(self, x_hat: Tensor, motion: Tensor, residual: Tensor) -> State:
        """After one P-frame more, with these latents (times FINE)."""
        memories = self.motion.after(motion), self.residual.after(residual)
        return State(x_hat, self.intra, *memories, self.age + 1, self.check)

    def unchanged(self) -> State:
        """After a P-frame that repeats the one before it."""
        nothing = (memory.last.new_zeros(()).expand_as(memory.last) for memory in (self.motion, self.residual))
        return self.after(self.x_hat, *nothing)

    def sealed(self, *latents: Float[Tensor, "batch latent m"]) -> State:
        """With the latents of this frame (times FINE, whole numbers) in its checksum."""
        check = self.check
        for each in latents:
            numbers = each.to("cpu", torch.int32).numpy().astype("<i4", copy=False)
            check = zlib.crc32(numbers.tobytes(), check)
        return self._replace(check=check)

    @property
    def for_residual(self) -> Float[Tensor, "batch latent r"]:
        """What the residual's entropy parameters see."""
        return torch.cat([self.residual.both, self.intra], -1)

    def detach(self) -> State:
        """Without the graph of gradients."""
        return self._replace(x_hat=self.x_hat.detach())


class References(NamedTuple):
    """The decoded pictures that a P- or B-frame refers to.

    Attributes:
        first: The nearer one in the past.
        second: Of a P-frame, the anchor before `first` in its GOP, if there is one; of a B-frame, the later picture.
        distances: Frames from the frame to each of them, negative in the past; 0 where there is no second.
    """

    first: State
    second: State | None = None
    distances: tuple[int, int] = (-1, 0)
