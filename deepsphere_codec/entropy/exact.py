"""Networks of integers: what they compute is the same on every machine, in any order of summation.

A weight is a multiple of 2^-10, an activation an integer of at most 10 bits and a sign. Their products sum to far less
than 2^53, so in float64 every partial sum is exact, whatever the order, the device or the number of threads; then comes
a floor and a clamp. Training sees the same rounding, with gradients that pass straight through it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers.padding import Padding

WEIGHT_STEP = 2.0**-10
_WEIGHT_LIMIT = 32.0  # with 2^-10 steps: integers below 2^15
ACTIVATION_LIMIT = 255
_INPUT_LIMIT = 1023  # of whatever goes into a layer


def with_gradient_of(value: Tensor, x: Tensor) -> Tensor:
    """`value` to the last bit, with the gradient of x (`x + (value - x)` would round)."""
    return value.detach() + (x - x.detach())


def round_straight(x: Tensor) -> Tensor:
    """Rounding with the gradient of the identity."""
    return with_gradient_of(x.round(), x)


class ExactConv(nn.Module):
    """Integers → integers: `clamp(floor(W a + b + 1/2), low, limit)` with W in steps of 2^-10.

    Args:
        in_channels, out_channels: Channels before and after.
        padding: For nine taps in face directions; None for a channel mix at each node.
        limit: Largest value that comes out.
        low: Smallest value that comes out.
        gain: Standard deviation of what comes out, in units of what goes in, at the start of training.
        bias: Start of b.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        padding: Padding | None = None,
        limit: int = ACTIVATION_LIMIT,
        gain: float = 1.0,
        bias: float = 0.0,
        low: int = 0,
    ) -> None:
        super().__init__()
        self.padding = padding
        self.low, self.limit = low, limit
        size = 1 if padding is None else 3
        std = gain / math.sqrt(in_channels * size * size)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size) * std)
        self.bias = nn.Parameter(torch.full((out_channels,), bias))
        # All sums stay below 2^53 in units of the weight's step; see the module's first lines.
        assert in_channels * size * size * _WEIGHT_LIMIT / WEIGHT_STEP * _INPUT_LIMIT < 2**52

    def forward(self, a: Float[Tensor, "batch npix fin"]) -> Float[Tensor, "batch npix fout"]:
        """Exact in float64, whatever the device; in float32 (training) the same up to its rounding."""
        weight, bias = (self._on_grid(p).to(a.dtype) for p in (self.weight, self.bias))
        if self.padding is None:
            total = a @ weight[:, :, 0, 0].t() + bias
        elif a.dtype == torch.float64:
            total = _nine_taps(self.padding, a, weight) + bias
        else:
            total = self.padding.flatten(F.conv2d(self.padding(a), weight, bias))
        # Slopes go on 1 % outside the clamp, or a saturated unit would never learn again.
        bounded = total.clamp(self.low, self.limit)
        leaky = bounded + 0.01 * (total - bounded)
        return with_gradient_of((total + 0.5).floor().clamp(self.low, self.limit), leaky)

    @staticmethod
    def _on_grid(p: Tensor) -> Tensor:
        return round_straight(p.clamp(-_WEIGHT_LIMIT, _WEIGHT_LIMIT) / WEIGHT_STEP) * WEIGHT_STEP


def _nine_taps(padding: Padding, a: Tensor, weight: Tensor) -> Float[Tensor, "batch npix fout"]:
    """A 3×3 convolution as one matrix product: a library's convolution may go by way of a transform that rounds."""
    images = padding(a).permute(0, 2, 3, 1)
    height, width = images.shape[1] - 2, images.shape[2] - 2
    taps = [images[:, dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    rows = torch.cat(taps, -1).view(-1, 9 * a.shape[2])
    return (rows @ weight.permute(2, 3, 1, 0).reshape(-1, len(weight))).view(len(a), -1, len(weight))
