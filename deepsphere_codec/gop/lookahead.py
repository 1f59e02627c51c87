"""Look-ahead: where a film is cut, and how many frames are worth coding as a group. No network, only small pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Protocol

import numpy as np
from jaxtyping import Float32
from numpy.lib.stride_tricks import sliding_window_view

from deepsphere_codec.bitstream import SPANS
from deepsphere_codec.video import YuvFrame

Plane = Float32[np.ndarray, "rows columns"]
Blocks = Float32[np.ndarray, "block_rows block_columns"]

LOOK_WIDTH = 128
"""Columns of a small picture at most."""
BLOCK = 8
"""Rows and columns that move together."""
REACH = 7
"""Columns and rows of a picture of a quarter of the width and height that a block may move by: 80 degrees."""
DISTORTION = 300.0
"""Squared error, in 8-bit levels, up to which a block's bits grow with it; above, they grow with its root."""
NOISE = 24.0
"""Squared error that coded references add to a prediction; the mean of two has half of it.

Both, and the root, fit what groups of 4 and 8 cost a codec on seven clips, within 10 % for five of them.
"""
STILL = 0.25
"""Mean error, in 8-bit levels, by which a block must fit better elsewhere before it moves."""
REPEATED = 0.01
"""Squared error of the worst block up to which a picture repeats its reference, and costs nothing."""
CUT_NOVELTY = 0.6
"""Error of the prediction over what there is in the picture, above which the film may be cut there.

On 75 clips without cuts it is 0.47 at most, but for fireworks (0.94); between different places it is 0.6 and more.
"""
CUT_LAYOUT = 0.25
"""One less the correlation of two pictures at quarter size, above which the film may be cut there.

Of fireworks, where the light goes on and off, it is 0.22 at most; of 37 in 38 pairs of different places it is more.
"""
FLASH = 2
"""Frames that a flash takes at most. A cut is none if the film goes on behind them as it was before them."""


@dataclass(frozen=True, eq=False)
class SmallPicture:
    """Luma of a frame on few points, at full, half and quarter size. Two of them are never equal."""

    fine: Plane
    middle: Plane
    coarse: Plane


class Lookahead(Protocol):
    """Decides from small pictures. The same pictures lead to the same decisions, in any process."""

    depth: int
    """Frames from the next one on that are to be there, unless the film ends before."""

    def look(self, frame: YuvFrame) -> SmallPicture:
        """The small picture of a frame."""

    def is_cut(self, before: Sequence[SmallPicture], after: Sequence[SmallPicture]) -> bool:
        """Whether the film is cut between two pictures: the last one before, and the first one after."""

    def choose_span(self, looks: Sequence[SmallPicture]) -> int:
        """Frames of the next group, 1, 2, 4 or 8: the first picture is the anchor, the others may belong to it."""


class LowDelay:
    """Groups of one frame, each coded as soon as it is there; a cut is found from the two frames at it."""

    depth = 1

    def look(self, frame: YuvFrame) -> SmallPicture:
        return small_picture(frame)

    def is_cut(self, before: Sequence[SmallPicture], after: Sequence[SmallPicture]) -> bool:
        return is_cut(before, after)

    def choose_span(self, looks: Sequence[SmallPicture]) -> int:
        return 1


class ContentLookahead:
    """Groups that cost least by estimate, over the next eight frames; a cut is none where it is a flash."""

    depth = SPANS[-1] + FLASH

    def look(self, frame: YuvFrame) -> SmallPicture:
        return small_picture(frame)

    def is_cut(self, before: Sequence[SmallPicture], after: Sequence[SmallPicture]) -> bool:
        return is_cut(before, after)

    def choose_span(self, looks: Sequence[SmallPicture]) -> int:
        """The first group of the cheapest division of all frames."""
        best: list[tuple[float, int]] = [(0.0, 0)]  # by frames: estimated bits of a sample, and the first group
        for end in range(1, len(looks)):
            ways = [
                (best[end - span][0] + group_bits(looks[end - span : end + 1]), best[end - span][1] or span)
                for span in SPANS
                if span <= end
            ]
            best.append(min(ways))
        return best[-1][1]


def is_cut(before: Sequence[SmallPicture], after: Sequence[SmallPicture]) -> bool:
    """Whether the film is cut between two pictures.

    Args:
        before: Pictures up to the cut, the last ones of the GOP; at least one.
        after: Pictures behind it, as far as they are known; at least one.
    Returns:
        Whether no picture behind it, nor one behind a flash, can be predicted from one before it, or before a flash.
    """
    pairs = product(after[: 1 + FLASH], reversed(before[-1 - FLASH :]))
    return all(layout_change(x, ref) > CUT_LAYOUT and novelty(x, ref) > CUT_NOVELTY for x, ref in pairs)


def group_bits(looks: Sequence[SmallPicture]) -> float:
    """Estimated bits of a sample in all frames of a group.

    Args:
        looks: The anchor before it, then its frames.
    """
    return p_bits(looks[-1], looks[0]) + _inner_bits(looks)


def _inner_bits(looks: Sequence[SmallPicture]) -> float:
    """Estimated bits of the B-frames between two pictures."""
    middle = len(looks) // 2
    if not middle or len(looks) < 3:
        return 0.0
    own = b_bits(looks[middle], looks[0], looks[-1])
    return own + _inner_bits(looks[: middle + 1]) + _inner_bits(looks[middle:])


# Pictures come in many pairs and groups. What was computed of a pair is kept while it may be asked for again: for eight
# frames, with seven pairs of each.


@lru_cache(64)
def p_bits(x: SmallPicture, ref: SmallPicture) -> float:
    """Estimated bits of a sample where `x` is predicted from `ref`."""
    errors = _block_errors(x.fine, predict(x, ref))
    return 0.0 if errors.max() <= REPEATED else _bits(errors + NOISE)


@lru_cache(64)
def b_bits(x: SmallPicture, first: SmallPicture, second: SmallPicture) -> float:
    """Estimated bits of a sample where each block of `x` is predicted from either picture, or the mean of both."""
    predicted = predict(x, first), predict(x, second)
    errors = [_block_errors(x.fine, each) for each in (*predicted, (predicted[0] + predicted[1]) / 2)]
    if min(float(each.max()) for each in errors) <= REPEATED:
        return 0.0
    return _bits(np.minimum(np.minimum(errors[0], errors[1]), errors[2] - NOISE / 2) + NOISE)


@lru_cache(16)
def novelty(x: SmallPicture, ref: SmallPicture) -> float:
    """Error of the prediction, apart from the blocks' brightness, over what the picture holds of its own."""
    predicted = predict(x, ref)
    areas = _areas(len(x.fine) // BLOCK)
    mine, theirs = (plane - _block_means(plane) for plane in (x.fine, predicted))
    detail = np.sqrt(_block_errors(mine, np.float32(0)))
    return float((areas * np.sqrt(_block_errors(mine, theirs))).mean() / (areas * (detail + 1)).mean())


def layout_change(x: SmallPicture, ref: SmallPicture) -> float:
    """One less the correlation of two pictures, node on node: a film that is only lit otherwise keeps its layout."""
    rows, columns = x.coarse.shape
    weights = _areas(rows) / (rows * columns)
    mine, theirs = (plane - (weights * plane).sum() for plane in (x.coarse, ref.coarse))
    energies = [float((weights * plane**2).sum()) for plane in (mine, theirs)]
    return 1 - float((weights * mine * theirs).sum()) / (energies[0] * energies[1] + 1) ** 0.5


def small_picture(frame: YuvFrame) -> SmallPicture:
    """Luma averaged to at most LOOK_WIDTH columns, rows and columns by the same factor.

    Rows and columns that fill no block are left out; a picture of less than one is repeated to fill it.
    """
    height, width = frame.y.shape
    factor = -(-width // LOOK_WIDTH)
    step = factor * BLOCK
    sides = max(step, height // step * step), max(step, width // step * step)
    fine = _averaged(np.tile(frame.y, (-(-sides[0] // height), -(-sides[1] // width)))[: sides[0], : sides[1]], factor)
    middle = _averaged(fine, 2)
    return SmallPicture(fine, middle, _averaged(middle, 2))


@lru_cache(64)
def predict(x: SmallPicture, ref: SmallPicture) -> Plane:
    """The picture `x` made of blocks of `ref`, each from where it fits best."""
    rows, columns = (side // BLOCK for side in x.fine.shape)
    size = BLOCK // 4
    padded = np.pad(np.pad(ref.coarse, ((REACH, REACH), (0, 0)), "edge"), ((0, 0), (REACH, REACH)), "wrap")
    windows = sliding_window_view(padded, x.coarse.shape)
    errors = np.abs(windows - x.coarse).reshape(len(windows) ** 2, rows, size, columns, size).sum((2, 4))
    errors[len(errors) // 2] -= STILL * size * size
    best = errors.argmin(0)
    vectors = np.stack([best // len(windows) - REACH, best % len(windows) - REACH])
    vectors, _ = _refined(x.middle, ref.middle, 2 * vectors, BLOCK // 2)
    return _refined(x.fine, ref.fine, 2 * vectors, BLOCK)[1]


_STEPS = np.stack(np.meshgrid((0, -1, 1), (0, -1, 1), indexing="ij"), 0).reshape(2, 9)


def _refined(x: Plane, ref: Plane, vectors: np.ndarray, size: int) -> tuple[np.ndarray, Plane]:
    """Vectors a step better, [2, rows, columns] of blocks, and the prediction with them."""
    height, width = x.shape
    blocks = height // size, size, width // size, size
    candidates = vectors[:, None] + _STEPS[:, :, None, None]
    rows = np.arange(height).reshape(-1, size)[:, :, None] + candidates[0][:, :, None]  # [9, rows, size, columns]
    columns = np.arange(width).reshape(-1, size) + candidates[1][..., None]  # [9, rows, columns, size]
    places = rows.clip(0, height - 1)[..., None] * width + (columns % width)[:, :, None]
    predicted = ref.ravel()[places]
    best = np.abs(predicted - x.reshape(blocks)).sum((2, 4)).argmin(0)
    chosen = np.take_along_axis(predicted, best[None, :, None, :, None], 0)[0]
    return np.take_along_axis(candidates, best[None, None], 1)[:, 0], chosen.reshape(x.shape)


def _averaged(plane: np.ndarray, factor: int) -> Plane:
    height, width = plane.shape
    parts = plane.reshape(height // factor, factor, width // factor, factor)
    return parts.mean((1, 3), dtype=np.float32)


def _block_means(x: Plane) -> Plane:
    return _averaged(x, BLOCK).repeat(BLOCK, 0).repeat(BLOCK, 1)


def _block_errors(x: Plane, predicted: Plane | np.float32) -> Blocks:
    """Mean squared error of each block."""
    return _averaged(np.square(x - predicted), BLOCK)


def _bits(errors: Blocks) -> float:
    """Estimated bits of a sample, weighted by area; the unit does not matter."""
    return float((_areas(len(errors)) * (np.sqrt(1 + errors / DISTORTION) - 1)).mean())


@lru_cache(4)
def _areas(rows: int) -> np.ndarray:
    """Area on the sphere of each of so many rows, [rows, 1]; the mean is 1."""
    weights = np.cos(np.pi * ((np.arange(rows) + 0.5) / rows - 0.5))
    return (weights / weights.mean())[:, None].astype(np.float32)
