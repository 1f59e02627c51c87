"""Timestamps: variable rates there and back, even ones recognised, bad ones repaired."""

from __future__ import annotations

import os
import threading
from fractions import Fraction
from itertools import accumulate, islice, pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from deepsphere_codec.video import VideoInfo, YuvFrame, create_video, is_even, open_video
from deepsphere_codec.video.scan import REORDERED, in_order
from deepsphere_codec.video.timing import Clock

NTSC = Fraction(30000, 1001)
INFO = VideoInfo(64, 32, Fraction(25), None, False, "bt709")
TICKS = Fraction(1, 90000)
STEPS = np.random.default_rng(0).integers(1, 12000, 40).tolist()  # of 90000, up to 133 ms
IRREGULAR = [0, *accumulate(STEPS)]


def grey(number: int) -> YuvFrame:
    """Its number is its brightness."""
    return YuvFrame(np.full((32, 64), 20 + 4 * number, np.uint8), *(np.full((16, 32), 120, np.uint8) for _ in range(2)))


def write(path: Path, info: VideoInfo, times: list[int] | None = None, count: int = 41) -> Path:
    with create_video(path, info, force=True) as writer:
        for number in range(count):
            writer.write(grey(number), None if times is None else times[number])
    return path


def stored(path: Path) -> list[Fraction]:
    """The times of a film's packets in seconds, in order of display, as FFmpeg reads them."""
    with av.open(str(path)) as container:
        return sorted(packet.pts * packet.time_base for packet in container.demux(video=0) if packet.pts is not None)


def by_pyav(path: Path, times: list[int], time_base: Fraction, codec: str = "libx264", rate: int = 25) -> Path:
    """A film that our writer had no part in; times need not begin at 0."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.codec_context.time_base = 64, 32, "yuv420p", time_base
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64), 20 + 4 * number, np.uint8), format="yuv420p")
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


# There and back


def test_variable_times_are_kept_by_mp4(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mp4", INFO._replace(time_base=TICKS), IRREGULAR)
    assert stored(path) == [time * TICKS for time in IRREGULAR]
    with open_video(path) as reader:
        assert reader.info.time_base is not None
        frames = list(reader.timed())
    assert [frame.pts * reader.info.tick for frame in frames] == [time * TICKS for time in IRREGULAR]
    assert [round((int(frame.frame.y[0, 0]) - 20) / 4) for frame in frames] == list(range(41))


def test_variable_times_are_kept_by_mkv_to_its_tick(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mkv", INFO._replace(time_base=TICKS), IRREGULAR)
    with open_video(path) as reader:
        assert reader.info.time_base == Fraction(1, 1000)
        times = [frame.pts for frame in reader.timed()]
    assert all(abs(got - time * TICKS * 1000) <= Fraction(1, 2) for got, time in zip(times, IRREGULAR, strict=True))


@pytest.mark.parametrize("time_base", [Fraction(1, 1000), Fraction(1, 600), Fraction(1001, 60000), Fraction(1, 12800)])
@pytest.mark.parametrize("output", ["film.mkv", "film.mp4"])
def test_from_film_to_film(time_base: Fraction, output: str, tmp_path: Path) -> None:
    """What was read goes into the next film as it is."""
    times = [0, *accumulate(24 + 40 * (number % 3) for number in range(20))]
    first = write(tmp_path / f"first{output[4:]}", INFO._replace(time_base=time_base), times, 21)
    with open_video(first) as reader, create_video(tmp_path / output, reader.info) as writer:
        for frame, pts in reader.timed():
            writer.write(frame, pts)
    if output == "film.mp4":
        assert stored(tmp_path / output) == [time * time_base for time in times]
    assert stored(tmp_path / output) == stored(first)


@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
@pytest.mark.parametrize("offset", [0, 5000])
def test_a_film_of_others(codec: str, offset: int, tmp_path: Path) -> None:
    """B-frames reorder the packets, and the first frame need not lie at 0: it does for us."""
    times = [0, 40, 45, 90, 200, 201, 210, 400, 1000, 1040, 1080, 2000]
    path = by_pyav(tmp_path / "film.mkv", [offset + time for time in times], Fraction(1, 1000), codec)
    with open_video(path) as reader:
        assert [frame.pts for frame in reader.timed()] == times and reader.info.time_base == Fraction(1, 1000)
    with open_video(path, frames=(3, 9)) as reader:
        assert [frame.pts for frame in reader.timed()] == [time - 90 for time in times[3:9]]
        first = stored(path)[0]
        assert reader.span == (first + Fraction(90, 1000), first + Fraction(1040, 1000), first + Fraction(90, 1000))


@pytest.mark.parametrize("output", ["film.mkv", "film.mp4", "film.y4m"])
@pytest.mark.parametrize("fps", [NTSC, Fraction(25), Fraction(24000, 1001), Fraction(60), Fraction(15, 2)])
def test_an_even_film_needs_no_times(output: str, fps: Fraction, tmp_path: Path) -> None:
    path = write(tmp_path / output, INFO._replace(fps=fps))
    with open_video(path) as reader:
        assert reader.info.time_base is None and reader.info.tick == 1 / fps and reader.info.fps == fps
        assert [frame.pts for frame in reader.timed()] == list(range(41))
    if output == "film.mp4":
        assert stored(path) == [number / fps for number in range(41)]


def test_even_films_are_written_alike_with_times_and_without(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.mp4", INFO._replace(fps=NTSC))
    timed = write(tmp_path / "timed.mp4", INFO._replace(fps=NTSC), list(range(41)))
    assert plain.read_bytes() == timed.read_bytes()


@pytest.mark.parametrize("output", ["film.y4m", "frames"])
def test_outputs_without_times_hold_the_frames_evenly(output: str, tmp_path: Path) -> None:
    path = write(tmp_path / output, INFO._replace(time_base=TICKS), IRREGULAR)
    with open_video(path) as reader:
        assert reader.info.time_base is None and [frame.pts for frame in reader.timed()] == list(range(41))


def test_without_times_a_film_is_even_whatever_its_clock(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mp4", INFO._replace(fps=NTSC, time_base=TICKS))
    assert stored(path) == [number / NTSC for number in range(41)]


def test_times_that_do_not_grow_are_refused(tmp_path: Path) -> None:
    for times in ([0, 5, 5], [0, 5, 4], [-1]):
        with (
            pytest.raises(ValueError, match="times must grow"),
            create_video(tmp_path / "film.mp4", INFO._replace(time_base=TICKS)) as writer,
        ):
            for time in times:
                writer.write(grey(0), time)


def test_frames_come_with_and_without_their_times(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mp4", INFO._replace(time_base=TICKS), IRREGULAR)
    with open_video(path) as reader:
        next(reader)
        assert [frame.pts for frame in islice(reader.timed(), 2)] == IRREGULAR[1:3]
        next(reader)
        assert next(reader.timed()).pts * reader.info.tick == IRREGULAR[4] * TICKS


# Even or not


@pytest.mark.parametrize("fps", [NTSC, Fraction(25), Fraction(24000, 1001), Fraction(50), Fraction(120)])
@pytest.mark.parametrize("ticks", [1000, 600, 12800, 90000])
def test_rounded_times_are_even(fps: Fraction, ticks: int) -> None:
    for start in (0, Fraction(1, 3), 2000):
        times = [round((number / fps + start) * ticks) for number in range(500)]
        assert is_even(times, Fraction(1, ticks), fps)


@pytest.mark.parametrize("ticks", [1000, 90000])
def test_others_are_not(ticks: int) -> None:
    times = [round(number / NTSC * ticks) for number in range(100)]
    late = [*times[:50], times[50] + 3, *times[51:]]
    gap = [time + (ticks // 30) * (number > 70) for number, time in enumerate(times)]
    drift = [round(number * ticks / (NTSC * Fraction(1001, 1000))) for number in range(200)]
    for uneven in (late, gap, drift):
        assert not is_even(uneven, Fraction(1, ticks), NTSC)
    assert is_even([], Fraction(1, ticks), NTSC) and is_even([7], Fraction(1, ticks), NTSC)


def test_ticks_longer_than_a_quarter_of_a_frame_are_no_rounding() -> None:
    """Frames of 2.4 ticks: times may be off by 0.6, not by a whole tick."""
    assert is_even([0, 2, 5, 7], Fraction(1, 60), Fraction(25))
    assert not is_even([0, 2, 4], Fraction(1, 60), Fraction(25))


def test_whole_ticks_leave_no_room() -> None:
    assert is_even(range(0, 4000, 40), Fraction(1, 1000), Fraction(25))
    assert not is_even([0, 40, 81, 120], Fraction(1, 1000), Fraction(25))


def test_the_range_alone_counts(tmp_path: Path) -> None:
    times = [*range(0, 400, 40), 390, *range(400, 800, 40)]
    path = by_pyav(tmp_path / "film.mkv", sorted(times), Fraction(1, 1000))
    for frames, even in [((0, 10), True), ((0, 12), False), ((11, 21), True), ((5, None), False), ((12, None), True)]:
        with open_video(path, frames=frames) as reader:
            assert (reader.info.time_base is None) == even, frames


def test_order_of_display() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        shuffled = [int(time) for time in np.argsort(np.arange(500) + rng.uniform(0, REORDERED / 2, 500))]
        assert list(in_order(shuffled)) == list(range(500))
    assert list(in_order([])) == []


def test_a_pipe_is_taken_to_be_even(tmp_path: Path) -> None:
    data = write(tmp_path / "film.y4m", INFO, count=5).read_bytes()
    os.mkfifo(tmp_path / "pipe")
    feeder = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    feeder.start()
    with open_video(tmp_path / "pipe") as reader:
        assert [frame.pts for frame in reader.timed()] == list(range(5))
    feeder.join()


# Repairs


def clock(times: list[int | None]) -> list[int]:
    made = Clock(INFO._replace(time_base=Fraction(1, 1000)))  # 40 ticks a frame
    return [made.at(time) for time in times]


@pytest.mark.parametrize(
    ("times", "repaired"),
    [
        ([7, 50, 90], [0, 43, 83]),
        ([100, None, None, 300], [0, 40, 80, 200]),
        ([None, None, 300, 310], [0, 40, 80, 90]),
        ([100, 200, 200, 200, 300], [0, 100, 101, 102, 200]),
        ([100, 200, 190, 300], [0, 100, 101, 200]),
        ([0, 2000, 1490, 1540, 2040], [0, 2000, 2001, 2002, 2040]),
        ([0, 2000, 1000, 1040, 2040], [0, 2000, 2001, 2002, 2040]),
        ([0, 2000, 999, 1040], [0, 2000, 2040, 2081]),
        ([5000, 5040, 0, 40, 100], [0, 40, 80, 120, 180]),
        ([-500, -460, 0], [0, 40, 500]),
        ([0, 40, 10**9], [0, 40, 10**9]),
    ],
    ids=[
        "offset",
        "missing",
        "missing at first",
        "repeated",
        "back",
        "back by half a second",
        "back by a second",
        "back by more",
        "clock begins anew",
        "negative",
        "gap",
    ],
)
def test_repairs(times: list[int | None], repaired: list[int]) -> None:
    assert clock(times) == repaired


def test_repaired_times_always_grow() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        times = [None if rng.random() < 0.2 else int(rng.integers(-5000, 5000)) for _ in range(30)]
        made = clock(times)
        assert made[0] == 0 and all(a < b for a, b in pairwise(made))


def test_a_film_whose_packets_share_a_time(tmp_path: Path) -> None:
    """Matroska's milliseconds are too coarse for two frames half a millisecond apart."""
    path = write(tmp_path / "film.mkv", INFO._replace(time_base=Fraction(1, 10000)), [0, 400, 404, 800], 4)
    with open_video(path) as reader:
        assert [frame.pts for frame in reader.timed()] == [0, 40, 41, 80]
