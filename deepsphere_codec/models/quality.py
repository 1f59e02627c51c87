"""One set of weights for the whole rate-distortion curve."""

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
"""One number a picture, or one for each block of nside / 64."""
RealQuality = TypeVar("RealQuality", float, Tensor)

PLANE_WEIGHTS = (6 / 8, 1 / 8, 1 / 8)
"""Of Y, Cb and Cr in the distortion, those of the YUV figure that is reported."""

LAMBDAS = tuple(0.0008 * 2.0**q for q in range(QUALITIES))
"""Trade-off at quality 1 … 8: loss = bits per node + lmbda · 255² · squared error."""


def lmbda_of(quality: RealQuality) -> RealQuality:
    """Trade-off at a real-valued quality, geometric in between."""
    return LAMBDAS[0] * 2.0 ** (quality - 1)


def intra_quality(quality: RealQuality, config: ModelConfig) -> RealQuality:
    """What an I-frame is coded at where the film is asked for at `quality`."""
    return quality + config.intra_step


def inter_quality(quality: RealQuality, config: ModelConfig, layer: int) -> RealQuality:
    """Quality of a picture of this layer of a group."""
    return quality + config.layer_steps[layer]


class QualityBank(nn.Module):
    """A learned positive factor per channel for each quality, interpolated geometrically in between.

    Args:
        channels: Of the signal it multiplies.
        start: Factor at quality 1 to begin with.
        growth: Ratio of the factors of one quality and the one before, to begin with.
    Source: gain units of Cui et al., CVPR 2021.
    """

    def __init__(self, channels: int, start: float = 1.0, growth: float = 1.0) -> None:
        super().__init__()
        steps = torch.arange(QUALITIES, dtype=torch.float32)[:, None]
        self.log_gain = nn.Parameter(math.log(start) + math.log(growth) * steps.repeat(1, channels))

    def forward(self, quality: Quality) -> Float[Tensor, "batch blocks channels"]:
        """Factors for qualities 1 to 8, beyond which they stay as they are; one block where a whole picture has one."""
        position = (quality.view(len(quality), -1) - 1).clamp(0, QUALITIES - 1)
        below = position.floor().clamp_max(QUALITIES - 2)
        mix = (position - below)[..., None]
        rows = below.long()
        return torch.lerp(self.log_gain[rows], self.log_gain[rows + 1], mix).exp()


def at_depth(blocks: Float[Tensor, "batch blocks c"], pyramid: Pyramid, depth: int) -> Float[Tensor, "batch n c"]:
    """Values of the blocks of nside / 64 at the nodes of a finer resolution; one value for all stays one."""
    if blocks.shape[1] > 1:
        for level in range(COARSEST_DEPTH, depth, -1):
            blocks = unpool(blocks, pyramid.side(level))
    return blocks


class LatitudeTilt(nn.Module):
    """A gain that falls towards the poles of a plane; its slope, one for all channels, is learned.

    A slope of one follows the pixels' solid angle: λ is proportional to cos(latitude), a quality less is half of λ, and
    the bank's gains fall by √2 a quality.

    Args:
        latitude: Of the nodes that are scaled.
    """

    def __init__(self, latitude: Latitude) -> None:
        super().__init__()
        self.latitude = latitude
        self.slope = nn.Parameter(torch.ones(1))

    def forward(self, sign: int) -> Float[Tensor, "npix 1"]:
        """Factors for latents before they are coded (sign 1), or the inverse after it (-1)."""
        return self.latitude.tilt(sign * self.slope)
