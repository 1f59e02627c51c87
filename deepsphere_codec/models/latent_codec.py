"""Latents with their quality bank and hyperprior: the part that turns a picture's content into symbols."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int8
from torch import Tensor, nn

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.exact import ACTIVATION_LIMIT
from deepsphere_codec.entropy.hyperprior import FINE, Hyperprior, Rate
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.pyramid import COARSEST_DEPTH, LATENT_DEPTH, Pyramid
from deepsphere_codec.models.quality import LatitudeTilt, Quality, QualityBank, at_depth


class Decoded(NamedTuple):
    """Latents as the synthesis takes them, and as the entropy coder of the frame after remembers them.

    Attributes:
        y_hat: Scaled back.
        fine: Whole numbers, FINE times what was coded.
    """

    y_hat: Float[Tensor, "batch latent m"]
    fine: Float[Tensor, "batch latent m"]


class LatentCodec(nn.Module):
    """Scales y by the bank of the quality, rounds, codes, and scales back.

    Args:
        channels: Of y.
        memory_channels: Channels of what else is known, of frames before and of the motion; 0 for none.
        start: Gain at quality 1 to begin with; a step in quality doubles lmbda, so the gain grows by √2.
    """

    def __init__(
        self, channels: int, memory_channels: int, config: ModelConfig, pyramid: Pyramid, start: float = 2.0
    ) -> None:
        super().__init__()
        at = pyramid.at
        self.pyramid = pyramid
        self.gain = QualityBank(channels, start, 2**0.5)
        self.inverse_gain = QualityBank(channels, 1 / start, 2**-0.5)
        self.latitude = pyramid.latitude(LATENT_DEPTH) if config.positional else None
        self.hyperprior = Hyperprior(
            channels,
            config.hyper_channels,
            config.hyper_hidden,
            memory_channels + (1 if self.latitude is None else 2),
            at[LATENT_DEPTH],
            at[LATENT_DEPTH + 1],
            at[COARSEST_DEPTH],
            lead_steps=config.lead_steps,
        )
        self.tilt = LatitudeTilt(pyramid.latitude(LATENT_DEPTH)) if config.latitude_quality else None

    def forward(
        self, y: Float[Tensor, "batch latent m"], quality: Quality, memory: Tensor | None = None, straight: bool = False
    ) -> tuple[Decoded, Rate]:
        """Training: what is decoded, with gradients, and the estimated rate."""
        with torch.autocast(y.device.type, enabled=False):  # whole numbers need all their digits
            context = self.context(quality, memory, y.shape[1]).to(y.device, torch.float32)
            y_hat, rate = self.hyperprior(self._scaled(y.float(), quality), context, straight)
            return self._decoded(y_hat, quality), rate

    def estimate(self, y: Tensor, quality: Quality, memory: Tensor | None = None) -> tuple[Decoded, Rate]:
        """Return what `write` would, and the bits of its symbols."""
        y_hat, rate = self.hyperprior.estimate(self._scaled(y, quality), self._whole(quality, memory))
        return self._decoded(y_hat, quality), rate

    def write(
        self,
        y: Tensor,
        quality: Quality,
        writer: SymbolWriter,
        memory: Tensor | None = None,
        coded: Bool[Tensor, " coarse"] | None = None,
    ) -> Decoded:
        """Code y where it is to be coded; what the decoder will have."""
        context = self._whole(quality, memory)
        return self._decoded(self.hyperprior.write(self._scaled(y, quality), writer, context, coded), quality)

    def read(
        self,
        reader: SymbolReader,
        quality: Quality,
        memory: Tensor | None = None,
        coded: Bool[Tensor, " coarse"] | None = None,
    ) -> Decoded:
        """Decode."""
        context = self._whole(quality, memory)
        return self._decoded(self.hyperprior.read(reader, quality, context, coded), quality)

    def context(self, quality: Quality, memory: Tensor | None, npix: int) -> Float[Tensor, "batch latent r"]:
        """Whole numbers for the entropy parameters: memory, quality in eighths and, where asked for, latitude."""
        told = (8 * quality.detach().double()).round().clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        blocks = told.view(len(quality), -1)[..., None]
        parts = [] if memory is None else [memory.to(told)]
        parts.append(at_depth(blocks, self.pyramid, LATENT_DEPTH).expand(-1, npix, -1))
        if self.latitude is not None:
            parts.append(self.latitude.level.to(told).expand(len(quality), -1, -1))
        return torch.cat(parts, -1)

    def _whole(self, quality: Quality, memory: Tensor | None) -> Int8[Tensor, "1 latent r"]:
        return self.context(quality, memory, len(self.hyperprior.anchors)).to(torch.int8)

    def nothing(self, quality: Quality) -> Decoded:
        """Where no latents are coded: all of them zero."""
        zeros = quality.new_zeros(len(quality), len(self.hyperprior.anchors), self.hyperprior.channels)
        return Decoded(zeros, zeros)

    def _scaled(self, y: Tensor, quality: Quality) -> Tensor:
        gain = at_depth(self.gain(quality), self.pyramid, LATENT_DEPTH)
        return y * (gain if self.tilt is None else gain * self.tilt(1))

    def _decoded(self, y_hat: Tensor, quality: Quality) -> Decoded:
        gain = at_depth(self.inverse_gain(quality), self.pyramid, LATENT_DEPTH)
        return Decoded(y_hat * (gain if self.tilt is None else gain * self.tilt(-1)), (FINE * y_hat).detach())
