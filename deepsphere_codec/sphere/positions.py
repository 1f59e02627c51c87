"""Mapping between points of the HEALPix faces and directions on the sphere.

Source: Gorski et al., ApJ 622, 2005, section 5, written for continuous coordinates. With u, v in [0, 1] across a face
(u towards north-east, v towards north-west) let

    t = (2 | 3 | 4) - u - v      for the northern, equatorial and southern faces; 0 at the north pole, 4 at the south
    c = the face's central longitude in units of pi / 4
    r = min(t, 1, 4 - t)

then z = 2 (2 - t) / 3 and lon = pi / 4 (c + u - v) where 1 <= t <= 3; elsewhere |z| = 1 - r^2 / 3 and
lon = pi / 4 (c + (u - v) / r).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

FACE_ROW = np.array([2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4])
FACE_LON = np.array([1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7])

Directions = Float64[np.ndarray, "*shape 3"]
Coordinates = Float64[np.ndarray, "*shape"]


def _height_and_offset(face: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
    """(t, r, sin of the colatitude, z) of a face point; the sine has no cancellation near the poles."""
    t = FACE_ROW[face] - u - v
    r = np.clip(np.minimum(t, 4.0 - t), 0.0, 1.0)
    cap = r * r / 3.0
    z = np.where(np.abs(t - 2.0) <= 1.0, (2.0 - t) * (2.0 / 3.0), np.sign(2.0 - t) * (1.0 - cap))
    sin_theta = np.where(np.abs(t - 2.0) <= 1.0, np.sqrt((1.0 - z) * (1.0 + z)), r * np.sqrt((2.0 - cap) / 3.0))
    return t, r, sin_theta, z


def face_xy_to_dir(face: ArrayLike, x: ArrayLike, y: ArrayLike, nside: int) -> Directions:
    """Compute the directions of points on the faces.

    Args:
        face: HEALPix face number 0..11, [...] (face, x and y are broadcast).
        x: Position towards NE in nodes, [...]; node centres are at whole numbers, a face spans -0.5 .. nside - 0.5.
        y: Position towards NW in nodes, [...].
        nside: Nodes along a face's edge.
    Returns:
        Unit vectors, [..., 3], float64.
    """
    face, x, y = np.broadcast_arrays(np.asarray(face), np.asarray(x, np.float64), np.asarray(y, np.float64))
    u, v = (x + 0.5) / nside, (y + 0.5) / nside
    _, r, sin_theta, z = _height_and_offset(face, u, v)
    turn = np.divide(u - v, r, out=np.zeros_like(r), where=r > 0)
    lon = (np.pi / 4.0) * (FACE_LON[face] + turn)
    return np.stack([sin_theta * np.cos(lon), sin_theta * np.sin(lon), z], axis=-1)


def dir_to_face_xy(dirs: ArrayLike, nside: int) -> tuple[Int64[np.ndarray, "*shape"], Coordinates, Coordinates]:
    """Compute the face of each direction and the continuous position in it; the inverse of `face_xy_to_dir`.

    Args:
        dirs: Directions, [..., 3]; need not be of unit length.
        nside: Nodes along a face's edge.
    Returns:
        (face, x, y), each [...]; x and y lie in -0.5 .. nside - 0.5, whole numbers are node centres.
    """
    vec = np.asarray(dirs, np.float64)
    horizontal = np.hypot(vec[..., 0], vec[..., 1])
    length = np.hypot(horizontal, vec[..., 2])
    z, sin_theta = vec[..., 2] / length, horizontal / length
    lon = np.mod(np.arctan2(vec[..., 1], vec[..., 0]) * (4.0 / np.pi), 8.0)
    face, u, v = _equatorial_point(z, lon)
    cap_face, cap_u, cap_v = _polar_point(z, sin_theta, lon)
    polar = np.abs(z) >= 2.0 / 3.0
    face = np.where(polar, cap_face, face)
    u, v = np.where(polar, cap_u, u), np.where(polar, cap_v, v)
    return face, np.asarray(u * nside - 0.5), np.asarray(v * nside - 0.5)  # arrays for one direction, too


def _equatorial_point(z: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solve u + v = (row - 2) + 3 z / 2 and u - v = lon - c for the one face where both lie in [0, 1)."""
    rise = 0.75 * z
    along, against = 0.5 * lon + rise + 0.5, rise - 0.5 * lon + 0.5
    step_u, step_v = np.floor(along), np.floor(against)
    column_u, column_v = step_u.astype(np.int64), -step_v.astype(np.int64)
    northern = np.where(column_u > column_v, column_v % 4, 4 + column_u % 4)
    face = np.where(column_u < column_v, 8 + column_u % 4, northern)
    return face, along - step_u, against - step_v


def _polar_point(z: np.ndarray, sin_theta: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solve r = sqrt(3 (1 - |z|)) and u - v = r (lon - c); r from the sine, which is exact near the pole."""
    column = np.clip(np.floor(0.5 * lon).astype(np.int64), 0, 3)
    r = np.minimum(sin_theta * np.sqrt(3.0 / (1.0 + np.abs(z))), 1.0)
    total = np.where(z >= 0, 2.0 - r, r)
    difference = r * (lon - (2 * column + 1))
    face = np.where(z >= 0, column, 8 + column)
    return face, 0.5 * (total + difference), 0.5 * (total - difference)


def face_frame(face: ArrayLike, x: ArrayLike, y: ArrayLike, nside: int) -> tuple[Directions, Directions]:
    """Compute an orthonormal tangent basis (e_x, e_y) at points of the faces, e_x cross e_y pointing outwards.

    e_x is the unit direction of increasing x, e_y the perpendicular nearest to increasing y. On the two rings where
    the polar caps begin, the direction of increasing x is discontinuous; there it is that of the equatorial side.

    Args:
        face: HEALPix face number 0..11, [...] (face, x and y are broadcast).
        x: Position towards NE in nodes, [...].
        y: Position towards NW in nodes, [...].
        nside: Nodes along a face's edge.
    Returns:
        (e_x, e_y), each [..., 3], float64.
    """
    face, x, y = np.broadcast_arrays(np.asarray(face), np.asarray(x, np.float64), np.asarray(y, np.float64))
    u, v = (x + 0.5) / nside, (y + 0.5) / nside
    t, r, sin_theta, z = _height_and_offset(face, u, v)
    # With increasing x, t falls, so z rises by 2 r / 3; r falls in the north, grows in the south, stays 1 in between.
    growth = np.where(t < 1.0, -1.0, np.where(t > 3.0, 1.0, 0.0))
    d_lon = (np.pi / 4.0) * (1.0 / r - growth * (u - v) / (r * r))
    east, north = sin_theta * d_lon, (2.0 / 3.0) * r / sin_theta
    scale = np.hypot(east, north)
    lon = (np.pi / 4.0) * (FACE_LON[face] + (u - v) / r)
    cos_lon, sin_lon = np.cos(lon), np.sin(lon)
    to_east = np.stack([-sin_lon, cos_lon, np.zeros_like(lon)], axis=-1)
    to_north = np.stack([-z * cos_lon, -z * sin_lon, sin_theta], axis=-1)
    a, b = (east / scale)[..., None], (north / scale)[..., None]
    return a * to_east + b * to_north, a * to_north - b * to_east


def chart_steps(face: ArrayLike, x: ArrayLike, y: ArrayLike, nside: int) -> Float64[np.ndarray, "*shape 2 3"]:
    """Compute the tangent vectors of one step in x and one in y at points of the faces, by central differences.

    Args:
        face: HEALPix face number 0..11, [...] (face, x and y are broadcast).
        x: Position towards NE in nodes, [...].
        y: Position towards NW in nodes, [...].
        nside: Nodes along a face's edge.
    Returns:
        Tangent vectors in radians, [..., 2, 3], float64.
    """
    x, y = np.asarray(x), np.asarray(y)
    steps = []
    for dx, dy in ((0.5, 0.0), (0.0, 0.5)):
        ahead = face_xy_to_dir(face, x + dx, y + dy, nside)
        behind = face_xy_to_dir(face, x - dx, y - dy, nside)
        steps.append(ahead - behind)
    return np.stack(steps, -2)
