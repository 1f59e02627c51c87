#!/usr/bin/env python3
"""Draw training samples: one picture for each kind of augmentation.

    scripts/show_augmentation.py FILM --out out/augmentation

FILM is a prepared film (.npy, see deepsphere_codec/data/prepare.py) or any film that `encode` reads. Writes
rotation.png, guided.png, spin.png, zoom.png, gap.png, jitter.png, reversal.png, mirror.png, planar.png and mipmaps.png.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from deepsphere_codec.data.augment import motion_map
from deepsphere_codec.data.patches import PatchDataset, PatchSettings
from deepsphere_codec.data.planar import PlanarDataset, PlanarSettings
from deepsphere_codec.data.sampling import Film, node_spread, sample_film
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.layers import Warp
from deepsphere_codec.sphere import erp_directions
from deepsphere_codec.sphere.erp import erp_positions
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.video import open_video

FRAMES = 16  # frames read from a film
ERP = (256, 512)  # height and width of whole pictures
COLOURS = ["#e6194b", "#ffe119", "#3cb44b", "#42d4f4", "#f032e6", "#ff8800"]

Image = Float[np.ndarray, "rows columns 3"]
Data = Callable[..., PatchDataset]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw what training samples look like, and how they are varied.")
    parser.add_argument("film", type=Path, help="prepared film (.npy), or any film")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the pictures go")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other samples (0)")
    return parser.parse_args(arguments)


def read(path: Path) -> Film:
    """Read the first frames of a film, planar 4:2:0, [frames, 3/2 height, width].

    Args:
        path: Film.
    Raises:
        UsageError: the film cannot be read.
    """
    if path.suffix == ".npy":
        film = np.load(path, mmap_mode="r")[:FRAMES]
    else:
        with open_video(path, frames=(0, FRAMES)) as reader:
            frames = [np.concatenate([plane.ravel() for plane in frame]) for frame in reader]
            film = np.stack(frames).reshape(len(frames), -1, reader.info.width)
    if film.ndim != 3 or film.dtype != np.uint8 or len(film) < 2:
        raise UsageError(f"{path} is no film of several frames, uint8 [frames, 3/2 height, width]; take another")
    return film


# Pictures of samples


def rgb(x: Float[Tensor, "npix 3"], rows: int) -> Image:
    """Convert a signal in limited range, BT.709, to a picture.

    Args:
        x: Y, Cb, Cr over 255, row by row, [npix, 3].
        rows: Number of rows.
    Returns:
        RGB picture.
    """
    y, cb, cr = ((x * 255 - torch.tensor([16.0, 128, 128])) / torch.tensor([219.0, 224, 224])).unbind(-1)
    r, b = y + 1.5748 * cr, y + 1.8556 * cb
    g = (y - 0.2126 * r - 0.0722 * b) / 0.7152
    return torch.stack([r, g, b], -1).clamp(0, 1).reshape(rows, -1, 3).numpy()


def patch_picture(x: Float[Tensor, "npix 3"]) -> Image:
    """Convert the signal of a patch to a picture with y upwards and x to the right; its north-west side is on top."""
    return rgb(x, round(len(x) ** 0.5))[::-1]


def difference(a: Image, b: Image) -> Image:
    """Compute the difference of two pictures, four times enlarged, about grey.

    Args:
        a: Picture.
        b: Picture of the same size.
    Returns:
        Picture.
    """
    return np.clip(0.5 + 4 * (a - b), 0, 1)


def whole_picture(film: Film, turn: np.ndarray | None = None) -> Image:
    """Draw the first frame as an ERP picture, seen through a rotation.

    Args:
        film: Film.
        turn: Rotation, [3, 3]; None for none.
    Returns:
        RGB picture.
    """
    directions = erp_directions(*ERP).reshape(1, -1, 3)
    seen = directions if turn is None else directions @ turn.T
    return rgb(sample_film(film[:1], seen, np.full((1, 1, 2), np.pi / ERP[0]))[0], ERP[0])


def mark(axes: Axes, directions: Float[np.ndarray, "n 3"], colour: str, marker: str = ".", size: float = 9) -> None:
    """Mark directions as points of an ERP picture.

    Args:
        axes: Axes with the picture.
        directions: Unit vectors, [n, 3].
        colour: Colour.
        marker: Marker.
        size: Size of the markers in points².
    """
    row, column = erp_positions(directions, *ERP)
    axes.scatter(column, row, s=size, c=colour, marker=marker, linewidths=0 if marker == "." else 2.5)


def edge(square: Float[np.ndarray, "rows columns 3"]) -> Float[np.ndarray, "n 3"]:
    return np.concatenate([square[0], square[-1], square[:, 0], square[:, -1]])


def seen_by(drawn: PatchDataset, number: int) -> Float[np.ndarray, "side side 3"]:
    """Compute the directions in the film of a sample's nodes.

    Args:
        drawn: Samples.
        number: Number of the sample.
    Returns:
        Unit vectors, [side, side, 3].
    """
    block = drawn.block(number)
    return (block.centers @ drawn.turn(drawn.clip(number), number).T).reshape(block.side, block.side, 3)


def numbered(pictures: Iterable[Image], step: int = 1, first: int = 0) -> list[tuple[str, Image]]:
    """Label frames with their numbers.

    Args:
        pictures: Pictures.
        step: Step of the numbers.
        first: First number.
    Returns:
        Pairs of label and picture.
    """
    return [(f"frame {first + t * step}", picture) for t, picture in enumerate(pictures)]


def busiest(drawn: PatchDataset, seed: int) -> int:
    """Choose the sample with the most detail among eight.

    Args:
        drawn: Samples.
        seed: Seed of the choice.
    Returns:
        Number of the sample.
    """
    return max(range(8 * seed, 8 * seed + 8), key=lambda i: float(drawn[i][0].std(1).mean()))


class Sheet:
    """Rows of pictures with a line of text above each; pictures without text are gaps."""

    def __init__(self, title: str, rows: Sequence[Sequence[tuple[str, Image]]], cell: float = 2.6) -> None:
        shapes = [[image.shape for _, image in row] for row in rows]
        widths = [sum(shape[1] / shape[0] for shape in row) for row in shapes]
        self.figure = Figure(figsize=(cell * max(widths) + 0.3, (cell + 0.35) * len(rows) + 0.6), layout="constrained")
        self.figure.suptitle(title, fontsize=11)
        self.axes: list[Axes] = []
        parts = self.figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
        for part, row, shape in zip(parts, rows, shapes, strict=True):
            ratios = [s[1] / s[0] for s in shape]
            places = part.subplots(1, len(row), squeeze=False, gridspec_kw={"width_ratios": ratios})[0]
            for axes, (label, image) in zip(places, row, strict=True):
                axes.imshow(image, interpolation="nearest")
                axes.set_title(label, fontsize=9)
                axes.set(xticks=[], yticks=[], visible=bool(label))
                self.axes.append(axes)


# The sheets


def rotation(film: Film, data: Data, seed: int) -> Sheet:
    """Draw samples under random rotations.

    Args:
        film: Film.
        data: Function that makes the samples.
        seed: Seed.
    Returns:
        Sheet.
    """
    drawn, numbers = data(film, frames=1, spin=0.0), range(6 * seed, 6 * seed + 6)
    patches = [(f"patch {k + 1}", patch_picture(drawn[i][0][0])) for k, i in enumerate(numbers)]
    sheet = Sheet("Rotation: patches of a sphere that is turned at random", [[("film", whole_picture(film))], patches])
    for i, axes, colour in zip(numbers, sheet.axes[1:], COLOURS, strict=True):
        mark(sheet.axes[0], edge(seen_by(drawn, i)), colour)
        axes.spines[:].set(color=colour, linewidth=3)
    return sheet


def guided(film: Film, data: Data, seed: int) -> Sheet:
    """Draw samples guided to moving objects.

    Args:
        film: Film.
        data: Function that makes the samples.
        seed: Seed.
    Returns:
        Sheet.
    """
    frames = film[: min(3, len(film))]
    motion = motion_map(frames) * frames.shape[2] / (2 * np.pi)
    heat = np.kron(np.clip(motion / 2, 0, 1)[..., None], np.ones((8, 8, 3)))
    whole, label = whole_picture(film), f"mean motion of {len(frames)} frames: white is 2 pixels"
    rows = [[(label, heat)], [("guided to motion", whole)], [("anywhere", whole)]]
    sheet = Sheet("Guided: x marks what moves and is brought into the patch of its colour", rows)
    for axes, share in ((sheet.axes[1], 1.0), (sheet.axes[2], 0.0)):
        drawn = data(frames, frames=len(frames), guided=share)
        for i, colour in enumerate(COLOURS, 6 * seed):
            mark(axes, edge(seen_by(drawn, i)), colour)
            toward = drawn.clip(i).toward
            if toward is not None:
                mark(axes, toward[None], colour, "x", 80)
    return sheet


def spin(film: Film, data: Data, seed: int) -> Sheet:
    """Draw samples with a camera rotation.

    Args:
        film: Film.
        data: Function that makes the samples.
        seed: Seed.
    Returns:
        Sheet.
    """
    drawn = data(film, frames=min(5, len(film)), spin=1.0, spin_degrees=4.0)
    pictures = [patch_picture(frame) for frame in drawn[busiest(drawn, seed)][0]]
    return Sheet("Spin: the camera turns by the same rotation, up to 4 degrees, each frame", [numbered(pictures)])


def zoom(film: Film, data: Data, seed: int) -> Sheet:
    """Draw samples of a panorama with a zoom.

    Args:
        film: Film.
        data: Function that makes the samples.
        seed: Seed.
    Returns:
        Sheet.
    """
    drawn = data(film[:1], frames=4, spin_degrees=2.0, zoom=1.06)
    number = busiest(drawn, seed)
    x, field, block = drawn[number][0], drawn.true_field(number), drawn.block(number)
    assert field is not None, "a film of one frame is a panorama"
    e_x, e_y = (torch.from_numpy(axis) for axis in block.frame)
    v = (field[..., :1] * e_x + field[..., 1:] * e_y).float()
    warped = [patch_picture(frame) for frame in Warp(block)(x[:-1], v)]
    pictures = [patch_picture(frame) for frame in x]
    steps = [(f"frame {t} - frame {t - 1}, x4", difference(b, a)) for t, (a, b) in enumerate(pairwise(pictures), 1)]
    rest = [(f"frame {t} - predicted, x4", difference(pictures[t], warped[t - 1])) for t in range(1, len(x))]
    blank = ("", pictures[0])
    sheet = Sheet(
        "A panorama becomes a film; arrows, the true field: where a node looks in the frame before (longest: "
        f"{float(field.norm(dim=-1).max()) / node_spread(block.nside).max():.1f} nodes)",
        [numbered(pictures), [blank, *steps], [blank, *rest]],
    )
    side, step = block.side, block.side // 8
    i, j = (axis.ravel() for axis in np.mgrid[step // 2 : side : step, step // 2 : side : step])
    for axes, arrows in zip(sheet.axes[1:], (field / field.norm(dim=-1).max() * step).numpy(), strict=False):
        right, up = arrows[j * side + i].T
        axes.quiver(i, side - 1 - j, right, -up, angles="xy", scale_units="xy", scale=1, color="#ffe119", width=0.008)
    return sheet


def gap(film: Film, data: Data, seed: int) -> Sheet:
    """Draw samples with several steps between frames.

    Args:
        film: Film.
        data: Function that makes the samples.
        seed: Seed.
    Returns:
        Sheet.
    """
    base = data(film, frames=min(4, len(film)), guided=1.0, spin=0.0)
    directions = seen_by(base, busiest(base, seed)).reshape(1, -1, 3)
    rows = []
    for step in (1, 2, 4):
        pictures = [patch_picture(x) for x in sample_film(film[: 2 * step + 1 : step], directions, base.spread)]
        rows.append([*numbered(pictures, step), ("last - first, x4", difference(pictures[-1], pictures[0]))])
    return Sheet("Gap: 1, 2 and 4 frames from one to the next", rows, cell=2.2)


def changed(title: str, film: Film, data: Data, seed: int, **change: float) -> Sheet:
    """Draw five guided samples without and with a change of the settings.

    Args:
        title: Title of the sheet.
        film: Film.
        data: Function that makes the samples.
        seed: Seed.
        **change: Changed settings.
    Returns:
        Sheet.
    """
    rows = []
    for label, changes in (("as it is", {}), (next(iter(change)), change)):
        drawn = data(film, frames=2, guided=1.0, **changes)
        rows.append([(f"sample {k + 1}, {label}", patch_picture(drawn[5 * seed + k][0][0])) for k in range(5)])
    return Sheet(title, rows, cell=2.2)


def reversal(film: Film, data: Data, seed: int) -> Sheet:
    """Draw samples forwards and backwards.

    Args:
        film: Film.
        data: Function that makes the samples.
        seed: Seed.
    Returns:
        Sheet.
    """
    drawn = data(film, frames=min(4, len(film)), guided=1.0, spin=0.0)
    rows = []
    for step in (1, -1):
        clips = ((i, drawn.clip(i).frames) for i in range(100 * seed, 100 * seed + 100))
        i, frames = next(found for found in clips if np.sign(found[1].strides[0]) == step)
        first = next(t for t, whole in enumerate(film) if np.array_equal(whole, frames[0]))
        pictures = [patch_picture(x) for x in drawn[i][0]]
        last = ("last - first, x4", difference(pictures[-1], pictures[0]))
        rows.append([*numbered(pictures, step, first), last])
    return Sheet("Reversal: half of the samples run backwards", rows, cell=2.2)


def planar(film: Film, folder: Path, seed: int) -> Sheet:
    """Draw samples for planar codecs.

    Args:
        film: Film.
        folder: Folder of the prepared film.
        seed: Seed.
    Returns:
        Sheet.
    """
    height, width = ERP
    settings = PlanarSettings(height, width, height // 3, height // 3, frames=min(3, len(film)), guided=1.0, spin=0.0)
    drawn = PlanarDataset(_saved(folder / "planar", film), settings, seed)
    by_row = sorted(range(12), key=lambda i: drawn.place(i).row)
    numbers, rows = (by_row[0], by_row[6], by_row[11]), []
    turns = [drawn.turn(drawn.clip(i), drawn.place(i)) for i in numbers]
    for i, turn in zip(numbers, turns, strict=True):
        frames, patch = drawn.clip(i).frames, rgb(drawn[i].x[0].flatten(1).T, settings.rows)
        turned = ("turned, and where the patch lies", whole_picture(frames, turn))
        rows.append([("film", whole_picture(frames)), turned, (f"patch at row {drawn.place(i).row}", patch)])
    sheet = Sheet("Planar: the film is turned until what moves lies where the patch lies", rows)
    for k, (i, turn) in enumerate(zip(numbers, turns, strict=True)):
        row, column = drawn.place(i)
        part = edge(erp_directions(height, width)[row : row + settings.rows, column : column + settings.columns])
        mark(sheet.axes[3 * k], part @ turn.T, COLOURS[0])
        mark(sheet.axes[3 * k + 1], part, COLOURS[0])
    return sheet


def mipmaps(film: Film, data: Data, seed: int) -> Sheet:
    """Draw samples with and without mip-maps.

    Args:
        film: Film.
        data: Function that makes the samples.
        seed: Seed.
    Returns:
        Sheet.
    """
    width = film.shape[2]
    coarse, fine = (PatchGrid(n, face, 0, 0, min(n, 64)) for n, face in ((width // 16, 4 + seed % 4), (width // 4, 8)))
    wave = 128 + 100 * np.sin(2 * np.pi / 3 * np.arange(width // 2))
    grating = np.concatenate([np.tile(wave[:, None], width), np.full((width // 4, width), 128)])[None].astype(np.uint8)
    rows, shown = [], {"film, coarse nodes": coarse, "waves of three pixels": coarse, "the film's south pole": fine}
    for label, block in shown.items():
        frames = grating if "waves" in label else film[:1]
        spreads = {"as it is": None, "mip-mapped": node_spread(block.nside)}
        pair = [patch_picture(sample_film(frames, block.centers[None], spread)[0]) for spread in spreads.values()]
        named = [(f"{label}: {how}", picture) for how, picture in zip(spreads, pair, strict=True)]
        rows.append([*named, ("difference, x4", difference(pair[1], pair[0]))])
    return Sheet("Mip-maps: what is finer than the nodes becomes false patterns, or grey", rows, cell=3.2)


def _saved(folder: Path, film: Film) -> Path:
    folder.mkdir(exist_ok=True)
    if not (folder / "film.npy").exists():  # it may be open
        np.save(folder / "film.npy", film)
    return folder


def draw(film: Film, out: Path, seed: int) -> list[Path]:
    """Draw all sheets.

    Args:
        film: Film.
        out: Folder to write to.
        seed: Seed.
    Returns:
        Files written.
    """
    nside = max(64, film.shape[2] // 256 * 64)
    settings = PatchSettings(nside, min(128, nside))
    with tempfile.TemporaryDirectory() as name:

        def data(film: Film, **changes: Any) -> PatchDataset:
            return PatchDataset(_saved(Path(name) / f"{len(film)}", film), replace(settings, **changes), 1, 1, seed)

        drawers = (rotation, guided, spin, zoom, gap, reversal, mipmaps)
        sheets = {drawer.__name__: drawer(film, data, seed) for drawer in drawers}
        sheets["jitter"] = changed(
            "Jitter: exposure and colour, the same all over a sample", film, data, seed, jitter=0.3
        )
        sheets["mirror"] = changed("Mirror: the same moving thing, and its reflection", film, data, seed, mirror=1.0)
        sheets["planar"] = planar(film, Path(name), seed)
    out.mkdir(parents=True, exist_ok=True)
    for title, sheet in sheets.items():
        sheet.figure.savefig(out / f"{title}.png", dpi=100)
    return [out / f"{title}.png" for title in sheets]


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    for path in draw(read(args.film), args.out, args.seed):
        print(path)


if __name__ == "__main__":
    sys.exit(run(main))
