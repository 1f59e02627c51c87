"""Rate-distortion figures: the mean curve of each codec, and one small panel per clip; SVG or PNG by suffix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.curves import (
    CEILING,
    Ceiling,
    ceiling_name,
    ceilings_of,
    curves_of,
    draw_ceilings,
    draw_curves,
    dress,
    is_far,
    space_rates,
)
from deepsphere_codec.evaluation.labels import label_ends
from deepsphere_codec.evaluation.results import Results
from deepsphere_codec.figures.style import SOFT, STYLE
from deepsphere_codec.runtime.extras import optional_imports

with optional_imports():
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_SUFFIXES = (".svg", ".png")
X_LABEL, Y_LABEL = "bits per pixel of the ERP source", "WS-PSNR-YUV in dB (6:1:1)"
PANEL_COLUMNS = 4


def plot_mean(results: Sequence[Results], path: str | Path) -> None:
    """Plot the mean over clips of each codec, WS-PSNR-YUV against bits per pixel; the ceiling is a dashed line.

    A ceiling far above all curves is drawn in a separate strip, beyond a break in the axis.

    Args:
        results: Results of each codec; those of codec "ceiling" become the line.
        path: File to write, ends in .svg or .png.
    Raises:
        UsageError: the file has another ending, or there is nothing to draw.
    """
    path = figure_path(path)
    means = {each.name: each.mean for each in results}
    curves, ceilings = curves_of(results, means), ceilings_of(results, means)
    if not curves:
        raise UsageError("there is no curve to draw: no codec has points on all of its clips")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 5.4))
        figure.subplots_adjust(
            left=0.085, right=0.8, bottom=0.11, top=0.91, hspace=0.07
        )  # fixed, because labels depend on it
        top, axes = broken_axes(figure, ceilings) if is_far(ceilings, curves) else (figure.subplots(),) * 2
        draw_curves(axes, curves, line_width=2.0)
        draw_ceilings(top, ceilings, labelled=True)
        dress(axes)
        axes.set_xlabel(X_LABEL)
        axes.set_ylabel(Y_LABEL)
        top.set_title(_mean_title(results), loc="left", fontsize=11, fontweight="bold", pad=12)
        label_ends(figure, axes, curves)
        save_figure(figure, path)


def plot_clips(results: Sequence[Results], path: str | Path) -> None:
    """Plot one panel per clip with the same axes and codecs in all.

    A ceiling far above the curves is written as a number over the panel.

    Args:
        results: Results of each codec.
        path: File to write, ends in .svg or .png.
    Raises:
        UsageError: the file has another ending, or there is nothing to draw.
    """
    path = figure_path(path)
    clips = sorted({clip for each in results if each.codec != CEILING for clip in each.clips})
    panels = {clip: {each.name: each.clips.get(clip, ()) for each in results} for clip in clips}
    drawn = {clip: curves for clip in clips if (curves := curves_of(results, panels[clip]))}
    if not drawn:
        raise UsageError("there is no curve to draw: no codec has points on any clip")
    ceilings = {clip: ceilings_of(results, panels[clip]) for clip in drawn}
    far = is_far(sum(ceilings.values(), []), sum(drawn.values(), []))
    columns = min(PANEL_COLUMNS, len(drawn) + 1)  # one more panel for the legend
    rows = math.ceil((len(drawn) + 1) / columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.0 * columns + 0.4, 2.4 * rows + 0.4), layout="constrained")
        grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
        for axes, (clip, curves) in zip(grid, drawn.items(), strict=False):
            draw_curves(axes, curves, line_width=1.5, marker_size=3.0)
            _note_ceilings(axes, ceilings[clip]) if far else draw_ceilings(axes, ceilings[clip], labelled=False)
            dress(axes)
            axes.set_title(Path(clip).stem, loc="left", fontsize=9.5, fontweight="bold")
            axes.tick_params(labelbottom=True)
        noted = {each.nside for clip in drawn for each in ceilings[clip]} if far else set()
        _legend(grid[len(drawn)], grid[: len(drawn)], noted)
        for axes in grid[len(drawn) :]:
            axes.set_axis_off()
        figure.supxlabel(X_LABEL, fontsize=10)
        figure.supylabel(Y_LABEL, fontsize=10)
        space_rates(figure, grid[0])
        save_figure(figure, path)


def broken_axes(figure: Figure, ceilings: Sequence[Ceiling]) -> tuple[Axes, Axes]:
    """Make axes for the ceilings above the axes for the curves, with the marks of a break between them.

    Args:
        figure: Figure to add the axes to.
        ceilings: Ceilings, which set the range of the upper axes.
    Returns:
        Upper axes and lower axes.
    """
    strip, axes = figure.subplots(2, 1, sharex=True, height_ratios=[1, 8])
    decibels = [ceiling.decibels for ceiling in ceilings]
    strip.set_ylim(min(decibels) - 1, max(decibels) + 2.5)
    strip.set_yticks([round(each) for each in decibels])
    strip.spines[["top", "right", "bottom"]].set_visible(False)
    strip.tick_params(which="both", bottom=False, labelbottom=False, length=3)
    for part, edge in ((strip, 0), (axes, 1)):
        mark = [(-1, -0.5), (1, 0.5)]
        part.plot([0], [edge], transform=part.transAxes, marker=mark, markersize=7, color=SOFT, clip_on=False)
    return strip, axes


def _note_ceilings(axes: Axes, ceilings: Sequence[Ceiling]) -> None:
    if ceilings:
        decibels = " / ".join(f"{ceiling.decibels:.1f}" for ceiling in ceilings)
        axes.set_title(f"ceiling {decibels} dB", loc="right", fontsize=8, color=SOFT)


def _legend(place: Axes, panels: Sequence[Axes], ceilings: set[float]) -> None:
    """Legend in a free panel; it includes the ceilings if they are numbers and not lines."""
    found: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        found.update(zip(labels, handles, strict=True))
    found |= {
        ceiling_name(nside).replace("resampling ceiling", "ceiling: resampling alone"): Line2D([], [], linestyle="none")
        for nside in sorted(ceilings)
    }
    place.legend(list(found.values()), list(found), loc="center left", frameon=False, fontsize=9, handlelength=2.4)


def _mean_title(results: Sequence[Results]) -> str:
    counts = {len(each.clips) for each in results if each.codec != CEILING and each.clips}
    clips = f"{counts.pop()} clips" if len(counts) == 1 else "clips (not the same number for every codec)"
    return f"Rate and distortion, mean over {clips}"


def figure_path(path: str | Path) -> Path:
    """Convert to a path and check that a figure can be saved there.

    Raises:
        UsageError: the ending is neither .svg nor .png.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"{path} ends in neither {' nor '.join(_SUFFIXES)}; name a figure that does")
    return path


def save_figure(figure: Figure, path: Path) -> None:
    """Save a figure in the format of the path's ending, without a date, so that files are reproducible.

    Args:
        figure: Figure.
        path: File to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else {}
    figure.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.15, metadata=metadata)
