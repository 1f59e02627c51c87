"""Contexts of a motion tree's symbols, and the tables of their distributions.

A context is an integer that the decoder knows; it selects a row of one table, whose frequencies were counted on
training films (`scripts/count_motion.py`). All rows lie in one table, kind after kind:

    kind    symbols                       contexts
    split   0, 1                          half, level, neighbours that differ, earlier tree deeper, neighbours split
    merge   0 first, 1 second, 2 neither  two references, level, votes for the first, whether there is a second
    mode    FIRST, SECOND, MEAN           mode of the first candidate
    blur    0 … BLURS - 1                 blur of the first candidate
    delta   -DELTA … DELTA, or escape     two references, coarse or fine, spread of the candidates, the other component
    map     -DELTA … DELTA, or escape     none: differences of a quality map, block after block
    coded   0, 1                          half, neighbours that have a residual (0 in the first half)
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from deepsphere_codec.entropy.coder import TOTAL, Tables
from deepsphere_codec.motion.tree import BLURS, LAST

DELTA = 24
SPLIT_SHAPE = (2, LAST, 5, 3, 5)
MERGE_SHAPE = (2, LAST + 1, 6, 2)
MODE_SHAPE = (3,)
BLUR_SHAPE = (BLURS,)
CODED_SHAPE = (2, 5)
CODED = ((0.15, 0.15, 0.15, 0.15, 0.15), (0.03, 0.15, 0.4, 0.7, 0.95))
"""Probability that a block has a residual, by context."""
DELTA_SHAPE = (2, 2, 5, 4)
"""Axes of the delta contexts; the last is 0 for the first component, else 1 + the first one's class (0, 1-2, more)."""

_KINDS = {
    "split": (SPLIT_SHAPE, 2),
    "merge": (MERGE_SHAPE, 3),
    "mode": (MODE_SHAPE, 3),
    "blur": (BLUR_SHAPE, BLURS),
    "delta": (DELTA_SHAPE, 2 * DELTA + 1),
    "map": ((1,), 2 * DELTA + 1),
    "coded": (CODED_SHAPE, 2),
}
COUNTS = Path(__file__).parent / "counts.npz"
"""File with the counts on training films: per kind an array [*contexts, symbols]."""


class Kind:
    """One kind of symbol and its rows in the table.

    Args:
        first: First row of the kind in the table.
        shape: Numbers of contexts along each axis.
        symbols: Number of symbols.
        offset: Value of the first symbol.
    """

    def __init__(self, first: int, shape: tuple[int, ...], symbols: int, offset: int) -> None:
        self.first, self.shape, self.symbols, self.offset = first, shape, symbols, offset
        self.count = int(np.prod(shape))

    def row(self, *context: np.ndarray | int) -> Int64[np.ndarray, " n"]:
        """Return the table rows, [n], of contexts given axis by axis (broadcast)."""
        parts = np.broadcast_arrays(*context)
        return self.first + np.ravel_multi_index([np.asarray(part, np.int64) for part in parts], self.shape)


def _kinds() -> dict[str, Kind]:
    kinds, first = {}, 0
    for name, (shape, symbols) in _KINDS.items():
        kinds[name] = Kind(first, shape, symbols, -DELTA if symbols > DELTA else 0)
        first += kinds[name].count
    return kinds


KINDS = _kinds()
ROWS = sum(kind.count for kind in KINDS.values())


class MotionTables(nn.Module):
    """Tables of a model's motion symbols: integer buffers stored with its weights, as in `entropy.coder.Tables`."""

    tree_cdf: Tensor
    tree_length: Tensor
    tree_offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        for part in ("cdf", "length", "offset"):
            self.register_buffer(f"tree_{part}", torch.zeros(0, dtype=torch.int32))

    def build_tables(self, counts: dict[str, np.ndarray] | None = None) -> None:
        """Build the tables from counts of symbols by kind, [*contexts, symbols] each; None takes the package's own."""
        if counts is None:
            counts = dict(np.load(COUNTS)) if COUNTS.exists() else {}
        share = 10_000 * np.array(CODED)
        counts = counts | {"coded": np.stack([10_000 - share, share], -1)}
        rows = [row for name in KINDS for row in _distributions(name, counts.get(name))]
        longest = max(map(len, rows))
        cdf = np.zeros((len(rows), longest), np.int32)
        for target, row in zip(cdf, rows, strict=True):
            target[: len(row)] = row
        self.tree_cdf = torch.from_numpy(cdf)
        self.tree_length = torch.tensor([len(row) for row in rows], dtype=torch.int32)
        self.tree_offset = torch.tensor([k.offset for k in KINDS.values() for _ in range(k.count)], dtype=torch.int32)
        for name in ("_lists", "bits"):  # cached values of the previous tables
            self.__dict__.pop(name, None)

    def check_tables(self) -> None:
        """Check that the tables have the layout that `build_tables` makes, with every kind of symbol in its rows.

        Raises:
            ValueError: they have another layout.
        """
        length, offset = self.tree_length, self.tree_offset
        Tables(self.tree_cdf, length, offset).check("tree", ROWS)
        for name, kind in KINDS.items():
            rows = slice(kind.first, kind.first + kind.count)
            if not bool((length[rows] == kind.symbols + 2).all() and (offset[rows] == kind.offset).all()):
                raise ValueError(f"the table tree has other symbols than those of {name}")

    def lists(self) -> tuple[list[list[int]], list[int], list[int]]:
        """Return rows, lengths and offsets as lists for the coder."""
        return self._lists

    @cached_property
    def _lists(self) -> tuple[list[list[int]], list[int], list[int]]:
        assert self.tree_cdf.numel(), "the tables are not built: call build_tables() after training"
        length = self.tree_length.tolist()
        rows = [row[:n] for row, n in zip(self.tree_cdf.tolist(), length, strict=True)]
        return rows, length, self.tree_offset.tolist()

    @cached_property
    def bits(self) -> np.ndarray:
        """Cost of each symbol in bits, [rows, symbols]; for a delta beyond its row the escape symbol's cost alone."""
        cost = np.full((ROWS, 2 * DELTA + 2), 40.0)
        for target, row in zip(cost, self._lists[0], strict=True):
            target[: len(row) - 1] = -np.log2(np.diff(row) / TOTAL)
        return cost


def _distributions(name: str, counts: np.ndarray | None) -> list[list[int]]:
    """Cumulative frequencies of each row of a kind; the last symbol is the escape for values beyond the row."""
    kind = KINDS[name]
    prior = _prior(name)
    rows = []
    counts = np.zeros((*kind.shape, kind.symbols)) if counts is None else counts
    overall = counts.reshape(-1, kind.symbols).sum(0) + 16 * prior
    overall = overall / overall.sum()
    for row in counts.reshape(-1, kind.symbols):
        share = (row + 8 * overall) / (row.sum() + 8)
        escape = 2e-3 if kind.offset else 0.0
        rows.append(_cumulative(np.append(share * (1 - escape), escape)))
    return rows


def _prior(name: str) -> np.ndarray:
    """Prior distribution of a kind's symbols, used where nothing was counted."""
    if KINDS[name].offset:
        share = 1 / (1 + np.abs(np.arange(-DELTA, DELTA + 1))) ** 1.3
    else:
        share = 0.6 ** np.arange(KINDS[name].symbols)
    return share / share.sum()


def _cumulative(share: np.ndarray) -> list[int]:
    """16-bit cumulative frequencies, none of them zero."""
    frequency = np.maximum(1, np.floor(share * (TOTAL - len(share)))).astype(np.int64)
    frequency[frequency.argmax()] += TOTAL - frequency.sum()
    return [0, *np.cumsum(frequency).tolist()]
