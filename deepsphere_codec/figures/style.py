"""Colours and fonts that all figures share."""

from __future__ import annotations

from typing import Any

INK, SOFT, GRID = "#1f2933", "#52606d", "#e4e7eb"
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",  # text stays text: it can be searched and edited
    "svg.hashsalt": "rd",  # with no date either, the same results give the same file
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}
