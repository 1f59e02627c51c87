"""Pooling and unpooling by parents and children, on HEALPix faces and ERP pictures, as reshapes of row-major images.

A parent is a block of 2 x 2 children. Images with an even number of rows follow each other in memory, so only the
length of a row is needed: two rows of children become one row of parents, whichever image they belong to.
"""

from __future__ import annotations

from jaxtyping import Num
from torch import Tensor


def fold_children(x: Num[Tensor, "batch npix c"], side: int) -> Num[Tensor, "batch parents c4"]:
    """Fold the four children of each parent into channels.

    Args:
        x: Signal, [batch, npix, c].
        side: Nodes along a row at the resolution of x (`nside` for the whole sphere, the width of an ERP picture).
    Returns:
        Signal on the parents, [batch, npix / 4, 4 c], children in the order of `HealpixGrid.children`.
    """
    batch, npix, channels = x.shape
    blocks = x.reshape(batch, npix // (2 * side), 2, side // 2, 2, channels)  # y of all images, dy, x, dx
    return blocks.permute(0, 1, 3, 2, 4, 5).reshape(batch, npix // 4, 4 * channels)


def unfold_children(x: Num[Tensor, "batch npix c4"], side: int) -> Num[Tensor, "batch children c"]:
    """Unfold channels into the four children of each node, the inverse of `fold_children`.

    Args:
        x: Signal, [batch, npix, 4 c].
        side: Nodes along a row at the resolution of x.
    Returns:
        Signal on the children, [batch, 4 npix, c].
    """
    batch, npix, channels4 = x.shape
    blocks = x.reshape(batch, npix // side, side, 2, 2, channels4 // 4)  # y of all images, x, dy, dx
    return blocks.permute(0, 1, 3, 2, 4, 5).reshape(batch, 4 * npix, channels4 // 4)


def mean_pool(x: Num[Tensor, "batch npix c"], side: int) -> Num[Tensor, "batch parents c"]:
    """Average the four children of each parent.

    Args:
        x: Signal, [batch, npix, c].
        side: Nodes along a row at the resolution of x.
    Returns:
        Signal on the parents, [batch, npix / 4, c].
    """
    batch, npix, channels = x.shape
    return fold_children(x, side).view(batch, npix // 4, 4, channels).mean(2)


def unpool(x: Num[Tensor, "batch npix c"], side: int) -> Num[Tensor, "batch children c"]:
    """Copy each node's value to its four children.

    Args:
        x: Signal, [batch, npix, c].
        side: Nodes along a row at the resolution of x.
    Returns:
        Signal on the children, [batch, 4 npix, c].
    """
    return unfold_children(x.repeat(1, 1, 4), side)
