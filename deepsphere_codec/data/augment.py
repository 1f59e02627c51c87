"""Augmentation of training samples: viewing rotation, camera motion and colour, as pure functions.

A sample is seen through a rotation of the sphere, which may be drawn so that a moving object comes into view, as
NVC360's flow-guided reprojection does. A panorama becomes a film by a simulated camera that rotates and zooms.

A camera step is a conformal map of the sphere. Conformal maps form the Lorentz group: a direction d is the light ray
(1, d), a rotation acts on d, and a boost along an axis scales the picture about the axis (aberration). Maps are
therefore 4 x 4 matrices, which are composed by multiplication and have exact inverses: the motion between two frames
is known everywhere, up to rounding.

Sources: Regensky et al., "Beyond Perspective" (NVC360), ICCV 2025, for guided reprojection; Lucas and Kanade, IJCAI
1981, for the motion; Penrose and Rindler, Spinors and Space-Time 1, 1984, section 1.3, for the maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from deepsphere_codec.data.sampling import Film, luma_of
from deepsphere_codec.sphere import log_map
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.sphere.rotation import rotation_from_quaternion, rotation_from_vector

Direction = Float64[np.ndarray, " 3"]
Directions = Float64[np.ndarray, "npix 3"]
Rotation = Float64[np.ndarray, "3 3"]
Conformal = Float64[np.ndarray, "4 4"]

MOVING = 0.5
"""Threshold above which a window counts as moving, in pixels per frame at the source's equator, as in NVC360."""
BLACK, GREY = 16 / 255, 128 / 255
"""Black level of luma and neutral level of chroma in limited range, as shares of 255."""
MIRRORED = np.diag([1.0, -1.0, 1.0])
"""Reflection that swaps left and right, [3, 3]."""

_COARSE = 256  # columns of the reduced picture in which motion is estimated
_WINDOW, _STRIDE = 8, 4  # in pixels of the reduced picture
_MIDDLE = (_WINDOW + 1) / 2  # centre of a window, from its edge; derivatives lie between pixels
_NOISE = 1.0  # variance of gradients, in grey levels², below which a window has no usable texture


# Rotations


def random_rotation(rng: np.random.Generator) -> Rotation:
    """Draw a rotation uniformly from SO(3), [3, 3], through a uniform unit quaternion."""
    return rotation_from_quaternion(torch.from_numpy(rng.normal(size=4))).numpy()


def small_rotation(rng: np.random.Generator, degrees: float) -> Rotation:
    """Draw a rotation about a random axis by a random angle.

    Args:
        rng: Source of random numbers.
        degrees: Largest angle, degrees; the angle is uniform from 0 to it.
    Returns:
        Rotation matrix, [3, 3].
    """
    axis = rng.normal(size=3)
    axis *= math.radians(degrees) * rng.random() / np.linalg.norm(axis)
    return rotation_from_vector(torch.from_numpy(axis)).numpy()


def aim(turn: Rotation, node: Direction, toward: Direction) -> Rotation:
    """Compute the rotation nearest to `turn` that takes `node` to `toward`.

    If `turn` is uniform over SO(3), the remaining angle about `toward` is uniform too.

    Args:
        turn: Rotation to start from, [3, 3].
        node: Unit vector, [3].
        toward: Unit vector that `node` is rotated to, [3].
    Returns:
        Rotation matrix, [3, 3].
    """
    seen = turn @ node
    way = log_map(torch.from_numpy(seen), torch.from_numpy(toward)).numpy()
    return rotation_from_vector(torch.from_numpy(np.cross(seen, way))).numpy() @ turn


# Motion estimation


def motion_map(frames: Film) -> Float32[np.ndarray, "rows columns"]:
    """Estimate the motion from frame to frame, in radians: the mean length over all steps.

    One step of Lucas and Kanade's method, in windows of 8 x 8 pixels of a picture of about 256 columns, every four
    pixels. Motion of more than one such pixel is estimated inaccurately, but far above `MOVING`.

    Args:
        frames: Planar 4:2:0 frames, [frames, 3/2 height, width].
    Returns:
        Motion per window, [rows, columns]: for 1024 columns, 30 x 64 windows from north to south and from -180 to 180
        degrees of longitude.
    """
    shrink = _shrink(frames)
    luma = torch.from_numpy(np.ascontiguousarray(luma_of(frames))).float()
    x = F.avg_pool2d(luma, shrink)
    u, v = _small_flow(F.pad(x, (0, _WINDOW - _STRIDE + 1, 0, 0), mode="circular"))
    cos_lat = torch.from_numpy(_latitudes(u.shape[-2], frames)).float().cos()[:, None]
    return (torch.hypot(u * cos_lat, v).mean((0, 1)) * (2 * math.pi * shrink / frames.shape[2])).numpy()


def _small_flow(x: Float[Tensor, "n one height width"]) -> tuple[Tensor, Tensor]:
    """Motion between consecutive pictures in columns and rows per window, [n - 1, 1, rows, columns]; 0 without texture.

    Derivatives are those of Horn and Schunck, 1981: means of differences along the edges of a cube of 2 x 2 x 2.
    """
    mean, change = (x[1:] + x[:-1]) / 2, x[1:] - x[:-1]
    across, down = _between(mean.diff(dim=-1), -2), _between(mean.diff(dim=-2), -1)
    change = _between(_between(change, -1), -2)
    products = (across**2, across * down, down**2, across * change, down * change)
    a, b, c, p, q = (F.avg_pool2d(product, _WINDOW, _STRIDE) for product in products)
    a, c = a + _NOISE, c + _NOISE
    determinant = a * c - b * b
    return (b * q - c * p) / determinant, (b * p - a * q) / determinant


def _between(x: Tensor, dim: int) -> Tensor:
    """Means of adjacent values along a dimension."""
    size = x.shape[dim] - 1
    return (x.narrow(dim, 0, size) + x.narrow(dim, 1, size)) / 2


def _shrink(frames: Film) -> int:
    return max(1, frames.shape[2] // _COARSE)


def _latitudes(rows: int, frames: Film) -> Float64[np.ndarray, " rows"]:
    """Latitudes of the windows' centres, [rows], in radians."""
    height = frames.shape[1] * 2 // 3
    return math.pi / 2 - (np.arange(rows) * _STRIDE + _MIDDLE) * _shrink(frames) * (math.pi / height)


def moving_direction(frames: Film, rng: np.random.Generator) -> Direction | None:
    """Draw a direction in which the film moves, uniformly over all such directions.

    Args:
        frames: Planar 4:2:0 frames, [frames, 3/2 height, width].
        rng: Source of random numbers.
    Returns:
        Unit vector, [3]; None if nothing moves.
    """
    motion = motion_map(frames)
    lat = _latitudes(len(motion), frames)
    weights = (motion >= MOVING * 2 * math.pi / frames.shape[2]) * np.cos(lat)[:, None]
    if not weights.any():
        return None
    row, column = divmod(int(rng.choice(weights.size, p=weights.ravel() / weights.sum())), motion.shape[1])
    pixel = 2 * math.pi / frames.shape[2] * _shrink(frames)
    right, up = rng.uniform(-0.5, 0.5, 2) * _STRIDE * pixel
    lon, there = (column * _STRIDE + _MIDDLE) * pixel - math.pi + right, lat[row] + up
    return np.array([math.cos(there) * math.cos(lon), math.cos(there) * math.sin(lon), math.sin(there)])


# Camera motion


def rotating(rotation: Rotation) -> Conformal:
    """Convert a rotation or a reflection, [3, 3], to a conformal map, [4, 4]."""
    found = np.eye(4)
    found[1:, 1:] = rotation
    return found


def zooming(axis: Direction, factor: float) -> Conformal:
    """Make the conformal map that scales the picture by `factor` at the axis, and by its inverse opposite the axis.

    An angle t from the axis becomes 2 atan(tan(t / 2) / factor): stereographic scaling.

    Args:
        axis: Unit vector, [3].
        factor: Magnification in the direction of the axis, above 0.
    Returns:
        Conformal map, [4, 4].
    """
    rapidity = math.log(factor)
    found = np.eye(4)
    found[0, 0] = math.cosh(rapidity)
    found[0, 1:] = found[1:, 0] = math.sinh(rapidity) * axis
    found[1:, 1:] += (math.cosh(rapidity) - 1) * np.outer(axis, axis)
    return found


def inverted(step: Conformal) -> Conformal:
    """Invert a conformal map, [4, 4]: its transpose, up to signs."""
    signs = np.array([1.0, -1, -1, -1])
    return signs[:, None] * step.T * signs


def moved(directions: Directions, step: Conformal) -> Directions:
    """Apply a conformal map to directions.

    Args:
        directions: Unit vectors, [npix, 3].
        step: Conformal map, [4, 4].
    Returns:
        Unit vectors, [npix, 3].
    """
    return (directions @ step[1:, 1:].T + step[1:, 0]) / (directions @ step[0, 1:] + step[0, 0])[:, None]


def fly_on(steps: Sequence[Conformal], change: float, zoom: float, rng: np.random.Generator) -> list[Conformal]:
    """Vary the steps of a camera: add a rotation that changes steadily from step to step, and a constant zoom.

    Args:
        steps: Maps of the film's directions, one from each frame to the next, [4, 4] each.
        change: Largest change of the rotation from one step to the next, radians; the drawn change is the same for all
            steps.
        zoom: Largest factor per step, in either direction, 1 or more; the axis is the same for all steps.
        rng: Source of random numbers.
    Returns:
        Maps of the new steps, [4, 4] each.
    """
    push, axis = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    push *= change * rng.random()
    scaling = zooming(axis, math.exp(rng.uniform(-1, 1) * math.log(zoom)))
    turns = [rotation_from_vector(torch.from_numpy(t * push)).numpy() for t in range(len(steps))]
    return [scaling @ rotating(turn) @ step for turn, step in zip(turns, steps, strict=True)]


def fly(directions: Directions, steps: Sequence[Conformal]) -> Float64[np.ndarray, "frames npix 3"]:
    """Compute the directions in which each frame looks.

    Args:
        directions: Unit vectors of the first frame's nodes in the film, [npix, 3].
        steps: Conformal maps from each frame to the next, [4, 4] each.
    Returns:
        Unit vectors, [len(steps) + 1, npix, 3].
    """
    path = [directions]
    for step in steps:
        path.append(moved(path[-1], step))
    return np.stack(path)


def true_field(block: PatchGrid, turn: Rotation, steps: Sequence[Conformal]) -> Float64[Tensor, "steps npix 2"]:
    """Compute the exact motion between the frames of a panorama sampled at `fly(block.centers @ turn.T, steps)`.

    Args:
        block: Patch that the sample lies on.
        turn: Rotation from nodes to directions of the film, [3, 3].
        steps: Conformal maps from each frame to the next, [4, 4] each.
    Returns:
        Motion v, [len(steps), npix, 2], in the nodes' tangent frame, in radians: frame t + 1 at node x shows what
        frame t shows at exp_x(v[t](x)), which is the sign by which `Warp` predicts a frame.
    """
    centers, (e_x, e_y) = torch.from_numpy(block.centers), (torch.from_numpy(axis) for axis in block.frame)
    fields, seen = [torch.empty(0, len(centers), 2, dtype=torch.float64)], rotating(turn)
    for step in steps:
        back = torch.from_numpy(moved(block.centers, inverted(seen) @ step @ seen))
        v = log_map(centers, back)
        fields.append(torch.stack([(v * e_x).sum(-1), (v * e_y).sum(-1)], -1)[None])
        seen = step @ seen
    return torch.cat(fields)


# Colour


def jitter_colours(x: Float[Tensor, "*shape 3"], amount: float, rng: np.random.Generator) -> Float[Tensor, "*shape 3"]:
    """Change exposure, saturation and brightness by random amounts, the same for the whole sample, clamped to 0 … 1.

    Args:
        x: Signal, [..., 3]: Y, Cb, Cr over 255, limited range.
        amount: Largest relative change of luma above black and of chroma about grey; the black level changes by up to
            a quarter of it, as a share of the range. 0 for no change.
        rng: Source of random numbers.
    Returns:
        Changed signal, [..., 3].
    """
    if not amount:
        return x
    exposure, colour, brightness = rng.uniform(-amount, amount, 3)
    gain, fixed = x.new_tensor([1 + exposure, 1 + colour, 1 + colour]), x.new_tensor([BLACK, GREY, GREY])
    return ((x - fixed) * gain + fixed + x.new_tensor([brightness / 4, 0, 0])).clamp(0, 1)


def fade_contrast(x: Float[Tensor, "*shape 3"], share: float, rng: np.random.Generator) -> Float[Tensor, "*shape 3"]:
    """Reduce, in a share of the calls, the contrast of each plane about its mean by a random factor of up to 2^8.

    Films contain sky, walls, dark scenes and pictures of a single colour; random patches of real films are rarely so
    flat.

    Args:
        x: Signal, [..., 3]: Y, Cb, Cr over 255.
        share: Share of the calls that reduce the contrast; 0 for no change.
        rng: Source of random numbers.
    Returns:
        Signal with the same means, [..., 3].
    """
    if rng.random() >= share:
        return x
    mean = x.flatten(0, -2).mean(0)
    return mean + (x - mean) * 2.0 ** -rng.uniform(0, 8)
