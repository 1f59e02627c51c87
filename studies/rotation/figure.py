"""Figure of the effect of rotations on codecs, from the results alone; SVG or PNG by suffix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.curves import ANCHOR_COLOURS, MODEL_COLOURS
from deepsphere_codec.evaluation.plots import figure_path, save_figure
from deepsphere_codec.figures.style import GRID, INK, SOFT, STYLE
from deepsphere_codec.metrics.psnr import MAX_DB
from studies.rotation.results import ClipRotations, CodecRotations, RotationResults
from studies.rotation.set import POLES, SLIGHT
from studies.rotation.summary import RotationPoint, Spreads, equal_rate

ROW_FILL = 0.62  # share of a row's height for its dots


class Mark(NamedTuple):
    name: str
    marker: str
    size: float  # diameter in points
    edge: float  # line width
    hollow: bool
    order: int


PLAIN = Mark("a rotation of a clip", "o", 4.7, 0.5, False, 3)
WHOLE = Mark("one that needs no resampling", "o", 4.4, 1.3, True, 4)
POLE = Mark("one that brings the busiest region to a pole", "D", 5.6, 0.9, False, 5)
MARKS = (PLAIN, WHOLE, POLE)


class Dot(NamedTuple):
    mark: Mark
    change: float  # difference from the reference rotation


class Panel(NamedTuple):
    title: str
    axis: str
    values: Callable[[ClipRotations], Sequence[float]]
    note: Callable[[Spreads], str]  # text of the spread


def _decibels(clip: ClipRotations) -> list[float]:
    return [each.ws_psnr_yuv for each in clip.rotations]


def _per_cent(clip: ClipRotations) -> list[float]:
    return [100 * each.bpp / clip.rotations[_base(clip)].bpp for each in clip.rotations]


def _at_equal_rate(clip: ClipRotations) -> list[float]:
    return [] if clip.slope is None else equal_rate(clip.rotations, clip.slope)


def _base(clip: ClipRotations) -> int:
    """Index of the reference rotation: the slight rotation, which involves resampling like the others, or the first."""
    labels = [each.label for each in clip.rotations]
    return labels.index(SLIGHT) if SLIGHT in labels else 0


PANELS = (
    Panel("Quality", "change in WS-PSNR-YUV, dB", _decibels, lambda s: f"{s.ws_psnr_yuv_spread:.2f} dB"),
    Panel("Rate", "change in bits per pixel, %", _per_cent, lambda s: f"{100 * s.bpp_spread:.0f} %"),
    Panel(
        "Quality at equal rate",
        "change in WS-PSNR-YUV, dB",
        _at_equal_rate,
        lambda s: f"{s.equal_rate_spread or 0:.2f} dB",
    ),
)


def plot_rotations(results: RotationResults, path: str | Path) -> None:
    """Plot one row for each codec, with one dot for each rotation of each clip: the change from the slight rotation.

    Dots of a row are sorted in increasing order. The spreads are those of rotations with resampling. Rotations without
    resampling are not comparable: their films keep the finest detail, and are harder to code.

    Args:
        results: Results of the study.
        path: File to write, ends in .svg or .png.
    Raises:
        UsageError: the file has another ending, or there is nothing to draw.
    """
    path = figure_path(path)
    codecs = {name: codec for name, codec in results.codecs.items() if _clips(codec)}
    if not codecs:
        raise UsageError("there is nothing to draw: no codec was measured under rotations")
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "rotation"}):
        figure = Figure(figsize=(10.4, 1.9 + 1.0 * len(codecs)), layout="constrained")
        all_axes = figure.subplots(1, len(PANELS), sharey=True)
        for axes, panel in zip(all_axes, PANELS, strict=True):
            for row, name in enumerate(codecs):
                _draw_row(axes, row, codecs[name], panel, _colour(name, list(codecs)))
            _dress(axes, panel, len(codecs))
            for row, codec in enumerate(codecs.values()):
                _note_spread(axes, row, codec, panel)
        all_axes[0].set_yticks(range(len(codecs)), [_row_name(name, codec) for name, codec in codecs.items()])
        _legend(figure)
        figure.suptitle(_title(results), x=0.01, ha="left", fontsize=11, fontweight="bold")
        save_figure(figure, path)


def _draw_row(axes: Axes, row: int, codec: CodecRotations, panel: Panel, colour: str) -> None:
    dots = sorted((dot for clip in _clips(codec) for dot in dots_of(clip, panel)), key=lambda dot: dot.change)
    heights = [row - ROW_FILL * ((n + 0.5) / len(dots) - 0.5) for n in range(len(dots))]
    for mark in MARKS:
        chosen = [(dot.change, y) for dot, y in zip(dots, heights, strict=True) if dot.mark == mark]
        if chosen:
            face, edge = ("white", colour) if mark.hollow else (colour, INK if mark == POLE else "white")
            x, y = zip(*chosen, strict=True)
            axes.scatter(
                x, y, mark.size**2, face, marker=mark.marker, edgecolors=edge, linewidths=mark.edge, zorder=mark.order
            )


def _note_spread(axes: Axes, row: int, codec: CodecRotations, panel: Panel) -> None:
    """Write the spread in the free corner above or below increasing dots: the one farther from zero."""
    spreads = codec.summary.resampled
    if spreads is None or not any(dots_of(clip, panel) for clip in _clips(codec)):
        return
    left, right = axes.get_xlim()
    at_left = right < -left
    axes.text(
        0.01 if at_left else 0.99,
        row + ROW_FILL / 2 * (-1 if at_left else 1),
        f"spread {panel.note(spreads)}",
        transform=axes.get_yaxis_transform(),
        ha="left" if at_left else "right",
        va="top" if at_left else "bottom",
        fontsize=8.5,
        color=SOFT,
        bbox={"facecolor": "white", "linewidth": 0, "pad": 1.0},
        zorder=2.5,  # below the dots
    )


def dots_of(clip: ClipRotations, panel: Panel) -> list[Dot]:
    """List the dots of one clip in a panel, in the order of its rotations, without the reference rotation.

    Args:
        clip: Results of one codec on one clip.
        panel: Panel.
    Returns:
        Dots.
    """
    values, base = panel.values(clip), _base(clip)
    points = clip.rotations if values else ()
    return [
        Dot(_mark(point), value - values[base])
        for n, (point, value) in enumerate(zip(points, values, strict=True))
        if n != base
    ]


def _mark(point: RotationPoint) -> Mark:
    if point.label in POLES:
        return POLE
    return WHOLE if point.resampling_ws_psnr_yuv >= MAX_DB else PLAIN


def _clips(codec: CodecRotations) -> list[ClipRotations]:
    """Clips with two or more rotations to compare."""
    return [clip for clip in codec.clips.values() if len(clip.rotations) > 1]


def _dress(axes: Axes, panel: Panel, rows: int) -> None:
    axes.axvline(0, color=SOFT, linewidth=1.0, zorder=2)
    axes.grid(True, axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="x", length=3)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(rows - 0.45, -0.5)
    axes.margins(x=0.07)
    reach = max(map(abs, axes.get_xlim()))
    axes.set_xlim(min(axes.get_xlim()[0], -0.15 * reach), max(axes.get_xlim()[1], 0.15 * reach))
    axes.set_title(panel.title, loc="left", fontsize=10)
    axes.set_xlabel(panel.axis, fontsize=9)


def _colour(name: str, names: list[str]) -> str:
    models = [each for each in names if each not in ANCHOR_COLOURS]
    return ANCHOR_COLOURS.get(name) or MODEL_COLOURS[models.index(name) % len(MODEL_COLOURS)]


def _row_name(name: str, codec: CodecRotations) -> str:
    scale = "crf" if name in ANCHOR_COLOURS else "quality"
    return f"{codec.name}\n{scale} {codec.quality:g}"


def _legend(figure: Figure) -> None:
    handles = []
    for mark in MARKS:
        face, edge = ("white", SOFT) if mark.hollow else (SOFT, INK if mark == POLE else "white")
        handles.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker=mark.marker,
                markersize=mark.size + 0.5,
                markerfacecolor=face,
                markeredgecolor=edge,
                markeredgewidth=mark.edge,
            )
        )
    names = [mark.name for mark in MARKS]
    figure.legend(handles, names, loc="outside lower right", ncols=len(MARKS), frameon=False, fontsize=9)


def _title(results: RotationResults) -> str:
    clips = sorted({Path(clip).stem for codec in results.codecs.values() for clip in codec.clips})
    where = clips[0] if len(clips) == 1 else f"{len(clips)} clips"
    labels = {p.label for codec in results.codecs.values() for clip in codec.clips.values() for p in clip.rotations}
    base = "a turn of 1°" if SLIGHT in labels else "the film as it is"
    return f"Turned on the sphere, coded, turned back: change from {base} ({where})"
