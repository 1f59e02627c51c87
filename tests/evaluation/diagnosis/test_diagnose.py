"""Diagnosis of a model on a small film: what the trace records, and the script from end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import make_film

from deepsphere_codec.codec import make_resampler, signal_from_frame
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.diagnosis import measure
from deepsphere_codec.evaluation.diagnosis.measure import Options, diagnose
from deepsphere_codec.evaluation.diagnosis.record import Diagnosis
from deepsphere_codec.evaluation.diagnosis.trace import trace
from deepsphere_codec.evaluation.diagnosis.traced import TracedFrame, node_psnr
from deepsphere_codec.models import References, load_model
from deepsphere_codec.video import open_video

NSIDE, QUALITY = 64, 5.0


def signals(film: Path, count: int) -> list[torch.Tensor]:
    with open_video(film, frames=(0, count)) as source:
        resampler = make_resampler("healpix", source.info.height, source.info.width, NSIDE)
        return [signal_from_frame(frame, resampler) for frame in source]


@pytest.fixture(scope="module")
def default() -> Any:
    return load_model()


def test_psnr_over_nodes_is_weighted_by_area() -> None:
    x = torch.full((1, 4, 3), 0.5)
    x_hat = x + torch.tensor([0.1, 0.0, 0.0, 0.0])[None, :, None]
    assert node_psnr(x, x_hat, np.ones(4)).y == pytest.approx(20 + 10 * np.log10(4), abs=1e-4)
    assert node_psnr(x, x_hat, np.array([4.0, 0, 0, 0])) == pytest.approx((20.0, 20.0), abs=1e-4)
    assert node_psnr(x, x_hat, np.array([0.0, 2, 1, 1])) == (100.0, 100.0)
    luma = x + torch.tensor([0.1, 0.0, 0.0])
    assert node_psnr(x, luma, np.ones(4)).yuv == pytest.approx((6 * 20 + 200) / 8, abs=1e-4)
    assert node_psnr(torch.ones(1, 4, 3), torch.full((1, 4, 3), 7.0), np.ones(4)).y == 100, "clipped as when shown"


def test_the_trace_is_what_the_codec_codes(film: Path, default: Any) -> None:
    frames, network = signals(film, 3), default.network(NSIDE)
    traced = trace(network, frames, QUALITY)
    coded = [network.encode_intra(frames[0], QUALITY)]
    for x in frames[1:]:
        states = [each.state for each in coded[:-3:-1]]
        distances = (-1, -2 if len(states) > 1 else 0)
        coded.append(network.encode_inter(x, References(*states, distances=distances), QUALITY, 0))
    assert [frame.frame_type for frame in traced] == ["I", "P", "P"]
    for number, (frame, each) in enumerate(zip(traced, coded, strict=True)):
        assert frame.number == number and sum(frame.parts.values()) == 8 * len(each.payload)
        assert torch.equal(frame.x_hat, each.state.x_hat)
    for frame, before, x in zip(traced[1:], coded, frames[1:], strict=False):
        assert list(frame.prediction) == ["reference", "moved", "overlapped"]
        assert torch.equal(frame.references[0], before.state.x_hat)
        decibels = [node_psnr(x, picture, np.ones(12 * NSIDE**2)).yuv for picture in frame.prediction.values()]
        assert decibels[0] < decibels[2] <= node_psnr(x, frame.x_hat, np.ones(12 * NSIDE**2)).yuv


def test_a_repeated_frame_is_its_reference_throughout(film: Path, default: Any) -> None:
    first = signals(film, 1)[0]
    repeated = trace(default.network(NSIDE), [first, first], QUALITY)[1]
    assert repeated.parts == {"rotation": 0, "map": 0, "motion": 0, "residual": 0, "overhead": 8}
    assert all(torch.equal(picture, repeated.x_hat) for picture in repeated.prediction.values())


def test_frames_in_order_of_coding_and_with_two_references(
    tmp_path: Path, default: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the trace knows how a network codes: a B-frame that comes last is measured between its references."""
    film = make_film(tmp_path / "film.mkv", 256, 128, 3)

    def made_up(network: Any, frames: list[torch.Tensor], quality: float) -> list[TracedFrame]:
        first, middle, last = ((x + 0.01).clamp(0, 1) for x in frames)
        between = {"reference": first, "moved": (first + last) / 2}
        return [
            TracedFrame(0, "I", {"picture": 800}, {}, (), first),
            TracedFrame(2, "P", {"tree": 80, "residual": 160}, {"reference": first, "moved": first}, (first,), last),
            TracedFrame(1, "B", {"tree": 40, "residual": 40, "map": 8}, between, (first, last), middle),
        ]

    monkeypatch.setattr(measure, "trace", made_up)
    (clip,) = diagnose(default, [film], Options([QUALITY], 3, NSIDE)).measured
    assert [(frame.number, frame.frame_type) for frame in clip.frames] == [(0, "I"), (1, "B"), (2, "P")]
    assert list(clip.frames[1].prediction) == ["reference", "moved", "reconstruction"]
    assert clip.frames[1].bits == 88 and set(clip.frames[0].classical) == {"x265-intra", "svtav1-intra"}
    assert set(clip.frames[1].classical) == {"x265-reference", "x265-prediction", "x265-residual"}


def test_measurements_with_other_settings_and_bad_qualities_are_refused(film: Path, default: Any) -> None:
    before = Diagnosis({"name": "sphere-dvc", "frames": 7})
    with pytest.raises(UsageError, match="the diagnosis there has frames 7, not 3; name another --out"):
        diagnose(default, [film], Options([QUALITY], 3, NSIDE), before)
    with pytest.raises(UsageError, match="quality 9 is out of range"):
        diagnose(default, [film], Options([9.0]))


def test_the_script(film: Path, tmp_path: Path, run_script: Callable[..., Any]) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "film.mkv").symlink_to(film)
    arguments = ["--clips", clips, "--nside", NSIDE, "--frames", 2, "--out", tmp_path / "bits.json"]
    arguments = [*map(str, arguments), "--figure", str(tmp_path / "bits.svg"), "--quality"]
    done = run_script("diagnose_bits.py", *arguments, "5")
    assert done.code == 0, done.err
    assert "film 5" in done.out and "x265 from the reference" in done.out and "[1/1] film.mkv quality 5: I " in done.err
    assert ">film  5<" in (tmp_path / "bits.svg").read_text()
    before = json.loads((tmp_path / "bits.json").read_text())
    assert before["settings"]["frames"] == 2 and len(before["measured"][0]["frames"]) == 2
    again = run_script("diagnose_bits.py", *arguments, "3", "5")
    assert again.code == 0 and "quality 5" not in again.err and "[1/1] film.mkv quality 3" in again.err
    after = json.loads((tmp_path / "bits.json").read_text())
    assert [each["quality"] for each in after["measured"]] == [3, 5] and after["measured"][1] == before["measured"][0]


def test_the_script_refuses_before_it_works(tmp_path: Path, film: Path, run_script: Callable[..., Any]) -> None:
    for flags, message in (
        (["--out", "bits.txt"], "does not end in .json"),
        (["--figure", "bits.pdf"], "ends in neither .svg nor .png"),
        (["--frames", "0"], "--frames is 0: must be greater than 0"),
        (["--nside", "50", "--out", str(tmp_path / "b.json")], "nside 50 does not work with sphere-dvc"),
        (["--model", "none", "--out", str(tmp_path / "b.json")], "model 'none' is neither one of ours"),
    ):
        done = run_script("diagnose_bits.py", "--clips", film.parent, *flags)
        assert done.code == 2 and message in done.err, done.err
