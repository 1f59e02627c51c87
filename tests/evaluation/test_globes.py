"""Globes: each view looks where it says, and colours mean what the legend says."""

from __future__ import annotations

import numpy as np
import pytest
from support import centers, true_field, turn

from deepsphere_codec.figures.globes import (
    FILL,
    SLOWEST,
    fastest_of,
    globe_directions,
    movement,
    movement_colours,
    nearest_nodes,
)
from deepsphere_codec.sphere import HealpixGrid


def test_the_globes_show_the_front_and_the_back_with_east_to_the_right():
    directions, inside = globe_directions(101)
    assert directions.shape == (101, 202, 3) and inside.shape == (101, 202)
    np.testing.assert_allclose(directions[50, [50, 151]], [[1, 0, 0], [-1, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(directions[inside], axis=-1), 1)
    longitude = np.unwrap(np.arctan2(directions[50, ..., 1], directions[50, ..., 0])[inside[50]])
    assert (np.diff(longitude) > 0).all() and longitude[-1] - longitude[0] == pytest.approx(2 * np.pi, abs=0.8)
    latitudes = directions[:, 50, 2][inside[:, 50]]
    assert (np.diff(latitudes) < 0).all() and latitudes[0] > 0.98, "north is up"
    assert inside.mean() == pytest.approx(np.pi / 4 * FILL**2, abs=0.01), "two discs"


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
    assert fastest_of(np.full((1000, 2), 1e-6)) == SLOWEST
    moves = np.tile([0.3, 0.4], (1000, 1))
    moves[:5] = 60
    assert fastest_of(moves) == pytest.approx(0.5)
