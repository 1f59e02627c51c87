"""Figure of a study: panels of series, each with its name at the right, connected to its end by a thin line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.labels import LabelledPoint, label_points, spread
from deepsphere_codec.evaluation.plots import figure_path, save_figure
from deepsphere_codec.figures.style import GRID, SOFT, STYLE

FRAMES = {"intra": "I-frames", "inter": "P-frames"}
COLOURS = {"directional": "#323f4b", "chebyshev": "#2b6cb0", "gated": "#2a9d8f", "hybrid": "#d1495b"}
OTHER = "#8d6a9f"
LABEL_POINTS = 12.0  # smallest distance of two names


class Series(NamedTuple):
    """One variant in a panel.

    Attributes:
        name: Name of the variant, which determines its colour; lines of variants with Adam are dashed.
        label: Text beside its end.
        x: Horizontal coordinates of its points.
        y: Vertical coordinates of its points.
        bars: Smallest and largest value over seeds at each point; empty for no bars.
    """

    name: str
    label: str
    x: list[float]
    y: list[float]
    bars: Sequence[tuple[float, float]] = ()

    @property
    def style(self) -> dict[str, Any]:
        """Colour by convolution, line style by optimiser."""
        colour = next((COLOURS[each] for each in COLOURS if self.name.lower().startswith(each)), OTHER)
        return {"color": colour, "linestyle": "--" if "Adam" in self.name else "-"}


class Panel(NamedTuple):
    """Axes of a figure; values are per cent, or on a logarithmic scale."""

    title: str
    x_label: str
    series: Sequence[Series]
    percent: bool = False


def plot_panels(rows: Sequence[Sequence[Panel]], path: str | Path, title: str = "") -> None:
    """Draw panels in rows of equal length.

    Args:
        rows: Panels by row.
        path: File to write, ends in .svg or .png.
        title: Title of the figure; empty for none.
    Raises:
        UsageError: the file has another ending, or there is nothing to draw.
    """
    path = figure_path(path)
    if not any(panel.series for row in rows for panel in row):
        raise UsageError("there is nothing to draw: no variant was measured")
    columns, height = len(rows[0]), 4.8 * len(rows)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "equal time"}):
        figure = Figure(figsize=(6.6 * columns, height))
        right = 0.78 if columns == 1 else 0.86
        edges = {"bottom": 0.576 / height, "top": 1 - 0.576 / height, "left": 0.09, "right": right}
        beside = any(len(each.x) > 1 for row in rows for panel in row for each in panel.series)
        figure.subplots_adjust(**edges, wspace=0.62 if beside else 0.2, hspace=0.3)
        grid = figure.subplots(len(rows), columns, squeeze=False)
        if title:
            figure.suptitle(title, x=0.02, y=1, ha="left", fontsize=11, fontweight="bold")
        for axes, panel in zip(grid.flat, (panel for row in rows for panel in row), strict=True):
            for each in panel.series:
                axes.plot(each.x, each.y, **each.style, marker="o", markersize=3.5, linewidth=1.4)
                for x, (low, high) in zip(each.x, each.bars, strict=False):
                    axes.vlines(x, low, high, color=each.style["color"], linewidth=1.2)
            axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold")
            axes.set_xlabel(panel.x_label)
            _dress(axes, panel.percent)
            _label(figure, axes, panel.series)
        save_figure(figure, path)


def _dress(axes: Axes, percent: bool) -> None:
    if percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g} %" if value else "0 %"))
        axes.axhline(0, color=SOFT, linewidth=1.0)
    else:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=[1, 1.2, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)


def _obstacles(axes: Axes, series: Sequence[Series]) -> list[Bbox]:
    """Find the areas that labels must leave free: points, and small boxes along bars and the line of zero."""
    half = 3.5 * axes.figure.dpi / 72
    spots = [(*axes.transData.transform((each.x[0], each.y[0])), half) for each in series]
    lines = [((each.x[0], low), (each.x[0], high)) for each in series for low, high in each.bars]
    lines.append(((axes.get_xlim()[0], 0.0), (axes.get_xlim()[1], 0.0)))
    for line in lines:
        start, end = axes.transData.transform(line)
        spots += [(*(start + (end - start) * step), 1.0) for step in np.linspace(0, 1, 200)]
    return [Bbox([[x - reach, y - reach], [x + reach, y + reach]]) for x, y, reach in spots]


def _label(figure: Figure, axes: Axes, series: Sequence[Series]) -> None:
    """Write the labels: beside single points, otherwise beside the axes, as near to the ends as possible."""
    figure.draw_without_rendering()  # finalises the scales
    if all(len(each.x) == 1 for each in series):
        points = [LabelledPoint(each.label, each.x[0], each.y[0], each.style["color"]) for each in series]
        label_points(axes, points, _obstacles(axes, series))
        return
    per_point = 72 / figure.dpi
    ends = sorted(series, key=lambda each: each.y[-1])
    places = [axes.transData.transform((each.x[-1], each.y[-1])) * per_point for each in ends]
    right = axes.bbox.x1 * per_point
    for each, (x, y), shown in zip(ends, places, spread([y for _, y in places], LABEL_POINTS), strict=True):
        colour = each.style["color"]
        axes.annotate(
            each.label,
            (each.x[-1], each.y[-1]),
            (right - x + 6, shown - y),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=colour,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkB": 4},
        )
