"""The picture of a validation: each view looks where it says, and colours mean what the legend says."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pytest
from support import centers, true_field, turn

from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.training import picture
from deepsphere_codec.training.picture import (
    Scene,
    draw,
    fastest_of,
    globe_directions,
    movement,
    movement_colours,
    nearest_nodes,
)

RED, BLUE = np.array([255, 0, 0], np.uint8), np.array([0, 0, 255], np.uint8)


def test_the_globes_show_the_front_and_the_back_with_east_to_the_right():
    directions, inside = globe_directions(101)
    assert directions.shape == (101, 202, 3) and inside.shape == (101, 202)
    np.testing.assert_allclose(directions[50, [50, 151]], [[1, 0, 0], [-1, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(directions[inside], axis=-1), 1)
    longitude = np.unwrap(np.arctan2(directions[50, ..., 1], directions[50, ..., 0])[inside[50]])
    assert (np.diff(longitude) > 0).all() and longitude[-1] - longitude[0] == pytest.approx(2 * np.pi, abs=0.8)
    latitudes = directions[:, 50, 2][inside[:, 50]]
    assert (np.diff(latitudes) < 0).all() and latitudes[0] > 0.98, "north is up"
    assert inside.mean() == pytest.approx(np.pi / 4 * picture.FILL**2, abs=0.01), "two discs"


@pytest.mark.parametrize("nside", [4, 6])
def test_the_nearest_node_of_a_nodes_direction_is_itself(nside):
    grid = HealpixGrid.cached(nside)
    rng = np.random.default_rng(0)
    near = grid.centers + 0.1 / nside * rng.standard_normal(grid.centers.shape)
    assert (nearest_nodes(near[None], nside) == np.arange(grid.npix)).all()


def test_content_that_turns_about_the_poles_goes_east():
    """A coded vector looks back to the west then: the picture shows which way things go."""
    p = centers(16).numpy()
    moves = movement(true_field(turn((0.0, 0.0, 1.0), 1.0), 16).numpy())
    np.testing.assert_allclose(moves[:, 0], np.hypot(p[:, 0], p[:, 1]), atol=2e-4)
    np.testing.assert_allclose(moves[:, 1], 0, atol=1e-2)  # a great circle leaves its parallel a little
    north = movement(true_field(turn((0.0, -1.0, 0.0), 1.0), 16).numpy())[p[:, 0] > 0.99]
    assert len(north) and (north[:, 1] > 0.98).all() and (abs(north[:, 0]) < 0.05).all()


def test_direction_is_hue_and_speed_is_saturation():
    moves = np.array([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [0.5, 0], [9, 0]])
    colours = movement_colours(moves, 1.0)
    expected = [[1, 1, 1], [1, 0, 0], [0, 1, 1], [0.5, 1, 0], [0.5, 0, 1], [1, 0.5, 0.5], [1, 0, 0]]
    np.testing.assert_allclose(colours, expected, atol=1e-12)


def test_neither_noise_nor_outliers_set_the_scale():
    assert fastest_of(np.full((1000, 2), 1e-6)) == picture.SLOWEST
    moves = np.tile([0.3, 0.4], (1000, 1))
    moves[:5] = 60
    assert fastest_of(moves) == pytest.approx(0.5)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that are drawn in less time."""
    monkeypatch.setattr(picture, "DPI", 50)
    monkeypatch.setattr(picture, "PIXELS", 100)


def scene(bits: np.ndarray) -> Scene:
    erp = np.ones((32, 64, 1), np.uint8)
    return Scene(3, erp * RED, erp * BLUE, np.zeros((12 * 16**2, 3)), bits)


def pixels(scenes: dict[str, Scene]) -> np.ndarray:
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
