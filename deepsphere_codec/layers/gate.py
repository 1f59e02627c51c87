"""Gated Chebyshev convolution: a radial filter that senses direction, since its input is modulated by position."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers.cheb import ChebConv
from deepsphere_codec.layers.operators import RescaledLaplacian


class GatedChebConv(nn.Module):
    """Chebyshev filter of a modulated signal: `y = h(L̃) (g x) + b` with a learned gain g per channel and position.

    The gain repeats every four nodes along x and y of a face (it depends on which grandchild of its grandparent a node
    is) and is initialised with one, where the layer equals a `ChebConv`. Neighbours at the same distance then have
    different gains. The period is four, not two, because a pattern that alternates from node to node is its own mirror
    image about every node, so that no stack of radial filters could distinguish left from right.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        order: Number of taps K ≥ 1 of the filter.
        laplacian: Rescaled Laplacian of the signal's resolution.
        side: Nodes along a face (or along a patch, which must begin at a multiple of the period).
        period: Nodes after which the gain repeats.
        bias: Whether to add a learned bias b.
    Raises:
        ValueError: order < 1, or side is not a multiple of the period.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        order: int,
        laplacian: RescaledLaplacian,
        side: int,
        period: int = 4,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if period < 1 or side % period:
            raise ValueError(f"side is {side}: a gain that repeats every {period} nodes needs a multiple of {period}")
        self.side, self.period = side, period
        self.gain = nn.Parameter(torch.zeros(period, period, in_channels))  # minus one; [y, x, channel]
        self.filter = ChebConv(in_channels, out_channels, order, laplacian, bias)

    @property
    def weight(self) -> nn.Parameter:
        """Weight of the filter, [order * in_channels, out_channels]."""
        return self.filter.weight

    @property
    def bias(self) -> nn.Parameter | None:
        """Bias of the filter, [out_channels], or None."""
        return self.filter.bias

    def forward(self, x: Float[Tensor, "batch npix fin"]) -> Float[Tensor, "batch npix fout"]:
        """Filter a signal, [batch, npix, in_channels], to [batch, npix, out_channels]."""
        return self.filter(self.modulate(x))

    def modulate(self, x: Float[Tensor, "batch npix fin"]) -> Float[Tensor, "batch npix fin"]:
        """Multiply a signal, [batch, npix, in_channels], by the gain of each node."""
        # Tiled to whole rows of nodes: its gradient takes half as long as that of a gain broadcast along them.
        gain = (1 + self.gain).to(x.dtype).repeat(1, self.side // self.period, 1).view(self.period, -1)
        return (x.reshape(-1, *gain.shape) * gain).view(x.shape)
