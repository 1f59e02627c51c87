"""Rate figures: rate against quality for each metric, for each clip, and rate against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from deepsphere_codec.evaluation.curves import Ceiling, Curve, draw_ceilings, draw_curves, dress, is_far
from deepsphere_codec.evaluation.labels import label_ends
from deepsphere_codec.evaluation.plots import X_LABEL, broken_axes
from deepsphere_codec.evaluation.report.gather import CEILINGS, Gathered
from deepsphere_codec.evaluation.report.look import CurveStyle, curves_with
from deepsphere_codec.evaluation.report.metric import Metric, in_decibels
from deepsphere_codec.evaluation.report.svg import style
from deepsphere_codec.evaluation.results import Point, Results
from deepsphere_codec.figures.style import SOFT

SIZE = (9.2, 5.2)
RIGHT = 0.79  # share of the width; names are placed to the right of it


class Times(NamedTuple):
    """Kind of time: its name, and its field in points."""

    name: str
    field: str  # name in Point


TIMES = (Times("encode", "encode_seconds"), Times("decode", "decode_seconds"))


def rd_figure(gathered: Gathered, looks: Mapping[str, CurveStyle], metric: Metric) -> Figure | None:
    """Plot mean curves over clips in one metric, and the ceilings.

    Args:
        gathered: All results.
        looks: Styles of the codecs by name.
        metric: Metric to plot.
    Returns:
        Figure; None if no codec has such a curve.
    """
    means = {each.name: in_decibels(each.mean, metric) for each in gathered.all}
    curves, ceilings = curves_with(looks, gathered.codecs, means), ceilings_in(gathered.ceilings, means)
    if not curves:
        return None
    with style():
        figure = Figure(figsize=SIZE)
        figure.subplots_adjust(left=0.085, right=RIGHT, bottom=0.11, top=0.97, hspace=0.07)
        far = is_far(ceilings, curves) and not metric.excess
        top, axes = broken_axes(figure, ceilings) if far else (figure.subplots(),) * 2
        draw_curves(axes, curves, line_width=1.9, marker_size=5.5)
        draw_ceilings(top, ceilings, labelled=True)
        dress(axes)
        axes.set_xlabel(X_LABEL)
        axes.set_ylabel(metric.axis)
        label_ends(figure, axes, curves)
    return figure


def ceilings_in(ceilings: Sequence[Results], points: Mapping[str, Sequence[Point]]) -> list[Ceiling]:
    """Make the ceilings of resampling to the sphere; those of cubemaps, with other resolutions, are in tables only.

    Args:
        ceilings: Results of the ceilings.
        points: Points of each ceiling by name.
    Returns:
        Ceilings.
    """
    return [
        Ceiling(p.quality, p.ws_psnr_yuv) for each in ceilings if each.codec == CEILINGS[0] for p in points[each.name]
    ]


def clips_figure(gathered: Gathered, looks: Mapping[str, CurveStyle], metric: Metric) -> Figure:
    """Plot one panel per clip with the same axes, and one with the legend.

    Args:
        gathered: All results.
        looks: Styles of the codecs by name.
        metric: Metric to plot.
    Returns:
        Figure.
    """
    columns = min(4, len(gathered.clips) + 1)
    rows = -(-(len(gathered.clips) + 1) // columns)
    with style():
        figure = Figure(figsize=(2.9 * columns + 0.4, 2.3 * rows + 0.4), layout="constrained")
        grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
        for axes, clip in zip(grid, gathered.clips, strict=False):
            points = {each.name: in_decibels(each.clips.get(clip, ()), metric) for each in gathered.all}
            draw_curves(axes, curves_with(looks, gathered.codecs, points), line_width=1.4, marker_size=3.6)
            _note(axes, ceilings_in(gathered.ceilings, points))
            dress(axes)
            axes.set_title(clip.rpartition(".")[0] or clip, loc="left", fontsize=9.5, fontweight="bold")
            axes.tick_params(labelbottom=True, labelsize=8)
        for axes in grid[len(gathered.clips) :]:
            axes.set_axis_off()
        named = {
            label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        place = grid[len(gathered.clips)]
        place.legend(list(named.values()), list(named), loc="center left", frameon=False, fontsize=9, handlelength=2.4)
        figure.supxlabel(X_LABEL, fontsize=10)
        figure.supylabel(metric.axis, fontsize=10)
    return figure


def times_figure(gathered: Gathered, looks: Mapping[str, CurveStyle]) -> Figure | None:
    """Plot seconds per frame against rate, mean over clips, with encoding and decoding side by side.

    Args:
        gathered: All results.
        looks: Styles of the codecs by name.
    Returns:
        Figure; None if no times were measured.
    """
    panels = {times.name: _timed(gathered.codecs, looks, times) for times in TIMES}
    if not any(panels.values()):
        return None
    with style():
        figure = Figure(figsize=(10.4, 4.2))
        figure.subplots_adjust(left=0.075, right=0.83, bottom=0.13, top=0.92, wspace=0.08)
        both = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, (name, curves) in zip(both, panels.items(), strict=True):
            draw_curves(axes, curves, line_width=1.7, marker_size=5.0)
            axes.set_yscale("log")
            dress(axes)
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_title(name, loc="left", fontsize=10.5, fontweight="bold")
            axes.set_xlabel(X_LABEL)
        both[0].set_ylabel("seconds per frame")
        label_ends(figure, both[1], panels["decode"] or panels["encode"])
    return figure


def _timed(codecs: Sequence[Results], looks: Mapping[str, CurveStyle], times: Times) -> list[Curve]:
    """Curves with seconds per frame in place of decibels."""
    points = {}
    for each in codecs:
        frames = each.settings.get("frames") or 0
        found = [(point.bpp, getattr(point, times.field)) for point in each.mean]
        points[each.name] = [Point(0.0, bpp, seconds / frames) for bpp, seconds in found if bpp and seconds and frames]
    return curves_with(looks, codecs, points)


def _note(axes: Axes, ceilings: Sequence[Ceiling]) -> None:
    if ceilings:
        decibels = " / ".join(f"{ceiling.decibels:.1f}" for ceiling in ceilings)
        axes.set_title(f"ceiling {decibels} dB", loc="right", fontsize=8, color=SOFT)
