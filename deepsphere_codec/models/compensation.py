"""Prediction, DVC's way: the reference is warped, and a network mends what that leaves."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers.blocks import ResidualBlock, sphere_conv
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.pyramid import WORK_DEPTH, Pyramid
from deepsphere_codec.models.transforms import FOLDED, fold

_MID = 0.5


class Prediction(NamedTuple):
    """What is known of a frame before its residual.

    Attributes:
        x_warp: The reference, moved.
        folded: The prediction, around zero, folded to nside / 4.
    """

    x_warp: Float[Tensor, "batch npix 3"]
    folded: Float[Tensor, "batch work c"]


class Compensation(nn.Module):
    """Mends the warped reference where the reference was covered or blurred; starts as the identity."""

    extra: ClassVar[int] = 0
    """Channels that the motion's synthesis makes for it besides the field."""

    def __init__(self, config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        at, wide = pyramid.at[WORK_DEPTH], config.work_channels
        self.pyramid = pyramid
        self.layers = nn.Sequential(
            sphere_conv(config.stem, 2 * FOLDED, wide, at, config.cheb_order),
            ResidualBlock(wide, at, config.kinds, config.cheb_order),
            sphere_conv(config.stem, wide, FOLDED, at, config.cheb_order),
        )
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]

    def forward(
        self,
        x_ref: Float[Tensor, "batch npix 3"],
        v: Float[Tensor, "batch npix 3"],
        extra: Float[Tensor, "batch work e"],
    ) -> Prediction:
        """The reference seen where v (radians) points to."""
        x_warp = self.pyramid.warp(0)(x_ref, v)
        warped = fold(x_warp - _MID, self.pyramid)
        return Prediction(x_warp, warped + self.layers(torch.cat([warped, fold(x_ref - _MID, self.pyramid)], -1)))
