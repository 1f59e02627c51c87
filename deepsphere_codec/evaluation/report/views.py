"""Perspective views of the scene, cut from the source and from each decoded film."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from deepsphere_codec.metrics.psnr import MAX_DB
from deepsphere_codec.runtime.extras import optional_imports
from deepsphere_codec.sphere import viewport_directions
from deepsphere_codec.sphere.erp import erp_positions, sample_erp
from deepsphere_codec.video import YuvFrame, open_video, yuv_to_rgb

with optional_imports():
    from PIL import Image

SIZE = (480, 640)  # height, width
FIELD = 90.0  # horizontal field of view, degrees
JPEG_QUALITY, LOWER_QUALITIES = 95, (92, 88, 82, 75)
LARGEST = 9_000_000  # bytes of all pictures; base64 adds a third
SOURCE = "source"

Picture = UInt8[np.ndarray, "height width 3"]
Cut = Mapping[str, Mapping[str, Mapping[int, Picture]]]
"""Pictures by film, view and frame."""


class View(NamedTuple):
    """Viewing direction: yaw and pitch in degrees."""

    name: str
    yaw: float
    pitch: float


VIEWS = (
    View("front", 0.0, 0.0),
    View("right", 90.0, 0.0),
    View("back", 180.0, 0.0),
    View("left", -90.0, 0.0),
    View("up", 0.0, 90.0),
    View("down", 0.0, -90.0),
)


class FilmFrames(NamedTuple):
    """Some frames of a film, in RGB and as coded.

    Attributes:
        rgb: RGB pictures by frame number.
        planes: Y, U and V of the same frames.
    """

    rgb: dict[int, Picture]
    planes: dict[int, YuvFrame]


class Shot(NamedTuple):
    """One view of one frame of one film.

    Attributes:
        picture: Data URL of the picture.
        decibels: PSNR of the view against that of the source, over R, G and B; None for the source itself.
    """

    picture: str
    decibels: float | None


def frames_shown(frames: int) -> list[int]:
    """Choose the frames to show: the I-frame, one in the middle, and the last."""
    return sorted({0, frames // 2, frames - 1})


def read_frames(path: Path, numbers: Sequence[int]) -> FilmFrames:
    """Read some frames of a film.

    Args:
        path: Film.
        numbers: Numbers of the frames, from 0.
    Returns:
        Frames.
    Raises:
        UsageError: it cannot be read.
    """
    with open_video(path) as film:
        planes = {n: frame for n, frame in enumerate(islice(film, max(numbers) + 1)) if n in numbers}
        return FilmFrames({n: yuv_to_rgb(frame, film.info) for n, frame in planes.items()}, planes)


def look(picture: Picture, directions: Float64[np.ndarray, "height width 3"]) -> Picture:
    """Sample an ERP picture in given directions, bicubic.

    Args:
        picture: ERP picture, RGB.
        directions: Unit vectors, [height, width, 3].
    Returns:
        Picture, [height, width, 3].
    """
    rows, columns = (torch.from_numpy(each.ravel()) for each in erp_positions(directions, *picture.shape[:2]))
    found = sample_erp(torch.from_numpy(picture.astype(np.float32)), rows, columns)
    return found.round().clamp(0, 255).to(torch.uint8).numpy().reshape(*directions.shape[:2], 3)


def cut_views(
    films: Mapping[str, FilmFrames], views: Sequence[View] = VIEWS
) -> dict[str, dict[str, dict[int, Picture]]]:
    """Cut views from films.

    Args:
        films: Frames of each film, by name.
        views: Viewing directions.
    Returns:
        Pictures by film, view and frame.
    """
    directions = {view.name: viewport_directions(view.yaw, view.pitch, 0.0, FIELD, SIZE) for view in views}
    return {
        name: {view: {n: look(rgb, where) for n, rgb in film.rgb.items()} for view, where in directions.items()}
        for name, film in films.items()
    }


def fitting_quality(cut: Cut) -> int:
    """Choose the JPEG quality: JPEG_QUALITY, or less if the pictures would be too large for a page."""
    pictures = [picture for views in cut.values() for frames in views.values() for picture in frames.values()]
    some = pictures[:: max(1, len(pictures) // 24)]
    for quality in (JPEG_QUALITY, *LOWER_QUALITIES):
        if sum(len(_jpeg(picture, quality)) for picture in some) / len(some) * len(pictures) <= LARGEST:
            break
    return quality


def shots_of(cut: Cut, quality: int = JPEG_QUALITY) -> dict[str, dict[str, dict[int, Shot]]]:
    """Compress pictures, and compute their PSNR against the source's.

    Args:
        cut: Pictures by film, view and frame.
        quality: JPEG quality, in per cent.
    Returns:
        Compressed pictures by film, view and frame.
    """
    return {
        film: {
            view: {
                n: Shot(_data_url(picture, quality), _decibels(picture, cut[SOURCE][view][n], film))
                for n, picture in frames.items()
            }
            for view, frames in views.items()
        }
        for film, views in cut.items()
    }


def _data_url(picture: Picture, quality: int) -> str:
    """Data URL of a JPEG without chroma subsampling."""
    return "data:image/jpeg;base64," + base64.b64encode(_jpeg(picture, quality)).decode()


def _jpeg(picture: Picture, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=0, optimize=True)
    return file.getvalue()


def _decibels(picture: Picture, source: Picture, film: str) -> float | None:
    if film == SOURCE:
        return None
    error = float(np.square(picture.astype(np.float64) - source).mean())
    return min(MAX_DB, 10 * np.log10(255**2 / error)) if error else MAX_DB
