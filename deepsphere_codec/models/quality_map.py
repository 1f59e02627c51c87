"""Quality maps: quality offsets in quarter steps for each block of 64 x 64 nodes, coded where they are not flat."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.models.memory import QualityMap
from deepsphere_codec.motion.contexts import KINDS, MotionTables
from deepsphere_codec.motion.tree import WIDTHS
from deepsphere_codec.sphere import HealpixGrid

MAP_STEP = 0.25
"""Quality per unit of a map."""
MAP_LIMIT = 28
"""Largest absolute value of a map: seven qualities, the difference between the highest and the lowest."""


GREY_STEP = 16 * MAP_STEP
"""Grey levels per unit of a map; 16 grey levels are one quality."""
FLAT_GREY = 128


def map_of_picture(grey: UInt8[np.ndarray, "height width"], grid: Grid) -> QualityMap | None:
    """Compute a quality map from a grey picture.

    Args:
        grey: ERP picture, [height, width]; 128 leaves the quality unchanged, 16 more raise it by one.
        grid: Grid of the films that the map is for: the sphere, or an ERP picture.
    Returns:
        Means over each block of 64 x 64 nodes in units of MAP_STEP, [blocks]; None where the map is flat and changes
        nothing.
    """
    height, width = grey.shape
    images, rows, columns = grid.shape
    if isinstance(grid, HealpixGrid):
        x, y, z = grid.centers.T
        row = (0.5 - np.arcsin(np.clip(z, -1, 1)) / np.pi) * height
        column = (0.5 + np.arctan2(y, x) / (2 * np.pi)) * width
    else:
        i, j = np.indices((rows, columns)).reshape(2, -1)
        row, column = (i + 0.5) * height / rows, (j + 0.5) * width / columns
    seen = grey[np.clip(row.astype(np.int64), 0, height - 1), np.clip(column.astype(np.int64), 0, width - 1)]
    size = WIDTHS[0]
    blocks = seen.reshape(images, rows // size, size, columns // size, size).astype(np.float64).mean((2, 4))
    units = np.clip(np.round((blocks - FLAT_GREY) / GREY_STEP), -MAP_LIMIT, MAP_LIMIT).astype(np.int8).ravel()
    return units if units.any() else None


def write_map(quality_map: QualityMap, tables: MotionTables) -> bytes:
    """Code the differences between successive blocks of a map.

    Args:
        quality_map: The map, [blocks].
        tables: Tables of the motion symbols.
    Returns:
        Bytes of the map.
    """
    writer = SymbolWriter()
    symbols = np.diff(quality_map.astype(np.int64), prepend=0)
    writer.write(torch.from_numpy(symbols), _rows(len(symbols)), tables)  # type: ignore[arg-type]
    return writer.finish()


def read_map(payload: bytes, blocks: int, tables: MotionTables) -> QualityMap:
    """Decode a map.

    Args:
        payload: Bytes written by `write_map`.
        blocks: Number of blocks.
        tables: Tables of the motion symbols.
    Returns:
        The map, [blocks].
    Raises:
        DamagedStream: a value is beyond MAP_LIMIT, or the coder cannot have written these bytes.
    """
    symbols = SymbolReader(payload).read(_rows(blocks), tables).numpy()  # type: ignore[arg-type]
    values = np.cumsum(np.clip(symbols, -1000, 1000))
    if np.abs(values).max(initial=0) > MAP_LIMIT:
        raise DamagedStream("a frame's quality map goes beyond what is written")
    return values.astype(np.int8)


_FURTHEST = 1000.0  # far beyond the range in which a bank's gains differ


def mapped(quality: float, quality_map: QualityMap | None, like: Tensor) -> Float[Tensor, "1 blocks"]:
    """Compute the quality of each block.

    Args:
        quality: Quality of the picture. In a damaged header it may be any finite number, even beyond single precision,
            so it is clamped; the banks' gains are constant beyond 1 … 8.
        quality_map: Offsets of the blocks, [blocks]; None for none.
        like: Tensor on the device of the result.
    Returns:
        Quality, [1, blocks]; [1, 1] without a map.
    """
    quality = min(max(float(quality), -_FURTHEST), _FURTHEST)
    if quality_map is None:
        return torch.full((1, 1), quality, device=like.device)
    return (quality + MAP_STEP * torch.from_numpy(quality_map.astype(np.float32)))[None].to(like.device)


def _rows(count: int) -> Tensor:
    return torch.full((count,), KINDS["map"].first, dtype=torch.int64)
