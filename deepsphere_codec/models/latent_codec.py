"""Codec for latents: quality bank, rounding and hyperprior."""

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
    """Decoded latents, for the synthesis and for the entropy coder of later frames.

    Attributes:
        y_hat: Latents, divided by the gain.
        fine: Coded values (latents times the gain, rounded) times FINE, integers.
    """

    y_hat: Float[Tensor, "batch latent m"]
    fine: Float[Tensor, "batch latent m"]


class LatentCodec(nn.Module):
    """Codec that scales y by the quality bank, rounds, codes, and scales back.

    Args:
        channels: Channels of y.
        memory_channels: Channels of the memory, the part of the context that depends on earlier frames and on the
            motion; 0 for none.
        config: Sizes and options.
        pyramid: Operators of the grid and its parents.
        start: Initial gain at quality 1. Initially, the gain grows by √2 per quality, since lmbda doubles.
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
        """Compute decoded latents with gradients, and their estimated rate, for training.

        Args:
            y: Latents, [batch, latent, channels].
            quality: Quality of each picture, [batch], or of its blocks, [batch, blocks].
            memory: Context known from earlier frames and the motion, 8-bit integers, [batch, latent, memory_channels];
                None for none.
            straight: Estimate the rate of the rounded latents, see `Hyperprior.forward`.
        Returns:
            Decoded latents, and the rate.
        """
        with torch.autocast(y.device.type, enabled=False):  # the networks' integers must not be rounded to bfloat16
            context = self.context(quality, memory, y.shape[1]).to(y.device, torch.float32)
            y_hat, rate = self.hyperprior(self._scaled(y.float(), quality), context, straight)
            return self._decoded(y_hat, quality), rate

    def estimate(self, y: Tensor, quality: Quality, memory: Tensor | None = None) -> tuple[Decoded, Rate]:
        """Compute the result of `write` with all nodes coded, and the bits of its symbols, without writing.

        Args:
            y: Latents, [1, latent, channels].
            quality: Quality of the picture, [1, 1], or of its blocks, [1, blocks].
            memory: Context known from earlier frames and the motion, 8-bit integers, [1, latent, memory_channels]; None
                for none.
        Returns:
            Decoded latents, and the rate.
        """
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
        """Code latents.

        Args:
            y: Latents, [1, latent, channels].
            quality: Quality of the picture, [1, 1], or of its blocks, [1, blocks].
            writer: Writer that receives the symbols.
            memory: Context known from earlier frames and the motion, 8-bit integers, [1, latent, memory_channels]; None
                for none.
            coded: Flags of the nodes of z below which y is coded, [coarse]; elsewhere y_hat is zero. None for all.
        Returns:
            Latents as the decoder will have them.
        """
        context = self._whole(quality, memory)
        return self._decoded(self.hyperprior.write(self._scaled(y, quality), writer, context, coded), quality)

    def read(
        self,
        reader: SymbolReader,
        quality: Quality,
        memory: Tensor | None = None,
        coded: Bool[Tensor, " coarse"] | None = None,
    ) -> Decoded:
        """Decode latents.

        Args:
            reader: Reader of the symbols.
            quality: Quality of the picture, [1, 1], or of its blocks, [1, blocks].
            memory: Context known from earlier frames and the motion, 8-bit integers, [1, latent, memory_channels]; None
                for none.
            coded: Flags of the nodes of z below which y is coded, [coarse]; None for all.
        Returns:
            Decoded latents.
        Raises:
            DamagedStream: the coder cannot have written these symbols.
        """
        context = self._whole(quality, memory)
        return self._decoded(self.hyperprior.read(reader, quality, context, coded), quality)

    def context(self, quality: Quality, memory: Tensor | None, npix: int) -> Float[Tensor, "batch latent r"]:
        """Assemble the context of the entropy parameters: memory, quality in eighths and, if configured, latitude.

        Args:
            quality: Quality of each picture, [batch], or of its blocks, [batch, blocks].
            memory: Context known from earlier frames and the motion, 8-bit integers, [batch, latent, memory_channels];
                None for none.
            npix: Number of nodes of the latents.
        Returns:
            Context, 8-bit integers in float64, [batch, latent, r].
        """
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
        """Return the decoded latents of pictures for which none are coded: zeros, [batch, latent, channels]."""
        zeros = quality.new_zeros(len(quality), len(self.hyperprior.anchors), self.hyperprior.channels)
        return Decoded(zeros, zeros)

    def _scaled(self, y: Tensor, quality: Quality) -> Tensor:
        gain = at_depth(self.gain(quality), self.pyramid, LATENT_DEPTH)
        return y * (gain if self.tilt is None else gain * self.tilt(1))

    def _decoded(self, y_hat: Tensor, quality: Quality) -> Decoded:
        gain = at_depth(self.inverse_gain(quality), self.pyramid, LATENT_DEPTH)
        return Decoded(y_hat * (gain if self.tilt is None else gain * self.tilt(-1)), (FINE * y_hat).detach())
