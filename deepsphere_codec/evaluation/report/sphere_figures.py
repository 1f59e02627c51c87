"""Figures of a model on the sphere: distribution of its bits, and its motion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import FuncFormatter, LogLocator

from deepsphere_codec.evaluation.report.film_figures import BAND_CENTRES, BANDS, dress_latitude
from deepsphere_codec.evaluation.report.inside import StreamContents
from deepsphere_codec.evaluation.report.look import CurveStyle
from deepsphere_codec.evaluation.report.spread import areas, latitudes, nodes_at
from deepsphere_codec.evaluation.report.svg import style
from deepsphere_codec.evaluation.report.views import Picture, look
from deepsphere_codec.figures.globes import (
    FILL,
    Colours,
    cut,
    fastest_of,
    globe_directions,
    movement,
    movement_colours,
    nearest_nodes,
    nside_of,
)
from deepsphere_codec.figures.style import SOFT

PIXELS = 420  # height of a globe
HEAT = "magma"
TINY = 1e-9  # bits, to avoid the logarithm of 0
QUANTILES = (0.02, 0.98)  # quantiles of the bits that the colours span


def globes_figure(inside: StreamContents, source: Picture) -> Figure:
    """Draw pairs of globes, front and back: source and motion, if there is any; bits of the I-frame and of P-frames.

    Args:
        inside: Bits and motion of a stream.
        source: Source picture, ERP, RGB.
    Returns:
        Figure.
    """
    directions, on_globe = globe_directions(PIXELS)
    height = 2 if len(inside.motion) else 1
    with style():
        figure = Figure(figsize=(10.4, 3.2 * height))
        rows = figure.subplots(height, 2, squeeze=False)
        figure.subplots_adjust(
            left=0.005, right=0.995, bottom=0.15 / height, top=1 - 0.09 / height, wspace=0.02, hspace=0.42
        )
        if len(inside.motion):
            _draw(rows[0, 0], f"source, frame {inside.frame}", look(source, directions) / 255, on_globe)
            moves = movement(inside.motion)
            fastest = fastest_of(moves)
            colours = movement_colours(moves, fastest)[nearest_nodes(directions, nside_of(len(moves)))]
            _draw(rows[0, 1], f"motion, frame {inside.frame}: which way things go", colours, on_globe)
            _draw_wheel(rows[0, 1], fastest)
        for axes, bits, name in (
            (rows[-1, 0], inside.bits_i, "I-frame"),
            (rows[-1, 1], inside.bits_p, "mean of P-frames"),
        ):
            dense = bits / areas(len(bits), inside.order)  # brightness shows bits per area
            norm = _norm(dense)
            heat = np.asarray(matplotlib.colormaps[HEAT](norm(np.maximum(dense, TINY))))[:, :3]
            nodes = nodes_at(directions, len(bits), inside.order)
            _draw(axes, f"bits per node, {name}: {bits.mean():.2g} on average", heat[nodes], on_globe)
            _draw_bar(figure, axes, norm)
    return figure


def latitude_bits(bits: Float[np.ndarray, " nodes"], order: str) -> Float[np.ndarray, " bands"]:
    """Compute bits per area in bands of latitude, south to north, relative to those of the whole sphere.

    Args:
        bits: Bits per node, [nodes].
        order: Order of the nodes, see `StreamContents`.
    Returns:
        Relative density, [bands]; NaN for bands without nodes.
    """
    lat = latitudes(len(bits), order)
    band = np.clip(((lat + 90) / 180 * BANDS).astype(int), 0, BANDS - 1)
    found, area = (np.bincount(band, weights, BANDS) for weights in (bits, areas(len(bits), order)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return found / area / bits.mean()


def latitude_figure(inside: Mapping[str, StreamContents], looks: Mapping[str, CurveStyle]) -> Figure:
    """Plot bits per area over latitude, relative to the mean, with the density of an ERP picture's pixels.

    Args:
        inside: Stream contents by name of the codec.
        looks: Styles of the codecs by name.
    Returns:
        Figure.
    """
    with style():
        figure = Figure(figsize=(10.4, 3.9))
        figure.subplots_adjust(left=0.075, right=0.79, bottom=0.15, top=0.9, wspace=0.08)
        both = figure.subplots(1, 2, sharey=True)
        for axes, field, title in zip(both, ("bits_i", "bits_p"), ("I-frame", "P-frames"), strict=True):
            lat = np.linspace(-84, 84, 169)
            density = 1 / np.cos(np.radians(lat)) * (2 / np.pi)  # its mean over the sphere is 1
            axes.plot(lat, density, color=SOFT, linestyle=(0, (6, 4)), linewidth=1.2, label="pixels of an ERP picture")
            for name, each in inside.items():
                values = latitude_bits(getattr(each, field), each.order)
                line: dict[str, Any] = {"color": looks[name].colour, "marker": looks[name].marker, "markersize": 4.5}
                axes.plot(BAND_CENTRES, values, linewidth=2, label=name, **line)
            dress_latitude(axes)
            axes.set_ylim(0, None)
            axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold")
        both[0].set_ylabel("per area, over the mean")
        both[1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=9.5)
    return figure


def _draw(axes: Axes, title: str, colours: Colours, on_globe: np.ndarray) -> None:
    axes.imshow(np.clip(cut(colours, on_globe), 0, 1), extent=(-2, 2, -1, 1))
    for centre in (-1, 1):
        axes.add_patch(Circle((centre, 0), FILL, fill=False, edgecolor=SOFT, linewidth=0.6))
    axes.set_axis_off()
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", pad=5)


def _draw_wheel(beside: Axes, fastest: float) -> None:
    """Legend of the colours of all directions, as a compass."""
    axes = beside.inset_axes((0.45, -0.21, 0.1, 0.2))
    across = np.linspace(-1, 1, 121)
    moves = np.stack(np.meshgrid(across, -across), -1)
    colours = cut(movement_colours(moves, 1.0), np.linalg.norm(moves, axis=-1) <= 1)
    axes.imshow(colours, extent=(-1, 1, -1, 1))
    axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=SOFT, linewidth=0.6, clip_on=False))
    axes.set_axis_off()
    for letter, x, y in (("E", 1.4, 0.0), ("N", 0.0, 1.4), ("W", -1.5, 0.0), ("S", 0.0, -1.45)):
        axes.text(x, y, letter, ha="center", va="center", fontsize=7.5, color=SOFT)
    axes.text(2.0, 0, f"rim: {fastest:.2g}° a frame", ha="left", va="center", fontsize=8.5, color=SOFT)


def _draw_bar(figure: Figure, axes: Axes, norm: LogNorm) -> None:
    place = axes.inset_axes((0.25, -0.09, 0.5, 0.035))
    bar = figure.colorbar(ScalarMappable(norm, HEAT), cax=place, orientation="horizontal", extend="both")
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(labelsize=8, length=2)
    bar.ax.minorticks_off()


def _norm(bits: Float[np.ndarray, " nodes"]) -> LogNorm:
    """Colour scale that covers most of the nodes, at least one decade wide so that uniform bits look uniform."""
    positive = bits[bits > 0]
    low, high = np.quantile(positive, QUANTILES) if len(positive) else (0.01, 1.0)
    low, high = float(low), float(high)
    widen = max(1.0, np.sqrt(10 * low / high))
    return LogNorm(low / widen, high * widen)
