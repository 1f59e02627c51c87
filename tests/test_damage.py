"""Damaged files: what is sound is kept, what is lost is filled and named; and files that come through a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import FakeModel, altered, make_film, one_thread, spans_of

from deepsphere_codec.bitstream import Position, StreamReader
from deepsphere_codec.cli import main
from deepsphere_codec.codec import VideoDecoder
from deepsphere_codec.errors import DamagedStream, UsageError
from deepsphere_codec.films import DecodeReport, decode_to_file, decode_video, encode_video
from deepsphere_codec.video import open_video

FRAMES, GOP = 10, 4


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    film = make_film(folder / "film.y4m", frames=FRAMES)
    encode_video(film, folder / "film.dsc", model=FakeModel(), gop_size=GOP, low_delay=True)
    return folder / "film.dsc"


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two GOPs, an I-frame and a group of eight each: 0, 8, 4, 2, 1, 3, 6, 5, 7 in order of coding."""
    folder = tmp_path_factory.mktemp("grouped")
    film = make_film(folder / "film.y4m", frames=18)
    with spans_of(8):
        encode_video(film, folder / "film.dsc", model=FakeModel(), gop_size=9)
    return folder / "film.dsc"


@pytest.fixture(scope="module")
def pictures(sound: Path) -> list[np.ndarray]:
    return list(decode_video(sound, model=FakeModel()))


def shown(path: Path, folder: Path, **options) -> tuple[DecodeReport, list[np.ndarray]]:
    report = decode_to_file(path, folder / "o.mkv", model=FakeModel(), keep_going=True, **options)
    with open_video(folder / "o.mkv") as reader:
        return report, [frame.y for frame in reader]


@pytest.fixture
def luma(sound: Path, tmp_path: Path) -> list[np.ndarray]:
    return luma_of(sound, tmp_path)


def luma_of(stream: Path, folder: Path) -> list[np.ndarray]:
    decode_to_file(stream, folder / "sound.mkv", model=FakeModel())
    with open_video(folder / "sound.mkv") as reader:
        return [frame.y for frame in reader]


@pytest.mark.parametrize(
    ("numbers", "stands_in"),
    [
        ((5,), {5: 4, 6: 4, 7: 4}),
        ((4,), {4: 3, 5: 3, 6: 3, 7: 3}),
        ((0,), {0: 4, 1: 4, 2: 4, 3: 4}),
        ((9,), {9: 8}),
        ((1, 8), {1: 0, 2: 0, 3: 0, 8: 7, 9: 7}),
    ],
    ids=["within", "a whole GOP", "the first GOP", "the last frame", "two"],
)
def test_a_damage_costs_its_gop_and_no_more(
    numbers: tuple[int, ...], stands_in: dict[int, int], sound: Path, luma: list[np.ndarray], tmp_path: Path
) -> None:
    report, frames = shown(altered(sound, tmp_path / "bad.dsc", *numbers), tmp_path)
    assert (report.frames, report.filled, len(report.damages)) == (FRAMES, len(stands_in), len(numbers))
    for number, frame in enumerate(frames):
        assert np.array_equal(frame, luma[stands_in.get(number, number)]), number
    for number, line in zip(numbers, report.damages, strict=True):
        assert f"frame {number} at byte" in line and "checksum differs" in line


@pytest.mark.parametrize(
    ("number", "stands_in"),
    [
        (0, {n: 9 for n in range(9)}),
        (8, {n: 0 for n in range(1, 9)}),
        (4, {n: 0 for n in range(1, 8)}),
        (1, {1: 0, 3: 2, 5: 4, 6: 4, 7: 4}),
        (6, {5: 4, 6: 4, 7: 4}),
        (7, {7: 6}),
        (16, {16: 15}),
    ],
    ids=["the I-frame", "the anchor", "the middle", "layer 3", "layer 2", "the last one", "the next GOP"],
)
def test_a_damage_in_a_group_costs_what_is_coded_behind_it(
    number: int, stands_in: dict[int, int], grouped: Path, tmp_path: Path
) -> None:
    luma = luma_of(grouped, tmp_path)
    report, frames = shown(altered(grouped, tmp_path / "bad.dsc", number), tmp_path)
    assert (report.frames, report.filled, len(report.damages)) == (18, len(stands_in), 1)
    named = 1 if number == 8 else number  # an altered anchor does not tell how long its group is
    assert f"frame {named} at byte" in report.damages[0] and "checksum differs" in report.damages[0]
    for shown_number, frame in enumerate(frames):
        assert np.array_equal(frame, luma[stands_in.get(shown_number, shown_number)]), shown_number


def test_a_truncated_group_gives_every_whole_frame_before_the_cut(grouped: Path, tmp_path: Path) -> None:
    luma, data = luma_of(grouped, tmp_path), grouped.read_bytes()
    with StreamReader(grouped) as reader:
        offsets = {frame.number: frame.offset for frame in reader.frames()}
    for cut_at, numbers in ((8, [0]), (2, [0, 4, 8]), (6, [0, 1, 2, 3, 4, 8]), (9, list(range(9)))):
        (tmp_path / "cut.dsc").write_bytes(data[: offsets[cut_at] + 5])
        report, frames = shown(tmp_path / "cut.dsc", tmp_path, force=True)
        assert len(frames) == numbers[-1] + 1 and report.filled == len(frames) - len(numbers) and report.damages
        assert all(np.array_equal(frames[number], luma[number]) for number in numbers)


def test_a_truncated_file_gives_every_whole_frame_before_the_cut(
    sound: Path, luma: list[np.ndarray], tmp_path: Path
) -> None:
    data = sound.read_bytes()
    with StreamReader(sound) as reader:
        offsets = [frame.offset for frame in reader.frames()]
    for whole in (1, 3, 4, 6, FRAMES):
        (tmp_path / "cut.dsc").write_bytes(data[: (offsets[whole] if whole < FRAMES else len(data) - 30) + 5])
        report, frames = shown(tmp_path / "cut.dsc", tmp_path, force=True)
        assert report.filled == 0 and len(frames) == whole and report.damages
        assert all(map(np.array_equal, frames, luma))


def test_where_nothing_is_sound_there_is_no_output(sound: Path, tmp_path: Path) -> None:
    bad = altered(sound, tmp_path / "bad.dsc", 0, 4, 8)
    with pytest.raises(DamagedStream, match="frame 0 at byte"):
        decode_to_file(bad, tmp_path / "o.mkv", model=FakeModel(), keep_going=True)
    assert not (tmp_path / "o.mkv").exists()


def test_a_decoder_that_comes_to_other_latents_says_so(
    sound: Path, luma: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine, where frame 5 alone decodes otherwise."""
    from support import FakeState

    right = FakeState.check.fget
    monkeypatch.setattr(FakeState, "check", property(lambda self: right(self) ^ (self.frames == 1)))
    report, frames = shown(sound, tmp_path)
    assert report.filled == 3 + 3 + 1 and len(report.damages) == 3
    assert "frame 5 at byte" in report.damages[1] and "other latents" in report.damages[1]
    assert [np.array_equal(frame, luma[number]) for number, frame in enumerate(frames)][:5] == [
        True,
        *[np.array_equal(luma[0], luma[number]) for number in (1, 2, 3)],
        True,
    ]


def test_other_latents_in_a_group_cost_the_frames_that_refer_to_them(
    grouped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine, where frames 6 and 13 alone decode otherwise; the group's other half is sound."""
    luma = luma_of(grouped, tmp_path)
    decode = VideoDecoder.decode

    def decode_wrong(self: VideoDecoder, position: Position, payload: bytes, check: int) -> object:
        return decode(self, position, payload, check ^ (position.number in (6, 13)))

    monkeypatch.setattr(VideoDecoder, "decode", decode_wrong)
    report, frames = shown(grouped, tmp_path)
    assert ["frame 6 at byte" in report.damages[0], "frame 13 at byte" in report.damages[1]] == [True, True]
    stands_in = {5: 4, 6: 4, 7: 4} | {n: 9 for n in range(10, 17)}
    assert report.filled == len(stands_in) and len(report.damages) == 2
    assert all(np.array_equal(frame, luma[stands_in.get(n, n)]) for n, frame in enumerate(frames))


@pytest.mark.parametrize(
    ("number", "message"),
    [(7, "frame 7 is due at byte"), (6, "frame 6 at byte"), (8, "frame 1 at byte")],
    ids=["at the end", "within", "the anchor"],
)
def test_a_group_without_one_of_its_frames_is_damage(
    number: int, message: str, grouped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Its record is taken out whole, the file has no end."""
    monkeypatch.setattr("deepsphere_codec.films.decode.model_of", lambda *_: FakeModel())
    data = grouped.read_bytes()
    with StreamReader(grouped) as reader:
        frames = list(reader.frames())
    at = [frame.number for frame in frames].index(number)
    bad = tmp_path / "bad.dsc"
    bad.write_bytes(data[: frames[at].offset] + data[frames[at + 1].offset :])
    assert main(["decode", str(bad), str(tmp_path / "o.mkv")]) == 3
    assert main(["decode", str(bad), str(tmp_path / "o.mkv"), "--keep-going"]) == 3
    assert message in capsys.readouterr().err
    with open_video(tmp_path / "o.mkv") as film:
        shown_frames = [frame.y for frame in film]
    luma = luma_of(grouped, tmp_path)
    assert np.array_equal(shown_frames[0], luma[0]) and all(map(np.array_equal, shown_frames[9:], luma[9:]))


def test_the_command_names_damages_and_ends_with_3(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepsphere_codec.films.decode.model_of", lambda *_: FakeModel())
    bad = altered(sound, tmp_path / "bad.dsc", 5)
    assert main(["decode", str(bad), str(tmp_path / "o.mkv")]) == 3
    assert not (tmp_path / "o.mkv").exists()
    capsys.readouterr()
    assert main(["decode", str(bad), str(tmp_path / "o.mkv"), "--keep-going"]) == 3
    captured = capsys.readouterr()
    assert "damaged: " in captured.err and "frame 5 at byte" in captured.err and captured.err.count("\n") == 1
    assert "filled" in captured.out and (tmp_path / "o.mkv").exists()


# Pipes


def test_a_pipe_gives_each_frame_before_the_next_one_comes(sound: Path, pictures: list[np.ndarray]) -> None:
    data = sound.read_bytes()
    with StreamReader(sound) as reader:
        ends = [frame.offset for frame in reader.frames()][1:]
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as there, os.fdopen(writing, "wb", buffering=0) as here:
        here.write(data[: ends[0]])
        frames = decode_video(there, model=FakeModel())
        assert np.array_equal(next(frames), pictures[0]), "with nothing of the second frame there"
        here.write(data[ends[0] : ends[1]])
        assert np.array_equal(next(frames), pictures[1])
        threading.Thread(target=lambda: (here.write(data[ends[1] :]), here.close())).start()
        assert len(list(frames)) == FRAMES - 2


def test_a_pipe_of_groups_gives_each_frame_as_soon_as_it_can_be_shown(grouped: Path) -> None:
    """Behind the records of 0, 8, 4, 2, 1 these: 0, none, none, none, 1 and 2."""
    pictures, data = list(decode_video(grouped, model=FakeModel())), grouped.read_bytes()
    with StreamReader(grouped) as reader:
        ends = [frame.offset for frame in reader.frames()][1:]
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as there, os.fdopen(writing, "wb", buffering=0) as here:
        here.write(data[: ends[0]])
        frames = decode_video(there, model=FakeModel())
        assert np.array_equal(next(frames), pictures[0])
        here.write(data[ends[0] : ends[4]])
        assert np.array_equal(next(frames), pictures[1]) and np.array_equal(next(frames), pictures[2])
        threading.Thread(target=lambda: (here.write(data[ends[4] :]), here.close())).start()
        assert all(map(np.array_equal, frames, pictures[3:]))


@pytest.mark.parametrize("frames", [(2, 5), (None, 3), (6, None)])
def test_a_range_of_a_pipe(sound: Path, pictures: list[np.ndarray], frames, tmp_path: Path) -> None:
    with subprocess.Popen(["cat", str(sound)], stdout=subprocess.PIPE) as cat:
        found = list(decode_video(cat.stdout, model=FakeModel(), frames=frames))
    assert np.array_equal(np.stack(found), np.stack(pictures[slice(*frames)]))


def test_a_pipe_does_not_know_its_end(sound: Path) -> None:
    with subprocess.Popen(["cat", str(sound)], stdout=subprocess.PIPE) as cat:
        with pytest.raises(UsageError, match="does not say how many frames it holds"):
            next(decode_video(cat.stdout, model=FakeModel(), frames=(-2, None)))
        cat.stdout.read()


def test_the_command_reads_standard_input(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "deepsphere_codec", "decode", "-", str(tmp_path / "o.mkv")]
    done = subprocess.run(line, input=b"not a stream", capture_output=True)
    assert done.returncode == 3 and b"not a .dsc file" in done.stderr
