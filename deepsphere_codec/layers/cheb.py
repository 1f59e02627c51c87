"""Chebyshev graph convolution: a polynomial of the Laplacian, radial on the sphere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers.operators import RescaledLaplacian

if TYPE_CHECKING:
    from deepsphere_codec.graph import SphereGraph


def mix_channels(
    x: Float[Tensor, "batch npix fin"], weight: Float[Tensor, "fin fout"], bias: Float[Tensor, " fout"] | None = None
) -> Float[Tensor, "batch npix fout"]:
    """`x W + b` at every node.

    On a CPU as a 1×1 convolution on a channels-last view (no copy): oneDNN's is about 2.5 times faster than the same
    product through `F.linear`. It is asked for by name, because `conv2d` takes another kernel, with other rounding,
    where there is only one thread, and a decoder's picture may not depend on the number of threads. Its gradient is
    slow, so training has the plain product.
    """
    batch, npix, fin = x.shape
    trained = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if trained or x.device.type != "cpu" or x.dtype != torch.float32 or not torch.backends.mkldnn.enabled:
        return F.linear(x, weight.t(), bias)
    image = x.contiguous().view(batch, npix, 1, fin).permute(0, 3, 1, 2)
    kernel = weight.t().contiguous()[:, :, None, None]
    y = torch.mkldnn_convolution(image, kernel, bias, [0, 0], [1, 1], [1, 1], 1)
    return y.permute(0, 2, 3, 1).reshape(batch, npix, -1)


def chebyshev_terms(
    laplacian: RescaledLaplacian, x: Float[Tensor, "batch npix fin"], order: int
) -> Iterator[Float[Tensor, "batch npix fin"]]:
    """T1 x … T(K-1) x, one after the other; a term is not to be changed."""
    before, last = x, x
    for k in range(1, order):
        term = laplacian(last) if k == 1 else laplacian(last).mul_(2).sub_(before)
        before, last = last, term
        yield term


class ChebConv(nn.Module):
    """Convolution with a Chebyshev polynomial of the rescaled Laplacian.

    `T0 = x, T1 = L̃ x, Tk = 2 L̃ T(k-1) - T(k-2)`, `y = [T0 | … | T(K-1)] W + b`. It sees K - 1 hops far in all
    directions alike: equivariant to the graph's symmetries, blind to orientation.

    Args:
        in_channels, out_channels: Channels of the signal before and after.
        order: Number of taps K ≥ 1; K = 1 mixes channels only.
        graph: A graph, or the operator of one (layers of one resolution share it).
        bias: Whether b is there.
        backend: Of the sparse product, see `RescaledLaplacian`; ignored where an operator is given.
    Raises:
        ValueError: order < 1.
    Source: Defferrard et al., NeurIPS 2016; DeepSphere, ICLR 2020.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        order: int,
        graph: SphereGraph | RescaledLaplacian,
        bias: bool = True,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if order < 1:
            raise ValueError(f"order is {order}: a Chebyshev filter needs at least one tap")
        self.order = order
        self.laplacian = graph if isinstance(graph, RescaledLaplacian) else RescaledLaplacian(graph, backend)
        std = math.sqrt(2 / (in_channels * order))
        self.weight = nn.Parameter(torch.randn(order * in_channels, out_channels) * std)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Float[Tensor, "batch npix fin"]) -> Float[Tensor, "batch npix fout"]:
        if self.order > 1 and 2 * self.weight.shape[1] <= x.shape[2]:
            return self._clenshaw(x)
        fin = x.shape[2]
        y = mix_channels(x, self.weight[:fin], self.bias)
        # In place, and tap by tap: side by side, [T0 | … | T(K-1)] would be a large block of fresh memory, whose
        # page faults took longer than the products (90 ms with it, 60 without; nside 64, 128 channels).
        for k, term in enumerate(chebyshev_terms(self.laplacian, x, self.order), 1):
            y = y.add_(mix_channels(term, self.weight[k * fin : (k + 1) * fin]))
        return y

    def _clenshaw(self, x: Tensor) -> Tensor:
        """The same sum with the channels mixed first: fewer of them pass the sparse product."""
        fin, fout = x.shape[2], self.weight.shape[1]
        mixer = self.weight.view(self.order, fin, fout).permute(1, 0, 2).reshape(fin, self.order * fout)
        z = mix_channels(x, mixer).split(fout, -1)
        last, before = z[-1], torch.zeros_like(z[-1])
        for k in range(self.order - 2, 0, -1):
            last, before = z[k] + 2 * self.laplacian(last) - before, last
        y = z[0] + self.laplacian(last) - before
        return y if self.bias is None else y + self.bias
