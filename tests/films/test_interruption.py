"""An encode that is killed at any moment goes on where it was, to the same bytes; and what else may stop one."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import FakeModel, files_no_larger_than, spans_of

from deepsphere_codec.bitstream import Other, StreamReader
from deepsphere_codec.bitstream.layout import record_size
from deepsphere_codec.cli import main
from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.films import encode_video
from deepsphere_codec.runtime.atomic import resumable_output

GOP = 4
DELAY = 0.01  # of a frame


@pytest.fixture(scope="module", autouse=True)
def _groups() -> Iterator[None]:
    """An I-frame, a group of two frames and one of one, again and again."""
    with spans_of(2):
        yield


@pytest.fixture(scope="module")
def whole(film: Path, _groups: None) -> bytes:
    """What an encode that nothing disturbs writes."""
    encode_video(film, film.with_suffix(".dsc"), model=FakeModel(), gop_size=GOP)
    return film.with_suffix(".dsc").read_bytes()


def killed(film: Path, output: Path, after: float, **options: bool) -> bool:
    """Encode in a process of its own and kill it after so many seconds of work; whether it was still at it."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(tell, b"1")
            encode_video(film, output, model=FakeModel(delay=DELAY), gop_size=GOP, **options)
        finally:
            os._exit(0)
    os.read(ready, 1)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(ready), os.close(tell)
    return os.WIFSIGNALED(status)


def test_killed_at_fifty_random_moments(film: Path, whole: bytes, tmp_path: Path) -> None:
    """Each encode is killed once or more, until at last it is let through."""
    moments = random.Random(7)
    kills, gone_on = 0, 0
    while kills < 50:
        output = tmp_path / f"{kills}.dsc"
        while kills < 50 and killed(film, output, moments.uniform(0, 0.5), resume=True):
            kills += 1
            if output.exists():  # whole, as below: it was killed behind its last act
                break
            gone_on += (tmp_path / f"{output.name}.part").exists()
        if not output.exists():
            encode_video(film, output, model=FakeModel(), gop_size=GOP, resume=True)
        assert output.read_bytes() == whole
        assert [path.name for path in tmp_path.iterdir()] == [output.name]
        output.unlink()
    assert gone_on > 25, "the test kills too early to show anything"


def test_killed_without_resume_leaves_no_output(film: Path, whole: bytes, tmp_path: Path) -> None:
    moments = random.Random(8)
    for number in range(10):
        output = tmp_path / f"{number}.dsc"
        if killed(film, output, moments.uniform(0, 0.3)):
            assert not output.exists() or output.read_bytes() == whole


@pytest.mark.parametrize("share", [0.0, 0.01, 0.02, 0.3, 0.5, 0.77, 0.999, 1.0])
def test_goes_on_from_a_file_cut_anywhere(share: float, film: Path, whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "film.dsc.part").write_bytes(whole[: round(share * len(whole))])
    report = encode_video(film, tmp_path / "film.dsc", model=FakeModel(), gop_size=GOP, resume=True)
    assert (tmp_path / "film.dsc").read_bytes() == whole and report.bytes == len(whole) and report.frames == 25


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_a_resumed_encode_reports_the_bits_of_the_whole_film_and_the_speed_of_its_own_frames(
    share: float, film: Path, whole: bytes, tmp_path: Path
) -> None:
    done: list[int] = []
    reference = encode_video(film, tmp_path / "whole.dsc", model=FakeModel(), gop_size=GOP)
    (tmp_path / "film.dsc.part").write_bytes(whole[: round(share * len(whole))])
    report = encode_video(
        film,
        tmp_path / "film.dsc",
        model=FakeModel(),
        gop_size=GOP,
        resume=True,
        on_progress=lambda count, _: done.append(count),
    )
    with StreamReader(tmp_path / "film.dsc") as stream:
        records = list(stream.records())
    kinds = {record.kind for record in records if isinstance(record, Other)}
    beside = sum(record_size(record.body) for record in records if isinstance(record, Other))
    assert kinds == {"a", "m", "t"} and beside > 1000
    assert report.bpp == reference.bpp == (len(whole) - beside) * 8 / (25 * 64 * 32)
    assert report.frames_per_second * report.encode_seconds == pytest.approx(len(done))
    assert (len(done) < 25) == (share > 0.1)


def test_what_is_done_is_not_done_again(film: Path, whole: bytes, tmp_path: Path) -> None:
    done: list[int] = []
    (tmp_path / "film.dsc.part").write_bytes(whole[: len(whole) // 2])
    with StreamReader(film.with_suffix(".dsc")) as stream:
        before = [frame.number for frame in stream.frames() if frame.kind == "I" and frame.offset < len(whole) // 2][-1]
    encode_video(
        film,
        tmp_path / "film.dsc",
        model=FakeModel(),
        gop_size=GOP,
        resume=True,
        on_progress=lambda count, _: done.append(count),
    )
    assert done == list(range(before + 1, 26)) and before >= 8


# What does not belong together


@pytest.mark.parametrize(
    ("options", "named"),
    [({"quality": 5.0}, "quality"), ({"gop_size": 5}, "gop_size"), ({"nside": 8}, "nside, graph_hash")],
    ids=["quality", "GOP", "nside"],
)
def test_other_settings_are_refused(
    options: dict[str, float], named: str, film: Path, whole: bytes, tmp_path: Path
) -> None:
    begun = whole[: len(whole) // 2]
    (tmp_path / "film.dsc.part").write_bytes(begun)
    with pytest.raises(UsageError, match=f"film.dsc.part was written with another {named}; use the same, or remove it"):
        encode_video(film, tmp_path / "film.dsc", model=FakeModel(), resume=True, **{"gop_size": GOP, **options})
    assert (tmp_path / "film.dsc.part").read_bytes() == begun


def test_other_audio_is_refused(film: Path, whole: bytes, tmp_path: Path) -> None:
    """The pictures are the same: half of the stream would be with sound, half without."""
    begun = whole[: len(whole) // 2]
    (tmp_path / "film.dsc.part").write_bytes(begun)
    with pytest.raises(UsageError, match="was written with other audio or tags"):
        encode_video(film, tmp_path / "film.dsc", model=FakeModel(), gop_size=GOP, resume=True, pictures_only=True)
    assert (tmp_path / "film.dsc.part").read_bytes() == begun


def test_another_film_is_refused(film: Path, whole: bytes, tmp_path: Path) -> None:
    begun = whole[: len(whole) // 2]
    (tmp_path / "film.dsc.part").write_bytes(begun)
    for frames, said in (((1, None), "written from another film"), ((0, 4), "holds more frames than the film")):
        with pytest.raises(UsageError, match=said):
            encode_video(film, tmp_path / "film.dsc", model=FakeModel(), gop_size=GOP, resume=True, frames=frames)
    assert (tmp_path / "film.dsc.part").read_bytes() == begun


def test_a_file_of_the_users_is_not_touched(film: Path, tmp_path: Path) -> None:
    (tmp_path / "film.dsc.part").write_bytes(b"my notes on this film")
    with pytest.raises(UsageError, match="film.dsc.part is there and not what an encode left"):
        encode_video(film, tmp_path / "film.dsc", model=FakeModel(), resume=True)
    assert (tmp_path / "film.dsc.part").read_bytes() == b"my notes on this film"


def test_two_do_not_write_one_file(film: Path, tmp_path: Path) -> None:
    with (tmp_path / "film.dsc.part").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="is being written by another process"):
            encode_video(film, tmp_path / "film.dsc", model=FakeModel(), resume=True)
        assert (tmp_path / "film.dsc.part").exists()


def test_a_pipe_cannot_be_resumed(film: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with pytest.raises(UsageError, match="cannot be resumed"):
        encode_video(film, sys.stdout.buffer, model=FakeModel(), resume=True)


# What else stops an encode


def test_a_full_disk_keeps_what_is_done(film: Path, whole: bytes, tmp_path: Path) -> None:
    with files_no_larger_than(len(whole) // 2), pytest.raises(CodecError, match="film.dsc.part holds what is done"):
        encode_video(film, tmp_path / "film.dsc", model=FakeModel(), gop_size=GOP, resume=True)
    assert not (tmp_path / "film.dsc").exists()
    encode_video(film, tmp_path / "film.dsc", model=FakeModel(), gop_size=GOP, resume=True)
    assert (tmp_path / "film.dsc").read_bytes() == whole


def test_ctrl_c_says_how_to_go_on(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(self: object, frame: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("deepsphere_codec.films.model.load_model", lambda *_, **__: FakeModel())
    monkeypatch.setattr("deepsphere_codec.codec.VideoEncoder.encode_group", interrupt)
    output = tmp_path / "film.dsc"
    assert main(["encode", str(film), str(output), "--resume"]) == 130
    assert f"interrupted; no output was written; {output}.part holds what is done" in capsys.readouterr().err
    assert main(["encode", str(film), str(output)]) == 130
    assert capsys.readouterr().err.strip().endswith("interrupted; no output was written")


def test_nothing_is_left_where_nothing_was_done(tmp_path: Path) -> None:
    with pytest.raises(UsageError), resumable_output(tmp_path / "film.dsc"):
        raise UsageError("before the first byte")
    assert list(tmp_path.iterdir()) == []
