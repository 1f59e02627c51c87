"""Fixtures for tests of training: films of noise, and a network whose step takes a few milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

NARROW = {
    "work_channels": 8,
    "middle_channels": 8,
    "intra_latents": 8,
    "residual_latents": 8,
    "hyper_channels": 4,
    "hyper_hidden": 4,
}


@pytest.fixture(scope="session")
def narrow() -> dict[str, int]:
    """The [model] section."""
    return dict(NARROW)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared films: blocks of grey that drift, and a panorama."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(4)
    for name, frames in (("film0", 6), ("film1", 4), ("photo_0", 1)):
        first = np.kron(rng.integers(16, 235, (12, 16)), np.ones((4, 4))).astype(np.uint8)
        np.save(folder / f"{name}.npy", np.stack([np.roll(first, t, 1) for t in range(frames)]))
    return folder


@pytest.fixture
def configuration(tmp_path: Path, narrow: dict[str, int]) -> Path:
    """A run of 12 steps that takes seconds."""
    path = tmp_path / "narrow.toml"
    lines = [f"{key} = {value}" for key, value in narrow.items()]
    path.write_text(
        "[model]\n" + "\n".join(lines) + "\n[data]\nnside = 128\nside = 64\nframes = 4\nspin_degrees = 5.0\n"
        "[train]\npart = 'all'\nsteps = 12\nbatch = 2\nwarmup = 3\nchain = 2\nrelocate = 4\n"
    )
    return path
