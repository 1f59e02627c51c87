"""Gated Chebyshev convolution: a radial filter of a signal that is modulated by position, so that it sees direction."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers.cheb import ChebConv
from deepsphere_codec.layers.operators import RescaledLaplacian


class GatedChebConv(nn.Module):
    """`y = h(L̃) (g x) + b`: a Chebyshev filter of the signal times a learned gain per channel and position.

    The gain of a node depends on which grandchild of its grandparent it is, so it repeats every four nodes along x and
    y of a face; it starts at one, where the layer is a `ChebConv`. Neighbours at the same distance then count
    differently. Four and not two: a pattern that alternates from node to node is its own mirror image about every node,
    and no radial filter of it, nor any stack of them, tells left from right.

    Args:
        in_channels, out_channels: Channels of the signal before and after.
        order: Number of taps K ≥ 1 of the filter.
        laplacian: Operator of the resolution.
        side: Nodes along a face (or along a patch, which begins at a multiple of the period).
        period: Nodes after which the gain repeats; 2 tells only which child of its parent a node is.
        bias: Whether b is there.
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
        self.gain = nn.Parameter(torch.zeros(period, period, in_channels))  # more than one; y outer and x inner
        self.filter = ChebConv(in_channels, out_channels, order, laplacian, bias)

    @property
    def weight(self) -> nn.Parameter:
        """Of the filter."""
        return self.filter.weight

    @property
    def bias(self) -> nn.Parameter | None:
        """Of the filter."""
        return self.filter.bias

    def forward(self, x: Float[Tensor, "batch npix fin"]) -> Float[Tensor, "batch npix fout"]:
        return self.filter(self.modulate(x))

    def modulate(self, x: Float[Tensor, "batch npix fin"]) -> Float[Tensor, "batch npix fin"]:
        """The signal times the gain."""
        # The gain of whole rows of nodes: its gradient takes half as long as that of a gain broadcast along them.
        gain = (1 + self.gain).to(x.dtype).repeat(1, self.side // self.period, 1).view(self.period, -1)
        return (x.reshape(-1, *gain.shape) * gain).view(x.shape)
