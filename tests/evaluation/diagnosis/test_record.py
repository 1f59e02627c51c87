"""Diagnoses made up for the purpose: their JSON file, tables, figure, and the section of a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.diagnosis.figure import plot_diagnosis
from deepsphere_codec.evaluation.diagnosis.record import (
    ClipDiagnosis,
    Diagnosis,
    FrameDiagnosis,
    part_names,
    read_diagnosis,
    write_diagnosis,
)
from deepsphere_codec.evaluation.diagnosis.tables import diagnosis_tables, first_p_table, rival, table_text
from deepsphere_codec.evaluation.diagnosis.traced import NodePsnr
from deepsphere_codec.evaluation.report.build import Request, make_report
from deepsphere_codec.evaluation.results import Results, write_results

MakeResults = Callable[..., Results]


def intra(bits: int) -> FrameDiagnosis:
    prediction = {"reconstruction": NodePsnr(40.0, 41.0)}
    return FrameDiagnosis(0, "I", {"picture": bits}, prediction, 40.5, {"x265-intra": 5e4, "svtav1-intra": None})


def inter(number: int, motion: int, residual: int, kind: str = "P") -> FrameDiagnosis:
    prediction = {
        "reference": NodePsnr(20.0 + number, 22.0),
        "moved": NodePsnr(30.0, 31.0),
        "reconstruction": NodePsnr(38.0, 39.0),
    }
    parts = {"rotation": 0, "motion": motion, "residual": residual, "overhead": 8}
    classical = {"x265-reference": 1e4, "x265-prediction": 2e4, "x265-residual": 3e4}
    return FrameDiagnosis(number, kind, parts, prediction, 39.0, classical)


@pytest.fixture
def diagnosis() -> Diagnosis:
    still = inter(1, 0, 0)._replace(classical={"x265-reference": None, "x265-prediction": None, "x265-residual": 1e3})
    moving = ClipDiagnosis(
        "moving.mp4", 5.0, 256, 5.0, [intra(100_000), inter(1, 10_000, 20_000), inter(2, 4000, 8000)]
    )
    quiet = ClipDiagnosis("quiet.mp4", 3.0, 192, 3.9, [intra(40_000), still, inter(2, 0, 2000, "B")])
    return Diagnosis({"name": "made-up", "frames": 3}, [moving, quiet], {"cores": 2})


def test_a_file_comes_back_as_it_was(tmp_path: Path, diagnosis: Diagnosis) -> None:
    write_diagnosis(tmp_path / "new" / "bits.json", diagnosis)
    assert read_diagnosis(tmp_path / "new" / "bits.json") == diagnosis
    data = json.loads((tmp_path / "new" / "bits.json").read_text())
    frame = data["measured"][0]["frames"][1]
    assert data["name"] == "bits" and "clips" not in data
    assert frame["type"] == "P" and frame["parts"]["motion"] == 10_000
    assert frame["prediction"]["moved"] == {"ws-psnr-y": 30.0, "ws-psnr-yuv": 31.0}
    assert data["measured"][1]["frames"][1]["classical"]["x265-reference"] is None


def test_other_files_are_refused(tmp_path: Path, diagnosis: Diagnosis) -> None:
    path = tmp_path / "bits.json"
    path.write_text("[]")
    with pytest.raises(UsageError, match="holds no diagnosis; scripts/diagnose_bits.py writes such a file"):
        read_diagnosis(path)
    write_diagnosis(path, diagnosis)
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "version": 2}))
    with pytest.raises(UsageError, match="is of version 2, expected 1"):
        read_diagnosis(path)
    path.write_text(json.dumps({**data, "measured": [{"clip": "a.mp4"}]}))
    with pytest.raises(UsageError, match="something is missing or of the wrong kind .*quality"):
        read_diagnosis(path)


def test_a_clip_takes_the_place_of_its_earlier_record(diagnosis: Diagnosis) -> None:
    again = diagnosis.measured[0]._replace(frames=[intra(1)])
    assert not diagnosis.has("moving.mp4", 3.0) and diagnosis.has("moving.mp4", 5.0)
    assert diagnosis.with_clip(again).measured == [again, diagnosis.measured[1]]
    lower = again._replace(quality=3.0)
    assert diagnosis.with_clip(lower).measured == [lower, *diagnosis.measured]


def test_parts_keep_their_order_and_those_without_bits_are_left_out(diagnosis: Diagnosis) -> None:
    quiet = diagnosis.measured[1]
    assert part_names(quiet.inter) == ["residual", "overhead"]
    assert part_names([*quiet.inter, *diagnosis.measured[0].inter]) == ["motion", "residual", "overhead"]
    assert quiet.inter[0].is_repeated and not quiet.inter[1].is_repeated


def test_a_ratio_is_of_the_frames_whose_psnr_the_encoder_reaches(diagnosis: Diagnosis) -> None:
    moving, quiet = diagnosis.measured
    both = rival(moving.inter, "x265-reference")
    assert both == (21_008, 1e4) and both.ratio == pytest.approx(2.1008)
    assert rival(quiet.inter, "x265-reference") == (2008, 1e4)
    assert rival(quiet.intra, "svtav1-intra").ratio is None


def test_the_tables(diagnosis: Diagnosis) -> None:
    inter_bits, prediction, intra_bits = diagnosis_tables(diagnosis)
    assert inter_bits.head[:6] == ["clip, quality", "frames", "motion", "residual", "overhead", "all"]
    expected = ["moving 5", "2 P", "7.0", "14.0", "0.0", "21.0", "10.0", "20.0", "30.0", "2.10"]
    assert inter_bits.rows[0] == expected
    assert inter_bits.rows[1][:2] == ["quiet 3", "1 P, 1 B, 1 repeated"] and inter_bits.rows[1][-1] == "0.20"
    luma = ["moving 5", "21.50", "30.00", "38.00", "22.00", "31.00", "39.00"]
    assert prediction.rows[0] == luma
    assert intra_bits.rows[0] == ["moving 5", "40.50", "100.0", "50.0", "+100 %", "–", "–"]
    lines = table_text(intra_bits).splitlines()
    assert len({len(line) for line in lines[1:]}) == 1 and "−20 %" in lines[3]


def test_i_frames_alone_have_no_table_of_others(diagnosis: Diagnosis) -> None:
    alone = replace(diagnosis, measured=[diagnosis.measured[0]._replace(frames=[intra(1000)])])
    assert [table.caption for table in diagnosis_tables(alone)] == ["I-frames at equal WS-PSNR-YUV"]


def test_a_part_of_any_name_has_a_column(diagnosis: Diagnosis, tmp_path: Path) -> None:
    clip = diagnosis.measured[0]
    tree = clip.frames[1]._replace(parts={"tree": 3000, "map": 1000, "overhead": 16})
    changed = replace(diagnosis, measured=[clip._replace(frames=[clip.frames[0], tree])])
    assert diagnosis_tables(changed)[0].head[2:6] == ["tree", "map", "overhead", "all"]
    plot_diagnosis(changed, tmp_path / "bits.svg")
    assert ">tree<" in (tmp_path / "bits.svg").read_text()


def test_the_figure_names_everything_and_is_the_same_again(diagnosis: Diagnosis, tmp_path: Path) -> None:
    plot_diagnosis(diagnosis, tmp_path / "bits.svg")
    text = (tmp_path / "bits.svg").read_text()
    for name in ("moving  5", "quiet  3", "motion", "residual", "x265 from the reference", "x265 intra"):
        assert f">{name}<" in text, name
    assert ">SVT-AV1 intra<" not in text, "an encoder that reaches no frame's PSNR has no mark"
    plot_diagnosis(diagnosis, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == text
    with pytest.raises(UsageError, match="nothing to draw"):
        plot_diagnosis(replace(diagnosis, measured=[]), tmp_path / "none.svg")


def test_a_report_shows_a_diagnosis_where_one_is_given(
    diagnosis: Diagnosis, tmp_path: Path, make_results: MakeResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepsphere_codec.evaluation.report import svg

    monkeypatch.setattr(svg, "DPI", 40)
    write_results(tmp_path / "x265.json", [make_results("x265")])
    write_diagnosis(tmp_path / "bits.json", diagnosis)
    make_report(Request([tmp_path / "x265.json"], tmp_path / "without.html"))
    assert 'id="bits"' not in (tmp_path / "without.html").read_text(encoding="utf-8")
    make_report(Request([tmp_path / "x265.json", tmp_path / "bits.json"], tmp_path / "with.html"))
    text = (tmp_path / "with.html").read_text(encoding="utf-8")
    sections: Any = [text.index(f'<section id="{name}"') for name in ("sphere", "bits", "time")]
    assert sections == sorted(sections) and 'href="#bits"' in text and "<h3>made-up</h3>" in text
    assert "1 P, 1 B, 1 repeated" in text and "bits.json and are not in this report" not in text
    assert (tmp_path / "figures" / "bits-1.svg").exists()


def test_first_p_frames_are_compared_at_equal_psnr(diagnosis: Diagnosis, tmp_path: Path) -> None:
    """Halfway between two qualities in decibels, halfway between their bits in logarithms."""
    worse, better = inter(1, 4000, 5992), inter(1, 4000, 35_992)
    reached = {**better.prediction, "reconstruction": NodePsnr(39.0, 41.0)}
    clips = [
        ClipDiagnosis("moving.mp4", quality, 256, quality, [intra(100_000), frame])
        for quality, frame in ((4.0, worse), (6.0, better._replace(prediction=reached)))
    ]
    points = [{"bits": 1, "ws-psnr-yuv": 30}, {"bits": 40_000, "ws-psnr-yuv": 40}, {"bits": 2, "ws-psnr-yuv": 50}]
    beyond = [{"bits": 40_000, "ws-psnr-yuv": 41.5}]
    path = tmp_path / "before.json"
    path.write_text(json.dumps({"films": {"moving.mp4": points, "unknown.mp4": points}}))
    table = first_p_table(replace(diagnosis, measured=clips), path)
    assert table.rows[0] == ["moving.mp4", "40.00", "40.0", "20.0", "-50 %"]
    assert table.rows[1] == ["unknown.mp4", "40.00", "40.0", "–", "–"]
    path.write_text(json.dumps({"films": {"moving.mp4": beyond}}))
    assert first_p_table(replace(diagnosis, measured=clips), path).rows[0][-1] == "–", (
        "what was not measured is not guessed"
    )
    with pytest.raises(UsageError, match="No such file"):
        first_p_table(diagnosis, tmp_path / "none.json")
