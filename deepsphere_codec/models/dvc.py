"""The spherical DVC codec: one network for I- and P-frames of one resolution."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.hyperprior import ScaleHyperprior
from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.models.config import QUALITIES, ModelConfig
from deepsphere_codec.models.inter import InterCodec
from deepsphere_codec.models.intra import IntraCodec
from deepsphere_codec.models.pyramid import Pyramid


class Coded(NamedTuple):
    """A coded frame: its bytes, and what the decoder will make of them."""

    payload: bytes
    x_hat: Float[Tensor, "1 npix 3"]


class SphereDVC(nn.Module):
    """Signals are Y, Cb, Cr as stored, divided by 255: [batch, npix, 3].

    Args:
        config: Sizes and choices.
        grid: The sphere at one nside (a multiple of 64), or a patch of it for training.
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
        x_hat = self.intra.write(x, self._intra_quality(x, quality), writer)
        return Coded(writer.finish(), x_hat)

    @torch.no_grad()
    def encode_inter(self, x: Float[Tensor, "1 npix 3"], x_ref: Float[Tensor, "1 npix 3"], quality: float) -> Coded:
        """Code a P-frame after the decoded frame before it."""
        writer = SymbolWriter()
        x_hat = self.inter.write(x, x_ref, self._quality(x, quality), writer)
        return Coded(writer.finish(), x_hat)

    @torch.no_grad()
    def decode_intra(self, payload: bytes, quality: float) -> Float[Tensor, "1 npix 3"]:
        """The I-frame of these bytes."""
        return self.intra.read(SymbolReader(payload), self._intra_quality(self.pyramid.frame(0), quality))

    @torch.no_grad()
    def decode_inter(
        self, payload: bytes, x_ref: Float[Tensor, "1 npix 3"], quality: float
    ) -> Float[Tensor, "1 npix 3"]:
        """The P-frame of these bytes."""
        return self.inter.read(SymbolReader(payload), x_ref, self._quality(x_ref, quality))

    def build_tables(self) -> None:
        """Freeze all distributions into integer tables, after training."""
        for module in self.modules():
            if isinstance(module, ScaleHyperprior):
                module.build_tables()

    def _intra_quality(self, like: Tensor, quality: float) -> Float[Tensor, " one"]:
        return self._quality(like, min(quality + self.config.intra_step, QUALITIES))

    @staticmethod
    def _quality(like: Tensor, quality: float) -> Float[Tensor, " one"]:
        return torch.tensor([float(quality)], device=like.device)
