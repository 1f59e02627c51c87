"""Building blocks of the transforms: convolutions chosen by name, and the residual block."""

from __future__ import annotations

from collections.abc import Callable
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


Convolution = Callable[[int, int, Resolution, int], nn.Module]
"""Makes a layer from the channels before and after, the resolution, and the taps of Chebyshev filters."""
KINDS: dict[str, Convolution] = {}
"""Kinds of convolution by name, those of the package first; `register_convolution` adds to them."""


def register_convolution(name: str) -> Callable[[Convolution], Convolution]:
    """Register a kind of convolution, which `ModelConfig.kinds` and `stem` can name from then on.

    The layer maps [batch, npix, in_channels] to [batch, npix, out_channels], on the whole sphere and on patches of it.
    It has a parameter `weight`, [out_channels, in_channels, …], and gives its bias alone where that is zero. A process
    that decodes needs the kind as well: import the module that registers it before the model is loaded.

    Args:
        name: The kind's name in configurations and on models' cards.
    Returns:
        A decorator of a class or function that is called with in_channels, out_channels, the resolution and the order,
        by position; it gives back what it decorates.
    Raises:
        ValueError: the name is taken.
    """

    def register(make: Convolution) -> Convolution:
        if name in KINDS:
            raise ValueError(f"a convolution {name!r} is registered already: choose another name")
        KINDS[name] = make
        return make

    return register


@register_convolution("chebyshev")
def _chebyshev(in_channels: int, out_channels: int, at: Resolution, order: int) -> nn.Module:
    return ChebConv(in_channels, out_channels, order, at.laplacian)


@register_convolution("directional")
def _directional(in_channels: int, out_channels: int, at: Resolution, order: int) -> nn.Module:
    return DirectionalConv(in_channels, out_channels, at.padding)


@register_convolution("hybrid")
def _hybrid(in_channels: int, out_channels: int, at: Resolution, order: int) -> nn.Module:
    assert isinstance(at.padding, FacePadding)
    return HybridConv(in_channels, out_channels, order, at.laplacian, at.padding)


@register_convolution("gated")
def _gated(in_channels: int, out_channels: int, at: Resolution, order: int) -> nn.Module:
    return GatedChebConv(in_channels, out_channels, order, at.laplacian, at.side)


@register_convolution("separable")
def _separable(in_channels: int, out_channels: int, at: Resolution, order: int) -> nn.Module:
    return SeparableChebConv(in_channels, out_channels, order, at.laplacian)


def sphere_conv(kind: str, in_channels: int, out_channels: int, at: Resolution, order: int = 3) -> nn.Module:
    """Create a convolution on the sphere by name.

    Every kind has a parameter `weight`; with a weight of zero its output is the bias.

    Args:
        kind: "chebyshev" (radial), "directional" (nine taps in the face frame), "hybrid" (Chebyshev and two first
            differences), "gated" (Chebyshev, of the signal times a gain that depends on the node's position),
            "separable" (a Chebyshev filter a channel, then a channel mix), or a name that `register_convolution` added.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        at: Resolution of the signal.
        order: Taps of the Chebyshev filters.
    Returns:
        The layer, with random weights and a bias of zero.
    Raises:
        ValueError: kind is none of these.
    """
    if kind not in KINDS:
        raise ValueError(f"convolution {kind!r} is unknown: expected one of {', '.join(KINDS)}")
    return KINDS[kind](in_channels, out_channels, at, order)


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
