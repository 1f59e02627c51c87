"""The generated film: the same each time, and moving as it says."""

from __future__ import annotations

import numpy as np
import pytest

from deepsphere_codec.data.synthetic import camera_rotation, erp_directions, synthetic_film
from deepsphere_codec.video import YuvFrame

WIDTH, HEIGHT = 256, 128


def film(frames: int, seed: int = 0, **options: float) -> list[YuvFrame]:
    return list(synthetic_film(WIDTH, HEIGHT, frames, seed, **options))


def equal(a: YuvFrame, b: YuvFrame) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_frames_are_what_a_codec_takes() -> None:
    frames = film(3)
    assert len(frames) == 3
    for y, u, v in frames:
        assert (y.shape, u.shape, v.shape) == ((HEIGHT, WIDTH), (HEIGHT // 2, WIDTH // 2), (HEIGHT // 2, WIDTH // 2))
        assert y.dtype == u.dtype == v.dtype == np.uint8
        assert y.min() >= 16 and y.max() <= 235 and y.std() > 20, "a picture, in limited range"


def test_the_same_seed_gives_the_same_film_and_another_another() -> None:
    first = film(2, seed=3)
    assert all(equal(a, b) for a, b in zip(first, film(2, seed=3), strict=True))
    assert np.mean(first[0].y != film(1, seed=4)[0].y) > 0.5


def test_a_longer_film_begins_alike() -> None:
    assert equal(film(1)[0], film(3)[0])


@pytest.mark.parametrize("axis", [(0.0, 0.0, 1.0), (0.1, 0.2, 1.0), (1.0, 0.0, 0.0)])
def test_the_rotation_is_one(axis: tuple[float, float, float]) -> None:
    rotation = camera_rotation(7, 3.0, axis)
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-14) and np.linalg.det(rotation) > 0
    assert np.allclose(rotation @ axis, axis)
    assert np.isclose(np.trace(rotation), 1 + 2 * np.cos(np.radians(21)))
    assert np.array_equal(camera_rotation(0, 3.0, axis), np.eye(3))


@pytest.mark.parametrize("axis", [(0.0, 0.0, 1.0), (0.1, 0.2, 1.0), (1.0, -0.5, 0.0)])
def test_the_picture_moves_by_that_rotation(axis: tuple[float, float, float]) -> None:
    """What is seen at d in the last frame is seen at R d in the first."""
    frames = list(synthetic_film(WIDTH, HEIGHT, 11, degrees_per_frame=3.0, axis=axis))
    world = erp_directions(WIDTH, HEIGHT) @ camera_rotation(10, 3.0, axis).T
    column = np.rint((np.arctan2(world[:, 1], world[:, 0]) / np.pi + 1) * WIDTH / 2 - 0.5).astype(int) % WIDTH
    row = np.rint((0.5 - np.arcsin(world[:, 2]) / np.pi) * HEIGHT - 0.5).astype(int).clip(0, HEIGHT - 1)
    predicted = frames[0].y[row, column].reshape(HEIGHT, WIDTH)
    weight = np.cos(np.linspace(-1, 1, HEIGHT) * np.pi / 2)[:, None]

    def error(picture: np.ndarray) -> float:
        return float(np.sum(weight * np.abs(picture.astype(float) - frames[10].y)) / weight.sum() / WIDTH)

    assert error(predicted) < 0.35 * error(frames[0].y)


def test_the_balloons_move_on_their_own() -> None:
    first, *_, last = film(20, degrees_per_frame=0.0)
    share = np.mean(np.abs(first.y.astype(int) - last.y) > 10)
    assert 0.001 < share < 0.1, "something moves, and most of the place stands still"


def test_the_seam_does_not_show() -> None:
    y = film(1)[0].y[: HEIGHT // 2 + 12].astype(float)  # below lies the landing stage, with an edge right there
    jumps = np.abs(y - np.roll(y, 1, axis=1)).mean(axis=0)
    assert jumps[0] < np.percentile(jumps, 98)


@pytest.mark.parametrize(
    "options",
    [{"width": 255}, {"height": 0}, {"frames": -1}, {"axis": (0.0, 0.0, 0.0)}],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused(options: dict[str, object]) -> None:
    arguments = {"width": 256, "height": 128, "frames": 1, **options}
    with pytest.raises(ValueError, match="expected even sizes"):
        synthetic_film(**arguments)
