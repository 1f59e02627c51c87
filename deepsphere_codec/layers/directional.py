"""Directional convolution: nine taps in the face frame, one matrix each."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers.nine_taps import nine_taps
from deepsphere_codec.layers.padding import Grid, Padding, make_padding


class DirectionalConv(nn.Module):
    """Convolution with one matrix per direction: `y_i = b + W_0 x_i + Σ_k W_k x_{n_k(i)}` over a node's 8 neighbours.

    It runs as a dense 3×3 convolution over the padded faces: `weight[:, :, 1 + dy, 1 + dx]` is the tap of the
    neighbour at (x + dx, y + dy), so SW is dx = -1 and SE is dy = -1. A missing neighbour counts as zero. On an ERP
    picture it is an ordinary Conv2d with the padding of `ErpPadding`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        grid: The sphere or an ERP picture, or a patch of one; or its padding of depth 1, to be shared by layers.
        bias: Whether to add a learned bias b.
    Source: Mahmoudian Bidgoli et al., IEEE TIP 31, 2022, eq. (6).
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Grid | Padding, bias: bool = True) -> None:
        super().__init__()
        self.padding: Padding = grid if isinstance(grid, nn.Module) else make_padding(grid)
        assert self.padding.depth == 1
        std = math.sqrt(2 / (in_channels * 9))
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3) * std)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Float[Tensor, "batch npix fin"]) -> Float[Tensor, "batch npix fout"]:
        """Filter a signal, [batch, npix, in_channels], to [batch, npix, out_channels]."""
        return self.padding.flatten(nine_taps(self.padding(x), self.weight, self.bias))
