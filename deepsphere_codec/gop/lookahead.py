"""Look-ahead: detection of cuts and choice of the number of frames in a group, on downscaled pictures.

No network is involved.
"""

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
"""Largest number of columns of a downscaled picture."""
BLOCK = 8
"""Rows and columns of a block for motion compensation."""
REACH = 7
"""Largest displacement of a block in a picture of a quarter of the width and height, in pixels: 80 degrees."""
DISTORTION = 300.0
"""Squared error, in 8-bit levels, up to which a block's bits are linear in it; above, they grow with its root."""
NOISE = 24.0
"""Squared error that coded references add to a prediction; the mean of two has half of it.

With DISTORTION and the root it is fitted to the cost of groups of 4 and 8 in a codec on seven clips, within 10 % for
five of them.
"""
STILL = 0.25
"""Mean error, in 8-bit levels, by which a displaced block must fit better than an undisplaced one."""
REPEATED = 0.01
"""Largest squared error of the worst block for a picture to count as a repetition of its reference, without cost."""
CUT_NOVELTY = 0.6
"""Threshold of `novelty` for a cut.

On 75 clips without cuts it is at most 0.47, except for fireworks (0.94); between different places it is at least 0.6.
"""
CUT_LAYOUT = 0.25
"""Threshold of `layout_change` for a cut.

For fireworks, whose light goes on and off, it is at most 0.22; for 37 of 38 pairs of different places it is above.
"""
FLASH = 2
"""Largest number of frames in a flash: it is not a cut if the film continues after them as before."""


@dataclass(frozen=True, eq=False)
class SmallPicture:
    """Downscaled luma of a frame, at full, half and quarter size; compared by identity.

    Attributes:
        fine: Luma at the largest size.
        middle: Luma at half that size.
        coarse: Luma at a quarter of that size.
    """

    fine: Plane
    middle: Plane
    coarse: Plane


class Lookahead(Protocol):
    """Interface for decisions on downscaled pictures; the same pictures give the same decisions in any process."""

    depth: int
    """Number of upcoming frames that a decision needs, unless the film ends before."""

    def look(self, frame: YuvFrame) -> SmallPicture:
        """Downscale a frame."""

    def is_cut(self, before: Sequence[SmallPicture], after: Sequence[SmallPicture]) -> bool:
        """Decide whether there is a cut between two pictures.

        Args:
            before: Pictures before the cut, the last one next to it.
            after: Pictures after the cut, the first one next to it.
        Returns:
            Whether there is a cut.
        """

    def choose_span(self, looks: Sequence[SmallPicture]) -> int:
        """Choose the number of frames in the next group, 1, 2, 4 or 8, given the anchor and the frames after it."""


class LowDelay:
    """Look-ahead with groups of one frame, each coded immediately; cuts are detected without frames after them."""

    depth = 1

    def look(self, frame: YuvFrame) -> SmallPicture:
        """Downscale a frame."""
        return small_picture(frame)

    def is_cut(self, before: Sequence[SmallPicture], after: Sequence[SmallPicture]) -> bool:
        """Decide whether there is a cut between two pictures; see the function `is_cut`.

        Args:
            before: Pictures before the cut.
            after: Pictures after the cut.
        Returns:
            Whether there is a cut.
        """
        return is_cut(before, after)

    def choose_span(self, looks: Sequence[SmallPicture]) -> int:
        """Return 1."""
        return 1


class ContentLookahead:
    """Look-ahead that minimises the estimated bits over the next eight frames, and ignores cuts caused by flashes."""

    depth = SPANS[-1] + FLASH

    def look(self, frame: YuvFrame) -> SmallPicture:
        """Downscale a frame."""
        return small_picture(frame)

    def is_cut(self, before: Sequence[SmallPicture], after: Sequence[SmallPicture]) -> bool:
        """Decide whether there is a cut between two pictures; see the function `is_cut`.

        Args:
            before: Pictures before the cut.
            after: Pictures after the cut.
        Returns:
            Whether there is a cut.
        """
        return is_cut(before, after)

    def choose_span(self, looks: Sequence[SmallPicture]) -> int:
        """Return the size of the first group in the cheapest division of all frames into groups."""
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
    """Decide whether there is a cut between two pictures.

    Args:
        before: The last pictures of the GOP, up to the cut; at least one.
        after: The available pictures after the cut; at least one.
    Returns:
        Whether no picture after the cut, or after a flash there, can be predicted from one before it, or before a
        flash.
    """
    pairs = product(after[: 1 + FLASH], reversed(before[-1 - FLASH :]))
    return all(layout_change(x, ref) > CUT_LAYOUT and novelty(x, ref) > CUT_NOVELTY for x, ref in pairs)


def group_bits(looks: Sequence[SmallPicture]) -> float:
    """Estimate the bits per sample, summed over all frames of a group.

    Args:
        looks: The anchor before the group, then its frames.
    """
    return p_bits(looks[-1], looks[0]) + _inner_bits(looks)


def _inner_bits(looks: Sequence[SmallPicture]) -> float:
    """Estimate the bits of the B-frames between two pictures."""
    middle = len(looks) // 2
    if not middle or len(looks) < 3:
        return 0.0
    middle_bits = b_bits(looks[middle], looks[0], looks[-1])
    return middle_bits + _inner_bits(looks[: middle + 1]) + _inner_bits(looks[middle:])


# The same pairs of pictures occur in many groups. Results for a pair are cached as long as it may occur again: for
# eight frames, with seven pairs of each.


@lru_cache(64)
def p_bits(x: SmallPicture, ref: SmallPicture) -> float:
    """Estimate the bits per sample of a P-frame.

    Args:
        x: Picture to code.
        ref: Its reference.
    Returns:
        Bits, in an arbitrary unit.
    """
    errors = _block_errors(x.fine, predict(x, ref))
    return 0.0 if errors.max() <= REPEATED else _bits(errors + NOISE)


@lru_cache(64)
def b_bits(x: SmallPicture, first: SmallPicture, second: SmallPicture) -> float:
    """Estimate the bits per sample of a B-frame, whose blocks are predicted from either reference or their mean.

    Args:
        x: Picture to code.
        first: First reference.
        second: Second reference.
    Returns:
        Bits, in an arbitrary unit.
    """
    predicted = predict(x, first), predict(x, second)
    errors = [_block_errors(x.fine, each) for each in (*predicted, (predicted[0] + predicted[1]) / 2)]
    if min(float(each.max()) for each in errors) <= REPEATED:
        return 0.0
    return _bits(np.minimum(np.minimum(errors[0], errors[1]), errors[2] - NOISE / 2) + NOISE)


@lru_cache(16)
def novelty(x: SmallPicture, ref: SmallPicture) -> float:
    """Measure the error of the prediction relative to the picture's detail, both without the blocks' mean brightness.

    Args:
        x: Picture.
        ref: Picture that it is predicted from.
    Returns:
        Ratio, 0 for a perfect prediction.
    """
    predicted = predict(x, ref)
    areas = _areas(len(x.fine) // BLOCK)
    x_detail, predicted_detail = (plane - _block_means(plane) for plane in (x.fine, predicted))
    detail = np.sqrt(_block_errors(x_detail, np.float32(0)))
    return float((areas * np.sqrt(_block_errors(x_detail, predicted_detail))).mean() / (areas * (detail + 1)).mean())


def layout_change(x: SmallPicture, ref: SmallPicture) -> float:
    """Compute 1 minus the correlation of two pictures at quarter size, which is insensitive to a change of lighting.

    Args:
        x: Picture.
        ref: Other picture.
    Returns:
        0 for equal layouts, about 1 for unrelated pictures, at most 2.
    """
    rows, columns = x.coarse.shape
    weights = _areas(rows) / (rows * columns)
    a, b = (plane - (weights * plane).sum() for plane in (x.coarse, ref.coarse))
    energies = [float((weights * plane**2).sum()) for plane in (a, b)]
    return 1 - float((weights * a * b).sum()) / (energies[0] * energies[1] + 1) ** 0.5


def small_picture(frame: YuvFrame) -> SmallPicture:
    """Downscale luma to at most LOOK_WIDTH columns by averaging, rows and columns by the same factor.

    Rows and columns that do not fill a block are omitted; a picture smaller than a block is repeated to fill it.
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
    """Predict a picture by block-wise motion compensation.

    Args:
        x: Picture to predict.
        ref: Reference.
    Returns:
        Prediction of `x.fine`.
    """
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
    """Refine vectors, [2, rows, columns] of blocks, by one step; returns them and the prediction with them."""
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
    """Estimate the bits per sample, weighted by area, in an arbitrary unit."""
    return float((_areas(len(errors)) * (np.sqrt(1 + errors / DISTORTION) - 1)).mean())


@lru_cache(4)
def _areas(rows: int) -> np.ndarray:
    """Area of each row on the sphere, [rows, 1], normalised to a mean of 1."""
    weights = np.cos(np.pi * ((np.arange(rows) + 0.5) / rows - 0.5))
    return (weights / weights.mean())[:, None].astype(np.float32)
