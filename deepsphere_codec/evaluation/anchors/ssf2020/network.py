"""CompressAI's ScaleSpaceFlow with a unit for its flow, and in a form that half precision can train."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.entropy.planar import ScaleSpaceFlow
from deepsphere_codec.models.macs import Complexity, Counter, macs_of

MULTIPLE = 128
"""Sides of a picture must be multiples of it."""
ENCODERS = ("img_encoder", "motion_encoder", "res_encoder", "hyper_encoder")
"""Parts of the network that a decoder does not run."""


class PlanarFlow(ScaleSpaceFlow):
    """`ScaleSpaceFlow` whose flow moves by as many pixels in a film as it did in the patches it was trained on.

    CompressAI's flow counts in halves of the picture: trained on patches 128 wide and run on films 1024 wide, the same
    latents move things eight times as far as they were trained to. A unit undoes that. In training, where pictures are
    as large as the unit, it changes nothing.

    Args:
        unit: Columns and rows of the pictures that it was trained on; None for CompressAI's own behaviour.
    """

    def __init__(self, unit: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.unit = unit
        for hyperprior in (self.img_hyperprior, self.motion_hyperprior, self.res_hyperprior):
            # Rounding and likelihoods need single precision, whatever the transforms around them run in.
            hyperprior.forward = partial(_in_single_precision, type(hyperprior).forward, hyperprior)

    def forward_prediction(
        self, x_ref: Float[Tensor, "batch 3 height width"], motion_info: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Look the reference up in scale space, where flow (in halves of the unit) and scale point to."""
        if self.unit is not None:
            (columns, rows), (height, width) = self.unit, x_ref.shape[-2:]
            factors = motion_info.new_tensor([columns / width, rows / height, 1.0])
            motion_info = motion_info * factors.view(3, 1, 1)
        return super().forward_prediction(x_ref, motion_info)


def _in_single_precision(forward: Callable[..., Any], module: nn.Module, y: Tensor) -> Any:
    with torch.autocast(y.device.type, enabled=False):
        return forward(module, y.float())


@torch.no_grad()
def complexity() -> Complexity:
    """Count what the network computes to a pixel of a picture that needs no padding; weights do not matter."""
    with torch.random.fork_rng(devices=[]):
        network, x = PlanarFlow().eval(), torch.rand(1, 3, MULTIPLE, MULTIPLE)
        with Counter(network) as intra:
            x_ref, _ = network.forward_keyframe(x)
        with Counter(network) as inter:
            network.forward_inter(x, x_ref)
    return Complexity(sum(p.numel() for p in network.parameters()), macs_of(intra, inter, MULTIPLE**2, ENCODERS))
