"""Tangent fields in their two forms: Cartesian radians, and the nodes' frame."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from deepsphere_codec.layers.padding import Grid

# Written out rather than as matrix products: sums of two or three terms in an order that no library may change.


def components(v: Float[Tensor, "batch npix 3"], frame: Float[Tensor, "npix 2 3"]) -> Float[Tensor, "batch npix 2"]:
    """Scalar products with the two vectors of each node's frame."""
    products = v[:, :, None, :] * frame
    return products[..., 0] + products[..., 1] + products[..., 2]


def combine(field: Float[Tensor, "batch npix 2"], frame: Float[Tensor, "npix 2 3"]) -> Float[Tensor, "batch npix 3"]:
    """Sum of each node's two vectors, times the field's components."""
    return field[..., :1] * frame[:, 0] + field[..., 1:] * frame[:, 1]


def chart_steps(grid: Grid) -> Float[Tensor, "npix 2 3"]:
    """Tangent vectors of one step in x and one in y."""
    return torch.from_numpy(grid.steps).float()


def dual_steps(steps: Float[Tensor, "npix 2 3"]) -> Float[Tensor, "npix 2 3"]:
    """Scalar products with them tell how many of the two steps a tangent vector is: the pseudo-inverse, transposed."""
    a, b = steps.unbind(1)
    aa, ab, bb = ((one * other).sum(-1, keepdim=True) for one, other in ((a, a), (a, b), (b, b)))
    return torch.stack([bb * a - ab * b, aa * b - ab * a], 1) / (aa * bb - ab * ab)[:, None]
