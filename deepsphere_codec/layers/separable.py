"""Separable Chebyshev convolution: one polynomial of the Laplacian per channel, then a channel mix."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers.cheb import chebyshev_terms, mix_channels
from deepsphere_codec.layers.operators import RescaledLaplacian


class SeparableChebConv(nn.Module):
    """Depthwise-separable Chebyshev filter: `y = (Σ_k θ_k ∘ T_k x) W + b`.

    Each channel has its own K coefficients, and one matrix mixes the channels. This saves K - 1 of the K channel mixes
    of a `ChebConv`, as depthwise convolutions do on the plane. The filter is initialised near the identity, with taps
    that differ from channel to channel.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        order: Number of taps K ≥ 1.
        laplacian: Rescaled Laplacian of the signal's resolution.
        bias: Whether to add a learned bias b.
    Raises:
        ValueError: order < 1.
    Source: depthwise separable convolution, as in Defferrard et al.'s polynomial per channel; Chollet, CVPR 2017.
    """

    def __init__(
        self, in_channels: int, out_channels: int, order: int, laplacian: RescaledLaplacian, bias: bool = True
    ) -> None:
        super().__init__()
        if order < 1:
            raise ValueError(f"order is {order}: a Chebyshev filter needs at least one tap")
        self.order, self.laplacian = order, laplacian
        self.taps = nn.Parameter(torch.cat([torch.ones(1, in_channels), 0.5 * torch.randn(order - 1, in_channels)]))
        self.weight = nn.Parameter(torch.randn(in_channels, out_channels) * math.sqrt(2 / in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Float[Tensor, "batch npix fin"]) -> Float[Tensor, "batch npix fout"]:
        """Filter a signal, [batch, npix, in_channels], to [batch, npix, out_channels]."""
        taps = self.taps.to(x.dtype)
        filtered = x * taps[0]
        for k, term in enumerate(chebyshev_terms(self.laplacian, x, self.order), 1):
            filtered = torch.addcmul(filtered, term, taps[k])
        return mix_channels(filtered, self.weight, self.bias)
