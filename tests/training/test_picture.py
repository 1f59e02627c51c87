"""The picture of a validation: each part is where it belongs."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pytest

from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.training import picture
from deepsphere_codec.training.picture import ValidationFrame, draw

RED, BLUE = np.array([255, 0, 0], np.uint8), np.array([0, 0, 255], np.uint8)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that are drawn in less time."""
    monkeypatch.setattr(picture, "DPI", 50)
    monkeypatch.setattr(picture, "PIXELS", 100)


def scene(bits: np.ndarray) -> ValidationFrame:
    erp = np.ones((32, 64, 1), np.uint8)
    return ValidationFrame(3, erp * RED, erp * BLUE, np.zeros((12 * 16**2, 3)), bits)


def pixels(scenes: dict[str, ValidationFrame]) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(draw(scenes, "Step 7")), format="png")[..., :3]


def places(image: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """(row, column) of the pixels of a colour."""
    found = np.argwhere(np.abs(image - colour).max(-1) < 0.02)
    assert len(found) > 500, f"too few pixels are {colour}"
    return found


def test_each_part_is_where_it_belongs(small):
    """Source left of what is decoded; many bits in the north of the heat map, few in the south."""
    north = HealpixGrid.cached(4).centers[:, 2] > 0
    image = pixels({"a clip": scene(np.where(north, picture.BITS[1], 0.0))})
    red, blue = places(image, (1, 0, 0)), places(image, (0, 0, 1))
    hot, cold = (places(image, picture.matplotlib.colormaps[picture.HEAT](end)[:3]) for end in (1.0, 0.0))
    columns = [np.median(each[:, 1]) for each in (red, blue, hot)]
    assert columns == sorted(columns) and min(np.diff(columns)) > 0.2 * image.shape[1]
    in_north = hot[:, 0].min() + 0.4 * picture.PANEL[1] * picture.DPI  # of the ERP, which lies above the globes
    assert cold[:, 0].min() > in_north and (hot[:, 0] < in_north).mean() > 0.4


def test_every_clip_has_a_block_of_its_own(small):
    bits = np.full(12 * 4**2, 0.1)
    one, two = pixels({"a": scene(bits)}), pixels({"a": scene(bits), "b": scene(bits)})
    assert one.shape[1] == two.shape[1]
    assert len(two) - len(one) == pytest.approx(picture.BLOCK * picture.DPI, abs=2)
    assert len(places(two, (1, 0, 0))) > 1.9 * len(places(one, (1, 0, 0)))
