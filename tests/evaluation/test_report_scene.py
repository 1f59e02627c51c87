"""The scene of a report: which weights code it, and the planar baseline through its own command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from planar_flow import weights  # noqa: F401
from support import bare_weights, make_film

from deepsphere_codec.errors import CodecError
from deepsphere_codec.evaluation.anchors.ssf2020 import NAME
from deepsphere_codec.evaluation.anchors.ssf2020.container import unpack
from deepsphere_codec.evaluation.anchors.ssf2020.measure import SsfCodec
from deepsphere_codec.evaluation.compare import compare_videos
from deepsphere_codec.evaluation.report import coding
from deepsphere_codec.evaluation.report.gather import Gathered
from deepsphere_codec.evaluation.report.inside import inside_of
from deepsphere_codec.evaluation.report.scene import Scene, make_scene
from deepsphere_codec.evaluation.results import Point, Results

MakeScene = Callable[..., Scene]
FRAMES = 3


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("clips") / "clip0.mkv", 128, 64, FRAMES)


def measured(codec: str, film: Path, weights_hash: object = None) -> Gathered:
    """Results of two qualities, of which 3 is nearer to the rate in the middle."""
    points = [Point(3.0, 0.1, 30.0), Point(5.0, 0.9, 40.0), Point(1.0, 0.05, 20.0)]
    settings = {"weights_hash": weights_hash} if weights_hash else {}
    results = Results(f"{codec} (made up)", "made up", codec, settings, {film.name: points})
    return Gathered([results], [], [film.name], [], [])


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder of models with a card and weights of the planar baseline, quality 5, that cannot code."""
    bare_weights(tmp_path / "models" / NAME, [5])
    return tmp_path / "models"


@pytest.mark.slow
def test_the_planar_baseline_is_coded_by_its_own_command(
    weights: Path,  # noqa: F811
    film: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gathered = measured(NAME, film, SsfCodec(weights).settings["weights_hash"] | {"5": "another"})
    scene = make_scene(gathered, film, FRAMES, tmp_path, weights.parent)
    assert not scene.left_out and not scene.missing
    (coded,) = scene.coded.values()
    data = coded.stream.read_bytes()
    frames = unpack(data, "it").frames
    assert coded.kinds == "IPP" and coded.bpp == len(data) * 8 / (FRAMES * 128 * 64)
    assert coded.frame_bytes == [len(each.payload) for each in frames]
    assert min(coded.frame_bytes) > 0 and sum(coded.frame_bytes) < len(data)
    shown = compare_videos(film, coded.film)
    assert coded.ws_psnr_yuv == [each.ws_psnr_yuv for each in shown.per_frame] and shown.frames == FRAMES
    with pytest.raises(CodecError, match="it begins with"):  # so that the page shows no globe of it
        inside_of(coded)
    monkeypatch.setattr(coding, "_code_planar", None)
    assert make_scene(gathered, film, FRAMES, tmp_path, weights.parent) == scene, "nothing is coded again"


def test_without_its_weights_the_planar_baseline_is_missing_with_the_reason(film: Path, tmp_path: Path) -> None:
    scene = make_scene(measured(NAME, film), film, FRAMES, tmp_path, tmp_path / "models")
    assert not scene.coded and not scene.left_out
    (gap,) = scene.missing
    assert gap.clip == film.name and gap.why.startswith(f"not in the scene: {tmp_path / 'models' / NAME} holds no ")
    assert "configs/planar-ssf2020.toml" in gap.why


def test_a_quality_without_weights_is_missing(film: Path, bare: Path, tmp_path: Path) -> None:
    scene = make_scene(measured(NAME, film), film, FRAMES, tmp_path, bare)
    assert [each.why for each in scene.missing] == [f"not in the scene: {NAME} has no weights of quality 3; it has 5"]


def test_weights_that_cannot_code_are_missing(film: Path, bare: Path, tmp_path: Path) -> None:
    bare_weights(bare / NAME, [3])
    (gap,) = make_scene(measured(NAME, film), film, FRAMES, tmp_path, bare).missing
    assert "exit code 2" in gap.why and "does not hold weights of planar-ssf2020" in gap.why


@pytest.mark.parametrize(("codec", "weights_hash"), [("sphere-dvc", "old"), (NAME, {"3": "old", "5": "old"})])
def test_other_weights_than_were_measured_code_nothing(
    codec: str,
    weights_hash: object,
    weights: Path,  # noqa: F811
    film: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coding, "_code", None)
    scene = make_scene(measured(codec, film, weights_hash), film, FRAMES, tmp_path, weights.parent)
    assert [each.why for each in scene.left_out] == ["the weights that were measured are not those installed"]
    assert not scene.coded and not scene.missing
