"""Prediction, SSF's way: the reference is looked up in direction and in scale."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.layers.scale_space import ScaleSpaceWarp
from deepsphere_codec.models.compensation import Prediction
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.fields import upsample_field
from deepsphere_codec.models.pyramid import LATENT_DEPTH, WORK_DEPTH, Pyramid
from deepsphere_codec.models.transforms import fold

_MID = 0.5


class ScaleSpace(nn.Module):
    """The reference, moved, and blurred where it is of no use; nothing more is learned than field and scale.

    Its channel of the motion is the scale: 0 is sharp, each whole number one level of `ScaleSpaceWarp`; what is below
    zero is sharp too. It starts at zero, hence as the identity.
    """

    extra: ClassVar[int] = 1
    """Channels that the motion's synthesis makes for it besides the field."""

    def __init__(self, config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.warp = ScaleSpaceWarp([pyramid.warp(depth) for depth in range(LATENT_DEPTH + 1)])

    def forward(
        self,
        x_ref: Float[Tensor, "batch npix 3"],
        v: Float[Tensor, "batch npix 3"],
        extra: Float[Tensor, "batch work 1"],
    ) -> Prediction:
        """The reference seen where v (radians) points to, as sharp as the scale says.

        Raises:
            DamagedStream: a scale is no number.
        """
        scale = upsample_field(extra.to(v.dtype), self.pyramid.padding(WORK_DEPTH), 1 << WORK_DEPTH)
        if not torch.is_grad_enabled() and not scale.isfinite().all():
            raise DamagedStream("a P-frame asks for a scale beyond all bounds")
        x_warp = self.warp(x_ref, v, _Between.apply(scale, self.warp.levels - 1))
        return Prediction(x_warp, fold(x_warp - _MID, self.pyramid))


class _Between(torch.autograd.Function):
    """Clamps to 0 … top; outside, the gradient that leads back inside passes, so that no node stays there for good.

    Source: the lower bound of Ballé et al., ICLR 2018.
    """

    @staticmethod
    def forward(ctx, x: Tensor, top: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.top = top
        return x.clamp(0, top)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad * (((x >= 0) | (grad < 0)) & ((x <= ctx.top) | (grad > 0))), None
