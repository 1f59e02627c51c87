"""How training samples are varied: where they look, how the camera goes on, their colours. Pure functions, all of them.

A sample is seen through a rotation of the sphere, which may be drawn so that something that moves comes into view, as
NVC360's flow-guided reprojection does. A panorama becomes a film by a camera that turns and zooms.

A camera's step is a conformal map of the sphere. Those are the Lorentz group: a direction d stands for the ray of light
(1, d), a rotation acts on d, and a boost along an axis scales the picture about the axis (aberration). Maps are
therefore 4 x 4 matrices, which are multiplied to be composed and have exact inverses: the motion between two frames is
known everywhere, to rounding.

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
"""From how much motion on something moves: pixels of the source at its equator, from frame to frame, as in NVC360."""
BLACK, GREY = 16 / 255, 128 / 255
"""Of luma, and of chroma, in limited range."""
MIRRORED = np.diag([1.0, -1.0, 1.0])
"""Left for right."""

_COARSE = 256  # columns of the picture that motion is looked for in
_WINDOW, _STRIDE = 8, 4  # of these pixels
_MIDDLE = (_WINDOW + 1) / 2  # of a window, from its edge; derivatives lie between pixels
_NOISE = 1.0  # variance of gradients, in grey levels², that counts as nothing to go by


# Rotations


def random_rotation(rng: np.random.Generator) -> Rotation:
    """Uniform over SO(3), [3, 3], from a uniform unit quaternion."""
    return rotation_from_quaternion(torch.from_numpy(rng.normal(size=4))).numpy()


def small_rotation(rng: np.random.Generator, degrees: float) -> Rotation:
    """About a random axis, by an angle uniform up to the given one, [3, 3]."""
    axis = rng.normal(size=3)
    axis *= math.radians(degrees) * rng.random() / np.linalg.norm(axis)
    return rotation_from_vector(torch.from_numpy(axis)).numpy()


def aim(turn: Rotation, node: Direction, toward: Direction) -> Rotation:
    """The rotation nearest to `turn` that takes `node` to `toward`.

    Of a uniform `turn`, what is left to chance is the angle about `toward`, and it stays uniform.
    """
    seen = turn @ node
    way = log_map(torch.from_numpy(seen), torch.from_numpy(toward)).numpy()
    return rotation_from_vector(torch.from_numpy(np.cross(seen, way))).numpy() @ turn


# Where something moves


def motion_map(frames: Film) -> Float32[np.ndarray, "rows columns"]:
    """How far the picture moves from frame to frame, in radians: the mean length over all steps.

    One step of Lucas and Kanade's method, in windows of 8 x 8 pixels of a picture of about 256 columns, every four
    pixels. Motion beyond a pixel there comes out wrong, but far above `MOVING`.

    Returns:
        For 1024 columns, 30 x 64 windows from north to south and from -180 to 180 degrees of longitude.
    """
    shrink = _shrink(frames)
    luma = torch.from_numpy(np.ascontiguousarray(luma_of(frames))).float()
    x = F.avg_pool2d(luma, shrink)
    u, v = _small_flow(F.pad(x, (0, _WINDOW - _STRIDE + 1, 0, 0), mode="circular"))
    cos_lat = torch.from_numpy(_latitudes(u.shape[-2], frames)).float().cos()[:, None]
    return (torch.hypot(u * cos_lat, v).mean((0, 1)) * (2 * math.pi * shrink / frames.shape[2])).numpy()


def _small_flow(x: Float[Tensor, "n one height width"]) -> tuple[Tensor, Tensor]:
    """Motion from picture to picture in columns and rows a window, [n - 1, 1, rows, columns]; none without texture.

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
    """Means of neighbours."""
    size = x.shape[dim] - 1
    return (x.narrow(dim, 0, size) + x.narrow(dim, 1, size)) / 2


def _shrink(frames: Film) -> int:
    return max(1, frames.shape[2] // _COARSE)


def _latitudes(rows: int, frames: Film) -> Float64[np.ndarray, " rows"]:
    """Of the windows' middles, radians."""
    height = frames.shape[1] * 2 // 3
    return math.pi / 2 - (np.arange(rows) * _STRIDE + _MIDDLE) * _shrink(frames) * (math.pi / height)


def moving_direction(frames: Film, rng: np.random.Generator) -> Direction | None:
    """A direction in which something moves, uniform over all of these; None if nothing does."""
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


# The camera's way


def rotating(rotation: Rotation) -> Conformal:
    """A rotation, or a reflection, as a map of light rays."""
    found = np.eye(4)
    found[1:, 1:] = rotation
    return found


def zooming(axis: Direction, factor: float) -> Conformal:
    """The map after which the picture is `factor` times as large in the direction of the axis, and as small opposite.

    The angle t from the axis becomes 2 atan(tan(t / 2) / factor): stereographic scaling.
    """
    rapidity = math.log(factor)
    found = np.eye(4)
    found[0, 0] = math.cosh(rapidity)
    found[0, 1:] = found[1:, 0] = math.sinh(rapidity) * axis
    found[1:, 1:] += (math.cosh(rapidity) - 1) * np.outer(axis, axis)
    return found


def inverted(step: Conformal) -> Conformal:
    """The way back: the transpose, but for signs."""
    signs = np.array([1.0, -1, -1, -1])
    return signs[:, None] * step.T * signs


def moved(directions: Directions, step: Conformal) -> Directions:
    """Where a map takes directions."""
    return (directions @ step[1:, 1:].T + step[1:, 0]) / (directions @ step[0, 1:] + step[0, 0])[:, None]


def fly_on(steps: Sequence[Conformal], change: float, zoom: float, rng: np.random.Generator) -> list[Conformal]:
    """Steps of a camera, made livelier: it turns a little differently from step to step, and zooms evenly.

    Args:
        steps: Maps of the film's directions, one from each frame to the next.
        change: Largest change of the turn from one step to the next, radians; the same for all steps.
        zoom: Largest factor of a step, in either direction, 1 or more; about an axis that stays where it is.
    """
    push, axis = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    push *= change * rng.random()
    scaling = zooming(axis, math.exp(rng.uniform(-1, 1) * math.log(zoom)))
    turns = [rotation_from_vector(torch.from_numpy(t * push)).numpy() for t in range(len(steps))]
    return [scaling @ rotating(turn) @ step for turn, step in zip(turns, steps, strict=True)]


def fly(directions: Directions, steps: Sequence[Conformal]) -> Float64[np.ndarray, "frames npix 3"]:
    """Where each frame looks, the first one in the given directions of the film: [len(steps) + 1, npix, 3]."""
    path = [directions]
    for step in steps:
        path.append(moved(path[-1], step))
    return np.stack(path)


def true_field(block: PatchGrid, turn: Rotation, steps: Sequence[Conformal]) -> Float64[Tensor, "steps npix 2"]:
    """The motion between the frames of a panorama: `fly(block.centers @ turn.T, steps)`.

    Returns:
        v in the nodes' frame, radians: frame t + 1 at node x shows what frame t shows at exp_x(v[t](x)), the sign by
        which `Warp` predicts a frame. [len(steps), npix, 2].
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
    """Longer or shorter exposed, brighter or darker, with more or less colour, the same all over; held to 0 … 1.

    Args:
        x: Y, Cb, Cr, 0 … 1, in limited range.
        amount: Luma above black and chroma about grey change by up to this share, and the level of black by up to a
            quarter as much of the range; 0 for no change.
    """
    if not amount:
        return x
    exposure, colour, brightness = rng.uniform(-amount, amount, 3)
    gain, fixed = x.new_tensor([1 + exposure, 1 + colour, 1 + colour]), x.new_tensor([BLACK, GREY, GREY])
    return ((x - fixed) * gain + fixed + x.new_tensor([brightness / 4, 0, 0])).clamp(0, 1)


def fade_contrast(x: Float[Tensor, "*shape 3"], share: float, rng: np.random.Generator) -> Float[Tensor, "*shape 3"]:
    """For a share of the calls, each plane nearer to its mean, by a factor of up to 2^8, the same all over.

    Films have sky, walls and dark, and pictures of one colour; patches of real films hardly ever are that flat.

    Args:
        x: Y, Cb, Cr, 0 … 1.
        share: Of the calls; 0 for no change.
    """
    if rng.random() >= share:
        return x
    mean = x.flatten(0, -2).mean(0)
    return mean + (x - mean) * 2.0 ** -rng.uniform(0, 8)
