"""A report's figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deepsphere_codec.evaluation.report.gather import gather
from deepsphere_codec.evaluation.report.metric import metrics_in
from deepsphere_codec.evaluation.report.summary import summarise, training_steps, write_summary
from deepsphere_codec.evaluation.results import Results, is_results_file, write_results
from deepsphere_codec.models.macs import Complexity, Macs

MakeResults = Callable[..., Results]
STAGES = {
    "a": {"part": "intra", "steps": 5, "cpu_minutes": 1.5},
    "b/a": {"part": "intra", "steps": 2, "cpu_minutes": 2.0},
    "c": {"part": "inter", "steps": 3, "cpu_minutes": 0.25},
}
CARD = {"training": STAGES}


@pytest.fixture
def summary(tmp_path: Path, make_results: MakeResults) -> dict:
    codecs = [make_results("sphere-dvc", 0.5), make_results("planar-twin"), make_results("x265", 2.0)]
    write_results(tmp_path / "all.json", [*codecs, make_results("ceiling")])
    gathered = gather([tmp_path / "all.json"])
    costs = {"planar-twin": Complexity(7, Macs(1.0, 2.0, 3.0, 4.0))}
    return summarise(
        gathered, metrics_in(gathered.codecs), {"sphere-dvc": CARD}, costs, ["one"], "sphere-dvc", "report.py …"
    )


def test_the_default_model_is_compared_with_each_of_the_others(summary: dict) -> None:
    against = {each["codec"]: each["default_against"] for each in summary["codecs"]}
    assert against["sphere-dvc"] == {}
    for codec, percent in (("planar-twin", -50), ("x265", -75)):
        for metric in ("ws-psnr-yuv", "ws-psnr-y"):
            found = against[codec][metric]
            assert found["mean_of_clips"] == pytest.approx(percent) == found["mean_curve"]
            assert found["low"] <= found["mean_of_clips"] <= found["high"] and found["clips"] == 3


def test_what_a_model_took_stands_beside_it(summary: dict) -> None:
    sphere, twin, x265 = summary["codecs"]
    assert sphere["training"]["steps"] == {"intra": 7, "inter": 3} and sphere["cost"] is None
    assert sphere["training"]["cpu_minutes"] == 3.8
    assert twin["training"] is None and twin["cost"] == {
        "parameters": 7,
        "macs": {"intra": 1.0, "inter": 2.0, "intra_decoder": 3.0, "inter_decoder": 4.0},
    }
    assert x265["cost"] is None and len(x265["mean"]) == 4
    assert summary["missing"] == ["one"] and summary["frames"] == [32] and set(summary["ceilings"]) == {"ceiling"}


def test_it_is_written_whole_and_is_not_taken_for_results(summary: dict, tmp_path: Path) -> None:
    write_summary(tmp_path / "new" / "report.json", summary)
    assert not is_results_file(tmp_path / "new" / "report.json")
    assert json.loads((tmp_path / "new" / "report.json").read_text()) == summary


def test_a_card_that_tells_of_no_stages_has_no_steps() -> None:
    assert training_steps({}) == {} == training_steps({"training": {"quality": 3, "steps": 9}})


def test_minutes_are_told_where_those_of_all_stages_are_known(tmp_path: Path, make_results: MakeResults) -> None:
    write_results(tmp_path / "all.json", [make_results("sphere-dvc")])
    gathered = gather([tmp_path / "all.json"])
    card = {"training": STAGES | {"d": {"part": "inter", "steps": 9}}}
    (found,) = summarise(gathered, [], {"sphere-dvc": card}, {}, [], "sphere-dvc", "report.py …")["codecs"]
    assert found["training"]["steps"] == {"intra": 7, "inter": 12} and "cpu_minutes" not in found["training"]


def test_any_codec_may_be_the_one_that_is_compared(tmp_path: Path, make_results: MakeResults) -> None:
    write_results(tmp_path / "all.json", [make_results("sphere-dvc"), make_results("x265", 2.0)])
    gathered = gather([tmp_path / "all.json"])
    summary = summarise(gathered, metrics_in(gathered.codecs), {}, {}, [], "x265", "report.py …")
    sphere, x265 = (each["default_against"] for each in summary["codecs"])
    assert summary["default"] == "x265" and x265 == {}
    assert sphere["ws-psnr-yuv"]["mean_of_clips"] == pytest.approx(100)


def test_costs_are_found_by_the_name_of_a_curve(tmp_path: Path, make_results: MakeResults) -> None:
    """Which is not the codec's, where that has one of its own: planar-ssf2020 is drawn as "ssf2020 (planar)"."""
    other = replace(make_results("planar-ssf2020", 3.0), name="ssf2020 (planar)")
    write_results(tmp_path / "all.json", [make_results("sphere-dvc"), other])
    gathered = gather([tmp_path / "all.json"])
    costs = {"ssf2020 (planar)": Complexity(34, Macs(1.0, 2.0, 3.0, 4.0))}
    found = summarise(gathered, metrics_in(gathered.codecs), {}, costs, [], "sphere-dvc", "report.py …")["codecs"]
    assert [each["cost"] and each["cost"]["parameters"] for each in found] == [None, 34]
