"""The figure of a comparison at equal processor time, from its results alone: the loss that each choice has reached."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.labels import spread
from deepsphere_codec.evaluation.plots import figure_path, save_figure
from deepsphere_codec.figures.style import GRID, SOFT, STYLE
from studies.ablation.figure import COLOURS, FRAMES
from studies.ablation.tables import PARTS

OTHER = "#8d6a9f"  # of filters that the figure of convolutions does not have
LABEL_POINTS = 12.0  # least distance of two names


class Line(NamedTuple):
    """The mean over the seeds of one choice; seconds and losses in pairs."""

    name: str
    seconds: list[float]
    losses: list[float]


def plot_equal_time(results: dict[str, Any], path: str | Path) -> None:
    """Loss of held-out frames against seconds of training: a panel for each part, a line for each choice.

    Choices with Adam are dashed.

    Raises:
        UsageError: the ending is neither .svg nor .png, or there is nothing to draw.
    """
    path = figure_path(path)
    parts = {part: lines for part in PARTS if (lines := _lines(results.get(part)))}
    if not parts:
        raise UsageError("there is nothing to draw: no choice was measured")
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "equal time"}):
        figure = Figure(figsize=(6.6 * len(parts), 4.8))
        figure.subplots_adjust(left=0.09, right=0.78 if len(parts) == 1 else 0.86, bottom=0.12, top=0.88, wspace=0.62)
        for axes, (part, lines) in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts.items(), strict=True):
            for line in lines:
                axes.plot(line.seconds, line.losses, **_style(line.name), marker="o", markersize=3.5, linewidth=1.4)
            axes.set_title(f"{FRAMES[part]}: loss of patches of test clips", loc="left", fontsize=10, fontweight="bold")
            axes.set_xlabel("seconds of one core")
            _dress(axes)
            _name(figure, axes, lines)
        save_figure(figure, path)


def _lines(part: dict[str, Any] | None) -> list[Line]:
    lines = []
    for variant in part["variants"] if part else []:
        moments = list(zip(*(run["moments"] for run in variant["runs"]), strict=False))  # those that all seeds reached
        seconds = [float(each[0]["after"]) for each in moments]
        losses = [fmean(run["loss"] for run in each) for each in moments]
        if seconds:
            lines.append(Line(variant["name"], seconds, losses))
    return lines


def _style(name: str) -> dict[str, Any]:
    family = next((family for family in COLOURS if name.lower().startswith(family)), "")
    return {"color": COLOURS.get(family, OTHER), "linestyle": "--" if "Adam" in name else "-"}


def _dress(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=[1, 1.2, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)


def _name(figure: Figure, axes: Axes, lines: list[Line]) -> None:
    """Each choice's name and last loss beside the end of its line, and when that was if others went on."""
    latest = max(line.seconds[-1] for line in lines)
    figure.draw_without_rendering()  # the scales are settled now
    per_point = 72 / figure.dpi
    ends = sorted(lines, key=lambda line: line.losses[-1])
    places = [axes.transData.transform((line.seconds[-1], line.losses[-1])) * per_point for line in ends]
    heights = spread([y for _, y in places], LABEL_POINTS)
    right = axes.bbox.x1 * per_point
    for line, (x, y), shown in zip(ends, places, heights, strict=True):
        axes.annotate(
            _label(line, latest),
            (line.seconds[-1], line.losses[-1]),
            (right - x + 6, shown - y),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=_style(line.name)["color"],
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": _style(line.name)["color"], "linewidth": 0.5, "shrinkB": 4},
        )


def _label(line: Line, latest: float) -> str:
    ended = "" if line.seconds[-1] == latest else f" after {line.seconds[-1]:.0f} s"
    return f"{line.name}  {line.losses[-1]:.4f}{ended}"
