"""Parents and children in place of strides, on HEALPix faces and ERP pictures: in row-major images it is reshaping.

A parent is a block of 2 x 2 children. Images of an even number of rows lie one after the other in memory, so only the
length of a row has to be known: two rows of children become one of parents, whichever image they are of.
"""

from __future__ import annotations

from jaxtyping import Num
from torch import Tensor


def fold_children(x: Num[Tensor, "batch npix c"], side: int) -> Num[Tensor, "batch parents c4"]:
    """Children become channels: [B, npix, C] → [B, npix / 4, 4 C], children in the order of `HealpixGrid.children`.

    Args:
        side: Nodes along a row at the resolution of x (`nside` for the whole sphere, the width of an ERP picture).
    """
    batch, npix, channels = x.shape
    blocks = x.reshape(batch, npix // (2 * side), 2, side // 2, 2, channels)  # y of all images, dy, x, dx
    return blocks.permute(0, 1, 3, 2, 4, 5).reshape(batch, npix // 4, 4 * channels)


def unfold_children(x: Num[Tensor, "batch npix c4"], side: int) -> Num[Tensor, "batch children c"]:
    """Channels become children, the inverse of `fold_children`: [B, npix, 4 C] → [B, 4 npix, C].

    Args:
        side: Nodes along a row at the resolution of x, before.
    """
    batch, npix, channels4 = x.shape
    blocks = x.reshape(batch, npix // side, side, 2, 2, channels4 // 4)  # y of all images, x, dy, dx
    return blocks.permute(0, 1, 3, 2, 4, 5).reshape(batch, 4 * npix, channels4 // 4)


def mean_pool(x: Num[Tensor, "batch npix c"], side: int) -> Num[Tensor, "batch parents c"]:
    """Mean of the four children."""
    batch, npix, channels = x.shape
    return fold_children(x, side).view(batch, npix // 4, 4, channels).mean(2)


def unpool(x: Num[Tensor, "batch npix c"], side: int) -> Num[Tensor, "batch children c"]:
    """Every child takes its parent's value."""
    return unfold_children(x.repeat(1, 1, 4), side)
