"""Register a convolution of one's own, and code a frame with a model that is made of it.

    python examples/own_convolution.py

A configuration file names it likewise, `model.kinds = ["rings", "rings"]`, in a process that has imported this module.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from deepsphere_codec.layers.blocks import Resolution, register_convolution
from deepsphere_codec.layers.nine_taps import nine_taps
from deepsphere_codec.models import ModelConfig
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.sphere import HealpixGrid

RINGS = torch.tensor([[2, 1, 2], [1, 0, 1], [2, 1, 2]])  # the node, neighbours over an edge, neighbours over a corner


@register_convolution("rings")
class RingConv(nn.Module):
    """Sum the node, its four nearest and its four farther neighbours, each group with a matrix of its own."""

    def __init__(self, in_channels: int, out_channels: int, at: Resolution, order: int) -> None:
        super().__init__()
        self.padding = at.padding  # a halo around each of the sphere's twelve faces
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3) * math.sqrt(2 / (9 * in_channels)))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Filter a signal, [batch, npix, in_channels]."""
        return self.padding.flatten(nine_taps(self.padding(x), self.weight[:, :, RINGS], self.bias))


def main() -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        work_channels=16, middle_channels=16, intra_latents=24, hyper_channels=8, kinds=("rings", "rings"), stem="rings"
    )
    network = SphereDVC(config, HealpixGrid.cached(64))
    convolutions = [module for module in network.modules() if isinstance(module, RingConv)]
    print(f"{len(convolutions)} ring convolutions, {sum(p.numel() for p in network.parameters()):,} parameters")

    network.eval().build_tables()
    x = torch.rand(1, 12 * 64**2, 3)  # a frame: Y, Cb, Cr on the nodes of the sphere
    coded = network.encode_intra(x, quality=4.0)
    decoded = network.decode_intra(coded.payload, quality=4.0)
    same = torch.equal(decoded.x_hat, coded.state.x_hat)
    print(f"{len(coded.payload)} bytes; the decoder's picture is {'' if same else 'not '}the encoder's")


if __name__ == "__main__":
    main()
