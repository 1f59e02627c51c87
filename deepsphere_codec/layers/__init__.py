"""Layers of the networks; each maps signals [batch, npix, channels] to signals [batch, npix, channels]."""

from deepsphere_codec.layers.cheb import ChebConv, mix_channels
from deepsphere_codec.layers.directional import DirectionalConv
from deepsphere_codec.layers.gate import GatedChebConv
from deepsphere_codec.layers.hybrid import HybridConv
from deepsphere_codec.layers.norm import GDN
from deepsphere_codec.layers.operators import RescaledLaplacian
from deepsphere_codec.layers.padding import ErpPadding, FacePadding
from deepsphere_codec.layers.pool import fold_children, mean_pool, unfold_children, unpool
from deepsphere_codec.layers.separable import SeparableChebConv
from deepsphere_codec.layers.warp import Warp, warp

__all__ = [
    "GDN",
    "ChebConv",
    "DirectionalConv",
    "ErpPadding",
    "FacePadding",
    "GatedChebConv",
    "HybridConv",
    "RescaledLaplacian",
    "SeparableChebConv",
    "Warp",
    "fold_children",
    "mean_pool",
    "mix_channels",
    "unfold_children",
    "unpool",
    "warp",
]
