"""Some nodes of a signal, with a gradient that neither sorts nor adds."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


def pick(x: Float[Tensor, "batch npix c"], nodes: Int[Tensor, " n"]) -> Float[Tensor, "batch n c"]:
    """`x[:, nodes]` of nodes that are all different."""
    picked: Tensor = _Pick.apply(x, nodes)
    return picked


class _Pick(torch.autograd.Function):
    """The gradient of indexing has to count nodes that are asked for twice; here each has one place to go to."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, nodes: Tensor) -> Tensor:
        ctx.save_for_backward(nodes)
        ctx.npix = x.shape[1]
        return x.index_select(1, nodes)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (nodes,) = ctx.saved_tensors
        return grad.new_zeros(len(grad), ctx.npix, grad.shape[2]).index_copy_(1, nodes, grad), None
