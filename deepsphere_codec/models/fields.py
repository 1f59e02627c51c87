"""Tangent fields between resolutions and between their two forms: Cartesian radians, and the face frame."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from deepsphere_codec.layers import FacePadding
from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.models.pyramid import WORK_DEPTH, Pyramid
from deepsphere_codec.sphere import face_xy_to_dir

MOTION_SCALE = 0.004
"""Radians to a unit of the networks' numbers: about one node at nside 256. Radians do not depend on resolution."""


def upsample_field(v: Float[Tensor, "batch npix 3"], padding: FacePadding, factor: int) -> Float[Tensor, "batch n 3"]:
    """Cartesian components, bilinear over the padded faces: smooth across faces, whatever their frames.

    Written out, because `torch.nn.functional.interpolate` rounds differently with one thread and with many.
    """
    images = _with_corners(padding(v), padding).permute(0, 2, 3, 1)
    for axis in (1, 2):
        side = images.shape[axis] - 2
        children = []
        for i in range(factor):
            offset = (i + 0.5) / factor - 0.5  # from the parent's centre, in parents
            first, mix = (0, 1 + offset) if offset < 0 else (1, offset)
            children.append(torch.lerp(images.narrow(axis, first, side), images.narrow(axis, first + 1, side), mix))
        images = torch.stack(children, axis + 1).flatten(axis, axis + 1)
    return images.reshape(v.shape[0], -1, v.shape[2])


def _with_corners(images: Float[Tensor, "images c side side"], padding: FacePadding) -> Tensor:
    """Where three faces meet there is no diagonal node: the mean of the two beside it, so that motion does not fade."""
    if not padding.whole:
        return images
    by_face = images.unflatten(0, (-1, 12))
    polar, belt = ((0, -1), (-1, 0)), ((0, 0), (-1, -1))  # (y, x) of the missing ones
    inward = {0: 1, -1: -2}
    for faces, corners in ((slice(0, 4), polar), (slice(4, 8), belt), (slice(8, 12), polar)):
        for y, x in corners:
            beside = by_face[:, faces, :, y, inward[x]] + by_face[:, faces, :, inward[y], x]
            by_face[:, faces, :, y, x] = beside / 2
    return images


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
    """Tangent vectors of one step in x and one in y, by central differences."""
    face, x, y = grid.face_xy
    steps = []
    for dx, dy in ((0.5, 0.0), (0.0, 0.5)):
        ahead = face_xy_to_dir(face, x + dx, y + dy, grid.nside)
        behind = face_xy_to_dir(face, x - dx, y - dy, grid.nside)
        steps.append(ahead - behind)
    return torch.from_numpy(np.stack(steps, 1)).float()
