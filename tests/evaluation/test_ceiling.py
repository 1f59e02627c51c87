"""The resampling ceiling of a film."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import make_film

from deepsphere_codec.evaluation.ceiling import CeilingCodec


def test_a_finer_grid_has_a_higher_ceiling(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m", width=64, height=32, frames=3)
    codec = CeilingCodec(frames=2, nside=16)
    assert codec.qualities == (16.0,) and codec.name == "resampling ceiling, nside 16"
    fine, coarse = codec.measure(film, 16), codec.measure(film, 4)
    assert fine.bpp is None and fine.encode_seconds and fine.decode_seconds
    assert fine.ws_psnr_yuv > 50  # a smooth picture: little but the rounding is lost
    assert fine.ws_psnr_yuv > coarse.ws_psnr_yuv


@pytest.mark.slow
def test_the_ceiling_of_footage_lies_above_what_is_coded(footage: Path) -> None:
    point = CeilingCodec(frames=1).measure(footage / "test" / "video" / "overpass_clip01.mp4", 256)
    assert point.ws_psnr_yuv > 50
