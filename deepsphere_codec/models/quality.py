"""One set of weights for the whole rate-distortion curve."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.models.config import QUALITIES, ModelConfig
from deepsphere_codec.models.latitude import Latitude

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


def inter_quality(quality: RealQuality, config: ModelConfig, age: int) -> RealQuality:
    """What the P-frame that follows `age` others is coded at."""
    return quality + config.inter_steps[age % len(config.inter_steps)]


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

    def forward(self, quality: Float[Tensor, " batch"]) -> Float[Tensor, "batch 1 channels"]:
        position = (quality - 1).clamp(0, QUALITIES - 1)
        below = position.floor().clamp_max(QUALITIES - 2)
        mix = (position - below)[:, None]
        rows = below.long()
        return torch.lerp(self.log_gain[rows], self.log_gain[rows + 1], mix).exp()[:, None]


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
