"""The spherical DVC codec: one network for I- and P-frames of one resolution."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.hyperprior import Hyperprior
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.inter import InterCodec
from deepsphere_codec.models.intra import IntraCodec, Picture
from deepsphere_codec.models.memory import References, State
from deepsphere_codec.models.payload import InterPayload
from deepsphere_codec.models.pyramid import Pyramid
from deepsphere_codec.models.quality import PLANE_WEIGHTS, inter_quality, intra_quality, lmbda_of


class Coded(NamedTuple):
    """A coded frame: its bytes, and what encoder and decoder know after it."""

    payload: bytes
    state: State


class SphereDVC(nn.Module):
    """Signals are Y, Cb, Cr as stored, divided by 255: [batch, npix, 3].

    Args:
        config: Sizes and choices.
        grid: The sphere at one nside (a multiple of 64), or the ERP picture of the planar twin; or a patch of one, for
            training.
    """

    def __init__(self, config: ModelConfig, grid: Grid) -> None:
        super().__init__()
        self.config = config
        self.pyramid = Pyramid(grid, config.neighbors)
        self.intra = IntraCodec(config, self.pyramid)
        self.inter = InterCodec(config, self.pyramid)

    @torch.no_grad()
    def encode_intra(self, x: Float[Tensor, "1 npix 3"], quality: float) -> Coded:
        """Code an I-frame."""
        writer = SymbolWriter()
        picture = self.intra.write(x, _tensor(intra_quality(quality, self.config), x), writer)
        return Coded(writer.finish(), self.inter.begin(*picture).sealed(picture.fine))

    @torch.no_grad()
    def decode_intra(self, payload: bytes, quality: float) -> State:
        """The I-frame of these bytes, and what is remembered of it."""
        asked = _tensor(intra_quality(quality, self.config), self.pyramid.frame(0))
        picture = self.intra.read(SymbolReader(payload), asked)
        return self.inter.begin(*_checked(picture)).sealed(picture.fine)

    @torch.no_grad()
    def encode_inter(self, x: Float[Tensor, "1 npix 3"], references: References, quality: float, layer: int) -> Coded:
        """Code a P- or B-frame.

        What does not pay by rate + lmbda · distortion is left out: the rotation, the motion, the frame as a whole.
        """
        state = references.first
        quality = inter_quality(quality, self.config, state.age)
        asked, lmbda = _tensor(quality, x), lmbda_of(quality) * 255**2 * x.shape[1]
        estimated = self.inter.estimate_rotation(x, state.x_hat)
        turn = estimated if estimated.any() else None
        still = state.x_hat if turn is None else self.inter.predict(None, state.x_hat, turn).x_warp

        writer = SymbolWriter()
        motion = self.inter.write_motion(x, state, turn, asked, writer)
        moved = writer.finish()
        pred = self.inter.predict(motion.y_hat, state.x_hat, turn)
        pays = lmbda * (self._error(x, still) - self._error(x, pred.x_warp)) > 8 * len(moved)
        if not pays:
            motion = self.inter.motion_latents.nothing(asked)
            pred = self.inter.predict(None, state.x_hat, turn)

        writer = SymbolWriter()
        x_hat, residual = self.inter.write_residual(x, state, pred, asked, writer)
        payload = InterPayload(turn, moved if pays else None, writer.finish()).pack()
        if lmbda * (self._error(x, state.x_hat) - self._error(x, x_hat)) <= 8 * len(payload):
            return Coded(InterPayload().pack(), state.unchanged())
        return Coded(payload, state.after(x_hat, motion.fine, residual.fine).sealed(motion.fine, residual.fine))

    @torch.no_grad()
    def decode_inter(self, payload: bytes, references: References, quality: float, layer: int) -> State:
        """The P- or B-frame of these bytes.

        Raises:
            DamagedStream: the bytes are none that `encode_inter` writes, or lead to numbers that no film has.
        """
        state = references.first
        asked = _tensor(inter_quality(quality, self.config, state.age), state.x_hat)
        parts = InterPayload.unpack(payload)
        if parts.residual is None:
            return state.unchanged()
        if parts.motion is None:
            motion = self.inter.motion_latents.nothing(asked)
            pred = self.inter.predict(None, state.x_hat, parts.turn)
        else:
            motion = self.inter.read_motion(SymbolReader(parts.motion), state, asked)
            pred = self.inter.predict(motion.y_hat, state.x_hat, parts.turn)
        x_hat, residual = self.inter.read_residual(SymbolReader(parts.residual), state, pred, asked)
        return _checked(state.after(x_hat, motion.fine, residual.fine).sealed(motion.fine, residual.fine))

    def _error(self, x: Tensor, x_hat: Tensor) -> float:
        """Squared error of the planes, weighted as in the loss, mean over nodes."""
        squares = (x - x_hat).square()
        if self.config.latitude_quality:
            squares = squares * self.pyramid.latitude(0).area
        planes = squares.mean((0, 1))
        return float(planes @ planes.new_tensor(PLANE_WEIGHTS))

    def build_tables(self) -> None:
        """Freeze all distributions into integer tables, after training."""
        for module in self.modules():
            if isinstance(module, Hyperprior):
                module.build_tables()


def _tensor(quality: float, like: Tensor) -> Float[Tensor, " one"]:
    return torch.tensor([float(quality)], device=like.device)


_Decoded = TypeVar("_Decoded", Picture, State)


def _checked(decoded: _Decoded) -> _Decoded:
    """Raise DamagedStream where the picture holds something that is no number."""
    if not decoded.x_hat.isfinite().all():
        raise DamagedStream("a frame decodes to numbers beyond all bounds")
    return decoded
