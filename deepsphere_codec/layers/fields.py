"""Conversion of tangent fields between Cartesian vectors in radians and components in the nodes' frame."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from deepsphere_codec.layers.padding import Grid

# Sums of two or three terms are written out instead of matrix products, so that no library can change their order.


def components(v: Float[Tensor, "batch npix 3"], frame: Float[Tensor, "npix 2 3"]) -> Float[Tensor, "batch npix 2"]:
    """Compute the scalar products of a field with the two vectors of each node's frame.

    Args:
        v: Vectors, [batch, npix, 3].
        frame: The two vectors of each node, [npix, 2, 3].
    Returns:
        Components, [batch, npix, 2].
    """
    products = v[:, :, None, :] * frame
    return products[..., 0] + products[..., 1] + products[..., 2]


def combine(field: Float[Tensor, "batch npix 2"], frame: Float[Tensor, "npix 2 3"]) -> Float[Tensor, "batch npix 3"]:
    """Compute the linear combination of each node's two frame vectors.

    Args:
        field: Components, [batch, npix, 2].
        frame: The two vectors of each node, [npix, 2, 3].
    Returns:
        Vectors, [batch, npix, 3].
    """
    return field[..., :1] * frame[:, 0] + field[..., 1:] * frame[:, 1]


def chart_steps(grid: Grid) -> Float[Tensor, "npix 2 3"]:
    """Tangent vectors of one step in x and one in y at each node, [npix, 2, 3], radians, float32."""
    return torch.from_numpy(grid.steps).float()


def dual_steps(steps: Float[Tensor, "npix 2 3"]) -> Float[Tensor, "npix 2 3"]:
    """Compute the dual basis of the steps (their transposed pseudo-inverse), [npix, 2, 3].

    The scalar products of a tangent vector with the dual basis are its components in steps.
    """
    a, b = steps.unbind(1)
    aa, ab, bb = ((one * other).sum(-1, keepdim=True) for one, other in ((a, a), (a, b), (b, b)))
    return torch.stack([bb * a - ab * b, aa * b - ab * a], 1) / (aa * bb - ab * ab)[:, None]
