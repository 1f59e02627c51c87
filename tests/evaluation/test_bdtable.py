"""The table of BD-rates: a line for each codec, one for each clip, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from deepsphere_codec.evaluation.bdtable import bd_table
from deepsphere_codec.evaluation.bootstrap import BdIntervals, bd_intervals
from deepsphere_codec.evaluation.results import Results

MakeResults = Callable[..., Results]


def rows_of(anchor: Results, *tests: Results, metric: str = "ws_psnr_yuv") -> list[BdIntervals]:
    return [bd_intervals(anchor, test, metric, resamples=20) for test in tests]


def test_a_line_for_each_codec_with_both_interpolations_overlap_and_intervals(make_results: MakeResults) -> None:
    anchor = make_results("x265")
    lines = bd_table(anchor, rows_of(anchor, make_results("good", 0.9), make_results("bad", 1.5))).splitlines()
    assert "against x265, ws-psnr-yuv" in lines[0] and "95%" in lines[0]
    assert lines[1].split() == "codec mean curve: PCHIP Akima overlap mean of clips: PCHIP Akima clips".split()
    assert lines[2].split() == "good -10.0 [-10.0, -10.0] -10.0 100% -10.0 [-10.0, -10.0] -10.0 3".split()
    assert lines[3].split() == "bad +50.0 [+50.0, +50.0] +50.0 100% +50.0 [+50.0, +50.0] +50.0 3".split()
    assert len(lines) == 4


def test_clips_on_demand(make_results: MakeResults) -> None:
    anchor = make_results("x265")
    lines = bd_table(anchor, rows_of(anchor, make_results("good", 0.9)), per_clip=True).splitlines()
    assert [line.split() for line in lines[3:]] == [[f"clip{n}.mp4", "-10.0", "-10.0", "100%"] for n in range(3)]


def test_a_small_overlap_is_marked_and_explained(make_results: MakeResults) -> None:
    anchor = make_results("x265")
    part = replace(anchor, name="part", clips={clip: points[1:] for clip, points in anchor.clips.items()})
    lines = bd_table(anchor, rows_of(anchor, part)).splitlines()
    assert " 67%! " in lines[2] and lines[-1].startswith("! the curves overlap by less than 80% of their dB")


def test_what_is_left_out_is_named(make_results: MakeResults) -> None:
    anchor = make_results("x265")
    tests = make_results("less", clips=1), make_results("sole", clips=0)
    lines = bd_table(anchor, rows_of(anchor, *tests)).splitlines()
    assert lines[2].split()[-1] == "1" and "[" not in lines[2]  # one clip has no interval
    assert lines[3] == "  without clip1.mp4, clip2.mp4: less did not measure it"
    assert lines[4].split() == "sole - - 0% - - 0".split()
    assert lines[5] == "  without clip0.mp4, clip1.mp4, clip2.mp4: sole did not measure it"
    (line,) = bd_table(anchor, rows_of(anchor, make_results("other"), metric="cpp_psnr_y")).splitlines()[3:]
    assert line.endswith("x265 has no cpp-psnr-y of it")


def test_mean_curves_without_a_common_range(make_results: MakeResults) -> None:
    """Each clip may have a BD-rate where the means over clips, at the qualities that all have, do not."""
    anchor, test = make_results("x265", clips=2), make_results("test", clips=2)
    halves = {"clip0.mp4": slice(0, 2), "clip1.mp4": slice(2, 4)}
    test = replace(test, clips={clip: points[halves[clip]] for clip, points in test.clips.items()})
    lines = bd_table(anchor, rows_of(anchor, test)).splitlines()
    assert lines[3] == "  no BD-rate of the mean curves: fewer than two points"


def test_no_rows(make_results: MakeResults) -> None:
    assert len(bd_table(make_results("x265"), []).splitlines()) == 2
