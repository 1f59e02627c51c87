"""CompressAI's ScaleSpaceFlow with a unit for its flow, adapted to training in half precision."""

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
"""Divisor of a picture's height and width that the network requires."""
ENCODERS = ("img_encoder", "motion_encoder", "res_encoder", "hyper_encoder")
"""Names of the network's parts that a decoder does not run."""


class PlanarFlow(ScaleSpaceFlow):
    """`ScaleSpaceFlow` whose flow has a fixed unit in pixels, so that it is the same in films and in training patches.

    CompressAI's flow counts in halves of the picture: if a network is trained on patches 128 wide and applied to films
    1024 wide, the same latents move objects eight times as far as in training. The unit removes this dependence. In
    training, where pictures are as large as the unit, it has no effect.

    Args:
        unit: Columns and rows of the training pictures; None for CompressAI's own behaviour.
    """

    def __init__(self, unit: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.unit = unit
        for hyperprior in (self.img_hyperprior, self.motion_hyperprior, self.res_hyperprior):
            # Rounding and likelihoods need single precision, independent of the transforms' precision.
            hyperprior.forward = partial(_in_single_precision, type(hyperprior).forward, hyperprior)

    def forward_prediction(
        self, x_ref: Float[Tensor, "batch 3 height width"], motion_info: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Sample the reference in scale space at the positions given by flow (in halves of the unit) and scale.

        Args:
            x_ref: Reference, [batch, 3, height, width], RGB.
            motion_info: Horizontal flow, vertical flow and scale, [batch, 3, height, width].
        Returns:
            Prediction, [batch, 3, height, width].
        """
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
    """Count the computation per pixel of a picture that needs no padding; it does not depend on the weights."""
    with torch.random.fork_rng(devices=[]):
        network, x = PlanarFlow().eval(), torch.rand(1, 3, MULTIPLE, MULTIPLE)
        with Counter(network) as intra:
            x_ref, _ = network.forward_keyframe(x)
        with Counter(network) as inter:
            network.forward_inter(x, x_ref)
    return Complexity(sum(p.numel() for p in network.parameters()), macs_of(intra, inter, MULTIPLE**2, ENCODERS))
