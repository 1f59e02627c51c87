"""Generated films to train on where there is no footage: different places, cameras that turn differently."""

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
    """Write films as `prepare_films` does, `out/generated_00.npy` and so on; those that are there already stay.

    Args:
        films, frames: How many, and of how many frames each.
        width: Of the pictures, even; their height is half of it.
        seed: Film i is a pure function of it and of i.
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
    """Write a film that `generate_films` does not, lossless, for validation; its camera turns by half a degree."""
    height = width // 2
    path.parent.mkdir(parents=True, exist_ok=True)
    with create_video(
        path, VideoInfo(width, height, Fraction(30), frames, full_range=False, matrix="bt709"), force=True
    ) as writer:
        for frame in synthetic_film(width, height, frames, seed):
            writer.write(frame)


def _film(rng: np.random.Generator, frames: int, width: int) -> np.ndarray:
    """[frames, 3/2 height, width], uint8; every third camera stands still."""
    axis = rng.normal(size=3)
    degrees = rng.uniform(0.1, FASTEST_DEGREES) if rng.random() < 2 / 3 else 0.0
    place = int(rng.integers(2**31))
    film = synthetic_film(width, width // 2, frames, place, float(degrees), (axis[0], axis[1], axis[2]))
    return np.stack([np.concatenate([plane.reshape(-1) for plane in frame]).reshape(-1, width) for frame in film])
