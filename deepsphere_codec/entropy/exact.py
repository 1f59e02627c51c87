"""Networks of 8-bit integers, whose results are the same on every machine and in any order of summation.

Weights are 8-bit integers times a power of two, activations are 8-bit integers; their sums fit 32 bits. A layer is a
product of integer matrices, a shift and a clamp. Training applies the same rounding in floating point, with
straight-through gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int8, Int32
from torch import Tensor, nn

from deepsphere_codec.layers.nine_taps import nine_taps
from deepsphere_codec.layers.padding import Padding
from deepsphere_codec.runtime.quick import least_seconds

ACTIVATION_LIMIT = 127
WEIGHT_LIMIT = 127
COARSEST, FINEST = -1, -16
"""Largest and smallest exponent of two of the weights' step sizes."""
EXPONENT = ".exponent"
"""Suffix of the name under which the exponents of a weight's step sizes are stored, beside the weight in 8 bits."""
_BIAS_LIMIT = 2.0**12
_FLOAT32_TERMS = 2**24 // (ACTIVATION_LIMIT * WEIGHT_LIMIT)
"""Number of products of an activation and a weight whose partial sums are all exact in float32: 1,040."""

IntegerProduct = Callable[[Int8[Tensor, "rows k"], Int8[Tensor, "k columns"]], Int32[Tensor, "rows columns"]]


def with_gradient_of(value: Tensor, x: Tensor) -> Tensor:
    """Return exactly `value`, with the gradient of x (`x + (value - x)` would round).

    Args:
        value: Values of the result.
        x: Tensor of the same shape, which receives the gradient.
    Returns:
        Tensor of the same shape.
    """
    return value.detach() + (x - x.detach())


def round_straight(x: Tensor) -> Tensor:
    """Round x, with the gradient of the identity (straight-through)."""
    return with_gradient_of(x.round(), x)


def product_int8(a: Int8[Tensor, "rows k"], b: Int8[Tensor, "k columns"]) -> Int32[Tensor, "rows columns"]:
    """Multiply integer matrices with `torch._int_mm`, padded to the sizes that CUDA requires.

    Args:
        a: Left matrix, [rows, k], int8.
        b: Right matrix, [k, columns], int8.
    Returns:
        Product, [rows, columns], int32.
    """
    if a.device.type == "cpu":
        return torch._int_mm(a.contiguous(), b)
    (rows, k), columns = a.shape, b.shape[1]
    inner = -k % 8
    a = F.pad(a, (0, inner, 0, max(0, 17 - rows)))
    return torch._int_mm(a, F.pad(b, (0, -columns % 8, 0, inner)))[:rows, :columns]


def product_float32(a: Int8[Tensor, "rows k"], b: Int8[Tensor, "k columns"]) -> Int32[Tensor, "rows columns"]:
    """Multiply integer matrices in float32, in parts whose sums are exact.

    Args:
        a: Left matrix, [rows, k], int8.
        b: Right matrix, [k, columns], int8.
    Returns:
        Product, [rows, columns], int32.
    """
    parts = zip(a.split(_FLOAT32_TERMS, 1), b.split(_FLOAT32_TERMS, 0), strict=True)
    return sum((_in(torch.float32, x, y) for x, y in parts), a.new_zeros((), dtype=torch.int32))


def product_float64(a: Int8[Tensor, "rows k"], b: Int8[Tensor, "k columns"]) -> Int32[Tensor, "rows columns"]:
    """Multiply integer matrices in float64, where every sum is exact.

    Args:
        a: Left matrix, [rows, k], int8.
        b: Right matrix, [k, columns], int8.
    Returns:
        Product, [rows, columns], int32.
    """
    return _in(torch.float64, a, b)


def _in(dtype: torch.dtype, a: Int8[Tensor, "rows k"], b: Int8[Tensor, "k columns"]) -> Int32[Tensor, "rows columns"]:
    with torch.autocast(a.device.type, enabled=False):
        return (a.to(dtype) @ b.to(dtype)).to(torch.int32)


PRODUCTS: dict[str, IntegerProduct] = {
    "int8": product_int8,
    "float32": product_float32,
    "float64": product_float64,
}


@lru_cache
def integer_product(device: str) -> IntegerProduct:
    """Select the fastest product that is exact on a kind of device ("cpu", "cuda").

    The 8-bit instructions of some processors saturate sums of two products at 16 bits, so each product is tested with
    the largest numbers first. Other processors have no such instructions, and 8 bits take 20 times as long as float32.
    """
    signs = torch.tensor([[1] * 64, [1, -1] * 32, [-1] * 64], dtype=torch.int8, device=device)
    a = ACTIVATION_LIMIT * signs.repeat(8, 48)
    b = WEIGHT_LIMIT * signs.repeat(16, 48).t().contiguous()
    expected = product_float64(a, b)
    exact = [name for name in PRODUCTS if _is_exact(PRODUCTS[name], a, b, expected)]
    if device == "cpu" and len(exact) > 1:
        a, b = a[:, :192].repeat(12, 1), b[:192].repeat(1, 3)
        exact.sort(key=lambda name: least_seconds(lambda: PRODUCTS[name](a, b)))
    return PRODUCTS[exact[0]]


def _is_exact(product: IntegerProduct, a: Tensor, b: Tensor, expected: Tensor) -> bool:
    try:
        return torch.equal(product(a, b), expected)
    except (RuntimeError, AttributeError):  # not available, or not on this device
        return False


class _Integers(NamedTuple):
    """Integer form of a layer.

    Attributes:
        weight: Matrix, [taps · in, out].
        bias: Added before the shift, [out]; includes the half that turns the floor into rounding.
        shift: Right shift of each channel in bits, [out].
    """

    weight: Int8[Tensor, "k out"]
    bias: Int32[Tensor, " out"]
    shift: Int32[Tensor, " out"]


class ExactConv(nn.Module):
    """Integer convolution `clamp(floor(W a + b + 1/2), low, limit)`.

    The weights of an output channel are multiples of a power of two.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        padding: Padding of depth 1 for nine taps in the face frame; None for a channel mix at each node.
        limit: Largest output value.
        gain: Ratio of the output's standard deviation to the input's at initialisation.
        bias: Initial value of b.
        low: Smallest output value.
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
        # Sum, bias and half stay below 2^31.
        assert in_channels * size * size * WEIGHT_LIMIT * ACTIVATION_LIMIT + (_BIAS_LIMIT + 1) * 2.0**-FINEST < 2**31
        self._kept: tuple[object, _Integers] | None = None
        self._kept_floats: tuple[object, tuple[Tensor, Tensor]] | None = None
        self._taps: dict[torch.device, Tensor] = {}

    def forward(
        self, a: Float[Tensor, "batch npix fin"] | Int8[Tensor, "1 npix fin"], nodes: Int[Tensor, " n"] | None = None
    ) -> Tensor:
        """Apply the layer: exactly to int8 input, on any device; up to rounding to floating-point input (training).

        Args:
            a: Activations, [batch, npix, fin], integers in int8 or in a floating-point type.
            nodes: Indices of the nodes to compute, [n], for int8 input only; None for all.
        Returns:
            Activations, [batch, npix or n, fout]. For int8 input int8, or int32 if `limit` or `low` exceeds 8 bits; for
            floating-point input of the same type.
        """
        if a.dtype == torch.int8:
            return self._exactly(a, nodes)
        assert nodes is None
        return self.activated(self.total(a))

    def total(self, a: Float[Tensor, "batch npix c"], first: int = 0) -> Float[Tensor, "batch npix fout"]:
        """Compute the contribution of some input channels to the sums, for training.

        Args:
            a: Activations of c consecutive input channels, [batch, npix, c].
            first: Index of the first of these channels.
        Returns:
            Sums without the bias, [batch, npix, fout].
        """
        weight = _Straight.apply(self.weight, self._rounded(a.dtype)[0])[:, first : first + a.shape[-1]]
        if self.padding is None:
            return F.linear(a, weight[:, :, 0, 0])
        return self.padding.flatten(nine_taps(self.padding(a), weight))

    def activated(self, total: Float[Tensor, "batch n fout"]) -> Float[Tensor, "batch n fout"]:
        """Compute the output, [batch, n, fout], from the sums over all input channels, for training."""
        bias = _Straight.apply(self.bias, self._rounded(self.bias.dtype)[1])
        return _Activation.apply(total + bias, self.low, self.limit)

    def _exactly(self, a: Int8[Tensor, "1 npix fin"], nodes: Tensor | None) -> Int[Tensor, "1 n fout"]:
        (rows,) = a
        if self.padding is not None:
            taps = self._taps_of(self.padding, a.shape[1], a.device)
            taps = taps if nodes is None else taps[nodes]
            rows = torch.cat([rows.new_zeros(1, rows.shape[1]), rows]).index_select(0, taps.flatten())
            rows = rows.view(len(taps), -1)
        elif nodes is not None:
            rows = rows[nodes]
        weight, bias, shift = self._integers()
        total = (integer_product(a.device.type)(rows, weight) + bias) >> shift
        fits = self.limit <= ACTIVATION_LIMIT and self.low >= -ACTIVATION_LIMIT
        return total.clamp_(self.low, self.limit).to(torch.int8 if fits else torch.int32)[None]

    @torch.no_grad()
    def packed(self) -> tuple[Int8[Tensor, "out fin size size"], Int8[Tensor, " out"]]:
        """Return the weights as 8-bit integers, and the exponents of the channels' step sizes."""
        weight, _, step = self._on_grid()
        return (weight / step.view(-1, 1, 1, 1)).to(torch.int8), torch.log2(step).round().to(torch.int8)

    @staticmethod
    def unpacked(weight: Int8[Tensor, "out fin size size"], exponent: Int8[Tensor, " out"]) -> Tensor:
        """Compute the weights from their packed form, the inverse of `packed`.

        Args:
            weight: Weights in units of their step size, [out, fin, size, size], int8.
            exponent: Exponents of the channels' step sizes, [out], int8.
        Returns:
            Weights, [out, fin, size, size], float32.
        """
        return torch.ldexp(weight.float(), exponent.view(-1, 1, 1, 1))

    @torch.no_grad()
    def _integers(self) -> _Integers:
        key = self._key()
        if self._kept is None or self._kept[0] != key:
            weight, bias, step = self._on_grid()
            matrix = (weight / step.view(-1, 1, 1, 1)).permute(2, 3, 1, 0).flatten(0, 2)
            offset, shift = bias / step + 0.5 / step, -torch.log2(step).round()
            self._kept = key, _Integers(matrix.to(torch.int8).contiguous(), offset.round().int(), shift.int())
        return self._kept[1]

    @torch.no_grad()
    def _rounded(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return weight and bias on their grid, cached since a training step uses them several times."""
        key = *self._key(), dtype
        if self._kept_floats is None or self._kept_floats[0] != key:
            weight, bias, _ = self._on_grid()
            self._kept_floats = key, (weight.to(dtype), bias.to(dtype))
        return self._kept_floats[1]

    def _key(self) -> tuple[object, ...]:
        """Key of the cached values, which changes whenever a weight has changed."""
        tensors = self.weight, self.bias
        versions = (0 if p.is_inference() else p._version for p in tensors)  # inference tensors do not change
        location = *(p.data_ptr() for p in tensors), self.weight.device
        return *versions, *location, torch.is_inference_mode_enabled()  # inference tensors cannot be trained

    def _on_grid(self) -> tuple[Tensor, Float[Tensor, " out"], Float[Tensor, " out"]]:
        """Weight and bias as multiples of the step size, and each channel's step size, the same on every machine."""
        largest = self.weight.abs().flatten(1).amax(1).double()
        # The smallest step size for which the largest weight is at most WEIGHT_LIMIT steps.
        mantissa, exponent = torch.frexp(largest / WEIGHT_LIMIT)
        exponent = exponent - (mantissa == 0.5).int()
        step = torch.ldexp(torch.ones_like(largest), exponent.clamp(FINEST, COARSEST)).to(self.weight.dtype)
        steps = step.view(-1, 1, 1, 1)
        weight = (self.weight / steps).round_().clamp_(-WEIGHT_LIMIT, WEIGHT_LIMIT).mul_(steps)
        bias = (self.bias.clamp(-_BIAS_LIMIT, _BIAS_LIMIT) / step).round_() * step
        return weight, bias, step

    def _taps_of(self, padding: Padding, npix: int, device: torch.device) -> Int[Tensor, "npix 9"]:
        """Nodes that the nine taps of each node read, counted from 1; 0 for a node that does not exist."""
        if device not in self._taps:
            numbers = torch.arange(1, npix + 1, dtype=torch.float64, device=device).view(1, npix, 1)
            images = padding(numbers)[:, 0]
            height, width = images.shape[1] - 2, images.shape[2] - 2
            taps = [images[:, dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
            self._taps[device] = torch.stack(taps, -1).view(-1, 9).long()
        return self._taps[device]


class _Straight(torch.autograd.Function):
    """Straight-through rounding: returns the value and passes its gradient to x."""

    @staticmethod
    def forward(ctx, x: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        return grad, None


class _Activation(torch.autograd.Function):
    """Rounding and clamping; the gradient is 1 % outside the clamp, so that a saturated unit can still learn."""

    @staticmethod
    def forward(ctx, total: Tensor, low: int, limit: int) -> Tensor:
        ctx.save_for_backward((total < low) | (total > limit))
        return (total + 0.5).floor_().clamp_(low, limit)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        (outside,) = ctx.saved_tensors
        return torch.where(outside, 0.01 * grad, grad), None, None
