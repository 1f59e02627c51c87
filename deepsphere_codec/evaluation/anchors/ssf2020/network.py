"""CompressAI's ScaleSpaceFlow with a unit for its flow, and in a form that half precision can train."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.entropy.planar import ScaleSpaceFlow

MULTIPLE = 128
"""Of which sides of a picture must be multiples."""


class FlowUnit(NamedTuple):
    """Columns and rows of the pictures that the network was trained on."""

    columns: int
    rows: int


class PlanarFlow(ScaleSpaceFlow):
    """`ScaleSpaceFlow` whose flow moves by as many pixels in a film as it did in the patches it was trained on.

    CompressAI's flow counts in halves of the picture: trained on patches 128 wide and run on films 1024 wide, the same
    latents move things eight times as far as they were trained to. A unit undoes that. In training, where pictures are
    as large as the unit, it changes nothing.

    Args:
        unit: None for CompressAI's own behaviour.
    """

    def __init__(self, unit: FlowUnit | None = None) -> None:
        super().__init__()
        self.unit = unit
        for hyperprior in (self.img_hyperprior, self.motion_hyperprior, self.res_hyperprior):
            # Rounding and likelihoods need single precision, whatever the transforms around them run in.
            hyperprior.forward = partial(_in_single_precision, type(hyperprior).forward, hyperprior)

    def forward_prediction(
        self, x_ref: Float[Tensor, "batch 3 height width"], motion_info: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """The reference in scale space, looked up where flow (in halves of the picture) and scale say."""
        if self.unit is not None:
            height, width = x_ref.shape[-2:]
            factors = motion_info.new_tensor([self.unit.columns / width, self.unit.rows / height, 1.0])
            motion_info = motion_info * factors.view(3, 1, 1)
        return super().forward_prediction(x_ref, motion_info)


def count_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _in_single_precision(forward: Callable[..., Any], module: nn.Module, y: Tensor) -> Any:
    with torch.autocast(y.device.type, enabled=False):
        return forward(module, y.float())
