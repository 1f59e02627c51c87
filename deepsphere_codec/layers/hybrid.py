"""Hybrid convolution: a radial Chebyshev filter and two first differences, which are sensitive to direction."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers.cheb import chebyshev_terms, mix_channels
from deepsphere_codec.layers.operators import RescaledLaplacian
from deepsphere_codec.layers.padding import FacePadding


class HybridConv(nn.Module):
    """Chebyshev filter with central differences: `y = [T0 x | … | T(K-1) x | Dx x | Dy x] W + b`.

    T are the Chebyshev polynomials of the rescaled Laplacian (`ChebConv`), Dx and Dy central differences along x and y
    of the face frame, in nodes: `(Dx x)(x, y) = (x(x + 1, y) - x(x - 1, y)) / 2`, across the borders of faces as well.
    Neighbours across an edge always exist; the missing diagonal neighbours are not used. At the border of a patch the
    node itself replaces the missing neighbour, so the result is half a one-sided difference.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        order: Number of Chebyshev taps K ≥ 1; the differences add two more.
        laplacian: Rescaled Laplacian of the signal's resolution.
        padding: Padding of depth 1 at the same resolution.
        bias: Whether to add a learned bias b.
    Raises:
        ValueError: order < 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        order: int,
        laplacian: RescaledLaplacian,
        padding: FacePadding,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if order < 1:
            raise ValueError(f"order is {order}: a Chebyshev filter needs at least one tap")
        assert padding.depth == 1
        self.order, self.laplacian, self.padding = order, laplacian, padding
        taps = order + 2
        std = math.sqrt(2 / (in_channels * taps))
        self.weight = nn.Parameter(torch.randn(taps * in_channels, out_channels) * std)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Float[Tensor, "batch npix fin"]) -> Float[Tensor, "batch npix fout"]:
        """Filter a signal, [batch, npix, in_channels], to [batch, npix, out_channels]."""
        taps = self.weight.split(x.shape[2])
        y = mix_channels(x, taps[0], self.bias)
        for term, tap in zip(self._terms(x), taps[1:], strict=True):  # one by one and in place, as ChebConv does
            y = y.add_(mix_channels(term, tap))
        return y

    def _terms(self, x: Float[Tensor, "batch npix fin"]) -> Iterator[Float[Tensor, "batch npix fin"]]:
        """Generate the terms after T0 x = x: T1 x … T(K-1) x, Dx x and Dy x."""
        yield from chebyshev_terms(self.laplacian, x, self.order)
        # Channels last, as in memory, so that the gradients of the slices are channels-last, too.
        padded = self.padding(x).permute(0, 2, 3, 1)
        rows, columns = padded[:, 1:-1], padded[:, :, 1:-1]
        for ahead, behind in ((rows[:, :, 2:], rows[:, :, :-2]), (columns[:, 2:], columns[:, :-2])):
            yield (ahead - behind).mul_(0.5).view(x.shape)
