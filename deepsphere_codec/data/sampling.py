"""Sampling of films in arbitrary directions: bicubic, across the seam and the poles, with mip-maps against aliasing.

A sample represents a small piece of the sphere. If the piece covers several pixels of the source, reading a single
position aliases all detail finer than the samples; therefore the source is halved first, until a pixel is about as
large as the piece. Near a pole a piece covers many columns but no more rows than elsewhere, so columns and rows are
halved separately (a "ripmap"); a single pyramid for both, as in NVC360, would blur the rows. The level is log2 of the
number of pixels covered, rounded to nearest; rounding down, as in NVC360, leaves up to two pixels per sample, which is
aliasing again.

Levels are computed on demand: only the rows in which samples lie, and no level at all if samples are as dense as
pixels.

Sources: Regensky et al., "Beyond Perspective" (NVC360), ICCV 2025, for the mip-maps; Akenine-Möller et al., Real-Time
Rendering, section 6.2.2, for ripmaps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64, Int64, UInt8
from torch import Tensor

Film = UInt8[np.ndarray, "frames rows width"]
Planes = UInt8[np.ndarray, "frames c height width"]
Spread = Float[np.ndarray, "#frames #npix 2"]

_REACH = 3  # pixels needed around a sample: two for the cubic kernel, one for rounding
_SMALLEST = 8  # smallest number of rows or columns after halving
_HALF = torch.tensor([-3.0, -9, 29, 111, 111, 29, -9, -3]) / 256  # Catmull–Rom kernel, stretched to twice its width
_BEFORE = 3  # its taps before the first of the two pixels that become one
_KINDS = 64  # greater than any number of halvings


def describe_films(films: Sequence[Film]) -> dict[str, int]:
    """Count clips and panoramas for a model's card, with the largest number of frames and the largest width in pixels.

    Args:
        films: Films, [frames, 3/2 height, width] each; a panorama has one frame.
    """
    frames = [len(film) for film in films]
    panoramas = frames.count(1)
    counts = {"clips": len(frames) - panoramas, "panoramas": panoramas}
    return counts | {"frames": max(frames, default=0), "width": max((film.shape[2] for film in films), default=0)}


def node_spread(nside: int) -> Float64[np.ndarray, "1 1 2"]:
    """Compute the distance of HEALPix nodes towards east and north, [1, 1, 2], radians: the root of a node's area."""
    return np.full((1, 1, 2), math.sqrt(math.pi / 3) / nside)


def luma_of(film: Film) -> Planes:
    """Return a view of Y of planar 4:2:0 frames, [frames, 1, height, width]."""
    frames, rows, width = film.shape
    height = rows * 2 // 3
    return film.reshape(frames, -1)[:, : height * width].reshape(frames, 1, height, width)


def chroma_of(film: Film) -> Planes:
    """Return a view of Cb and Cr of planar 4:2:0 frames, [frames, 2, height / 2, width / 2]."""
    frames, rows, width = film.shape
    height = rows * 2 // 3
    return film.reshape(frames, -1)[:, height * width :].reshape(frames, 2, height // 2, width // 2)


def sample_film(
    film: Film, directions: Float[np.ndarray, "#frames npix 3"], spread: Spread | None = None
) -> Float32[Tensor, "frames npix 3"]:
    """Sample Y, Cb, Cr (0 … 1) of each frame in given directions.

    Args:
        film: Planar 4:2:0 frames, [frames, 3/2 height, width]: Y, then Cb and Cr.
        directions: Unit vectors, [frames, npix, 3]; one set may serve all frames, and one frame (a panorama) all sets.
        spread: Distance of the samples towards the source's east and north, radians, which selects the mip levels;
            None for no mip-maps.
    Returns:
        Signal, [frames, npix, 3].
    """
    frames = max(len(film), len(directions))
    views = [_view(d) for d in directions]
    spreads = [None] * frames if spread is None else np.broadcast_to(spread, (frames, *spread.shape[1:]))
    if len(views) == 1:
        return _look_up(film, views[0], spreads[0])
    film = np.broadcast_to(film, (frames, *film.shape[1:]))
    return torch.cat([_look_up(film[t : t + 1], view, spreads[t]) for t, view in enumerate(views)])


class _View(NamedTuple):
    """Positions of samples: longitude and latitude in radians, and the latitude's cosine, [npix] each."""

    lon: Tensor
    lat: Tensor
    cos_lat: Tensor


def _view(directions: Float[np.ndarray, "npix 3"]) -> _View:
    x, y, z = torch.from_numpy(directions).float().unbind(-1)
    cos_lat = torch.hypot(x, y)
    return _View(torch.atan2(y, x), torch.atan2(z, cos_lat), cos_lat.clamp_min(1e-6))


def _look_up(film: Film, view: _View, spread: np.ndarray | None) -> Float32[Tensor, "frames npix 3"]:
    found = []
    for planes in (luma_of(film), chroma_of(film)):
        levels = None if spread is None else _levels(planes, view, spread)
        found.append(_look_up_planes(planes, view, levels).unflatten(0, planes.shape[:2]))
    return torch.cat(found, 1).permute(0, 2, 1) / 255


def _levels(planes: Planes, view: _View, spread: np.ndarray) -> Int64[Tensor, "npix 2"]:
    """Number of halvings of columns and rows for each sample."""
    height, width = planes.shape[2:]
    apart = torch.tensor(spread, dtype=torch.float32)
    columns = apart[:, 0] * (width / (2 * math.pi)) / view.cos_lat
    rows = (apart[:, 1] * (height / math.pi)).expand_as(columns)
    limits = torch.tensor([_halvings(width), _halvings(height)])
    return torch.stack([columns, rows], -1).log2().round().long().clamp_min(0).minimum(limits)


def _halvings(size: int) -> int:
    """Largest number of times that a size can be halved."""
    count = 0
    while size % 2 == 0 and size >= 2 * _SMALLEST:
        size, count = size // 2, count + 1
    return count


def _look_up_planes(
    planes: Planes, view: _View, levels: Int64[Tensor, "npix 2"] | None
) -> Float32[Tensor, "planes npix"]:
    """Grey levels of all planes, frame by frame; samples of the same level are sampled together."""
    if levels is None or not levels.any():
        return _look_up_level(planes, view, 0, 0)
    found = torch.empty(planes.shape[0] * planes.shape[1], len(levels))
    across_and_down = levels[:, 0] * _KINDS + levels[:, 1]
    for kind in across_and_down.unique().tolist():
        chosen = (across_and_down == kind).nonzero()[:, 0]
        across, down = divmod(kind, _KINDS)
        found[:, chosen] = _look_up_level(planes, _View(*(angle[chosen] for angle in view)), across, down)
    return found


def _look_up_level(planes: Planes, view: _View, across: int, down: int) -> Float32[Tensor, "planes npix"]:
    """Bicubic samples of the planes after the given numbers of halvings, computed for the needed rows only."""
    height, width = planes.shape[2] / 2**down, planes.shape[3] / 2**across
    row = (0.5 - view.lat / math.pi) * height - 0.5
    column = (0.5 + view.lon / (2 * math.pi)) * width - 0.5
    top, bottom = math.floor(row.min()) - _REACH, math.ceil(row.max()) + _REACH
    level = _wrapped(_halved(planes, top, bottom, across, down), _REACH)
    place = [(column + _REACH + 0.5) * (2 / level.shape[3]) - 1, (row - top + 0.5) * (2 / level.shape[2]) - 1]
    image = level.transpose(0, 1)  # all planes are channels of one image, which shares the kernel's weights
    return F.grid_sample(image, torch.stack(place, -1)[None, None], mode="bicubic", align_corners=False)[0, :, 0]


def _halved(planes: Planes, top: int, bottom: int, across: int, down: int) -> Float32[Tensor, "planes 1 rows columns"]:
    """Rows top … bottom of the planes after the given numbers of halvings of columns and rows."""
    for _ in range(down):
        top, bottom = 2 * top - _BEFORE, 2 * bottom + _BEFORE + 1
    level = torch.from_numpy(_rows(planes, top, bottom)).flatten(0, 1)[:, None].float()
    for _ in range(across):
        level = _wrapped(level, _BEFORE).unfold(-1, len(_HALF), 2) @ _HALF
    for _ in range(down):
        level = level.unfold(-2, len(_HALF), 2) @ _HALF
    return level


def _rows(planes: Planes, top: int, bottom: int) -> Planes:
    """Rows top … bottom; beyond a pole the rows repeat, shifted by half a turn."""
    height, width = planes.shape[2:]
    north, south = max(0, -top), max(0, bottom + 1 - height)
    beyond = [planes[:, :, :north], planes[:, :, height - south :]]
    above, below = (np.roll(rows[:, :, ::-1], width // 2, -1) for rows in beyond)
    return np.concatenate([above, planes[:, :, max(0, top) : bottom + 1], below], 2)


def _wrapped(level: Tensor, columns: int) -> Tensor:
    """Append columns from the other side of the seam."""
    return torch.cat([level[..., -columns:], level, level[..., :columns]], -1)
