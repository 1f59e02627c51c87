"""Measuring a folder of clips: going on where it was, and models through a command that stands in for the real one."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest
from support import make_film

from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.evaluation.evaluate import PointProgress, evaluate
from deepsphere_codec.evaluation.model import CodingOptions, Identity, ModelCodec
from deepsphere_codec.evaluation.results import Missing, Point, read_results
from deepsphere_codec.video.clips import find_clips

# Stands where `python -m deepsphere_codec` stands: its stream is 100 bytes and a list of the arguments, its decoded
# film a copy of the first frames, one grey level brighter.
STAND_IN = """
import json, sys
from fractions import Fraction
from pathlib import Path
from deepsphere_codec.video import YuvFrame, create_video, open_video

command, *rest = sys.argv[1:]
flags = dict(zip(rest, rest[1:]))
if command == "encode":
    if "broken" in rest[0]:
        sys.exit(print("loading\\nerror: it is broken", file=sys.stderr) or 3)
    Path(rest[1]).write_bytes(bytes(100))
    Path(rest[1]).with_suffix(".source").write_text(rest[0])
    Path(rest[0]).with_suffix(".flags").write_text(json.dumps(rest[2:]))
    print(json.dumps({"frames": 4, "width": 64, "height": 32, "bytes": 100, "encode_seconds": 2.0}))
elif command == "decode":
    source = Path(rest[0]).with_suffix(".source").read_text()
    with open_video(source, frames=(0, 4)) as reader, create_video(rest[1], reader.info) as writer:
        for frame in reader:
            writer.write(YuvFrame(*(plane + 1 for plane in frame)))
    print(json.dumps({"frames": 4, "decode_seconds": 1.0}))
else:
    print(json.dumps({"frame_types": {"I": {"count": 1, "bytes": 64}, "P": {"count": 3, "bytes": 24}}}))
"""


class FakeCodec:
    """Measures nothing, and counts how often."""

    name = "fake"
    description = "stands in"
    qualities: tuple[float, ...] = (1.0, 2.0)

    def __init__(self, codec: str = "fake", can_read_all: bool = False, **settings: object) -> None:
        self.codec = codec
        self.can_read_all = can_read_all
        self.settings = settings
        self.calls: list[tuple[str, float]] = []

    def measure(self, clip: Path, quality: float) -> Point:
        self.calls.append((clip.name, quality))
        if clip.name == "bad.mp4" and not self.can_read_all:
            raise UsageError("bad.mp4 cannot be read;\n take another")
        if clip.name == "worse.mp4":
            raise ZeroDivisionError("division by zero")
        return Point(quality, 0.1 * quality, 30 + quality)


CLIPS = [Path("a.mp4"), Path("b.mp4")]


def test_all_clips_at_all_qualities(tmp_path: Path) -> None:
    seen: list[PointProgress] = []
    (results,) = evaluate([FakeCodec()], CLIPS, tmp_path / "r.json", on_point=seen.append)
    assert read_results(tmp_path / "r.json") == [results]
    assert [point.quality for point in results.mean] == [1.0, 2.0]
    assert [(each.clip, each.point.quality, each.done, each.total) for each in seen] == [
        ("a.mp4", 1.0, 1, 4),
        ("b.mp4", 1.0, 2, 4),
        ("a.mp4", 2.0, 3, 4),
        ("b.mp4", 2.0, 4, 4),
    ]


class Meeting(FakeCodec):
    """Measures a point only while it measures another one."""

    def __init__(self) -> None:
        super().__init__()
        self.both = threading.Barrier(2)

    def measure(self, clip: Path, quality: float) -> Point:
        self.both.wait(timeout=30)
        return super().measure(clip, quality)


def test_points_side_by_side_are_those_one_after_the_other(tmp_path: Path) -> None:
    (alone,) = evaluate([FakeCodec()], CLIPS, tmp_path / "alone.json")
    (together,) = evaluate([Meeting()], CLIPS, tmp_path / "together.json", jobs=2)
    assert together.clips == alone.clips and together.environment["jobs"] == 2
    assert read_results(tmp_path / "together.json") == [together]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    ("clip", "why"),
    [
        ("bad.mp4", "bad.mp4 cannot be read; take another"),
        ("worse.mp4", "unexpected ZeroDivisionError: division by zero"),
    ],
)
def test_a_clip_that_fails_is_missing_and_the_rest_is_done(tmp_path: Path, jobs: int, clip: str, why: str) -> None:
    clips = [CLIPS[0], Path(clip), CLIPS[1]]
    seen: list[PointProgress] = []
    (results,) = evaluate([FakeCodec()], clips, tmp_path / "r.json", jobs=jobs, on_point=seen.append)
    assert set(results.clips) == {"a.mp4", "b.mp4"} and len(results.mean) == 2
    assert results.missing == [Missing(clip, 1.0, why), Missing(clip, 2.0, why)]
    assert read_results(tmp_path / "r.json") == [results]
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["missing"][0] == {"clip": clip, "quality": 1.0, "why": why}
    assert [each.done for each in seen] == [1, 2, 3, 4, 5, 6]
    assert {each.point for each in seen if each.clip == clip} == set(results.missing)


def test_what_is_missing_is_tried_again(tmp_path: Path) -> None:
    clips = [CLIPS[0], Path("bad.mp4")]
    evaluate([FakeCodec()], clips, tmp_path / "r.json")
    mended = FakeCodec(can_read_all=True)
    (results,) = evaluate([mended], clips, tmp_path / "r.json", qualities=[2])
    assert mended.calls == [("bad.mp4", 2.0)]
    assert [each.quality for each in results.missing] == [1.0]  # not asked for this time, and still not there
    (results,) = evaluate([mended], clips, tmp_path / "r.json")
    assert not results.missing and [point.quality for point in results.mean] == [1.0, 2.0]


def test_what_other_weights_missed_is_forgotten(tmp_path: Path) -> None:
    evaluate([FakeCodec(weights_hash="old")], [Path("bad.mp4")], tmp_path / "r.json")
    (results,) = evaluate([FakeCodec(weights_hash="new")], CLIPS, tmp_path / "r.json")
    assert not results.missing


def test_a_broken_run_goes_on_where_it_was(tmp_path: Path) -> None:
    evaluate([FakeCodec()], CLIPS, tmp_path / "r.json", qualities=[1])
    again = FakeCodec()
    (results,) = evaluate([again], [*CLIPS, Path("c.mp4")], tmp_path / "r.json", qualities=[1, 3])
    assert again.calls == [("c.mp4", 1.0), ("a.mp4", 3.0), ("b.mp4", 3.0), ("c.mp4", 3.0)]
    assert [len(points) for points in results.clips.values()] == [2, 2, 2]


def test_points_of_other_weights_are_not_kept(tmp_path: Path) -> None:
    evaluate([FakeCodec(weights_hash="old")], CLIPS, tmp_path / "r.json", qualities=[1, 2])
    (results,) = evaluate([FakeCodec(weights_hash="new")], CLIPS, tmp_path / "r.json", qualities=[1])
    assert [len(points) for points in results.clips.values()] == [1, 1]


def test_results_of_other_settings_are_not_overwritten(tmp_path: Path) -> None:
    evaluate([FakeCodec(frames=32)], CLIPS, tmp_path / "r.json")
    before = (tmp_path / "r.json").read_bytes()
    with pytest.raises(UsageError, match="have frames 32, not 8; name another --out"):
        evaluate([FakeCodec(frames=8)], CLIPS, tmp_path / "r.json")
    assert (tmp_path / "r.json").read_bytes() == before


def test_several_codecs_in_one_file_or_one_file_each(tmp_path: Path) -> None:
    codecs = [FakeCodec("one"), FakeCodec("two")]
    evaluate(codecs, CLIPS, tmp_path / "all.json")
    assert [each.codec for each in read_results(tmp_path / "all.json")] == ["one", "two"]
    evaluate(codecs, CLIPS, tmp_path / "folder")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["one.json", "two.json"]


def test_clips_are_the_films_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MKV", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_clips(tmp_path)] == ["a.MKV", "b.mp4"]
    with pytest.raises(UsageError, match="is no folder"):
        find_clips(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no films"):
        find_clips(tmp_path / "empty")


def test_two_clips_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"two clips are called a\.mp4"):
        evaluate([FakeCodec()], [Path("a.mp4"), Path("other/a.mp4")], tmp_path / "r.json")


def stand_in(tmp_path: Path, **options: object) -> ModelCodec:
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    identity = Identity("sphere-dvc", "a1", "b2")
    command = (sys.executable, str(tmp_path / "stand_in.py"))
    return ModelCodec("some/folder", identity, CodingOptions(frames=4, device="cpu", **options), command)  # type: ignore[arg-type]


def test_a_model_is_measured_through_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    film = make_film(tmp_path / "film.y4m", frames=6)
    codec = stand_in(tmp_path, nside=16, threads=1)
    point = codec.measure(film, 2.5)
    assert point.bpp == pytest.approx(100 * 8 / (4 * 64 * 32))  # the whole file, not the payloads
    assert point.ws_psnr_yuv == pytest.approx(48.1308, abs=1e-3)
    assert (point.bpp_i, point.bpp_p) == (64 * 8 / 2048, 8 * 8 / 2048)
    assert (point.encode_seconds, point.decode_seconds) == (2.0, 1.0)
    flags = json.loads((tmp_path / "film.flags").read_text())
    for flag, value in {"model": "some/folder", "quality": "2.5", "frames": "0:4", "gop": "32", "nside": "16"}.items():
        assert flags[flags.index(f"--{flag}") + 1] == value
    assert "--json" in flags and codec.name == "sphere-dvc nside 16" and codec.codec == "sphere-dvc"
    assert codec.settings["weights_hash"] == "a1" and json.loads(json.dumps(codec.settings)) == codec.settings


def test_low_delay_and_presets_are_asked_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    codec = stand_in(tmp_path, low_delay=True, preset="fast")
    codec.measure(make_film(tmp_path / "film.y4m", frames=6), 3)
    flags = json.loads((tmp_path / "film.flags").read_text())
    assert "--low-delay" in flags and flags[flags.index("--preset") + 1] == "fast"
    assert codec.name == "sphere-dvc fast low delay" and codec.settings["low_delay"] is True
    stand_in(tmp_path).measure(tmp_path / "film.y4m", 3)
    flags = json.loads((tmp_path / "film.flags").read_text())
    assert "--low-delay" not in flags and flags[flags.index("--preset") + 1] == "medium"


def test_a_process_that_fails_passes_on_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    with pytest.raises(CodecError, match="encode of .*broken.y4m ended with exit code 3: it is broken") as caught:
        stand_in(tmp_path).measure(tmp_path / "broken.y4m", 1)
    assert caught.value.exit_code == 3
