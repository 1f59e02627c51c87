"""Results JSON: what is written is read, and what is no results file is refused with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.environment import environment
from deepsphere_codec.evaluation.results import (
    VERSION,
    Missing,
    Point,
    Results,
    is_results_file,
    mean_points,
    read_results,
    results_from_json,
    results_to_json,
    write_results,
)

MakeResults = Callable[..., Results]

ROOT = Path(__file__).resolve().parents[2]

FULL = Point(
    4.0, 0.1, 38.5, 37.5, 38.0, 37.4, 0.98, viewport_psnr_y=37.1, bpp_i=0.5, bpp_p=0.08, encode_seconds=12.5,
    decode_seconds=6.5,
)  # fmt: skip
UNMEASURED = """
    ws-psnr-u ws-psnr-v psnr-yuv psnr-u psnr-v s-psnr-i-y cpp-psnr-y ssim-y ws-ssim-y seam-error-y pole-error-y
    viewport-ssim-y
""".split()
GONE = Missing("clip9.mp4", 3.0, "it cannot be read")


def test_written_and_read_again(tmp_path: Path, make_results: MakeResults) -> None:
    results = replace(make_results("a"), environment=environment()).with_point("clip0.mp4", FULL).with_missing(GONE)
    write_results(tmp_path / "new" / "a.json", [results])
    assert read_results(tmp_path / "new" / "a.json") == [results]
    assert list(tmp_path.rglob("*.part")) == []
    write_results(tmp_path / "both.json", [results, make_results("b")])
    assert [each.name for each in read_results(tmp_path / "both.json")] == ["a", "b"]


def test_the_keys_are_those_of_the_interface(make_results: MakeResults) -> None:
    data = results_to_json(make_results("a").with_point("clip0.mp4", FULL))
    kept = ["name", "description", "codec", "settings", "clips", "mean", "environment"]
    assert [key for key in data if key not in ("version", "missing")] == kept
    assert data["version"] == VERSION and data["missing"] == []
    row = data["clips"]["clip0.mp4"][2]
    assert row == dict.fromkeys(UNMEASURED) | {
        "quality": 4.0,
        "bpp": 0.1,
        "ws-psnr-yuv": 38.5,
        "ws-psnr-y": 37.5,
        "psnr-y": 38.0,
        "s-psnr-nn-y": 37.4,
        "ms-ssim-y": 0.98,
        "viewport-psnr-y": 37.1,
        "bpp-i": 0.5,
        "bpp-p": 0.08,
        "encode_seconds": 12.5,
        "decode_seconds": 6.5,
    }
    json.dumps(data, allow_nan=False)


def test_means_over_clips() -> None:
    clips = {"a": [Point(1, 0.1, 30.0, 29.0), Point(2, 0.2, 35.0)], "b": [Point(1, 0.3, 32.0), Point(3, 0.4, 36.0)]}
    (mean,) = mean_points(clips)  # the one quality that both have
    assert asdict(mean) | {"ws_psnr_y": None} == asdict(mean)  # a does not have it for both: no mean
    assert (mean.quality, mean.bpp, mean.ws_psnr_yuv) == (1, pytest.approx(0.2), 31.0)
    assert mean_points({}) == []


def test_a_point_takes_the_place_of_its_quality(make_results: MakeResults) -> None:
    results = make_results("a").with_point("clip1.mp4", Point(3.0, 1.0, 40.0)).with_point("new.mp4", FULL)
    assert [point.quality for point in results.clips["clip1.mp4"]] == [0, 3, 6, 9]
    assert results.clips["clip1.mp4"][1].bpp == 1.0
    assert results.clips["new.mp4"] == [FULL]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "2"}, "'version' is '2', expected a whole number"),
        ({"version": 0}, "'version' is 0"),
        ({"missing": 3}, "'missing' is no list of clip, quality and why"),
        ({"missing": [{"clip": "a"}]}, "'missing' is no list of clip, quality and why"),
        ({"missing": [{"clip": "a", "quality": None, "why": ""}]}, "'missing' holds .*, expected a clip, a quality"),
        ({"clips": None}, "'clips' is missing or no dict"),
        ({"name": 3}, "'name' is missing or no str"),
        ({"clips": {"a": {}}}, "the points of 'a' are no list"),
        ({"clips": {"a": [3]}}, "a, point 0: got 3"),
        ({"clips": {"a": [{"quality": 1, "bpp": 0.1}]}}, "a, point 0: 'ws-psnr-yuv' is None"),
        ({"clips": {"a": [{"quality": 1, "ws-psnr-yuv": 30}]}}, "'bpp' is None"),
        ({"clips": {"a": [{"quality": 1, "bpp": "0.1", "ws-psnr-yuv": 30}]}}, "'bpp' is '0.1'"),
        ({"clips": {"a": [{"quality": 1, "bpp": 0.1, "ws-psnr-yuv": float("inf")}]}}, "'ws-psnr-yuv' is inf"),
    ],
)
def test_what_is_no_results_is_refused(change: dict, message: str, make_results: MakeResults) -> None:
    with pytest.raises(UsageError, match="r.json: .*" + message.replace("(", r"\(")):
        results_from_json(results_to_json(make_results("a")) | change, "r.json")


def test_a_file_of_a_newer_version_is_refused_in_one_line(tmp_path: Path, make_results: MakeResults) -> None:
    write_results(tmp_path / "r.json", [make_results("a")])
    text = (tmp_path / "r.json").read_text()
    (tmp_path / "r.json").write_text(text.replace(f'"version": {VERSION}', f'"version": {VERSION + 1}'))
    with pytest.raises(
        UsageError, match=r"r\.json holds results of version 3, .* versions up to 2; take a newer"
    ) as caught:
        read_results(tmp_path / "r.json")
    assert "\n" not in str(caught.value)


def test_a_file_of_the_first_version_is_read(make_results: MakeResults) -> None:
    """It says no version and nothing missing, and its points have five metrics."""
    data = results_to_json(make_results("a").with_point("clip0.mp4", FULL))
    del data["version"], data["missing"]
    for point in data["clips"]["clip0.mp4"]:
        for key in [*UNMEASURED, "viewport-psnr-y"]:
            del point[key]
    read = results_from_json(data)
    assert read.missing == [] and read.clips["clip0.mp4"][2] == replace(FULL, viewport_psnr_y=None)
    assert read == make_results("a").with_point("clip0.mp4", replace(FULL, viewport_psnr_y=None))


@pytest.mark.parametrize("path", sorted((ROOT / "results").rglob("*.json")), ids=lambda path: path.name)
def test_the_results_of_the_repository_are_read(path: Path) -> None:
    if is_results_file(path):
        assert all(results.mean[0].ws_psnr_yuv > 20 for results in read_results(path))


def test_what_is_missing_is_so_until_it_is_measured(make_results: MakeResults) -> None:
    results = make_results("a").with_missing(GONE).with_missing(GONE._replace(why="still not", quality=1.0))
    assert [each.quality for each in results.missing] == [1.0, 3.0]
    again = results.with_missing(GONE._replace(why="other"))
    assert [each.why for each in again.missing] == ["still not", "other"]
    assert again.with_point("clip9.mp4", Point(3.0, 1.0, 40.0)).missing == again.missing[:1]
    assert again.on_clips(["clip0.mp4"]).missing == []


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing.json: No such file"):
        read_results(tmp_path / "nothing.json")
    (tmp_path / "cut.json").write_text('{"name": ')
    with pytest.raises(UsageError, match="cut.json is no JSON file"):
        read_results(tmp_path / "cut.json")


def test_other_measurements_are_told_apart(tmp_path: Path, make_results: MakeResults) -> None:
    (tmp_path / "benchmark.json").write_text('{"rows": []}')
    write_results(tmp_path / "a.json", [make_results("a"), make_results("b")])
    assert not is_results_file(tmp_path / "benchmark.json")
    assert is_results_file(tmp_path / "a.json")


def test_environment_says_what_a_reader_needs() -> None:
    found = environment()
    assert {"torch", "cpu", "threads", "versions", "python", "system", "ffmpeg"} <= set(found)
    assert None not in found["versions"].values()
    assert all(version.count(".") == 2 for version in found["ffmpeg"].values()) and "libavcodec" in found["ffmpeg"]
    json.dumps(found)
