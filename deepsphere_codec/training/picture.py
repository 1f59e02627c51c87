"""Figure of a validation: source, decoded frame, motion and bits of each clip, as ERP picture and as globes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8

from deepsphere_codec.figures.globes import (
    FILL,
    Colours,
    Directions,
    cut,
    fastest_of,
    globe_directions,
    movement,
    movement_colours,
    nearest_nodes,
    nside_of,
)
from deepsphere_codec.figures.style import GRID, SOFT, STYLE
from deepsphere_codec.runtime.extras import optional_imports
from deepsphere_codec.sphere import erp_directions
from deepsphere_codec.sphere.erp import erp_positions, sample_erp

with optional_imports():
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle
    from matplotlib.ticker import FuncFormatter

BITS, HEAT = (1e-3, 1.0), "magma"  # range and colour map of the bits, equal at all steps to make figures comparable

DPI = 100
PIXELS = 400  # height of a view before matplotlib scales it to its panel
PANEL, GAP, MARGIN = (3.8, 1.9), 0.08, 0.2  # all in inches
LEGEND, BAR = 0.95, (0.12, 0.55)  # widths of the colour wheel; of the colour bar and its tick labels
HEADING, CAPTION = 0.42, 0.5
COLUMNS = 4
WIDTH = 2 * MARGIN + COLUMNS * PANEL[0] + (COLUMNS - 1) * GAP + LEGEND + sum(BAR)
BLOCK = CAPTION + 2 * PANEL[1] + GAP + MARGIN


class ValidationFrame(NamedTuple):
    """Source, reconstruction and contents of one frame of a clip.

    Attributes:
        number: Number of the frame; 0 is the I-frame.
        source: ERP picture.
        decoded: ERP picture.
        motion: Displacement of each node to its position in the previous frame, [npix, 3]: tangent vectors, radians.
        bits_per_node: Bits per node of the signal around each node of a grid, which may be coarser, [nodes].
    """

    number: int
    source: UInt8[np.ndarray, "height width 3"]
    decoded: UInt8[np.ndarray, "height width 3"]
    motion: Float[np.ndarray, "npix 3"]
    bits_per_node: Float[np.ndarray, " nodes"]


def draw(scenes: Mapping[str, ValidationFrame], title: str) -> bytes:
    """Draw a figure with source, decoded frame, motion and bits of each scene.

    Each is drawn as an ERP picture and, below it, as two globes: the front half of the sphere, around longitude 0, and
    the back half.

    Args:
        scenes: Frames by caption.
        title: Title of the figure.
    Returns:
        A PNG file.
    """
    with matplotlib.rc_context(STYLE):
        height = HEADING + len(scenes) * BLOCK
        figure = Figure(figsize=(WIDTH, height))
        figure.text(MARGIN / WIDTH, 1 - 0.16 / height, title, va="top", fontsize=14, fontweight="bold")
        for number, (caption, scene) in enumerate(scenes.items()):
            top = height - HEADING - number * BLOCK
            figure.text(MARGIN / WIDTH, (top - 0.06) / height, caption, va="top", fontsize=11)
            _draw_scene(figure, top, scene)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def _draw_scene(figure: Figure, top: float, scene: ValidationFrame) -> None:
    """Draw a scene into the block whose upper edge is `top` inches high."""
    moves = movement(scene.motion)
    fastest = fastest_of(moves)
    norm = LogNorm(*BITS)
    heat = matplotlib.colormaps[HEAT](norm(np.clip(scene.bits_per_node, *BITS)))[:, :3]
    _draw_picture(figure, top, 0, f"source, frame {scene.number}", scene.source)
    _draw_picture(figure, top, 1, "decoded", scene.decoded)
    motion = "motion: which way things go" if scene.number else "no motion in an I-frame"
    _draw_nodes(figure, top, 2, motion, movement_colours(moves, fastest))
    if scene.number:
        _draw_wheel(figure, top, fastest)
    kind, mean = "P" if scene.number else "I", scene.bits_per_node.mean()
    _draw_nodes(figure, top, 3, f"bits per node of the {kind}-frame, {mean:.2g} on average", heat)
    _draw_bar(figure, top, norm)


def _draw_picture(figure: Figure, top: float, column: int, name: str, picture: UInt8[np.ndarray, "h w 3"]) -> None:
    directions, on_globe = globe_directions(PIXELS)
    _draw_views(figure, top, column, name, picture, cut(_look(picture, directions), on_globe))


def _draw_nodes(figure: Figure, top: float, column: int, name: str, colours: Colours) -> None:
    """Draw an ERP picture and globes from a colour for each node."""
    nside, (directions, on_globe) = nside_of(len(colours)), globe_directions(PIXELS)
    erp = colours[nearest_nodes(erp_directions(PIXELS, 2 * PIXELS), nside)]
    _draw_views(figure, top, column, name, erp, cut(colours[nearest_nodes(directions, nside)], on_globe))


def _draw_views(figure: Figure, top: float, column: int, name: str, erp: np.ndarray, globes: np.ndarray) -> None:
    """Draw an ERP picture and globes, with thin outlines, since static areas are as white as the background."""
    upper, lower = (_axes(figure, _left(column), top - CAPTION - row * (PANEL[1] + GAP), *PANEL) for row in range(2))
    upper.set_title(name, loc="left", fontsize=9.5, color=SOFT, pad=3)
    upper.imshow(erp, extent=(-2, 2, -1, 1))
    upper.set(xticks=[], yticks=[])
    upper.spines[:].set(color=GRID, linewidth=0.8)
    lower.imshow(globes, extent=(-2, 2, -1, 1))
    lower.set_axis_off()
    for centre in (-1, 1):
        lower.add_patch(Circle((centre, 0), FILL, fill=False, edgecolor=GRID, linewidth=0.8))


def _left(column: int) -> float:
    """Left edge of a column, inches; the colour wheel of the motion is to the left of the last column."""
    return MARGIN + column * (PANEL[0] + GAP) + (LEGEND if column == COLUMNS - 1 else 0.0)


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes whose left and upper edges are `left` and `top` inches from the figure's lower left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, (top - height) / up, width / across, height / up))


def _draw_wheel(figure: Figure, top: float, fastest: float) -> None:
    """Draw the colours of all directions, as on a compass."""
    size = 0.68 * LEGEND
    left = _left(2) + PANEL[0] + (LEGEND + GAP - size) / 2
    axes = _axes(figure, left, top - CAPTION - 0.25, size, size)
    across = np.linspace(-1, 1, 201)
    moves = np.stack(np.meshgrid(across, -across), -1)
    axes.imshow(cut(movement_colours(moves, 1.0), np.linalg.norm(moves, axis=-1) <= 1), extent=(-1, 1, -1, 1))
    axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=SOFT, linewidth=0.6, clip_on=False))
    axes.set_axis_off()
    for letter, x, y in (("E", 1.2, 0.0), ("N", 0.0, 1.22), ("W", -1.22, 0.0), ("S", 0.0, -1.22)):
        axes.text(x, y, letter, ha="center", va="center", fontsize=8, color=SOFT)
    axes.text(0, -1.6, f"rim: {fastest:.2g}°\na frame", ha="center", va="top", fontsize=8, color=SOFT)


def _draw_bar(figure: Figure, top: float, norm: LogNorm) -> None:
    axes = _axes(figure, _left(3) + PANEL[0] + GAP, top - CAPTION, BAR[0], 2 * PANEL[1] + GAP)
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    figure.colorbar(ScalarMappable(norm, HEAT), cax=axes, extend="both", extendfrac=0.02, format=plain)
    axes.tick_params(labelsize=8, length=3)
    axes.minorticks_off()


def _look(picture: UInt8[np.ndarray, "h w 3"], directions: Directions) -> Colours:
    """Colours of an ERP picture in given directions."""
    rows, columns = (torch.from_numpy(each.ravel()) for each in erp_positions(directions, *picture.shape[:2]))
    found = sample_erp(torch.from_numpy(picture / np.float32(255)), rows, columns)
    return found.clamp(0, 1).numpy().reshape(directions.shape)
