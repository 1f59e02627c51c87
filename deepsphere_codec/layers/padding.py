"""Faces with a border: what a dense convolution needs to run over the sphere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid

Grid = HealpixGrid | PatchGrid


class FacePadding(nn.Module):
    """Twelve images with a halo, from a signal on the sphere.

    At the eight points where three faces meet the diagonal node does not exist and counts as zero. A patch has no
    neighbours outside; its border is repeated.

    Args:
        grid: The whole sphere, or a patch of it.
        depth: Width of the halo in nodes.
    """

    halo: Tensor
    missing: Tensor

    def __init__(self, grid: Grid, depth: int = 1) -> None:
        super().__init__()
        self.depth = depth
        self.whole = isinstance(grid, HealpixGrid)
        self.faces, self.side = 12 if self.whole else 1, grid.side
        if isinstance(grid, HealpixGrid):
            halo = torch.from_numpy(grid.halo(depth)).flatten()
            self.register_buffer("missing", (halo < 0).nonzero().flatten(), persistent=False)
            self.register_buffer("halo", halo.clamp_min(0), persistent=False)

    def forward(self, x: Float[Tensor, "batch npix c"]) -> Float[Tensor, "images c height width"]:
        """Images, batch × faces of them, channels-last in memory; axis 2 is y, axis 3 is x."""
        batch, _, channels = x.shape
        if not self.whole:
            image = x.view(batch, self.side, self.side, channels).permute(0, 3, 1, 2)
            return F.pad(image, (self.depth,) * 4, mode="replicate").contiguous(memory_format=torch.channels_last)
        padded = x.index_select(1, self.halo)
        padded = padded.index_fill(1, self.missing, 0) if x.requires_grad else padded.index_fill_(1, self.missing, 0)
        side = self.side + 2 * self.depth
        return padded.view(batch * self.faces, side, side, channels).permute(0, 3, 1, 2)

    def flatten(self, images: Float[Tensor, "images c side side"]) -> Float[Tensor, "batch npix c"]:
        """Back from images without a halo to the signal; no copy where they are channels-last."""
        channels = images.shape[1]
        return images.permute(0, 2, 3, 1).reshape(images.shape[0] // self.faces, -1, channels)
