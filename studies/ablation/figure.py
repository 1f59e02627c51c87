"""The figure of an ablation, from its results alone: what each convolution saves, and the time it takes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.labels import LabelledPoint, label_points
from deepsphere_codec.evaluation.plots import figure_path, save_figure
from deepsphere_codec.figures.style import GRID, SOFT, STYLE
from studies.ablation.tables import PARTS
from studies.convolutions.results import MOMENTS

TITLES = {"equal_steps": "after equal steps", "equal_time": "after equal training time"}
FRAMES = {"intra": "I-frames", "inter": "P-frames"}
COLOURS = {"directional": "#323f4b", "chebyshev": "#2b6cb0", "gated": "#2a9d8f", "hybrid": "#d1495b"}
MARKER = 7.0  # across, in points


class Dot(NamedTuple):
    name: str
    family: tuple[str, int]  # kind and neighbours; K differs within one
    milliseconds: float
    rate: float  # BD-rate in per cent, mean over seeds
    low: float
    high: float


def plot_ablation(results: dict[str, Any], path: str | Path) -> None:
    """BD-rate against milliseconds a frame: a row for I- and one for P-frames, a column for each moment.

    A bar leads from the best seed to the worst; a line through filters that differ in their taps only.

    Raises:
        UsageError: the ending is neither .svg nor .png, or there is nothing to draw.
    """
    path = figure_path(path)
    if not any(_dots(results, part, moment) for part in PARTS for moment in MOMENTS):
        raise UsageError("there is nothing to draw: no variant has a BD-rate")
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "ablation"}):
        figure = Figure(figsize=(9.6, 7.4))
        figure.subplots_adjust(left=0.09, right=0.99, bottom=0.09, top=0.9, hspace=0.27, wspace=0.06)  # for the labels
        grid = figure.subplots(len(PARTS), len(MOMENTS), sharex="row", sharey="row", squeeze=False)
        for row, part in zip(grid, PARTS, strict=True):
            for axes, moment in zip(row, MOMENTS, strict=True):
                _draw(axes, _dots(results, part, moment))
                axes.set_title(f"{FRAMES[part]}, {TITLES[moment]}", loc="left", fontsize=10, fontweight="bold")
            row[0].set_ylabel("BD-rate (lower is better)")
        figure.supxlabel(_time_label(results), fontsize=10)
        figure.suptitle(_title(results), x=0.02, ha="left", fontsize=11, fontweight="bold")
        figure.draw_without_rendering()  # the scales are settled now
        for axes, (part, moment) in zip(grid.flat, [(p, m) for p in PARTS for m in MOMENTS], strict=True):
            dots = _dots(results, part, moment)
            points = [LabelledPoint(dot.name, dot.milliseconds, dot.rate, COLOURS[dot.family[0]]) for dot in dots]
            label_points(axes, points, _obstacles(axes, dots))
        save_figure(figure, path)


def _dots(results: dict[str, Any], part: str, moment: str) -> list[Dot]:
    """Of the variants that have a BD-rate, those of a family side by side."""
    dots = []
    for variant in results["variants"]:
        rate, config = variant[part][f"bd_rate_{moment}"], variant["config"]
        if rate["mean"] is not None:
            family = config["kinds"][0], config["neighbors"]
            low, high = min(rate["per_seed"]), max(rate["per_seed"])
            dots.append(Dot(variant["name"], family, variant["milliseconds"][part], rate["mean"], low, high))
    return sorted(dots, key=lambda dot: (dot.family, dot.milliseconds))


def _draw(axes: Axes, dots: Sequence[Dot]) -> None:
    for family, members in groupby(dots, lambda dot: dot.family):
        some, colour = list(members), COLOURS[family[0]]
        x, y = [dot.milliseconds for dot in some], [dot.rate for dot in some]
        axes.plot(x, y, color=colour, linewidth=1.0, alpha=0.5, zorder=3)
        axes.vlines(x, [dot.low for dot in some], [dot.high for dot in some], color=colour, linewidth=1.2, zorder=3)
        axes.plot(x, y, "o", color=colour, markersize=MARKER, markeredgecolor="white", markeredgewidth=0.9, zorder=4)
    axes.axhline(0, color=SOFT, linewidth=1.0, zorder=2)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=3)
    axes.margins(0.16, 0.14)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g} %" if value else "0 %"))


def _obstacles(axes: Axes, dots: Sequence[Dot]) -> list[Bbox]:
    """What labels must leave free: dots, and small boxes all along bars and lines."""
    half = MARKER / 2 * axes.get_figure().dpi / 72  # type: ignore[union-attr]
    lines = [((dot.milliseconds, dot.low), (dot.milliseconds, dot.high)) for dot in dots]
    lines += [
        ((one.milliseconds, one.rate), (two.milliseconds, two.rate))
        for one, two in pairwise(dots)
        if one.family == two.family
    ]
    lines.append(((axes.get_xlim()[0], 0.0), (axes.get_xlim()[1], 0.0)))
    spots = [(*axes.transData.transform((dot.milliseconds, dot.rate)), half) for dot in dots]
    for line in lines:
        start, end = axes.transData.transform(line)
        spots += [(*(start + (end - start) * step), 1.0) for step in np.linspace(0, 1, 200)]
    return [Bbox([[x - reach, y - reach], [x + reach, y + reach]]) for x, y, reach in spots]


def _time_label(results: dict[str, Any]) -> str:
    settings = results["settings"]
    return f"milliseconds a frame, whole sphere at nside {settings['nside']}, one thread, without entropy coding"


def _title(results: dict[str, Any]) -> str:
    seeds = len(results["variants"][0]["intra"]["equal_steps"])
    return (
        f"What a convolution is worth: rate against {results['settings']['anchor']}, mean of {seeds} seeds (bar: each)"
    )
