"""Figures of the scene: bits of each frame, distribution of errors, and views side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from deepsphere_codec.evaluation.report.coding import CodedClip
from deepsphere_codec.evaluation.report.look import CurveStyle
from deepsphere_codec.evaluation.report.svg import style
from deepsphere_codec.evaluation.report.views import SOURCE, FilmFrames, Picture, Shot
from deepsphere_codec.figures.style import GRID, SOFT
from deepsphere_codec.metrics.psnr import MAX_DB

BANDS = 18  # bands of latitude
GAP = 0.02  # inches around views side by side
BEYOND_NOTICE = 60.0  # decibels, so that an exactly coded black patch does not compress the other values
BAND_CENTRES = (np.arange(BANDS) + 0.5) * 180 / BANDS - 90  # degrees


def cost_figure(coded: Mapping[str, CodedClip], looks: Mapping[str, CurveStyle]) -> Figure:
    """Plot kilobits of each frame, and its quality, over time.

    Args:
        coded: Coded clips by name of the codec.
        looks: Styles of the codecs by name.
    Returns:
        Figure.
    """
    with style():
        figure = Figure(figsize=(10.4, 4.0))
        figure.subplots_adjust(left=0.075, right=0.83, bottom=0.14, top=0.92, wspace=0.17)
        cost, quality = figure.subplots(1, 2)
        for name, each in coded.items():
            line = _line(looks[name], name)
            cost.plot(range(len(each.frame_bytes)), [8 * size / 1000 for size in each.frame_bytes], **line)
            quality.plot(range(len(each.ws_psnr_yuv)), each.ws_psnr_yuv, **line)
        cost.set_yscale("log")
        cost.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        cost.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        cost.yaxis.set_minor_formatter(NullFormatter())
        for axes, title, unit, order in (
            (cost, "what a frame costs", "kilobits", "coding"),
            (quality, "what it is worth", "WS-PSNR-YUV in dB", "display"),
        ):
            dress_plain(axes)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold")
            axes.set(xlabel=f"frame, in order of {order}", ylabel=unit)
        quality.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=9.5)
    return figure


def latitude_errors(films: Mapping[str, FilmFrames]) -> dict[str, Float[np.ndarray, " bands"]]:
    """Compute the PSNR of luma in bands of latitude, south to north, over the selected frames, for decoded films."""
    source = films[SOURCE]
    found = {}
    for name, film in films.items():
        if name != SOURCE:
            pairs = [(frame.y.astype(np.float64), source.planes[n].y) for n, frame in film.planes.items()]
            rows = np.mean([np.square(x_hat - x).mean(axis=1) for x_hat, x in pairs], axis=0)[::-1]
            found[name] = decibels_of(np.array([band.mean() for band in np.array_split(rows, BANDS)]))
    return found


def decibels_of(errors: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Convert mean squared errors of 8-bit values to PSNR in dB, at most MAX_DB."""
    return np.minimum(10 * np.log10(255**2 / np.maximum(errors, 1e-12)), MAX_DB)


def errors_figure(errors: Mapping[str, Float[np.ndarray, " bands"]], looks: Mapping[str, CurveStyle]) -> Figure:
    """Plot PSNR over latitude.

    Args:
        errors: PSNR of luma in bands of latitude, [bands], dB, by name of the codec.
        looks: Styles of the codecs by name.
    Returns:
        Figure.
    """
    with style():
        figure = Figure(figsize=(9.2, 3.9))
        figure.subplots_adjust(left=0.085, right=0.79, bottom=0.15, top=0.96)
        axes = figure.subplots()
        for name, values in errors.items():
            axes.plot(BAND_CENTRES, values, **_line(looks[name], name))
        dress_latitude(axes)
        axes.set_ylim(top=min(axes.get_ylim()[1], BEYOND_NOTICE))
        axes.set_ylabel("PSNR of luma in dB")
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=9.5)
    return figure


def side_by_side(
    cut: Mapping[str, Mapping[str, Mapping[int, Picture]]],
    shots: Mapping[str, Mapping[str, Mapping[int, Shot]]],
    captions: Mapping[str, str],
    views: Sequence[str],
    frame: int,
) -> Figure:
    """Draw views for papers, one column for each film and one row for each view.

    Args:
        cut: Pictures by film, view and frame.
        shots: Compressed pictures with PSNR, by film, view and frame.
        captions: Captions of the films.
        views: Names of the views.
        frame: Number of the frame.
    Returns:
        Figure.
    """
    with style():
        figure = Figure(
            figsize=(2.35 * len(cut), 0.35 + 1.8 * len(views)),
            layout=ConstrainedLayoutEngine(w_pad=GAP, h_pad=GAP, wspace=0.01, hspace=0.01),
        )
        grid = figure.subplots(len(views), len(cut), squeeze=False)
        for row, view in zip(grid, views, strict=True):
            for axes, name in zip(row, cut, strict=True):
                axes.imshow(cut[name][view][frame])
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                decibels = shots[name][view][frame].decibels
                axes.set_xlabel("" if decibels is None else f"{decibels:.1f} dB", fontsize=8, color=SOFT, labelpad=2)
            row[0].set_ylabel(view, fontsize=9, color=SOFT)
        for axes, name in zip(grid[0], cut, strict=True):
            axes.set_title(captions[name], loc="left", fontsize=9, fontweight="bold")
    return figure


def dress_plain(axes: Axes) -> None:
    """Set a light grid on plain axes."""
    axes.grid(True, which="major", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", length=3)
    axes.tick_params(which="minor", length=0)


def dress_latitude(axes: Axes) -> None:
    """Set latitudes from south to north as the axis along x."""
    dress_plain(axes)
    axes.set_xlim(-90, 90)
    ticks = range(-60, 61, 30)
    axes.set_xticks(ticks, [f"{abs(d)}°{'S' if d < 0 else 'N' if d else ''}" for d in ticks])
    axes.set_xlabel("latitude")


def _line(look: CurveStyle, name: str) -> dict:
    """Style of a codec's line."""
    return {
        "color": look.colour,
        "marker": look.marker,
        "markersize": 4.5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
        "linewidth": 2.2 if look.is_model else 1.5,
        "zorder": 4 if look.is_model else 3,
        "label": name,
    }
