"""Conversion from ERP to a cubemap of six faces in a 3 x 2 picture and back, to try planar codecs on cubemaps.

Faces and their places are those of JVET's CMP 3 x 2: left, front, right above; bottom, back, top below, with the back
face rotated by 90 degrees clockwise. Within a row the picture is continuous across the faces' edges; between the rows
it is not.

Each plane is resampled on its own, since chroma is located in the middle of its 2 x 2 pixels. Values between pixels are
those of the quintic B-spline through the picture (as in `rotation_film`); for the conversion back, each face is first
extended beyond its edges with pixels of its neighbours, so that no seam appears.

Faces of width W / 4 sample the middle of a face less densely than ERP does (0.79 of its samples per radian), which is
where detail is lost. A least-squares fit of the faces to the source preserves more without coding (0.8 to 1.5 dB of
luma on four clips with a Lanczos kernel of six taps), but it preserves fine detail, which costs bits: on 8 frames of
overpass_clip01 x265 gained at 40 dB and lost at 36 dB, with a BD-rate of +0.1 % between the two. Therefore no fit is
used, as in JVET's converter.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int, UInt8
from scipy import ndimage

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.compare import compare_frames
from deepsphere_codec.evaluation.results import Point
from deepsphere_codec.sphere.erp import erp_directions, erp_positions
from deepsphere_codec.video import VideoInfo, YuvFrame, open_video

KERNEL = "quintic B-spline"
ARRANGEMENT = "JVET CMP 3x2"
FACE_DIVISOR = 4  # faces of width W / 4, the usual choice: 3/4 of the ERP's pixels
_ORDER = 5
_BORDER = 16  # pixels beyond each edge; over them the effect of the border on the spline decays to 1e-6
_COLUMNS, _ROWS = 3, 2

_X, _Y, _Z = np.eye(3)  # front, east, up
# Centre of each face, and directions of its columns and rows in the packed picture; row by row.
FACES = (
    (-_Y, _X, -_Z),  # left
    (_X, _Y, -_Z),  # front
    (_Y, -_X, -_Z),  # right
    (-_Z, -_X, -_Y),  # bottom
    (-_X, _Z, -_Y),  # back
    (_Z, _X, -_Y),  # top
)
_CENTRES, _ACROSS, _DOWN = (np.stack(axes) for axes in zip(*FACES, strict=True))


class FacePlaces(NamedTuple):
    """Positions on the faces; whole numbers are pixel centres."""

    face: Int[np.ndarray, " n"]
    positions: Float64[np.ndarray, "2 n"]  # (row, column)


class PlaneCubemap:
    """Conversion between an ERP plane and its cubemap in both directions.

    Args:
        height: Height of the ERP plane in pixels.
        width: Width of the ERP plane in pixels, even.
        side: Width of a face in pixels.
    """

    def __init__(self, height: int, width: int, side: int) -> None:
        self._shape = (height, width)
        self._border = min(_BORDER, height)
        self._seen = np.stack(erp_positions(face_directions(side), height, width))
        self._ring = _outside(side)
        self._beyond = face_places(face_directions(side, _BORDER)[:, self._ring].reshape(-1, 3), side)
        self._back = face_places(erp_directions(height, width).reshape(-1, 3), side)

    def to_cubemap(self, plane: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h2 w2"]:
        """Convert an ERP plane, [height, width], to packed faces, [2 side, 3 side], rounded to 8 bits."""
        return _packed(_to_uint8(_between(_erp_bordered(plane, self._border), self._seen + self._border)))

    def to_erp(self, cubemap: UInt8[np.ndarray, "h2 w2"]) -> UInt8[np.ndarray, "h w"]:
        """Convert packed faces, [2 side, 3 side], to an ERP plane, [height, width], rounded to 8 bits."""
        places = self._back._replace(positions=self._back.positions + _BORDER)
        return _to_uint8(_gathered(self._continued(_unpacked(cubemap)), places)).reshape(self._shape)

    def _continued(self, faces: Float32[np.ndarray, "6 n n"]) -> Float32[np.ndarray, "6 m m"]:
        """Each face, extended in its own plane with its neighbours' pixels."""
        continued = np.pad(faces, ((0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER)))
        continued[:, self._ring] = _gathered(faces, self._beyond).reshape(len(faces), -1)
        return continued


class CubemapProjection:
    """Conversion of ERP frames to cubemap frames and back.

    Args:
        info: Size, rate and colours of the ERP film.
        divisor: Faces are W / divisor wide, rounded to an even number of pixels.
    Raises:
        UsageError: the film is not 2:1 and even, or too small for faces of at least 4 pixels.
    """

    settings = {"projection": "cubemap", "arrangement": ARRANGEMENT, "face_divisor": FACE_DIVISOR, "kernel": KERNEL}

    def __init__(self, info: VideoInfo, divisor: float = FACE_DIVISOR) -> None:
        height, width, side = info.height, info.width, 2 * round(info.width / divisor / 2)
        if width != 2 * height or height % 2 or side < 4:
            raise UsageError(
                f"a film of {width}x{height} has no cubemap with faces of {side}; "
                f"give one of at least 16x8 whose width is twice its height, both even"
            )
        self.info = info._replace(width=_COLUMNS * side, height=_ROWS * side)  # info of the cubemap
        self._luma = PlaneCubemap(height, width, side)
        self._chroma = PlaneCubemap(height // 2, width // 2, side // 2)

    def forward(self, frame: YuvFrame) -> YuvFrame:
        """Convert a frame of the ERP film to a cubemap."""
        u, v = (self._chroma.to_cubemap(plane) for plane in (frame.u, frame.v))
        return YuvFrame(self._luma.to_cubemap(frame.y), u, v)

    def backward(self, frame: YuvFrame) -> YuvFrame:
        """Convert a cubemap to a frame of the ERP film."""
        u, v = (self._chroma.to_erp(plane) for plane in (frame.u, frame.v))
        return YuvFrame(self._luma.to_erp(frame.y), u, v)


class CubemapCeiling:
    """Loss of the conversion to the cubemap and back without coding: an upper bound for every codec on the cubemap.

    Args:
        frames: Number of frames of each clip, from its first; None for all.
    """

    codec = "cubemap-ceiling"
    name = "cubemap, nothing coded"
    description = f"ERP to {ARRANGEMENT} and back, {KERNEL}, 8 bits; quality is W / face"
    qualities: tuple[float, ...] = (float(FACE_DIVISOR),)

    def __init__(self, frames: int | None = None) -> None:
        self.settings: dict[str, Any] = {"arrangement": ARRANGEMENT, "kernel": KERNEL, "frames": frames}
        self._frames = (0, frames)

    def measure(self, clip: Path, quality: float) -> Point:
        """Convert one clip to the cubemap and back; the point has no bpp.

        Args:
            clip: Film to convert.
            quality: Width of the film over the width of a face.
        Returns:
            Metrics of the converted film.
        Raises:
            UsageError: the clip cannot be read, or cannot be converted to such a cubemap.
        """
        seconds = [0.0, 0.0]
        with open_video(clip, frames=self._frames) as source:
            projection = CubemapProjection(source.info, quality)
            metrics = compare_frames(_round_trips(source, projection, seconds)).mean
        return Point(
            quality=quality, bpp=None, **metrics._asdict(), encode_seconds=seconds[0], decode_seconds=seconds[1]
        )


def face_directions(side: int, border: int = 0) -> Float64[np.ndarray, "6 m m 3"]:
    """Compute the directions of the faces' pixels; they are not of unit length.

    Source: JVET's 360Lib, CMP packed as "2 3 4 0 0 0 5 0 3 180 1 270 2 0"; a face extends from -1 to 1 at distance 1.

    Args:
        side: Width of a face in pixels.
        border: Number of additional pixels on each side.
    Returns:
        Directions, [6, side + 2 border, side + 2 border, 3].
    """
    steps = (2 * np.arange(-border, side + border) + 1) / side - 1
    down, across = np.meshgrid(steps, steps, indexing="ij")
    return np.stack([c + across[..., None] * a + down[..., None] * d for c, a, d in FACES])


def face_places(dirs: Float64[np.ndarray, "n 3"], side: int) -> FacePlaces:
    """Find the face that each direction meets, and the position on it.

    Args:
        dirs: Directions, [n, 3], of any length.
        side: Width of a face in pixels.
    Returns:
        Face, [n], and (row, column), [2, n], of each direction.
    """
    face = np.argmax(dirs @ _CENTRES.T, axis=1)
    depth = (dirs * _CENTRES[face]).sum(axis=1)
    row, column = ((dirs * axis[face]).sum(axis=1) / depth for axis in (_DOWN, _ACROSS))
    return FacePlaces(face, (np.stack([row, column]) + 1) * (side / 2) - 0.5)


def _outside(side: int) -> np.ndarray:
    """Mask of the pixels of an extended face that lie outside the face itself."""
    outside = np.ones((side + 2 * _BORDER, side + 2 * _BORDER), bool)
    outside[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    return outside


def _gathered(faces: Float32[np.ndarray, "6 m m"], places: FacePlaces) -> Float32[np.ndarray, " n"]:
    """Values at positions on the faces."""
    values = np.empty(len(places.face), np.float32)
    for number, face in enumerate(faces):
        here = places.face == number
        values[here] = _between(face, places.positions[:, here])
    return values


def _between(picture: Float32[np.ndarray, "h w"], positions: Float64[np.ndarray, "2 ..."]) -> np.ndarray:
    """Values of the spline through a picture at (row, column)."""
    coefficients = ndimage.spline_filter(picture, _ORDER, output=np.float32, mode="mirror")
    return ndimage.map_coordinates(coefficients, positions, order=_ORDER, prefilter=False, mode="mirror")


def _erp_bordered(plane: np.ndarray, border: int) -> Float32[np.ndarray, "h2 w2"]:
    """Extend a picture on each side; beyond a pole the rows repeat, shifted by half a turn."""
    opposite = np.roll(plane, plane.shape[1] // 2, axis=1)
    tall = np.concatenate([opposite[:border][::-1], plane, opposite[-border:][::-1]])
    return np.concatenate([tall[:, -border:], tall, tall[:, :border]], axis=1).astype(np.float32)


def _packed(faces: np.ndarray) -> np.ndarray:
    side = faces.shape[-1]
    rows = faces.reshape(_ROWS, _COLUMNS, side, side).swapaxes(1, 2)
    return rows.reshape(_ROWS * side, _COLUMNS * side)


def _unpacked(cubemap: np.ndarray) -> Float32[np.ndarray, "6 n n"]:
    side = cubemap.shape[0] // _ROWS
    faces = cubemap.reshape(_ROWS, side, _COLUMNS, side).swapaxes(1, 2)
    return faces.reshape(-1, side, side).astype(np.float32)


def _to_uint8(plane: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(plane), 0, 255).astype(np.uint8)


def _round_trips(
    frames: Iterator[YuvFrame], projection: CubemapProjection, seconds: list[float]
) -> Iterator[tuple[YuvFrame, YuvFrame]]:
    for frame in frames:
        start = time.perf_counter()
        cubemap = projection.forward(frame)
        there = time.perf_counter()
        frame_hat = projection.backward(cubemap)
        seconds[0] += there - start
        seconds[1] += time.perf_counter() - there
        yield frame, frame_hat
