"""BD-rates of a report: one row for each codec with all metrics, and a figure of the first metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from deepsphere_codec.evaluation.bdrate import MIN_OVERLAP
from deepsphere_codec.evaluation.bootstrap import BdIntervals, Interval, bd_intervals
from deepsphere_codec.evaluation.report.gather import Gathered
from deepsphere_codec.evaluation.report.look import CurveStyle
from deepsphere_codec.evaluation.report.metric import Metric
from deepsphere_codec.evaluation.report.svg import style
from deepsphere_codec.evaluation.results import Results
from deepsphere_codec.figures.style import GRID, INK, SOFT

TICKS = (-90, -80, -70, -50, -30, 0, 50, 100, 200, 400, 900, 1900)  # per cent
DOUBLINGS = (-94, -88, -75, -50, 0, 100, 300, 700, 1500, 3100)  # per cent, if TICKS would be too close
WIDE = 4.0  # doublings


class BdTable(NamedTuple):
    """BD-rates against one codec.

    Attributes:
        anchor: Name of the codec to compare with.
        metrics: Metrics that have a BD-rate.
        rows: BD-rates of each other codec by metric.
    """

    anchor: str
    metrics: list[Metric]
    rows: dict[str, dict[str, BdIntervals]]

    def main(self, name: str) -> BdIntervals:
        """Return the BD-rates of a codec in the first metric."""
        return self.rows[name][self.metrics[0].field]


def bd_table(gathered: Gathered, metrics: Sequence[Metric], anchor: str) -> BdTable | None:
    """Compute BD-rates of all codecs against the anchor.

    Args:
        gathered: All results.
        metrics: Metrics to compare in.
        anchor: Name of the anchor on the command line.
    Returns:
        BD-rates; None if the anchor is missing or there is no other codec.
    """
    compared = gathered.codec(anchor)
    others = [each for each in gathered.codecs if each is not compared]
    if compared is None or not others:
        return None
    fit = [metric for metric in metrics if not metric.excess]
    return BdTable(compared.name, fit, {each.name: _row(compared, each, fit) for each in others})


def _row(anchor: Results, test: Results, metrics: Sequence[Metric]) -> dict[str, BdIntervals]:
    return {metric.field: bd_intervals(anchor, test, metric.field) for metric in metrics}


def percent(value: float | None) -> str:
    """Format a percentage with its sign."""
    return "–" if value is None else f"{value:+.1f} %".replace("-", "−")


def interval_text(interval: Interval | None) -> tuple[str, str]:
    """Format an interval as the estimate, and the range in brackets."""
    if interval is None:
        return "–", ""
    ends = "" if interval.low is None else f"[{interval.low:+.0f}, {interval.high:+.0f}]".replace("-", "−")
    return percent(interval.estimate), ends


def is_partial(row: BdIntervals) -> bool:
    """Check whether the curves overlap so little that the BD-rate covers only a part of them."""
    return row.mean_curve.overlap < MIN_OVERLAP


def bd_figure(table: BdTable, looks: Mapping[str, CurveStyle]) -> Figure | None:
    """Plot each codec's BD-rate with its interval, and those of its clips as dots.

    Args:
        table: BD-rates.
        looks: Styles of the codecs by name.
    Returns:
        Figure; None if no codec has a BD-rate.
    """
    found = {name: table.main(name) for name in table.rows}
    rows = [(name, row) for name, row in found.items() if row.mean_of_clips.pchip is not None]
    if not rows:
        return None
    with style():
        figure = Figure(figsize=(9.2, 0.9 + 0.5 * len(rows)))
        figure.subplots_adjust(left=0.17, right=0.74, top=0.98, bottom=0.62 / (0.9 + 0.5 * len(rows)))
        axes = figure.subplots()
        for place, (name, row) in enumerate(rows):
            _draw_row(axes, place, row, looks[name])
        axes.axvline(0, color=INK, linewidth=1.1, zorder=2)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=10)
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"BD-rate against {table.anchor}, {table.metrics[0].name}; further left is fewer bits")
        _dress(axes)
    return figure


def _draw_row(axes: Axes, place: int, row: BdIntervals, look: CurveStyle) -> None:
    interval = row.mean_of_clips.pchip
    assert interval is not None
    each = [_position(bd.pchip) for bd in row.per_clip.values() if bd.pchip is not None]
    axes.scatter(each, [place + 0.24] * len(each), s=15, color=look.colour, alpha=0.5, linewidths=0, zorder=3)
    if interval.low is not None and interval.high is not None:
        ends = [_position(interval.low), _position(interval.high)]
        axes.plot(ends, [place, place], color=look.colour, linewidth=3.2, solid_capstyle="round", zorder=4)
    axes.plot(
        [_position(interval.estimate)],
        [place],
        marker=look.marker,
        markersize=8,
        color=look.colour,
        markeredgecolor="white",
        markeredgewidth=1.2,
        zorder=5,
    )
    part = f", on {row.mean_curve.overlap:.0%} of the dB" if is_partial(row) else ""
    text = " ".join(filter(None, interval_text(interval))) + part
    axes.annotate(text, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=SOFT)


def _position(value: float) -> float:
    """Position on a logarithmic axis, on which double and half the bits are equally far from equality."""
    return math.log2(max(1 + value / 100, 1e-3))


def _dress(axes: Axes) -> None:
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, _position(-30)), max(high, _position(50)))
    low, high = axes.get_xlim()
    ticks = DOUBLINGS if high - low > WIDE else TICKS
    labels = {_position(tick): f"{tick:+d} %".replace("-", "−") if tick else "0" for tick in ticks}
    axes.xaxis.set_major_locator(FixedLocator(sorted(labels)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: labels[min(labels, key=lambda at: abs(at - place))]))
    axes.grid(True, axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
