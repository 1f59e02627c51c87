"""Maps of quality: pictures in, blocks out, better where they say so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import make_film, make_grey

from deepsphere_codec import encode_video
from deepsphere_codec.errors import UsageError
from deepsphere_codec.films import decode_video
from deepsphere_codec.models.quality_map import MAP_LIMIT, map_of_picture
from deepsphere_codec.sphere import ErpGrid, HealpixGrid
from deepsphere_codec.video import open_video, read_grey


def halves(height: int, west: int, east: int) -> np.ndarray:
    pixels = np.full((height, 2 * height), east, np.uint8)
    pixels[:, :height] = west
    return pixels


def test_a_grey_picture_comes_back(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (32, 64), np.uint8)
    assert np.array_equal(read_grey(make_grey(tmp_path / "map.png", pixels)), pixels)


@pytest.mark.parametrize(
    ("shape", "pixel_format", "words"), [((32, 32), "gray", "twice as wide"), ((16, 32), "rgb24", "grey")]
)
def test_other_pictures_are_refused(tmp_path: Path, shape: tuple[int, int], pixel_format: str, words: str) -> None:
    path = make_grey(tmp_path / "map.png", np.zeros(shape, np.uint8), pixel_format)
    with pytest.raises(UsageError, match=words):
        read_grey(path)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "map.png").write_text("no picture")
    with pytest.raises(UsageError, match="cannot be read"):
        read_grey(tmp_path / "map.png")
    with pytest.raises(UsageError, match="cannot be read"):
        read_grey(tmp_path / "absent.png")


@pytest.mark.parametrize("grid", [HealpixGrid(128), ErpGrid(128, 256)], ids=["sphere", "plane"])
def test_blocks_ask_for_what_the_picture_shows(grid: HealpixGrid | ErpGrid) -> None:
    assert map_of_picture(np.full((16, 32), 128, np.uint8), grid) is None
    uniform = map_of_picture(np.full((16, 32), 128 + 16, np.uint8), grid)
    assert uniform is not None
    assert (uniform == 4).all()  # a whole quality is four units
    lightest = map_of_picture(np.full((16, 32), 255, np.uint8), grid)
    assert lightest is not None
    assert (lightest == MAP_LIMIT).all()
    split = map_of_picture(halves(64, 96, 160), grid)
    assert split is not None
    assert split.min() == -8
    assert split.max() == 8
    assert split.sum() == 0  # halves of equal area


def test_the_picture_is_better_where_the_map_is_light(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", width=256, height=128, frames=3)
    errors = {}
    for name, pixels in (("west", halves(64, 176, 80)), ("east", halves(64, 80, 176))):
        path = make_grey(tmp_path / f"{name}.png", pixels)
        out = tmp_path / f"{name}.dsc"
        encode_video(film, out, quality=4, nside=64, quality_map=path)
        with open_video(film) as reader:
            source = [frame.y.astype(float) for frame in reader]
        decoded = [frame.astype(float).mean(-1) for frame in decode_video(out)]
        gap = np.mean(
            [
                np.abs(np.diff(a - a.mean(), axis=1) - np.diff(b - b.mean(), axis=1))
                for a, b in zip(source, decoded, strict=True)
            ],
            axis=(0, 1),
        )
        errors[name] = gap[:127].mean(), gap[128:].mean()
    assert errors["west"][0] < errors["east"][0]
    assert errors["west"][1] > errors["east"][1]
