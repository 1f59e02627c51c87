"""Counts of motion-tree symbols, from which the tables of their distributions are built."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from deepsphere_codec.motion.contexts import DELTA, KINDS, ROWS
from deepsphere_codec.motion.contexts import MotionTables as Tables


class SymbolCounter:
    """Symbol writer for `syntax.write_tree` that counts symbols instead of writing them."""

    def __init__(self) -> None:
        self.counts: Int64[np.ndarray, "rows symbols"] = np.zeros((ROWS, 2 * DELTA + 1), np.int64)

    def write(self, symbols: Tensor, rows: Tensor, tables: Tables) -> None:
        """Count symbols; differences beyond their row are ignored.

        Args:
            symbols: Values, [n].
            rows: Row of the table of each symbol, [n].
            tables: Ignored.
        """
        rows_, symbols_ = rows.numpy(), symbols.numpy()
        places = symbols_ + np.where(rows_ >= KINDS["delta"].first, DELTA, 0)
        inside = (places >= 0) & (places <= 2 * DELTA)
        np.add.at(self.counts, (rows_[inside], places[inside]), 1)

    def by_kind(self) -> dict[str, Int64[np.ndarray, "*contexts symbols"]]:
        """Return the counts by kind, [*contexts, symbols] each, for `MotionTables.build_tables`."""
        counts = {}
        for name, kind in KINDS.items():
            rows = self.counts[kind.first : kind.first + kind.count, : kind.symbols]
            counts[name] = rows.reshape(*kind.shape, kind.symbols)
        return counts
