"""Look-ahead: where a film is cut, and how many frames are worth coding as a group. No network, only small pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

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
DISTORTION = 16.0
"""Squared error, in 8-bit levels, that is left in a decoded picture: less than it costs little."""
NOISE = 4.0
"""Squared error of a decoded reference against its source; the mean of two has half of it."""
REPEATED = 0.01
"""Squared error of the worst block up to which a picture repeats its reference, and costs nothing."""
CUT = 0.6
"""Error of the prediction over what there is in the picture, from which the film is cut there."""
FLASH = 2
"""Frames that a flash takes at most: a cut is none if the film goes on behind them as before."""


class Look(NamedTuple):
    """Luma of a frame on few points, at full, half and quarter size."""

    fine: Plane
    middle: Plane
    coarse: Plane


class Lookahead(Protocol):
    """Decides from small pictures. The same pictures lead to the same decisions, in any process."""

    depth: int
    """Frames from the next one on that are to be there, unless the film ends before."""

    def look(self, frame: YuvFrame) -> Look:
        """The small picture of a frame."""

    def is_cut(self, looks: Sequence[Look]) -> bool:
        """Whether the film is cut between the first two pictures; those behind them are what follows."""

    def choose_span(self, looks: Sequence[Look]) -> int:
        """Frames of the next group, 1, 2, 4 or 8: the first picture is the anchor, the others may belong to it."""


class LowDelay:
    """Groups of one frame, each coded as soon as it is there; a cut is found from the two frames at it."""

    depth = 1

    def look(self, frame: YuvFrame) -> Look:
        return small_picture(frame)

    def is_cut(self, looks: Sequence[Look]) -> bool:
        return is_cut(looks)

    def choose_span(self, looks: Sequence[Look]) -> int:
        return 1


class ContentLookahead:
    """Groups that cost least by estimate, over the next eight frames; a cut is none where it is a flash."""

    depth = SPANS[-1] + FLASH

    def __init__(self) -> None:
        self._predicted: dict[tuple[int, int], tuple[Look, Look, Plane]] = {}  # by the pictures' identity

    def look(self, frame: YuvFrame) -> Look:
        return small_picture(frame)

    def is_cut(self, looks: Sequence[Look]) -> bool:
        return is_cut(looks)

    def choose_span(self, looks: Sequence[Look]) -> int:
        """The first group of the cheapest division of all frames."""
        self._forget(looks)
        best: list[tuple[float, int]] = [(0.0, 0)]  # by frames: estimated bits of a sample, and the first group
        for end in range(1, len(looks)):
            ways = []
            for span in SPANS:
                if span <= end:
                    before, first = best[end - span]
                    ways.append((before + self._group(looks[end - span : end + 1]), first or span))
            best.append(min(ways))
        return best[-1][1]

    def _group(self, looks: Sequence[Look]) -> float:
        """Estimated bits of a group: its P-frame, then its B-frames. The first picture is the anchor before it."""
        return self._p_frame(looks[-1], looks[0]) + self._b_frames(looks)

    def _p_frame(self, x: Look, ref: Look) -> float:
        return bits(block_errors(x.fine, self._predict(x, ref)), NOISE)

    def _b_frames(self, looks: Sequence[Look]) -> float:
        if len(looks) < 3:
            return 0.0
        middle = len(looks) // 2
        x, first, second = looks[middle], *(self._predict(looks[middle], ref) for ref in (looks[0], looks[-1]))
        errors = block_errors(x.fine, first), block_errors(x.fine, second)
        mean = block_errors(x.fine, (first + second) / 2) - NOISE / 2
        one = min(bits(each, NOISE) for each in errors)
        three = bits(np.minimum(np.minimum(*errors), mean), NOISE)
        return min(one, three) + self._b_frames(looks[: middle + 1]) + self._b_frames(looks[middle:])

    def _predict(self, x: Look, ref: Look) -> Plane:
        key = id(x), id(ref)
        if key not in self._predicted:
            self._predicted[key] = x, ref, predict(x, ref)
        return self._predicted[key][2]

    def _forget(self, looks: Sequence[Look]) -> None:
        """What was predicted of pictures, or from pictures, that are behind."""
        here = {id(look) for look in looks}
        self._predicted = {key: each for key, each in self._predicted.items() if here.issuperset(key)}


def is_cut(looks: Sequence[Look]) -> bool:
    """Whether the film is cut between two pictures.

    Args:
        looks: The two, and those that follow, as far as they are known.
    Returns:
        Whether neither the second picture nor one right behind a flash can be predicted from the first.
    """
    return all(_novelty(look, looks[0]) > CUT for look in looks[1 : 2 + FLASH])


def _novelty(x: Look, ref: Look) -> float:
    """Error of the prediction, without differences of brightness, over what a picture holds of its own."""
    predicted = predict(x, ref)
    areas = _areas(len(x.fine) // BLOCK)
    detail = block_errors(x.fine, _block_means(x.fine))
    error = block_errors(x.fine - _block_means(x.fine), predicted - _block_means(predicted))
    return float((areas * np.sqrt(error)).mean() / (areas * (np.sqrt(detail) + 1)).mean())


def _block_means(x: Plane) -> Plane:
    return _averaged(x, BLOCK).repeat(BLOCK, 0).repeat(BLOCK, 1)


def small_picture(frame: YuvFrame) -> Look:
    """Luma averaged to at most LOOK_WIDTH columns, rows and columns by the same factor."""
    height, width = frame.y.shape
    factor = -(-width // LOOK_WIDTH)
    step = factor * BLOCK * 4
    height, width = (max(step, side // step * step) for side in (height, width))
    luma = np.resize(frame.y, (height, width)) if frame.y.shape < (height, width) else frame.y[:height, :width]
    fine = _averaged(luma, factor)
    middle = _averaged(fine, 2)
    return Look(fine, middle, _averaged(middle, 2))


def _averaged(plane: np.ndarray, factor: int) -> Plane:
    height, width = plane.shape
    parts = plane.reshape(height // factor, factor, width // factor, factor)
    return parts.mean((1, 3), dtype=np.float32)


def predict(x: Look, ref: Look) -> Plane:
    """The picture `x` made of blocks of `ref`, each from where it fits best."""
    rows, columns = (side // BLOCK for side in x.fine.shape)
    size = BLOCK // 4
    padded = np.pad(np.pad(ref.coarse, ((REACH, REACH), (0, 0)), "edge"), ((0, 0), (REACH, REACH)), "wrap")
    windows = sliding_window_view(padded, x.coarse.shape)
    errors = np.abs(windows - x.coarse).reshape(len(windows) ** 2, rows, size, columns, size).sum((2, 4))
    errors[len(errors) // 2] -= 0.25 * size * size  # where nothing is gained, nothing moves
    best = errors.argmin(0)
    vectors = np.stack([best // len(windows) - REACH, best % len(windows) - REACH])
    for plane, ref_plane, size in ((x.middle, ref.middle, BLOCK // 2), (x.fine, ref.fine, BLOCK)):
        vectors, predicted = _refined(plane, ref_plane, 2 * vectors, size)
    return predicted


_STEPS = np.stack(np.meshgrid((0, -1, 1), (0, -1, 1), indexing="ij"), 0).reshape(2, 9)


def _refined(x: Plane, ref: Plane, vectors: np.ndarray, size: int) -> tuple[np.ndarray, Plane]:
    """Vectors a step better, [2, rows, columns] of blocks, and the prediction with them."""
    height, width = x.shape
    candidates = vectors[:, None] + _STEPS[:, :, None, None]
    moved = candidates.repeat(size, 2).repeat(size, 3)
    rows = (np.arange(height)[:, None] + moved[0]).clip(0, height - 1)
    columns = (np.arange(width) + moved[1]) % width
    predicted = ref[rows, columns]
    best = np.abs(predicted - x).reshape(9, height // size, size, width // size, size).sum((2, 4)).argmin(0)
    chosen = best.repeat(size, 0).repeat(size, 1)[None]
    return (
        np.take_along_axis(candidates, best[None, None], 1)[:, 0],
        np.take_along_axis(predicted, chosen, 0)[0],
    )


def block_errors(x: Plane, predicted: Plane) -> Blocks:
    """Mean squared error of each block."""
    height, width = x.shape
    return np.square(x - predicted).reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean((1, 3))


@lru_cache(4)
def _areas(rows: int) -> np.ndarray:
    """Share of the sphere of each row of blocks, [rows, 1]; their mean is 1."""
    weights = np.cos(np.pi * ((np.arange(rows) + 0.5) / rows - 0.5))
    return (weights / weights.mean())[:, None].astype(np.float32)


def bits(errors: Blocks, noise: float) -> float:
    """Estimated bits per sample of what is left of a prediction."""
    if float(errors.max()) <= REPEATED:
        return 0.0
    return float((_areas(len(errors)) * np.log2(1 + (errors + noise) / DISTORTION)).mean()) / 2
