"""Labels at the ends of curves and beside points, moved apart if they would overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from deepsphere_codec.evaluation.curves import Curve
from deepsphere_codec.evaluation.results import Point
from deepsphere_codec.runtime.extras import optional_imports

with optional_imports():
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

LABEL_POINTS = 13.0  # smallest distance of two labels


def label_ends(figure: Figure, axes: Axes, curves: Sequence[Curve]) -> None:
    """Write each curve's name beside its best point; overlapping names are moved apart and connected by a thin line.

    Args:
        figure: Figure of the axes.
        axes: Axes with the curves.
        curves: Curves to label.
    """
    figure.draw_without_rendering()  # finalises the scales
    per_point = 72 / figure.dpi
    ends = sorted(curves, key=lambda curve: curve.points[-1].ws_psnr_yuv)
    heights = [_place(axes, curve.points[-1])[1] * per_point for curve in ends]
    right = axes.bbox.x1 * per_point
    for curve, height, shown in zip(ends, heights, spread(heights, LABEL_POINTS), strict=True):
        end = curve.points[-1]
        axes.annotate(
            curve.name,
            (end.bpp, end.ws_psnr_yuv),
            (right - _place(axes, end)[0] * per_point + 4, shown - height),
            textcoords="offset points",
            va="center",
            color=curve.colour,
            fontweight="bold" if curve.is_model else "normal",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": curve.colour,
                "linewidth": 0.6,
                "alpha": 0.6,
                "shrinkB": 5,
                "relpos": (0, 0.5),
            },
        )


def _place(axes: Axes, point: Point) -> tuple[float, float]:
    """Position of a point on the figure, in dots."""
    x, y = axes.transData.transform((point.bpp or 0.0, point.ws_psnr_yuv))
    return float(x), float(y)


def spread(heights: Sequence[float], distance: float) -> list[float]:
    """Compute the positions nearest to given ones that are at least `distance` apart.

    Args:
        heights: Wanted positions, sorted.
        distance: Smallest distance, in the same unit.
    Returns:
        Positions; groups of close ones are spread around their centre.
    """
    clumps: list[list[float]] = []  # wanted centres, one list per group
    for height in heights:
        clumps.append([height])
        while len(clumps) > 1 and _edge(clumps[-1], distance, -1) < _edge(clumps[-2], distance, 1) + distance:
            last = clumps.pop()
            clumps[-1] += last
    return [
        sum(clump) / len(clump) + (place - (len(clump) - 1) / 2) * distance
        for clump in clumps
        for place in range(len(clump))
    ]


def _edge(clump: Sequence[float], distance: float, side: int) -> float:
    return sum(clump) / len(clump) + side * (len(clump) - 1) / 2 * distance


class LabelledPoint(NamedTuple):
    """Point of a figure, in data coordinates, and the label beside it."""

    name: str
    x: float
    y: float
    colour: str


def label_points(axes: Axes, points: Sequence[LabelledPoint], taken: Sequence[Bbox]) -> None:
    """Place labels beside their points without overlaps.

    A label is nearer to its own point than to any other, or a thin line connects it to its point.

    Args:
        axes: Axes with final scales.
        points: Points with labels.
        taken: Areas to leave free, pixels.
    """
    per_point, inside, taken = axes.figure.dpi / 72, axes.get_window_extent(), list(taken)
    spots = [axes.transData.transform((point.x, point.y)) for point in points]
    for point, spot in zip(points, spots, strict=True):
        text = axes.annotate(point.name, (point.x, point.y), (0, 0), textcoords="offset points", color=point.colour)
        text.set(fontsize=9, ha="center", va="center")
        size = text.get_window_extent()
        others = [other for other in spots if other is not spot]
        offset, is_led = _free_offset(size, spot, others, inside, taken, per_point)
        text.remove()
        line = {"arrowstyle": "-", "color": point.colour, "linewidth": 0.6, "alpha": 0.7, "shrinkA": 0, "shrinkB": 4}
        axes.annotate(
            point.name,
            (point.x, point.y),
            (offset[0] / per_point, offset[1] / per_point),
            textcoords="offset points",
            color=point.colour,
            fontsize=9,
            ha="center",
            va="center",
            arrowprops=line if is_led else None,
        )
        taken.append(_moved(size, offset))
        taken += _along(spot, spot + offset) if is_led else []


_CLOSE, _STEP, _STEPS, _TURNS = 7.0, 7.0, 14, 24  # first distance and step in points, numbers of steps and angles tried


def _free_offset(
    size: Bbox, spot: np.ndarray, others: Sequence[np.ndarray], inside: Bbox, taken: Sequence[Bbox], per_point: float
) -> tuple[np.ndarray, bool]:
    """Nearest free offset of a label's centre from its point, pixels, and whether a connecting line is needed."""
    for step, turn in product(range(_STEPS), range(_TURNS)):
        angle, gap = 2 * math.pi * turn / _TURNS, (_CLOSE + _STEP * step) * per_point
        direction = np.array([math.cos(angle), math.sin(angle)])
        offset = direction * (np.array([size.width, size.height]) / 2 + gap)
        box = _moved(size, offset)
        own = _distance(box, spot)
        is_led = step > 0 or any(_distance(box, other) < 1.5 * own for other in others)
        is_inside = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
        line = _along(spot, spot + offset)[8:] if is_led else []
        if is_inside and not any(box.overlaps(each) or _crosses(line, each) for each in taken):
            return offset, is_led
    return np.array([size.width / 2 + _CLOSE * per_point, 0.0]), True


def _moved(box: Bbox, offset: np.ndarray) -> Bbox:
    return Bbox(box.get_points() + offset)


def _distance(box: Bbox, spot: np.ndarray) -> float:
    x, y = np.clip(spot, box.min, box.max) - spot
    return float(np.hypot(x, y))


def _along(start: np.ndarray, end: np.ndarray) -> list[Bbox]:
    """Small boxes along a line."""
    places = [start + (end - start) * step for step in np.linspace(0, 1, 40)]
    return [Bbox([place - 1, place + 1]) for place in places]


def _crosses(line: Sequence[Bbox], box: Bbox) -> bool:
    """Whether a line crosses a label; lines, which are small boxes, may cross each other."""
    return box.width > 8 and any(each.overlaps(box) for each in line)
