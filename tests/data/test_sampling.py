"""Films looked up where they should be: over the seam and the poles, at a level that neither aliases nor blurs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import one_thread

from deepsphere_codec.data.sampling import node_spread, sample_film
from deepsphere_codec.sphere import erp_directions

Plane = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def paint(width: int, *planes: Plane) -> np.ndarray:
    """One frame [1, 3/4 width, width]: Y, Cb, Cr are functions of direction, in grey levels."""
    full, half = erp_directions(width // 2, width), erp_directions(width // 4, width // 2)
    values = [np.rint(plane(half if i else full)).astype(np.uint8).reshape(-1) for i, plane in enumerate(planes)]
    return np.concatenate(values).reshape(1, -1, width)


def compass(width: int = 256) -> np.ndarray:
    """The direction itself, in three channels: what is sampled tells where it was sampled."""
    return paint(width, *(lambda d, i=i: 128 + 100 * d[..., i] for i in range(3)))


def waves(width: int, *phases: Plane) -> np.ndarray:
    """A wave in each plane."""
    return paint(width, *(lambda d, phase=phase: 128 + 100 * np.sin(phase(d)) for phase in phases))


def lon(d: np.ndarray) -> np.ndarray:
    return np.arctan2(d[..., 1], d[..., 0])


def lat(d: np.ndarray) -> np.ndarray:
    return np.arcsin(d[..., 2])


def read(x: torch.Tensor) -> np.ndarray:
    return (x.numpy().astype(np.float64) * 255 - 128) / 100


def around(axis: tuple[float, float, float], radius: float, n: int = 500) -> np.ndarray:
    """Directions within a radius (radians) of an axis."""
    rng = np.random.default_rng(5)
    d = np.array(axis) + radius / 2 * rng.uniform(-1, 1, (n, 3))
    return d / np.linalg.norm(d, axis=1, keepdims=True)


def between(south: float, north: float, n: int = 3000) -> np.ndarray:
    """Directions between two latitudes in degrees, uniform by area."""
    rng = np.random.default_rng(6)
    z = rng.uniform(math.sin(math.radians(south)), math.sin(math.radians(north)), n)
    angle = rng.uniform(-math.pi, math.pi, n)
    return np.stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z], 1)


PLACES = {"anywhere": None, "front": (1, 0, 0), "seam": (-1, 0, 0), "north": (0, 0, 1), "south": (0, 0, -1)}


@pytest.mark.parametrize("spread", [None, 128, 32, 16], ids="nside {}".format)
@pytest.mark.parametrize("place", PLACES)
def test_a_picture_is_recovered_in_any_direction_at_any_level(place, spread):
    """Rounding is 0.5 levels; a level that lay a quarter of its pixel off would be 0.6, 2.5 and 5 levels off."""
    axis = PLACES[place]
    directions = between(-90, 90) if axis is None else around(axis, 0.2)
    found = read(sample_film(compass(), directions[None], spread and node_spread(spread)))[0]
    error = 100 * np.abs(found - directions)
    assert error.max() < (0.9 if spread in (None, 128) else 2.6) and error.mean() < 0.5


def test_a_fine_pattern_is_where_it_belongs():
    """Ten waves around the equator and five along a meridian: half a pixel's shift would show."""
    film = waves(256, lambda d: 10 * lon(d), lambda d: 10 * lat(d), lambda d: 10 * lon(d))
    d = around((-1, 0, 0), 1.0, 2000)
    error = np.abs(read(sample_film(film, d[None]))[0] - np.sin(np.stack([10 * lon(d), 10 * lat(d), 10 * lon(d)], 1)))
    assert error[:, 0].max() < 0.02 and error.max() < 0.04  # a pixel of luma is 0.25 rad of the wave


def test_frames_are_sampled_each_in_its_own_directions():
    film = np.concatenate([compass(), 255 - compass()])
    directions = np.stack([around((1, 0, 0), 0.5), around((0, 1, 0), 0.5)])
    x = sample_film(film, directions)
    assert x.shape == (2, 500, 3) and x.dtype == torch.float32
    assert torch.equal(x[0], sample_film(film[:1], directions[:1])[0])
    assert torch.allclose(1 - x[1], sample_film(compass(), directions[1:])[0], atol=1e-5)


def test_directions_may_serve_all_frames_and_a_frame_all_directions():
    film = np.concatenate([compass(), 255 - compass(), compass() // 2])
    directions = np.stack([around((0, 0, 1), 0.5), around((0, 1, 0), 0.5), around((1, 0, 0), 0.5)])
    for spread in (None, node_spread(32)):
        shared = sample_film(film, directions[:1], spread)
        assert torch.allclose(shared, sample_film(film, directions[[0, 0, 0]], spread), atol=1e-5)
        panorama = sample_film(film[:1], directions, spread)
        assert torch.allclose(panorama, sample_film(film[[0, 0, 0]], directions, spread), atol=1e-5)
    assert torch.equal(sample_film(film[::-1], directions[:1]).flip(0), sample_film(film, directions[:1]))


def plainly(film: np.ndarray, directions: np.ndarray) -> torch.Tensor:
    """Bicubic in whole padded planes, with no levels: how samples were made before there were any."""
    height, width = film.shape[1] * 2 // 3, film.shape[2]
    flat = torch.from_numpy(film).view(1, -1)
    luma = flat[:, : height * width].view(1, 1, height, width)
    chroma = flat[:, height * width :].view(1, 2, height // 2, width // 2)
    found = []
    for plane in (luma, chroma):
        columns = plane.shape[-1]
        place = np.stack([lon(directions) / np.pi * columns / (columns + 16), -lat(directions) * (2 / np.pi)], -1)
        padded = F.pad(plane.float(), (8, 8, 0, 0), mode="circular")
        grid = torch.from_numpy(place).float()[None, None]
        found.append(F.grid_sample(padded, grid, mode="bicubic", padding_mode="border", align_corners=False)[0, :, 0])
    return torch.cat(found).T / 255


def noise(width: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (1, width * 3 // 4, width), np.uint8)


def test_where_samples_are_as_dense_as_pixels_no_level_is_made():
    """At nside 256 from 1024 columns that is so up to 62 degrees."""
    film, d = noise(1024), between(-62, 62)
    plain = plainly(film, d)
    assert (sample_film(film, d[None])[0] - plain).abs().max() < 5e-4  # rounding of the place
    assert torch.equal(sample_film(film, d[None], node_spread(256)), sample_film(film, d[None]))
    polar = between(63, 90)[None]
    assert not torch.allclose(sample_film(film, polar, node_spread(256)), sample_film(film, polar), atol=0.1)


def contrast(film: np.ndarray, directions: np.ndarray, spread: np.ndarray | None) -> float:
    """Share of the energy of a wave in luma that is found."""
    return float(np.square(read(sample_film(film, directions[None], spread))[0, :, 0]).mean() * 2)


@pytest.mark.parametrize("phase", [lon, lat], ids=["across", "down"])
def test_what_is_finer_than_the_samples_is_gone_and_what_they_hold_is_kept(phase):
    """A node of nside 64 covers 2.6 pixels of 1024 columns; waves shorter than twice that come out as false ones."""
    directions, pixel = between(-30, 30), 2 * math.pi / 1024

    def kept(pixels: float, spread: np.ndarray | None) -> float:
        k = round(2 * math.pi / (pixels * pixel))
        flat = [lambda d: 0 * d[..., 0]] * 2
        return contrast(waves(1024, lambda d: k * phase(d), *flat), directions, spread)

    assert kept(3, None) > 0.7 and kept(3, node_spread(64)) < 0.04
    assert kept(3, node_spread(96)) < 0.04, "1.7 pixels a node, rounded up"
    assert kept(12, node_spread(64)) > 0.8 * kept(12, None) and kept(24, node_spread(64)) > 0.95


def test_towards_a_pole_columns_are_averaged_and_rows_are_not():
    """Between 78 and 84 degrees a node of nside 256 covers three to six columns of 1024, and 0.65 rows."""
    flat = [lambda d: 0 * d[..., 0]] * 2
    directions, spread = between(78, 84), node_spread(256)
    columns = waves(1024, lambda d: 300 * lon(d), *flat)  # 3.4 pixels, 1.1 nodes at most
    assert contrast(columns, directions, None) > 0.7 and contrast(columns, directions, spread) < 0.04
    rows = waves(1024, lambda d: 256 * lat(d), *flat)  # 4 pixels, 6 nodes; 4 pixels halved twice would be gone
    assert contrast(rows, directions, spread) > 0.95 * contrast(rows, directions, None) > 0.6


def test_small_and_odd_pictures_are_halved_as_far_as_it_goes():
    for width in (32, 48, 100):
        grey = np.full((1, width * 3 // 4, width), 77, np.uint8)
        assert torch.allclose(sample_film(grey, between(-90, 90)[None], node_spread(1)), torch.tensor(77 / 255))
