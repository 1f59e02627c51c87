"""Tangent fields between resolutions and between their two forms: Cartesian radians, and the nodes' frame."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from deepsphere_codec.layers.padding import Grid, Padding
from deepsphere_codec.models.pyramid import WORK_DEPTH, Pyramid

MOTION_SCALE = 0.004
"""Radians to a unit of the networks' numbers: about one node at nside 256. Radians do not depend on resolution."""


def upsample_field(v: Float[Tensor, "batch npix 3"], padding: Padding, factor: int) -> Float[Tensor, "batch n 3"]:
    """Cartesian components, bilinear over the padded pictures: smooth across faces, whatever their frames.

    Written out, because `torch.nn.functional.interpolate` rounds differently with one thread and with many.
    """
    images = padding.field(v).permute(0, 2, 3, 1)
    for axis in (1, 2):
        side = images.shape[axis] - 2
        children = []
        for i in range(factor):
            offset = (i + 0.5) / factor - 0.5  # from the parent's centre, in parents
            first, mix = (0, 1 + offset) if offset < 0 else (1, offset)
            children.append(torch.lerp(images.narrow(axis, first, side), images.narrow(axis, first + 1, side), mix))
        images = torch.stack(children, axis + 1).flatten(axis, axis + 1)
    return images.reshape(v.shape[0], -1, v.shape[2])


def to_frame(v: Float[Tensor, "batch work 3"], pyramid: Pyramid) -> Float[Tensor, "batch work 2"]:
    """Cartesian radians → units of MOTION_SCALE in the face frame."""
    return components(v, pyramid.frame(WORK_DEPTH)) / MOTION_SCALE


def to_nodes(field: Float[Tensor, "batch work 2"], pyramid: Pyramid) -> Float[Tensor, "batch npix 3"]:
    """Units of MOTION_SCALE in the face frame at nside / 4 → tangent vectors in radians at every node."""
    v = combine(field * MOTION_SCALE, pyramid.frame(WORK_DEPTH))
    v = upsample_field(v, pyramid.padding(WORK_DEPTH), 1 << WORK_DEPTH)
    return combine(components(v, pyramid.frame(0)), pyramid.frame(0))


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
