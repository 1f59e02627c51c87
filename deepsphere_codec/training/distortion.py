"""Distortions for training: squared error of nodes or of ERP pixels, with or without area weights, and MS-SSIM."""

from __future__ import annotations

import functools
import math
from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from deepsphere_codec.models.pyramid import Patch
from deepsphere_codec.runtime.extras import optional_imports
from deepsphere_codec.sphere import ErpGrid, ErpPatch, dir_to_face_xy, erp_directions
from deepsphere_codec.sphere.patch import PatchGrid

Signal = Float[Tensor, "batch npix 3"]
Planes = Float[Tensor, "batch 3"]

DistortionName = Literal["nodes", "erp", "ms-ssim", "wmse"]
DISTORTIONS: dict[str, tuple[DistortionName, ...]] = {"healpix": ("nodes", "erp", "ms-ssim"), "erp": ("nodes", "wmse")}
"""Names of the distortions for each geometry of a model."""
_REACH = 2  # nodes on either side in a bicubic kernel
_STRUCTURE = 8.73 / (0.0130 * 255**2)  # CompressAI's trade-off for MS-SSIM at the quality of 0.0130 for squared error
LEAST_SIDES = {"ms-ssim": 97}
"""Smallest number of nodes along a patch, by distortion."""
_WINDOW = 7  # five scales of an 11-node window would need 160 nodes, a patch has 128


class Distortion(Protocol):
    """Error of each plane of a patch's signal (values in [0, 1]), on the scale of a mean squared error."""

    def __call__(self, x: Signal, x_hat: Signal) -> Planes:
        """Compute the error.

        Args:
            x: Source, [batch, npix, 3].
            x_hat: Reconstruction, same shape.
        Returns:
            Error of Y, Cb and Cr, [batch, 3].
        """
        ...


def squared_error(x: Signal, x_hat: Signal) -> Planes:
    """Compute the mean squared error over nodes, which have equal areas on the sphere and thus equal weights.

    Args:
        x: Source, [batch, npix, 3].
        x_hat: Reconstruction, same shape.
    Returns:
        Error of Y, Cb and Cr, [batch, 3].
    """
    return (x - x_hat.float()).square().mean(1)


class ErpError:
    """Mean squared error over the ERP pixels inside a patch, weighted by their area, as in WS-PSNR.

    Pixels are interpolated as the resampler does on output. At the usual width of 4 nside there are 1.5 times as many
    pixels as nodes at the equator, and more towards the poles, with smaller weights.

    Args:
        patch: Position of the patch on the sphere.
        width: Width of the ERP picture, pixels; its height is half of it.
    """

    def __init__(self, patch: PatchGrid, width: int) -> None:
        self.side = patch.side
        self.positions, self.weights = _pixels(patch, width)

    def __call__(self, x: Signal, x_hat: Signal) -> Planes:
        """Compute the error.

        Args:
            x: Source, [batch, npix, 3].
            x_hat: Reconstruction, same shape.
        Returns:
            Error of Y, Cb and Cr, [batch, 3].
        """
        # Interpolation is linear, so it suffices to interpolate the error instead of both pictures.
        error = (x - x_hat.float()).view(x.shape[0], self.side, self.side, 3).permute(0, 3, 1, 2)
        positions = self.positions.to(x.device).expand(x.shape[0], -1, -1, -1)
        at_pixels = F.grid_sample(error, positions, mode="bicubic", padding_mode="border", align_corners=True)
        return (at_pixels[:, :, 0].square() * self.weights.to(x.device)).sum(-1)


@functools.lru_cache(maxsize=128)
def _pixels(patch: PatchGrid, width: int) -> tuple[Float[Tensor, "1 1 pixels 2"], Float[Tensor, " pixels"]]:
    """Positions of pixels in the patch (-1 … 1 from its first to its last node) and weights, which sum to one.

    Raises:
        ValueError: no pixel is inside.
    """
    directions = erp_directions(width // 2, width).reshape(-1, 3)
    face, x, y = dir_to_face_xy(directions, patch.nside)
    x, y = x - patch.x0, y - patch.y0
    first, last = _REACH - 1, patch.side - _REACH
    inside = (face == patch.face) & (np.minimum(x, y) >= first) & (np.maximum(x, y) <= last)
    if not inside.any():
        raise ValueError(f"no pixel of a picture {width} wide is inside {patch}")
    positions = np.stack([x[inside], y[inside]], -1) * (2 / (patch.side - 1)) - 1
    weights = np.sqrt(np.maximum(0.0, 1 - directions[inside, 2] ** 2))
    return torch.from_numpy(positions).float()[None, None], torch.from_numpy(weights / weights.sum()).float()


def structural_error(x: Signal, x_hat: Signal) -> Planes:
    """Compute 1 - MS-SSIM of each plane of a patch, scaled so that the trade-offs of the squared error apply.

    Args:
        x: Source, [batch, npix, 3], of a square patch.
        x_hat: Reconstruction, same shape.
    Returns:
        Error of Y, Cb and Cr, [batch, 3].
    Source: Wang, Simoncelli, Bovik, 2003; ratio of the trade-offs as in CompressAI.
    """
    with optional_imports():
        from pytorch_msssim import ms_ssim
    side = math.isqrt(x.shape[1])
    pictures = [
        signal.float().view(-1, side, side, 3).permute(0, 3, 1, 2).flatten(0, 1)[:, None] for signal in (x, x_hat)
    ]
    similarity = ms_ssim(pictures[0], pictures[1], data_range=1.0, size_average=False, win_size=_WINDOW)
    return _STRUCTURE * (1 - similarity).view(-1, 3)


class RowError:
    """Mean squared error over the pixels of an ERP patch, weighted by their area.

    The mean weight over the whole picture is 1.

    Args:
        patch: Position of the patch in the picture.
    Source: WMSE, Sun, Lu, Yu, IEEE SPL 24(9), 2017.
    """

    def __init__(self, patch: ErpPatch) -> None:
        weights = patch.cos_lat / ErpGrid(patch.height, patch.width).cos_lat.mean()
        self.weights = torch.from_numpy(weights).float()[:, None, None]

    def __call__(self, x: Signal, x_hat: Signal) -> Planes:
        """Compute the error.

        Args:
            x: Source, [batch, npix, 3].
            x_hat: Reconstruction, same shape.
        Returns:
            Error of Y, Cb and Cr, [batch, 3].
        """
        error = (x - x_hat.float()).square().view(x.shape[0], len(self.weights), -1, 3)
        return (error * self.weights.to(x.device)).mean((1, 2))


def make_distortion(kind: str, patch: Patch) -> Distortion:
    """Create a distortion.

    Args:
        kind: Name, among DISTORTIONS.
        patch: Patch of the training step, without its margin.
    Returns:
        The distortion.
    """
    if isinstance(patch, ErpPatch):
        return RowError(patch) if kind == "wmse" else squared_error
    if kind == "erp":
        return ErpError(patch, 4 * patch.nside)
    return structural_error if kind == "ms-ssim" else squared_error
