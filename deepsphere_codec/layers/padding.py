"""Padding: images with a border, so that a dense convolution can run over the sphere or over an ERP picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.sphere import ErpGrid, ErpPatch, HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid

SphereGrid = HealpixGrid | PatchGrid
PlaneGrid = ErpGrid | ErpPatch
Grid = SphereGrid | PlaneGrid


class FacePadding(nn.Module):
    """Padding of a signal on the sphere: twelve images, each with a halo of its neighbours' nodes.

    At the eight points where three faces meet the diagonal node does not exist and is set to zero. A patch has no
    neighbours outside; its border is replicated.

    Args:
        grid: The whole sphere, or a patch of it.
        depth: Width of the halo in nodes.
    """

    halo: Tensor
    missing: Tensor

    def __init__(self, grid: SphereGrid, depth: int = 1) -> None:
        super().__init__()
        self.depth = depth
        self.whole = isinstance(grid, HealpixGrid)
        self.faces, self.side = 12 if self.whole else 1, grid.side
        if isinstance(grid, HealpixGrid):
            halo = torch.from_numpy(grid.halo(depth)).flatten()
            self.register_buffer("missing", (halo < 0).nonzero().flatten(), persistent=False)
            self.register_buffer("halo", halo.clamp_min(0), persistent=False)

    def forward(self, x: Float[Tensor, "batch npix c"]) -> Float[Tensor, "images c height width"]:
        """Pad a signal, [batch, npix, c], to images, [batch * faces, c, y, x], channels-last in memory."""
        batch, _, channels = x.shape
        if not self.whole:
            return _repeat_border(x.view(batch, self.side, self.side, channels), self.depth)
        padded = x.index_select(1, self.halo)
        padded = padded.index_fill(1, self.missing, 0) if x.requires_grad else padded.index_fill_(1, self.missing, 0)
        side = self.side + 2 * self.depth
        return padded.view(batch * self.faces, side, side, channels).permute(0, 3, 1, 2)

    def field(self, v: Float[Tensor, "batch npix c"]) -> Float[Tensor, "images c height width"]:
        """Pad a field of Cartesian tangent vectors, [batch, npix, c], as `forward` does, with a halo of depth 1.

        Where three faces meet, the missing diagonal node is set to the mean of the two nodes beside it instead of zero,
        which would attenuate motion.
        """
        images = self(v)
        if not self.whole:
            return images
        by_face = images.unflatten(0, (-1, 12))
        polar, belt = ((0, -1), (-1, 0)), ((0, 0), (-1, -1))  # (y, x) of the missing nodes
        inward = {0: 1, -1: -2}
        for faces, corners in ((slice(0, 4), polar), (slice(4, 8), belt), (slice(8, 12), polar)):
            for y, x in corners:
                beside = by_face[:, faces, :, y, inward[x]] + by_face[:, faces, :, inward[y], x]
                by_face[:, faces, :, y, x] = beside / 2
        return images

    def flatten(self, images: Float[Tensor, "images c side side"]) -> Float[Tensor, "batch npix c"]:
        """Convert images without a halo back to a signal, [batch, npix, c]; no copy if they are channels-last."""
        channels = images.shape[1]
        return images.permute(0, 2, 3, 1).reshape(images.shape[0] // self.faces, -1, channels)


class ErpPadding(nn.Module):
    """Padding of an ERP picture: circular in longitude; over a pole the same rows follow, shifted by 180 degrees.

    A patch has no neighbours outside; its border is replicated.

    Args:
        grid: The whole picture, or a patch of it.
        depth: Width of the border in pixels.
    """

    halo: Tensor

    def __init__(self, grid: PlaneGrid, depth: int = 1) -> None:
        super().__init__()
        self.depth = depth
        self.whole = isinstance(grid, ErpGrid)
        _, self.rows, self.columns = grid.shape
        if isinstance(grid, ErpGrid):
            self.register_buffer("halo", torch.from_numpy(grid.halo(depth)).flatten(), persistent=False)

    def forward(self, x: Float[Tensor, "batch npix c"]) -> Float[Tensor, "batch c height width"]:
        """Pad a signal, [batch, npix, c], to images, [batch, c, height, width], channels-last in memory."""
        batch, _, channels = x.shape
        if not self.whole:
            return _repeat_border(x.view(batch, self.rows, self.columns, channels), self.depth)
        rows, columns = self.rows + 2 * self.depth, self.columns + 2 * self.depth
        return x.index_select(1, self.halo).view(batch, rows, columns, channels).permute(0, 3, 1, 2)

    def field(self, v: Float[Tensor, "batch npix 3"]) -> Float[Tensor, "batch 3 height width"]:
        """Pad a field of vectors (x, y, 0), [batch, npix, 3], as `forward` does, with y negated over the poles."""
        images = self(v)
        if self.whole:
            for over_pole in (images[:, 1, : self.depth], images[:, 1, -self.depth :]):
                over_pole.neg_()
        return images

    def flatten(self, images: Float[Tensor, "batch c height width"]) -> Float[Tensor, "batch npix c"]:
        """Convert images without a border back to a signal, [batch, npix, c]; no copy if they are channels-last."""
        return images.permute(0, 2, 3, 1).reshape(images.shape[0], -1, images.shape[1])


Padding = FacePadding | ErpPadding


def make_padding(grid: Grid, depth: int = 1) -> Padding:
    """Create the padding that fits a grid's geometry.

    Args:
        grid: The sphere or an ERP picture, or a patch of one.
        depth: Width of the border in nodes.
    Returns:
        The padding.
    """
    return ErpPadding(grid, depth) if isinstance(grid, PlaneGrid) else FacePadding(grid, depth)


def _repeat_border(image: Float[Tensor, "batch y x c"], depth: int) -> Float[Tensor, "batch c height width"]:
    padded = F.pad(image.permute(0, 3, 1, 2), (depth,) * 4, mode="replicate")
    return padded.contiguous(memory_format=torch.channels_last)
