"""scripts/show_augmentation.py: a picture of each augmentation; $DEEPSPHERE_PICTURES keeps them to be looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from matplotlib.image import imread
from support import load_script, one_thread

from deepsphere_codec.data.synthetic import synthetic_film
from deepsphere_codec.errors import UsageError

SHEETS = {"rotation", "guided", "spin", "zoom", "gap", "jitter", "reversal", "mirror", "planar", "mipmaps"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("show_augmentation")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A generated film, 512x256, as it is prepared for training."""
    frames = [np.concatenate([plane.ravel() for plane in frame]) for frame in synthetic_film(512, 256, 9)]
    path = tmp_path_factory.mktemp("prepared") / "generated.npy"
    np.save(path, np.stack(frames).reshape(9, 384, 512))
    return path


@pytest.mark.slow
def test_every_augmentation_has_its_picture(script, prepared, tmp_path, capsys):
    out = Path(os.environ.get("DEEPSPHERE_PICTURES") or tmp_path / "pictures")
    script.main([str(prepared), "--out", str(out)])
    assert {Path(line).stem for line in capsys.readouterr().out.splitlines()} == SHEETS
    for name in SHEETS:
        picture = imread(out / f"{name}.png")
        assert min(picture.shape[:2]) > 300 and picture[..., :3].std() > 0.1, name


def test_a_film_is_read_as_its_prepared_form(script, film, prepared):
    frames = script.read(film)
    assert frames.shape == (6, 192, 256) and frames.dtype == np.uint8
    assert script.read(prepared).shape == (9, 384, 512)


def test_a_panorama_is_refused(script, prepared, tmp_path):
    np.save(tmp_path / "photo.npy", np.load(prepared)[:1])
    with pytest.raises(UsageError, match="photo.npy is no film of several frames"):
        script.read(tmp_path / "photo.npy")
