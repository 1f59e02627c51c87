"""Building blocks of the transforms: convolutions chosen by name, and the residual block."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers.cheb import ChebConv
from deepsphere_codec.layers.directional import DirectionalConv
from deepsphere_codec.layers.gate import GatedChebConv
from deepsphere_codec.layers.hybrid import HybridConv
from deepsphere_codec.layers.operators import RescaledLaplacian
from deepsphere_codec.layers.padding import FacePadding, Padding
from deepsphere_codec.layers.separable import SeparableChebConv

KINDS = ("chebyshev", "directional", "hybrid", "gated", "separable")


class Resolution(NamedTuple):
    """Operators and size of one resolution, shared by its layers.

    Attributes:
        side: Nodes along a row of a face, a patch, or an ERP picture.
        laplacian: Rescaled Laplacian of the graph.
        padding: Padding of depth 1.
    """

    side: int
    laplacian: RescaledLaplacian
    padding: Padding


def sphere_conv(kind: str, in_channels: int, out_channels: int, at: Resolution, order: int = 3) -> nn.Module:
    """Create a convolution on the sphere by name.

    Every kind has a parameter `weight`; with a weight of zero its output is the bias.

    Args:
        kind: "chebyshev" (radial), "directional" (nine taps in the face frame), "hybrid" (Chebyshev and two first
            differences), "gated" (Chebyshev, of the signal times a gain that depends on the node's position) or
            "separable" (one Chebyshev filter per channel, then a channel mix).
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        at: Resolution of the signal.
        order: Taps of the Chebyshev filters.
    Returns:
        Module that maps [batch, npix, in_channels] to [batch, npix, out_channels].
    Raises:
        ValueError: kind is none of these.
    """
    if kind == "chebyshev":
        return ChebConv(in_channels, out_channels, order, at.laplacian)
    if kind == "directional":
        return DirectionalConv(in_channels, out_channels, at.padding)
    if kind == "hybrid":
        assert isinstance(at.padding, FacePadding)
        return HybridConv(in_channels, out_channels, order, at.laplacian, at.padding)
    if kind == "gated":
        return GatedChebConv(in_channels, out_channels, order, at.laplacian, at.side)
    if kind == "separable":
        return SeparableChebConv(in_channels, out_channels, order, at.laplacian)
    raise ValueError(f"convolution {kind!r} is unknown: expected one of {', '.join(KINDS)}")


class ResidualBlock(nn.Module):
    """Residual block `x + conv2(act(conv1(act(x))))`.

    The second convolution is initialised with zeros, so that the block starts as the identity.

    Args:
        channels: Channels of the signal.
        at: Resolution of the signal.
        kinds: Kinds of the two convolutions, as in `sphere_conv`.
        order: Taps of the Chebyshev filters.
    """

    def __init__(self, channels: int, at: Resolution, kinds: tuple[str, str], order: int = 3) -> None:
        super().__init__()
        self.conv1 = sphere_conv(kinds[0], channels, channels, at, order)
        self.conv2 = sphere_conv(kinds[1], channels, channels, at, order)
        nn.init.zeros_(self.conv2.weight)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "batch npix c"]) -> Float[Tensor, "batch npix c"]:
        """Apply the block to a signal, [batch, npix, channels]."""
        return x + self.conv2(F.leaky_relu(self.conv1(F.leaky_relu(x, 0.1)), 0.1))
