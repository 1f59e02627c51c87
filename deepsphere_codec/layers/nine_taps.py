"""Dense 3×3 convolution of padded images, with a gradient made of matrix products on a CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

_FEW = 1024  # nodes; up to here the gradient by nine products is faster than by a convolution


def nine_taps(
    images: Float[Tensor, "images fin height width"],
    weight: Float[Tensor, "fout fin 3 3"],
    bias: Float[Tensor, " fout"] | None = None,
) -> Float[Tensor, "images fout h w"]:
    """Compute `conv2d(images, weight, bias)` without padding, with a faster gradient on a CPU.

    The gradients of oneDNN and ATen are about half as fast as matrix products.

    Args:
        images: Padded images, [images, fin, h + 2, w + 2], channels-last in memory.
        weight: Taps, [fout, fin, 3, 3].
        bias: [fout], or None.
    Returns:
        Images without the border of one node, [images, fout, h, w].
    """
    trained = torch.is_grad_enabled() and (images.requires_grad or weight.requires_grad)
    if not trained or images.device.type != "cpu":
        return F.conv2d(images, weight, bias)
    y: Tensor = _NineTaps.apply(images, weight)
    return y if bias is None else y + bias.to(y.dtype).view(1, -1, 1, 1)


class _NineTaps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(images, weight)
        return F.conv2d(images, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        images, weight = ctx.saved_tensors
        x, w = images.to(grad.dtype).permute(0, 2, 3, 1), weight.to(grad.dtype)
        g = grad.permute(0, 2, 3, 1).contiguous()
        grad_images = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_images = _images_gradient(g, w).permute(0, 3, 1, 2).to(images.dtype)
        if ctx.needs_input_grad[1]:
            fout, fin = w.shape[:2]
            rows = _windows(x.contiguous()).reshape(-1, 9 * fin)
            taps = rows.t() @ g.view(-1, fout)
            grad_weight = taps.view(3, 3, fin, fout).permute(3, 2, 0, 1).to(weight.dtype)
        return grad_images, grad_weight


def _windows(x: Float[Tensor, "images height width fin"]) -> Float[Tensor, "images h w 3 3 fin"]:
    """View of the 3×3 nodes around each node, without a copy."""
    count, height, width, fin = x.shape
    image, row, column, one = x.stride()
    return x.as_strided((count, height - 2, width - 2, 3, 3, fin), (image, row, column, row, column, one))


def _images_gradient(g: Float[Tensor, "images h w fout"], w: Tensor) -> Float[Tensor, "images height width fin"]:
    """Gradient with respect to the padded images."""
    count, height, width, fout = g.shape
    fin = w.shape[1]
    if count * height * width > _FEW:
        borders = F.pad(g.permute(0, 3, 1, 2), (2, 2, 2, 2))
        return F.conv2d(borders, w.flip(2, 3).transpose(0, 1)).permute(0, 2, 3, 1)
    taps = (g.view(-1, fout) @ w.permute(2, 3, 1, 0).reshape(9 * fin, fout).t()).view(count, height, width, 3, 3, fin)
    total = g.new_zeros(count, height + 2, width + 2, fin)
    for dy in range(3):
        for dx in range(3):
            total[:, dy : dy + height, dx : dx + width] += taps[:, :, :, dy, dx]
    return total
