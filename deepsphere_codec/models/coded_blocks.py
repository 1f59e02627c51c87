"""Coding of the flags that tell which blocks of a P- or B-frame have a residual, one per block of 64 x 64 nodes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Int64

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.motion.contexts import KINDS, MotionTables
from deepsphere_codec.motion.tree import BlockGrid

CodedBlocks = Bool[np.ndarray, "images rows columns"]


def write_coded(coded: CodedBlocks, grid: BlockGrid, tables: MotionTables, writer: SymbolWriter) -> None:
    """Code the flags in two passes, as on a chessboard; the first half is the context of the second.

    Args:
        coded: Whether each block has a residual, [images, rows, columns].
        grid: Blocks of the grid.
        tables: Tables of the motion symbols.
        writer: Writer that receives the symbols.
    """
    known = np.zeros_like(coded)
    for where, rows in _passes(grid, known):
        known[where] = coded[where]
        symbols = torch.from_numpy(coded[where].astype(np.int64))
        writer.write(symbols, torch.from_numpy(rows), tables)  # type: ignore[arg-type]


def read_coded(reader: SymbolReader, grid: BlockGrid, tables: MotionTables) -> CodedBlocks:
    """Decode the flags.

    Args:
        reader: Reader of the symbols.
        grid: Blocks of the grid.
        tables: Tables of the motion symbols.
    Returns:
        Whether each block has a residual, [images, rows, columns].
    Raises:
        DamagedStream: a symbol is neither 0 nor 1.
    """
    known = np.zeros(grid.shape(0), bool)
    for where, rows in _passes(grid, known):
        symbols = reader.read(torch.from_numpy(rows), tables).numpy()  # type: ignore[arg-type]
        if symbols.min() < 0 or symbols.max() > 1:
            raise DamagedStream("a block of a frame neither has a residual nor has none")
        known[where] = symbols == 1
    return known


def _passes(grid: BlockGrid, known: CodedBlocks) -> Iterator[tuple[tuple[np.ndarray, ...], Int64[np.ndarray, " n"]]]:
    """Indices and table rows of the two halves, as on a chessboard; the caller fills in `known` between them."""
    _, y, x = np.indices(known.shape)
    for turn in (0, 1):
        where = np.nonzero((y + x) % 2 == turn)
        if len(where[0]):
            beside = grid.flags_around(known, 0).sum(-1)[where]
            yield where, KINDS["coded"].row(turn, beside)
