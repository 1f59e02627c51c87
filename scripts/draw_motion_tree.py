#!/usr/bin/env python3
"""Draw a motion tree on the sphere, over its picture: docs/motion_tree.png.

    scripts/draw_motion_tree.py [FILM] [--frame 4] [--quality 4] [--out docs/motion_tree.png]

Without FILM, a generated film is used.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import torch

from deepsphere_codec.codec import make_resampler, signal_from_frame
from deepsphere_codec.data.generated import generate_clip
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.figures.globes import globe_directions, nearest_nodes
from deepsphere_codec.models import DEFAULT_MODEL, References, load_model
from deepsphere_codec.motion.tree import A0, B0, LAST, STEP, WIDTHS, MotionTree
from deepsphere_codec.runtime.atomic import atomic_output
from deepsphere_codec.sphere import face_xy_to_dir
from deepsphere_codec.video import open_video

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.collections import LineCollection  # noqa: E402

NSIDE = 256
SIZE = 300
"""Size of the picture behind a globe, in pixels."""
ARROW = 1.5
"""Length of the arrows as a multiple of the motion."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw a tree of motion on the sphere.")
    parser.add_argument("film", nargs="?", type=Path)
    parser.add_argument("--frame", type=int, default=4, help="which is predicted from the one before it (4)")
    parser.add_argument("--quality", type=float, default=4.0)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--out", type=Path, default=Path("docs/motion_tree.png"))
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="deepsphere-") as folder:
        film = args.film or Path(folder) / "film.mkv"
        if not args.film:
            generate_clip(film, frames=args.frame + 1, width=4 * NSIDE)
        x_ref, x = read_pair(film, args.frame)
    tree, luma = find_tree(x_ref, x, args.model, args.quality)
    draw(tree, luma, args.out)
    print(f"{args.out}: {tree.leaf_count} leaves")


def read_pair(film: Path, frame: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Read a frame and the previous one.

    Args:
        film: Film.
        frame: Number of the frame.
    Returns:
        Signals, [1, npix, 3] each: the previous frame first.
    """
    with open_video(film, frames=(frame - 1, frame + 1)) as reader:
        resampler = make_resampler("healpix", reader.info.height, reader.info.width, NSIDE)
        before, here = (signal_from_frame(each, resampler) for each in reader)
    return before, here


@torch.inference_mode()
def find_tree(x_ref: torch.Tensor, x: torch.Tensor, model: str, quality: float) -> tuple[MotionTree, np.ndarray]:
    """Find the motion tree that the encoder writes.

    Args:
        x_ref: Reference, [1, npix, 3].
        x: Frame, [1, npix, 3].
        model: Name or folder of the model.
        quality: Quality, 1 … 8.
    Returns:
        Tree, and the frame's luma at the nodes.
    """
    network = load_model(model).network(NSIDE)
    state = network.encode_intra(x_ref, quality).state
    coded = network.encode_inter(x, References(state), quality, 0)
    assert coded.state.tree is not None, "the frame repeats the one before it"
    return coded.state.tree, x[0, :, 0].numpy()


def draw(tree: MotionTree, luma: np.ndarray, out: Path) -> None:
    """Draw both halves of the sphere, with borders of leaves and arrows in the direction of motion.

    Args:
        tree: Motion tree.
        luma: Luma at the nodes, [npix].
        out: PNG file to write.
    """
    directions, inside = globe_directions(SIZE)
    picture = np.where(inside, luma[nearest_nodes(directions, NSIDE)], np.nan)
    figure, axes = plt.subplots(1, 2, figsize=(11, 5.6), layout="constrained")
    for half, axis in enumerate(axes):
        axis.imshow(
            picture[:, half * SIZE : (half + 1) * SIZE], cmap="gray", extent=(-1, 1, -1, 1), vmin=-0.2, vmax=1.2
        )
        side = 1 if half == 0 else -1
        axis.add_collection(LineCollection(_borders(tree, side), colors="#1f9ede", linewidths=0.5))
        start, end = _arrows(tree, side)
        moved = np.linalg.norm(end - start, axis=1) > 0.004
        axis.quiver(
            *start[moved].T,
            *(end - start)[moved].T,
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.003,
            color="#e4572e",
        )
        axis.set(xlim=(-1.01, 1.01), ylim=(-1.01, 1.01), title=("in front", "behind")[half])
        axis.set_axis_off()
    with atomic_output(out, force=True) as place:
        figure.savefig(place, format=out.suffix[1:], metadata={"Date": None} if out.suffix == ".svg" else None, dpi=100)
    plt.close(figure)


def _leaves(tree: MotionTree) -> list[tuple[int, int, int, int]]:
    """Face, first node in x and in y, and width of each leaf."""
    found = []
    for level, width in enumerate(WIDTHS):
        size = width // WIDTHS[LAST]
        for face, y, x in zip(*np.nonzero(tree.level[:, ::size, ::size] == level), strict=True):
            found.append((int(face), int(x) * width, int(y) * width, width))
    return found


def _borders(tree: MotionTree, side: int) -> list[np.ndarray]:
    """Outlines of the leaves on one half of the sphere, each [points, 2]."""
    lines = []
    for face, x, y, width in _leaves(tree):
        edge = _outline(width)
        points = face_xy_to_dir(face, x - 0.5 + edge[0], y - 0.5 + edge[1], NSIDE)
        if (side * points[:, 0] > 0).all():
            lines.append(_seen(points, side))
    return lines


def _outline(width: int) -> np.ndarray:
    """Points along the edge of a block, in nodes from its corner, [2, points]; edges of large blocks are curved."""
    t = np.linspace(0, width, 2 + width // 8)
    near, far = np.zeros_like(t), np.full_like(t, width)
    return np.concatenate([(t, near), (far, t), (t[::-1], far), (near, t[::-1])], 1)


def _arrows(tree: MotionTree, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of arrows, [leaves, 2] each: from the centre of a leaf, opposite to its vector."""
    face, x, y, width = np.array(_leaves(tree)).T
    middle = x + (width - 1) / 2, y + (width - 1) / 2
    block = (face, (y + width // 2) // WIDTHS[LAST], (x + width // 2) // WIDTHS[LAST])
    vectors = tree.leaves[block][:, [A0, B0]] * STEP * ARROW
    start = face_xy_to_dir(face, *middle, NSIDE)
    end = face_xy_to_dir(face, middle[0] - vectors[:, 0], middle[1] - vectors[:, 1], NSIDE)
    there = side * start[:, 0] > 0.05
    return _seen(start[there], side), _seen(end[there], side)


def _seen(points: np.ndarray, side: int) -> np.ndarray:
    """Orthographic projection of one half: east to the right, north up."""
    return np.stack([side * points[:, 1], points[:, 2]], 1) * 0.98


if __name__ == "__main__":
    run(main)
