"""Figure of a diagnosis: one row per clip and quality; bits of inter frames, PSNR of predictions, bits of I-frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.curves import ANCHOR_COLOURS, MODEL_COLOURS
from deepsphere_codec.evaluation.diagnosis.record import ClipDiagnosis, Diagnosis, FrameDiagnosis, part_names
from deepsphere_codec.evaluation.diagnosis.tables import INTER_COLUMNS, INTRA_COLUMNS, rival
from deepsphere_codec.evaluation.plots import figure_path, save_figure
from deepsphere_codec.figures.style import GRID, SOFT, STYLE
from deepsphere_codec.runtime.extras import optional_imports

with optional_imports():
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW, _TITLE, _LEGEND = 0.34, 0.4, 1.75  # inches per row, above the panels, and below them
_OTHER = "#c9a9a6"
PART_COLOURS = {
    "residual": MODEL_COLOURS[0],
    "picture": MODEL_COLOURS[0],
    "motion": MODEL_COLOURS[1],
    "rotation": MODEL_COLOURS[4],
    "map": MODEL_COLOURS[3],
    "overhead": SOFT,
}
MARKS = {
    "x265-reference": ("D", ANCHOR_COLOURS["x265"]),
    "x265-prediction": ("d", ANCHOR_COLOURS["x265-zerolatency"]),
    "x265-residual": ("|", ANCHOR_COLOURS["x265-cubemap"]),
    "x265-intra": ("D", ANCHOR_COLOURS["x265"]),
    "svtav1-intra": ("s", ANCHOR_COLOURS["svtav1"]),
}
_SHADES = ("#c3cad3", "#e3a21a", "#1fa187", "#d1495b")
"""Colours from the reference to the reconstruction; all additional stages between them use the third."""


def plot_diagnosis(diagnosis: Diagnosis, path: str | Path) -> None:
    """Draw a diagnosis to a file.

    Args:
        diagnosis: Measurements.
        path: File to write, ends in .svg or .png.
    Raises:
        UsageError: the file has another ending, or there is nothing to draw.
    """
    path = figure_path(path)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "bits"}):
        save_figure(diagnosis_figure(diagnosis), path)


def diagnosis_figure(diagnosis: Diagnosis) -> Figure:
    """Draw a diagnosis as three panels whose rows are clips and qualities.

    Args:
        diagnosis: Measurements.
    Returns:
        Figure; the caller sets the style.
    Raises:
        UsageError: there are no measurements.
    """
    rows = list(diagnosis.measured)
    if not rows:
        raise UsageError("there is nothing to draw: the diagnosis has no clip")
    height = _TITLE + _ROW * (len(rows) + 0.2) + _LEGEND
    figure = Figure(figsize=(11.5, height))
    figure.subplots_adjust(0.16, _LEGEND / height, 0.99, 1 - _TITLE / height, wspace=0.08)
    inter, prediction, intra = figure.subplots(1, 3, sharey=True, width_ratios=[1.25, 1, 1])
    _draw_bits(inter, [clip.inter for clip in rows], INTER_COLUMNS)
    _draw_prediction(prediction, rows)
    _draw_bits(intra, [clip.intra for clip in rows], INTRA_COLUMNS)
    titles = {inter: "P- and B-frames", prediction: "along the prediction", intra: "I-frames"}
    units = {inter: "kbit a frame", prediction: "WS-PSNR-Y, dB", intra: "kbit"}
    for axes, title in titles.items():
        _dress(axes, title, units[axes], _ROW * (len(rows) + 0.2))
    inter.set_yticks(range(len(rows)), [f"{Path(clip.clip).stem}  {clip.quality:g}" for clip in rows])
    inter.set_ylim(len(rows) - 0.4, -0.6)
    return figure


def _draw_bits(axes: Axes, rows: Sequence[Sequence[FrameDiagnosis]], encoders: Mapping[str, str]) -> None:
    """Stacked bars of the model's parts, and a mark for each classical encoder at the same PSNR."""
    left = [0.0] * len(rows)
    for name in part_names(frame for frames in rows for frame in frames):
        width = [fmean(f.parts.get(name, 0) for f in frames) / 1000 if frames else 0.0 for frames in rows]
        axes.barh(range(len(rows)), width, 0.62, left, color=PART_COLOURS.get(name, _OTHER), label=name)
        left = [start + each for start, each in zip(left, width, strict=True)]
    for name, label in encoders.items():
        found = [(bits / 1000, n) for n, frames in enumerate(rows) if (bits := rival(frames, name).bits) is not None]
        if found:
            shape, colour = MARKS[name]
            places, lines = zip(*found, strict=True)
            axes.plot(
                places,
                lines,
                shape,
                color=colour,
                markersize=8,
                markeredgecolor=colour if shape == "|" else "white",
                markeredgewidth=2.0 if shape == "|" else 0.8,
                label=label,
            )
    axes.set_xlim(left=0)


def _draw_prediction(axes: Axes, rows: Sequence[ClipDiagnosis]) -> None:
    """PSNR of luma at each stage of the prediction, connected by a line."""
    stages = list(dict.fromkeys(name for clip in rows for frame in clip.inter for name in frame.prediction))
    for n, clip in enumerate(rows):
        found = [
            (name, fmean(f.prediction[name].y for f in clip.inter if name in f.prediction))
            for name in stages
            if any(name in f.prediction for f in clip.inter)
        ]
        if found:
            decibels = [value for _, value in found]
            axes.plot([min(decibels), max(decibels)], [n, n], color=GRID, linewidth=3, zorder=1)
        for name, value in found:
            place = stages.index(name)
            axes.plot([value], [n], "o", color=_shade(place, len(stages)), markersize=_size(place), zorder=3)
    for place, name in enumerate(stages):
        axes.plot([], [], "o", color=_shade(place, len(stages)), markersize=_size(place), label=name)


def _shade(place: int, count: int) -> str:
    return _SHADES[-1] if place == count - 1 else _SHADES[min(place, len(_SHADES) - 2)]


def _size(place: int) -> float:
    """Marker size, decreasing from stage to stage so that nearly equal points are all visible."""
    return max(4.5, 9.5 - 1.5 * place)


def _dress(axes: Axes, title: str, unit: str, inches: float) -> None:
    """Set title, axis and grid; the legend lies below the axis, which is `inches` high."""
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold")
    axes.set_xlabel(unit)
    axes.grid(True, axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", length=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.5 / inches), frameon=False, fontsize=8.5)
