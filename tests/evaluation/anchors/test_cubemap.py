"""The cubemap: its geometry, that no seam shows on the way back, and what it loses."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support import make_film, make_frame

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.cubemap import (
    FACES,
    CubemapCeiling,
    CubemapProjection,
    PlaneCubemap,
    face_directions,
    face_places,
)
from deepsphere_codec.sphere.erp import erp_directions
from deepsphere_codec.video import VideoInfo

LEFT, FRONT, RIGHT, BOTTOM, BACK, TOP = range(6)


def info_of(width: int, height: int) -> VideoInfo:
    return VideoInfo(width, height, Fraction(30), None, False, "bt709")


def waves(dirs: np.ndarray, detail: float = 6.0) -> np.ndarray:
    """A smooth picture on the sphere without any symmetry, 8 bit."""
    x, y, z = np.moveaxis(dirs / np.linalg.norm(dirs, axis=-1, keepdims=True), -1, 0)
    value = np.sin(detail * x + 1) + np.sin(detail * y + 2 * z) + np.cos(detail * z - 3 * x * y)
    return np.rint(127 + 40 * value).astype(np.uint8)


@pytest.mark.parametrize("face", range(6))
def test_no_face_is_mirrored(face: int) -> None:
    centre, across, down = FACES[face]
    assert np.array_equal(np.cross(across, down), -centre)  # seen from inside


def test_the_front_is_in_the_middle_of_the_upper_row_and_the_right_lies_right_of_it() -> None:
    centres = face_directions(1).reshape(6, 3)
    assert centres[FRONT] == pytest.approx([1, 0, 0])
    assert centres[RIGHT] == pytest.approx([0, 1, 0])  # longitude 90°, right of the middle in an ERP
    assert centres[TOP] == pytest.approx([0, 0, 1])


@pytest.mark.parametrize(("left", "right"), [(LEFT, FRONT), (FRONT, RIGHT), (BOTTOM, BACK), (BACK, TOP)])
def test_rows_go_on_across_faces(left: int, right: int) -> None:
    (centre, across, down), (centre_right, across_right, down_right) = FACES[left], FACES[right]
    assert np.array_equal(centre + across, centre_right - across_right)  # the same edge of the cube,
    assert np.array_equal(down, down_right)  # run through in the same direction


def test_a_pixel_is_found_where_it_is() -> None:
    face, positions = face_places(face_directions(8).reshape(-1, 3), 8)
    assert np.array_equal(face, np.repeat(np.arange(6), 64))
    rows, columns = np.tile(np.mgrid[:8, :8].reshape(2, -1), 6)
    assert positions == pytest.approx(np.stack([rows, columns]), abs=1e-9)


def test_the_cubemap_holds_what_lies_in_its_directions() -> None:
    cubemap = PlaneCubemap(128, 256, 64).to_cubemap(waves(erp_directions(128, 256)))
    expected = waves(face_directions(64)).reshape(2, 3, 64, 64).swapaxes(1, 2).reshape(128, 192)
    assert cubemap.shape == (128, 192)
    assert np.abs(cubemap.astype(int) - expected).max() <= 1  # rounding, of both


def test_no_seam_shows_on_the_way_back() -> None:
    # From faces that are exact, errors at the faces' edges and corners are no larger than elsewhere: rounding.
    exact = waves(face_directions(64)).reshape(2, 3, 64, 64).swapaxes(1, 2).reshape(128, 192)
    erp = waves(erp_directions(128, 256)).astype(int)
    errors = np.abs(PlaneCubemap(128, 256, 64).to_erp(exact).astype(int) - erp)
    _, positions = face_places(erp_directions(128, 256).reshape(-1, 3), 64)
    edge = (np.minimum(positions, 63 - positions).min(axis=0) < 1).reshape(128, 256)
    assert edge.sum() > 1000
    assert errors.max() <= 1
    assert errors[edge].mean() < 1.5 * errors[~edge].mean() + 0.01


def test_a_frame_there_and_back() -> None:
    frame = make_frame(128, 64)
    projection = CubemapProjection(info_of(128, 64))
    cubemap = projection.forward(frame)
    assert (projection.info.width, projection.info.height) == (96, 64)
    assert (cubemap.y.shape, cubemap.u.shape, cubemap.v.shape) == ((64, 96), (32, 48), (32, 48))
    for plane, plane_hat in zip(frame, projection.backward(cubemap), strict=True):
        assert plane_hat.dtype == np.uint8 and plane_hat.shape == plane.shape
        assert np.abs(plane.astype(int) - plane_hat).max() <= 2


@pytest.mark.parametrize(("width", "height"), [(128, 60), (8, 4), (126, 63)])
def test_what_has_no_cubemap_is_refused(width: int, height: int) -> None:
    with pytest.raises(UsageError, match=f"a film of {width}x{height} has no cubemap"):
        CubemapProjection(info_of(width, height))


def test_the_ceiling_has_no_rate_and_rises_with_the_faces(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m", width=128, height=64, frames=3)
    codec = CubemapCeiling(frames=2)
    assert codec.qualities == (4.0,) and codec.settings["frames"] == 2
    fine, coarse = codec.measure(film, 4), codec.measure(film, 16)
    assert fine.bpp is None and fine.encode_seconds and fine.decode_seconds
    assert fine.ws_psnr_yuv > 50 and fine.ws_psnr_yuv > coarse.ws_psnr_yuv


@pytest.mark.slow
def test_the_ceiling_of_footage(footage: Path) -> None:
    point = CubemapCeiling(frames=1).measure(footage / "test" / "video" / "diver_clip02.mp4", 4)
    assert point.ws_psnr_y == pytest.approx(52.5, abs=0.3)
