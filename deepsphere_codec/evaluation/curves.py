"""Elements of rate-distortion figures: curves, axes, and ceilings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from deepsphere_codec.evaluation.results import Point, Results
from deepsphere_codec.figures.style import GRID, SOFT
from deepsphere_codec.runtime.extras import optional_imports

with optional_imports():
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
    from matplotlib.transforms import Bbox

CEILING, CUBEMAP_CEILING = "ceiling", "cubemap-ceiling"
# Classical codecs have cool greys and blues, so that the models stand out.
ANCHOR_COLOURS = {
    "x264": "#9aa5b1",
    "x264-zerolatency": "#c3cad3",
    "x265": "#323f4b",
    "x265-zerolatency": "#7ea6c9",
    "x265-cubemap": "#627d98",
    "svtav1": "#2b6cb0",
    "vp9": "#4a90a4",
    "vvenc": "#1b4d6b",
    "vtm": "#102a43",
}
# Chosen so that they, and the commonest classical codecs beside them, stay apart for every kind of colour blindness
# (CIELAB distance of at least 12 after the simulation of Machado et al., IEEE TVCG 15(6), 2009).
MODEL_COLOURS = ("#d1495b", "#e3a21a", "#1fa187", "#b667f1", "#7a1f1f")

RATE_STEPS = (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)
"""Factors of the rates with a tick within a decade; the first set whose labels fit is used."""
TICK_GAP = 4.0  # smallest distance of their labels, pixels

FAR = 0.2  # as a share of the curves' range: a ceiling farther above would compress them


class Curve(NamedTuple):
    """Rate-distortion curve of one codec with its style."""

    name: str
    colour: str
    is_model: bool
    points: Sequence[Point]  # sorted by rate
    marker: str = "o"


class Ceiling(NamedTuple):
    """Quality after resampling alone: resolution, and WS-PSNR-YUV in dB."""

    nside: float
    decibels: float


def curves_of(results: Sequence[Results], points: Mapping[str, Sequence[Point]]) -> list[Curve]:
    """Make the curves of codecs; ceilings are left out.

    Args:
        results: Results of the codecs.
        points: Points of each codec by name.
    Returns:
        Curves with points sorted by rate.
    """
    drawn = [each for each in results if each.codec not in (CEILING, CUBEMAP_CEILING)]
    models = [each.name for each in drawn if each.codec not in ANCHOR_COLOURS]
    curves = []
    for each in drawn:
        with_rate = sorted((p for p in points[each.name] if p.bpp), key=lambda p: p.bpp or 0.0)
        if not with_rate:
            continue
        is_model = each.codec not in ANCHOR_COLOURS
        models_colour = MODEL_COLOURS[models.index(each.name) % len(MODEL_COLOURS)] if is_model else ""
        curves.append(Curve(each.name, ANCHOR_COLOURS.get(each.codec, models_colour), is_model, with_rate))
    return curves


def ceilings_of(results: Sequence[Results], points: Mapping[str, Sequence[Point]]) -> list[Ceiling]:
    """Make the ceilings among the results.

    Args:
        results: Results of the codecs.
        points: Points of each codec by name.
    Returns:
        Ceilings.
    """
    ceilings = [point for each in results if each.codec == CEILING for point in points[each.name]]
    return [Ceiling(point.quality, point.ws_psnr_yuv) for point in ceilings]


def is_far(ceilings: Sequence[Ceiling], curves: Sequence[Curve]) -> bool:
    """Check whether the ceilings lie so far above the curves that common axes would compress the curves.

    Args:
        ceilings: Ceilings.
        curves: Curves.
    Returns:
        Whether the ceilings need axes of their own.
    """
    decibels = [point.ws_psnr_yuv for curve in curves for point in curve.points]
    top, bottom = max(decibels), min(decibels)
    return bool(ceilings) and min(ceiling.decibels for ceiling in ceilings) > top + FAR * (top - bottom)


def draw_curves(axes: Axes, curves: Sequence[Curve], *, line_width: float, marker_size: float = 5.0) -> None:
    """Draw curves with their points; those of models are wider and on top.

    Args:
        axes: Axes to draw on.
        curves: Curves.
        line_width: Width of lines in points.
        marker_size: Size of markers in points.
    """
    for curve in curves:
        axes.semilogx(
            [point.bpp for point in curve.points],
            [point.ws_psnr_yuv for point in curve.points],
            color=curve.colour,
            marker=curve.marker,
            markersize=marker_size,
            markeredgecolor="white",
            markeredgewidth=marker_size * 0.15,
            linewidth=line_width * (1.35 if curve.is_model else 1.0),
            zorder=4 if curve.is_model else 3,
            label=curve.name,
        )


def draw_ceilings(axes: Axes, ceilings: Sequence[Ceiling], *, labelled: bool) -> None:
    """Draw a dashed line for each ceiling.

    Args:
        axes: Axes to draw on.
        ceilings: Ceilings.
        labelled: Whether to write the ceiling's name above the line.
    """
    for nside, decibels in ceilings:
        axes.axhline(decibels, color=SOFT, linestyle=(0, (6, 4)), linewidth=1.2, zorder=2, label=ceiling_name(nside))
        if labelled:
            text, place = f"{ceiling_name(nside)}: {decibels:.1f} dB", (0.01, decibels)
            axes.annotate(text, place, (0, 4), axes.get_yaxis_transform(), "offset points", color=SOFT, fontsize=9)


def ceiling_name(nside: float) -> str:
    """Return the name of a ceiling in figures."""
    return f"resampling ceiling, nside {nside:g}"


def dress(axes: Axes) -> None:
    """Set a light grid, and rates as plain numbers."""
    axes.grid(True, which="major", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(LogLocator(subs=RATE_STEPS[0]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="both", length=3)
    axes.tick_params(which="minor", length=0)


def space_rates(figure: Figure, axes: Axes) -> None:
    """Leave out rates whose labels would overlap; axes that share their rates with these follow.

    Args:
        figure: Figure of the axes.
        axes: Axes with rates along x.
    """
    for steps in RATE_STEPS:
        axes.xaxis.set_major_locator(LogLocator(subs=steps))
        figure.draw_without_rendering()
        boxes = rate_boxes(axes)
        if all(right.x0 - left.x1 >= TICK_GAP for left, right in pairwise(boxes)):
            return


def rate_boxes(axes: Axes) -> list[Bbox]:
    """Return the bounding boxes of the visible rate labels, from left to right."""
    low, high = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    return [label.get_window_extent() for value, label in ticks if low <= value <= high]
