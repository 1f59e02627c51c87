"""Generalised divisive normalisation over the channels of each node."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers.cheb import mix_channels

_PEDESTAL = 2.0**-18


class GDN(nn.Module):
    """Generalised divisive normalisation: `y_i = x_i / sqrt(beta_i + Σ_j gamma_ij x_j²)`.

    beta ≥ 1e-6 and gamma ≥ 0 are enforced by squaring, with a pedestal that avoids a vanishing gradient at zero.

    Args:
        channels: Channels of the signal.
        inverse: Multiply by the square root instead of dividing.
    Source: Ballé, Laparra, Simoncelli, ICLR 2016.
    """

    def __init__(self, channels: int, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.sqrt(torch.ones(channels) + _PEDESTAL**2))
        self.gamma = nn.Parameter(torch.sqrt(0.1 * torch.eye(channels) + _PEDESTAL**2))

    def forward(self, x: Float[Tensor, "batch npix c"]) -> Float[Tensor, "batch npix c"]:
        """Normalise a signal, [batch, npix, channels]."""
        beta = (self.beta.square() - _PEDESTAL**2).clamp_min(1e-6)
        gamma = (self.gamma.square() - _PEDESTAL**2).clamp_min(0)
        norm = mix_channels(x.square(), gamma.t(), beta)
        return x * (norm.sqrt() if self.inverse else norm.rsqrt())
