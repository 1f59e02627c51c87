"""Flat view of a camera inside the sphere (gnomonic projection)."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64

from deepsphere_codec.sphere.rotation import rotation_from_euler


def viewport_directions(
    yaw: float, pitch: float, roll: float, fov: float, size: tuple[int, int]
) -> Float64[np.ndarray, "height width 3"]:
    """Compute the viewing directions of a flat view's pixels.

    Args:
        yaw: Longitude of the centre, degrees; grows to the right, as in an ERP picture.
        pitch: Latitude of the centre, degrees; grows upwards.
        roll: Rotation about the line of sight, degrees; lifts the camera's right-hand side.
        fov: Horizontal field of view, degrees, between 0 and 180.
        size: (height, width) in pixels; pixels are square.
    Returns:
        Unit vectors, [height, width, 3], float64.
    Raises:
        ValueError: fov outside (0, 180), or an empty size.
    Source: Snyder, Map Projections, USGS PP 1395, 1987, section 22.
    """
    if not 0 < fov < 180:
        raise ValueError(f"field of view is {fov} degrees: a flat view shows more than 0 and less than 180")
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"viewport of {height} x {width} pixels: both must be at least 1")
    pixel = 2 * math.tan(math.radians(fov) / 2) / width
    right = (np.arange(width) + 0.5 - width / 2) * pixel
    up = (height / 2 - np.arange(height)[:, None] - 0.5) * pixel
    camera = np.stack(np.broadcast_arrays(1.0, right, up), axis=-1)
    camera /= np.linalg.norm(camera, axis=-1, keepdims=True)
    rotation = rotation_from_euler(math.radians(yaw), math.radians(pitch), math.radians(roll)).numpy()
    return camera @ rotation.T
