"""Names beside the ends of curves, moved apart where they would overlap."""

from __future__ import annotations

from collections.abc import Sequence

from deepsphere_codec.evaluation.curves import Curve
from deepsphere_codec.evaluation.results import Point
from deepsphere_codec.runtime.extras import optional_imports

with optional_imports():
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL_POINTS = 13.0  # least distance of two labels


def label_ends(figure: Figure, axes: Axes, curves: Sequence[Curve]) -> None:
    """Each curve's name beside its best point; names that would overlap move apart, a thin line leads back."""
    figure.draw_without_rendering()  # the scales are settled now
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
    """Of a point on the figure, in dots."""
    x, y = axes.transData.transform((point.bpp or 0.0, point.ws_psnr_yuv))
    return float(x), float(y)


def spread(heights: Sequence[float], distance: float) -> list[float]:
    """The nearest places to sorted heights that lie at least so far apart: clumps grow around their middle."""
    clumps: list[list[float]] = []  # wanted centres, one list for each clump
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
