"""Rate and distortion of CompressAI's ScaleSpaceFlow on patches of ERP pictures, as our own models count them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.data.planar import PlanarSample
from deepsphere_codec.evaluation.anchors.ssf2020.colour import ColourSpace, from_rgb, to_rgb
from deepsphere_codec.evaluation.anchors.ssf2020.network import PlanarFlow
from deepsphere_codec.models.quality import PLANE_WEIGHTS, lmbda_of
from deepsphere_codec.runtime.quick import in_bfloat16

PREPARED = ColourSpace()  # prepared films are BT.709, limited range
MEAN_WEIGHT = 2 / math.pi  # of cos(latitude), over an ERP picture


class SsfLoss(NamedTuple):
    """Means over batch and frames.

    Attributes:
        total: What is minimised, with gradient.
        aux: What the quantiles of the entropy bottlenecks minimise, with gradient; it touches nothing else.
        mse_y: Squared error of luma, weighted by solid angle.
        bits: Estimated bits per pixel and frame.
        bits_motion: The motion's part of them.
    """

    total: Tensor
    aux: Tensor
    mse_y: float
    bits: float
    bits_motion: float


class SsfObjective(nn.Module):
    """What a step minimises: bits per pixel + lmbda · 255² · squared error, of Y, Cb, Cr as 6:1:1, by solid angle.

    The network sees RGB; the error is that of what WS-PSNR-YUV measures. All frames count alike, as in CompressAI.

    Args:
        network: Whose weights move.
        quality: Trade-off.
        precision: Of the transforms, as `Schedule.precision`.
    """

    def __init__(self, network: PlanarFlow, quality: float, precision: str) -> None:
        super().__init__()
        self.network, self.precision = network, precision
        self.lmbda = lmbda_of(quality) * 255**2

    def forward(self, sample: PlanarSample) -> SsfLoss:
        """Of a batch of samples: x [batch, frames, 3, rows, columns], weights [batch, rows]."""
        x = sample.x
        with torch.autocast(x.device.type, torch.bfloat16, enabled=in_bfloat16(self.precision, x.device.type)):
            out = self.network(list(to_rgb(x, PREPARED).unbind(1)))
        x_hat = from_rgb(torch.stack([frame.float() for frame in out["x_hat"]], 1), PREPARED)
        planes = weighted_error(x, x_hat, sample.weights)
        pixels = x.shape[0] * x.shape[1] * x.shape[-2] * x.shape[-1]
        bits = {part: sum(_bits(frame.get(part)) for frame in out["likelihoods"]) / pixels for part in PARTS}
        rate = torch.stack([torch.as_tensor(each) for each in bits.values()]).sum()
        aux = torch.stack(self.network.aux_loss()).sum()
        total = self.lmbda * (planes @ planes.new_tensor(PLANE_WEIGHTS)) + rate
        motion = float(torch.as_tensor(bits["motion"]).detach())
        return SsfLoss(total, aux, float(planes[0].detach()), float(rate.detach()), motion)


PARTS = ("keyframe", "motion", "residual")


def weighted_error(
    x: Float[Tensor, "batch frames 3 rows columns"],
    x_hat: Float[Tensor, "batch frames 3 rows columns"],
    weights: Float[Tensor, "batch rows"],
) -> Float[Tensor, " planes"]:
    """Squared error of each plane; a patch counts as much as it takes of the sphere, and patches anywhere count 1."""
    share = (weights / MEAN_WEIGHT)[:, None, None, :, None]
    return ((x - x_hat).square() * share).mean((0, 1, 3, 4))


def _bits(likelihoods: dict[str, Tensor] | None) -> Tensor | float:
    return sum(-p.float().log2().sum() for p in likelihoods.values()) if likelihoods else 0.0
