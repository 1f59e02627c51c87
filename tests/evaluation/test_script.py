"""The measuring scripts, run as a user runs them: what fails is named, the rest is done, and the exit code says so."""

from __future__ import annotations

import io
import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import make_film

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.evaluate import PointProgress
from deepsphere_codec.evaluation.results import Missing, Point, Results, read_results
from deepsphere_codec.evaluation.script import check_positive, point_bar, report_missing, run

RunScript = Callable[..., Any]
GONE = Missing("b.mp4", 3.0, "it cannot be read")


def test_points_and_what_is_missing_are_lines() -> None:
    stream = io.StringIO()
    with point_bar(stream) as on_point:
        on_point(PointProgress("x265", "a.mp4", Point(3.0, 0.1, 40.0), 1, 2))
        on_point(PointProgress("x265", "b.mp4", GONE, 2, 2))
    assert stream.getvalue().splitlines() == [
        "[1/2] x265 a.mp4 quality 3: 0.1000 bpp, 40.00 dB WS-PSNR-YUV",
        "[2/2] x265 b.mp4 quality 3: it cannot be read",
    ]


def test_the_report_names_what_is_missing() -> None:
    whole = Results("x265 medium", "made up", "x265", {}, {"a.mp4": [Point(3.0, 0.1, 40.0)]})
    stream = io.StringIO()
    assert report_missing([whole], stream) == 0 and not stream.getvalue()
    assert report_missing([whole, whole.with_missing(GONE)], stream) == 1
    assert stream.getvalue() == "missing: x265 b.mp4 quality 3: it cannot be read\n"


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> int:
        raise UsageError("not like this")

    def stop() -> int:
        raise KeyboardInterrupt

    assert [run(lambda: None), run(lambda: 1), run(refuse), run(stop)] == [0, 1, 2, 130]
    error, interrupt = capsys.readouterr().err.splitlines()
    assert error == "error: not like this" and interrupt.startswith("interrupted; the points measured so far are kept")
    assert [run(refuse, "name"), run(stop, "name", "all is lost")] == [2, 130]
    assert capsys.readouterr().err == "name: error: not like this\nname: interrupted; all is lost\n"


def test_numbers_that_must_be_above_0() -> None:
    args = Namespace(jobs=1, minutes=0.5, frames=None, seeds=0)
    check_positive(args, "jobs", "minutes", "frames")
    with pytest.raises(UsageError, match="^--seeds is 0: must be greater than 0$"):
        check_positive(args, "jobs", "seeds")


@pytest.mark.parametrize("line", ["run_anchors.py --codecs", "evaluate.py --codec"])
def test_a_clip_that_cannot_be_measured_costs_no_other(tmp_path: Path, line: str, run_script: RunScript) -> None:
    make_film(tmp_path / "good.y4m", width=128, height=64, frames=2)
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    name, flag = line.split()
    arguments = [flag, "x264", "--clips", tmp_path, "--quality", "30", "--out", tmp_path / "r.json"]
    done = run_script(name, *arguments)
    assert done.code == 1
    last = done.err.splitlines()[-1]
    assert last.startswith("missing: x264 broken.mp4 quality 30: ") and "cannot be opened as a film" in last
    (results,) = read_results(tmp_path / "r.json")
    (point,) = results.clips["good.y4m"]
    assert point.viewport_ssim_y and 0.5 < point.viewport_ssim_y < 1 and point.cpp_psnr_y and point.cpp_psnr_y > 30
    assert [(each.clip, each.quality) for each in results.missing] == [("broken.mp4", 30.0)]
    assert json.loads((tmp_path / "r.json").read_text())["version"] == 2
    (tmp_path / "broken.mp4").unlink()
    make_film(tmp_path / "broken.mkv", width=128, height=64, frames=2).rename(tmp_path / "broken.mp4")
    again = run_script(name, *arguments)
    assert again.code == 0, again.err
    assert "[1/1]" in again.err and "missing" not in again.err


def test_qualities_that_no_model_has_are_refused_before_anything_is_measured(
    tmp_path: Path, run_script: RunScript
) -> None:
    make_film(tmp_path / "film.y4m")
    arguments = ["--codec", "sphere-dvc", "--clips", tmp_path, "--quality", "9", "--out", tmp_path / "r.json"]
    done = run_script("evaluate.py", *arguments)
    assert done.code == 2 and "quality 9 is out of range" in done.err
    assert not (tmp_path / "r.json").exists()
