"""Generated training films for use without footage: different scenes and camera rotations."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from deepsphere_codec.data.synthetic import synthetic_film
from deepsphere_codec.runtime.atomic import atomic_output
from deepsphere_codec.runtime.progress import Progress
from deepsphere_codec.video import VideoInfo, create_video

FASTEST_DEGREES = 1.5


def generate_films(
    out: Path,
    *,
    films: int = 12,
    frames: int = 16,
    width: int = 512,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> None:
    """Write generated films in the format of `prepare_films`, `out/generated_00.npy` and so on; existing files stay.

    Args:
        out: Folder to write to.
        films: Number of films.
        frames: Number of frames per film.
        width: Width of the pictures in pixels, even; the height is half of it.
        seed: Seed; film i is a pure function of the seed and i.
        on_progress: Called with (films done, films in all).
    """
    out.mkdir(parents=True, exist_ok=True)
    for number in range(films):
        path = out / f"generated_{number:02d}.npy"
        if not path.exists():
            with atomic_output(path, force=True) as place, open(place, "wb") as file:
                np.save(file, _film(np.random.default_rng([seed, number]), frames, width))
        if on_progress:
            on_progress(number + 1, films)


def generate_clip(path: Path, *, frames: int, width: int, seed: int = 1) -> None:
    """Write a lossless film for validation, unlike those of `generate_films`; the camera rotates 0.5° per frame.

    Args:
        path: Film to write.
        frames: Number of frames.
        width: Width of the pictures in pixels, even; the height is half of it.
        seed: Seed of the scene.
    """
    height = width // 2
    path.parent.mkdir(parents=True, exist_ok=True)
    with create_video(
        path, VideoInfo(width, height, Fraction(30), frames, full_range=False, matrix="bt709"), force=True
    ) as writer:
        for frame in synthetic_film(width, height, frames, seed):
            writer.write(frame)


def _film(rng: np.random.Generator, frames: int, width: int) -> np.ndarray:
    """Make a film, [frames, 3/2 height, width], uint8; every third camera is static."""
    axis = rng.normal(size=3)
    degrees = rng.uniform(0.1, FASTEST_DEGREES) if rng.random() < 2 / 3 else 0.0
    place = int(rng.integers(2**31))
    film = synthetic_film(width, width // 2, frames, place, float(degrees), (axis[0], axis[1], axis[2]))
    return np.stack([np.concatenate([plane.reshape(-1) for plane in frame]).reshape(-1, width) for frame in film])
