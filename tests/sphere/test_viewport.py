"""The flat camera: where its pixels look."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from deepsphere_codec.sphere import ErpResampler, rotation_from_euler, viewport_directions


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (70, 25, 40), (-170, -80, 10)])
def test_the_middle_pixel_looks_ahead(yaw: float, pitch: float, roll: float) -> None:
    middle = viewport_directions(yaw, pitch, roll, 90, (5, 7))[2, 3]
    lon, lat = math.radians(yaw), math.radians(pitch)
    expected = [math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)]
    np.testing.assert_allclose(middle, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("fov", [40.0, 90.0, 140.0])
def test_gnomonic_angles(fov: float) -> None:
    width = 9
    dirs = viewport_directions(0, 0, 0, fov, (1, width))[0]
    lon = np.arctan2(dirs[:, 1], dirs[:, 0])
    # Pixel centres are half a pixel inside the view's edge, evenly spaced on the tangent plane, growing to the right.
    places = (2 * np.arange(width) + 1 - width) / width
    np.testing.assert_allclose(np.tan(lon), places * math.tan(math.radians(fov / 2)), rtol=1e-13, atol=1e-15)


def test_up_and_square_pixels() -> None:
    dirs = viewport_directions(0, 0, 0, 90, (3, 3))
    assert dirs[0, 1, 2] > 0 and dirs[2, 1, 2] < 0
    np.testing.assert_allclose(dirs[0, 1, 2] / dirs[0, 1, 0], 2 / 3, rtol=1e-14)
    np.testing.assert_allclose(dirs[1, 2, 1] / dirs[1, 2, 0], 2 / 3, rtol=1e-14)


def test_roll_lifts_the_right_hand_side() -> None:
    right_edge = viewport_directions(0, 0, 30, 90, (3, 3))[1, 2]
    assert abs(math.degrees(math.atan2(right_edge[2], right_edge[1])) - 30) < 1e-12


def test_turns_as_a_whole() -> None:
    rotation = rotation_from_euler(*np.radians([20, -35, 50])).numpy()
    expected = viewport_directions(0, 0, 0, 70, (4, 6)) @ rotation.T
    np.testing.assert_allclose(viewport_directions(20, -35, 50, 70, (4, 6)), expected, rtol=0, atol=1e-15)


def test_reads_the_signal_there(resampler: Callable[..., ErpResampler]) -> None:
    tool = resampler(64, 128, 32)
    x = torch.from_numpy(tool.grid.centers).float()
    for yaw, pitch, roll in ((0, 0, 0), (180, 0, 0), (30, 89, 45), (-135, -90, 0)):
        view = tool.viewport(x, yaw, pitch, roll, 90, (20, 30))
        assert view.shape == (20, 30, 3)
        expected = viewport_directions(yaw, pitch, roll, 90, (20, 30))
        error = np.abs(view.numpy() - expected)  # a node's width is 0.032
        assert error.max() < 0.011 and error.mean() < 0.002


VIEW = {"yaw": 20.0, "pitch": 10.0, "roll": 5.0, "fov": 90.0, "size": (12, 16)}


@pytest.mark.parametrize(
    "change", [{"yaw": 25.0}, {"pitch": 15.0}, {"roll": 10.0}, {"fov": 80.0}, {"size": (16, 12)}], ids=str
)
def test_a_view_that_differs_in_one_thing_is_another(change: dict) -> None:
    """The resampler keeps the last view's stencil."""
    tool, other = ErpResampler(32, 64, 16), ErpResampler(32, 64, 16)
    x = torch.from_numpy(tool.grid.centers).float()
    before = tool.viewport(x, **VIEW)
    after = tool.viewport(x, **{**VIEW, **change})
    assert torch.equal(after, other.viewport(x, **{**VIEW, **change}))
    assert before.shape != after.shape or (before - after).abs().max() > 0.02
    assert torch.equal(tool.viewport(x, **VIEW), before)


@pytest.mark.parametrize("fov", [0, -10, 180, 200, math.nan])
def test_refuses_a_field_of_view_that_is_not_flat(fov: float) -> None:
    with pytest.raises(ValueError, match="less than 180"):
        viewport_directions(0, 0, 0, fov, (4, 4))


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (-1, 4)])
def test_refuses_an_empty_view(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        viewport_directions(0, 0, 0, 90, size)
