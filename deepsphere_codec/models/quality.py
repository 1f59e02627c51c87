"""Quality of pictures: trade-offs, and gains that let one set of weights serve the whole rate-distortion curve."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers import unpool
from deepsphere_codec.models.config import QUALITIES, ModelConfig
from deepsphere_codec.models.latitude import Latitude
from deepsphere_codec.models.pyramid import COARSEST_DEPTH, Pyramid

Quality = Float[Tensor, " batch"] | Float[Tensor, "batch blocks"]
"""Quality of each picture, or of each of its blocks of 64 x 64 nodes."""
RealQuality = TypeVar("RealQuality", float, Tensor)

PLANE_WEIGHTS = (6 / 8, 1 / 8, 1 / 8)
"""Weights of Y, Cb and Cr in the distortion, equal to those of the reported WS-PSNR-YUV."""

LAMBDAS = tuple(0.0008 * 2.0**q for q in range(QUALITIES))
"""Trade-off lmbda at quality 1 … 8: loss = bits per node + lmbda · 255² · squared error."""


def lmbda_of(quality: RealQuality) -> RealQuality:
    """Return the trade-off at a real-valued quality, interpolated geometrically."""
    return LAMBDAS[0] * 2.0 ** (quality - 1)


def intra_quality(quality: RealQuality, config: ModelConfig) -> RealQuality:
    """Compute the quality of I-frames.

    Args:
        quality: Requested quality of the film.
        config: Configuration of the model.
    Returns:
        Quality that I-frames are coded at.
    """
    return quality + config.intra_step


def inter_quality(quality: RealQuality, config: ModelConfig, layer: int) -> RealQuality:
    """Compute the quality of P- and B-frames of a layer.

    Args:
        quality: Requested quality of the film.
        config: Configuration of the model.
        layer: Layer of the picture in its group.
    Returns:
        Quality that the picture is coded at.
    """
    return quality + config.layer_steps[layer]


class QualityBank(nn.Module):
    """Learned positive gain per channel for each quality, interpolated geometrically in between.

    Args:
        channels: Channels of the signal that is multiplied.
        start: Initial gain at quality 1.
        growth: Initial ratio of the gains of one quality and the one below.
    Source: gain units of Cui et al., CVPR 2021.
    """

    def __init__(self, channels: int, start: float = 1.0, growth: float = 1.0) -> None:
        super().__init__()
        steps = torch.arange(QUALITIES, dtype=torch.float32)[:, None]
        self.log_gain = nn.Parameter(math.log(start) + math.log(growth) * steps.repeat(1, channels))

    def forward(self, quality: Quality) -> Float[Tensor, "batch blocks channels"]:
        """Compute gains, [batch, blocks, channels], or [batch, 1, channels] for qualities of whole pictures.

        Qualities are clamped to 1 … 8.
        """
        position = (quality.view(len(quality), -1) - 1).clamp(0, QUALITIES - 1)
        below = position.floor().clamp_max(QUALITIES - 2)
        mix = (position - below)[..., None]
        rows = below.long()
        return torch.lerp(self.log_gain[rows], self.log_gain[rows + 1], mix).exp()


def at_depth(blocks: Float[Tensor, "batch blocks c"], pyramid: Pyramid, depth: int) -> Float[Tensor, "batch n c"]:
    """Copy values of the blocks of 64 x 64 nodes to the nodes of a finer resolution.

    Args:
        blocks: Values, [batch, blocks, c], or [batch, 1, c] for one value per picture, which is returned unchanged.
        pyramid: Operators of the grid and its parents.
        depth: Depth of the finer resolution.
    Returns:
        Values, [batch, nodes, c], or [batch, 1, c].
    """
    if blocks.shape[1] > 1:
        for level in range(COARSEST_DEPTH, depth, -1):
            blocks = unpool(blocks, pyramid.side(level))
    return blocks


class LatitudeTilt(nn.Module):
    """Gain that decreases towards the poles of a plane, with one learned slope for all channels.

    A slope of 1 follows the pixels' solid angle: λ is proportional to cos(latitude), one quality less halves λ, and the
    bank's gains decrease by √2 per quality.

    Args:
        latitude: Latitude of the nodes that are scaled.
    """

    def __init__(self, latitude: Latitude) -> None:
        super().__init__()
        self.latitude = latitude
        self.slope = nn.Parameter(torch.ones(1))

    def forward(self, sign: int) -> Float[Tensor, "npix 1"]:
        """Compute gains for latents before coding (sign 1), or the inverse gains after decoding (-1), [npix, 1]."""
        return self.latitude.tilt(sign * self.slope)
