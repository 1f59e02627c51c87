"""Counts of the symbols of trees, from which the tables of their distributions are made."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from deepsphere_codec.motion.contexts import DELTA, KINDS, ROWS
from deepsphere_codec.motion.contexts import MotionTables as Tables


class SymbolCounter:
    """Counts symbols instead of writing them: a writer for `syntax.write_tree`."""

    def __init__(self) -> None:
        self.counts: Int64[np.ndarray, "rows symbols"] = np.zeros((ROWS, 2 * DELTA + 1), np.int64)

    def write(self, symbols: Tensor, rows: Tensor, tables: Tables) -> None:
        """Count symbols; those beyond a row of differences are left out."""
        rows_, symbols_ = rows.numpy(), symbols.numpy()
        places = symbols_ + np.where(rows_ >= KINDS["delta"].first, DELTA, 0)
        inside = (places >= 0) & (places <= 2 * DELTA)
        np.add.at(self.counts, (rows_[inside], places[inside]), 1)

    def by_kind(self) -> dict[str, Int64[np.ndarray, "*contexts symbols"]]:
        """Counts for `MotionTables.build_tables`."""
        found = {}
        for name, kind in KINDS.items():
            rows = self.counts[kind.first : kind.first + kind.count, : kind.symbols]
            found[name] = rows.reshape(*kind.shape, kind.symbols)
        return found
