"""Films on disk, ready to sample: one array a film, opened without reading it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8

from deepsphere_codec.errors import UsageError
from deepsphere_codec.progress import Progress
from deepsphere_codec.video import YuvFrame, open_video

FILMS = {".mp4", ".mkv", ".webm", ".mov", ".y4m"}
PHOTOS = {".jpg", ".jpeg", ".png"}


def prepare_films(
    folder: Path, out: Path, *, frames: int = 32, width: int = 1024, on_progress: Progress | None = None
) -> list[str]:
    """Bring every film and panorama below a folder into `out`, once; what is there already stays.

    A film becomes `out/name.npy`, uint8 [frames, 3/2 height, width], planar 4:2:0 as `sample_film` takes it.

    Args:
        frames: Kept of each film, from its beginning.
        width: Of what is kept; larger pictures are averaged down to it.
        on_progress: Called with (films done, films in all).
    Returns:
        One line for each file that could not be read.
    Raises:
        UsageError: the folder is absent or holds neither films nor panoramas.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in FILMS | PHOTOS) if folder.is_dir() else []
    if not paths:
        raise UsageError(f"{folder} holds no films to train on; set films in the configuration, or --set films=FOLDER")
    out.mkdir(parents=True, exist_ok=True)
    unread = []
    for done, path in enumerate(paths, start=1):
        prefix = "photo_" if path.suffix.lower() in PHOTOS else ""
        try:
            _prepare(path, out / f"{prefix}{path.stem}.npy", frames, width)
        except UsageError as error:
            unread.append(str(error))
        if on_progress:
            on_progress(done, len(paths))
    return unread


def _prepare(path: Path, target: Path, frames: int, width: int) -> None:
    if target.exists():
        return
    with open_video(path, frames=(0, frames)) as reader:
        full = reader.info.full_range
        film = np.stack([_packed(_limited(f) if full else f) for f in _scaled(reader, width)])
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    with open(beside, "wb") as file:
        np.save(file, film)
    os.replace(beside, target)


def _scaled(frames: Iterator[YuvFrame], width: int) -> Iterator[YuvFrame]:
    for frame in frames:
        if frame.y.shape[1] <= width:
            yield frame
            continue
        sizes = [(width // 2, width)] + [(width // 4, width // 2)] * 2
        yield YuvFrame(*(_area(plane, size) for plane, size in zip(frame, sizes, strict=True)))


def _area(plane: UInt8[np.ndarray, "h w"], size: tuple[int, int]) -> UInt8[np.ndarray, "h2 w2"]:
    scaled = F.interpolate(torch.tensor(plane)[None, None].float(), size=size, mode="area")
    return scaled[0, 0].round().to(torch.uint8).numpy()


def _limited(frame: YuvFrame) -> YuvFrame:
    """Full range (panoramas) to limited range, as films have it: networks see one kind of numbers."""
    y, *chroma = (np.asarray(plane, np.float32) for plane in frame)
    planes = [y * (219 / 255) + 16, *((plane - 128) * (224 / 255) + 128 for plane in chroma)]
    return YuvFrame(*(np.rint(plane).astype(np.uint8) for plane in planes))


def _packed(frame: YuvFrame) -> UInt8[np.ndarray, "rows width"]:
    width = frame.y.shape[1]
    return np.concatenate([np.asarray(plane).reshape(-1) for plane in frame]).reshape(-1, width)
