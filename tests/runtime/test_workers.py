"""GOPs coded in several processes, to the same bytes as in one; and what becomes of the processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from sounding import audio_of
from support import FakeModel, altered, spans_of

from deepsphere_codec.errors import CodecError, DamagedStream, UsageError
from deepsphere_codec.films import DecodeReport, decode_to_file, encode_video
from deepsphere_codec.runtime.workers import OnTasks, Placement, Work, in_order, local_workers
from deepsphere_codec.video import open_video

GOP, FRAMES = 4, 25


@pytest.fixture(scope="module", autouse=True, params=[1, 4], ids=["groups of one", "groups of four"])
def _spans(request: pytest.FixtureRequest) -> Iterator[None]:
    with spans_of(request.param):
        yield


@pytest.fixture(scope="module")
def stream(film: Path, _spans: None) -> Path:
    encode_video(film, film.with_suffix(".dsc"), model=FakeModel(), gop_size=GOP, force=True)
    return film.with_suffix(".dsc")


@pytest.fixture
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that workers do, in this process."""

    @contextmanager
    def workers_at(place: Placement, work: Work) -> Iterator[OnTasks]:
        assert place.workers == 2
        yield lambda tasks: map(work.start(), tasks)

    for module in ("encode", "decode"):
        monkeypatch.setattr(f"deepsphere_codec.films.{module}.workers_at", workers_at)


def shown(stream: Path, output: Path, **options) -> tuple[DecodeReport, list[np.ndarray], list]:
    report = decode_to_file(stream, output, model=FakeModel(), **options)
    with open_video(output) as reader:
        return report, [frame.y for frame in reader], audio_of(output)


# The same as in one process


@pytest.mark.parametrize("gop_size", [1, 4, 5, 25, 32])
@pytest.mark.usefixtures("quick_workers")
def test_encoded_gop_by_gop(gop_size: int, film: Path, tmp_path: Path) -> None:
    one = encode_video(film, tmp_path / "one.dsc", model=FakeModel(), gop_size=gop_size)
    two = encode_video(film, tmp_path / "two.dsc", model=FakeModel(), gop_size=gop_size, workers=2)
    assert (tmp_path / "one.dsc").read_bytes() == (tmp_path / "two.dsc").read_bytes()
    assert one[:8] == two[:8]


@pytest.mark.parametrize("frames", [None, (3, 17), (8, 9), (20, None)], ids=str)
@pytest.mark.usefixtures("quick_workers")
def test_decoded_gop_by_gop(frames: tuple[int, int | None] | None, stream: Path, tmp_path: Path) -> None:
    _, pictures, audio = shown(stream, tmp_path / "one.mkv", frames=frames)
    _, same, too = shown(stream, tmp_path / "two.mkv", frames=frames, workers=2)
    assert len(pictures) == len(same) and all(map(np.array_equal, pictures, same)) and audio == too


@pytest.mark.parametrize("number", [0, 2, 4, 24])
@pytest.mark.usefixtures("quick_workers")
def test_damage_costs_no_more(number: int, stream: Path, tmp_path: Path) -> None:
    bad = altered(stream, tmp_path / "bad.dsc", number)
    one, pictures, audio = shown(bad, tmp_path / "one.mkv", keep_going=True)
    two, same, too = shown(bad, tmp_path / "two.mkv", keep_going=True, workers=2)
    assert (one.filled, one.damages) == (two.filled, two.damages) and one.filled
    assert all(map(np.array_equal, pictures, same)) and audio == too
    with pytest.raises(
        DamagedStream, match=f"frame ({number}|{number - 1}) at byte"
    ):  # an anchor's number is not known
        decode_to_file(bad, tmp_path / "three.mkv", model=FakeModel(), workers=2)


@pytest.mark.usefixtures("quick_workers")
def test_goes_on_where_one_process_broke_off(film: Path, stream: Path, tmp_path: Path) -> None:
    whole = stream.read_bytes()
    (tmp_path / "film.dsc.part").write_bytes(whole[: len(whole) // 2])
    encode_video(film, tmp_path / "film.dsc", model=FakeModel(), gop_size=GOP, workers=2, resume=True)
    assert (tmp_path / "film.dsc").read_bytes() == whole


def test_processes_do_it_too(film: Path, stream: Path, tmp_path: Path) -> None:
    encode_video(film, tmp_path / "two.dsc", model=FakeModel(), gop_size=GOP, workers=2)
    assert (tmp_path / "two.dsc").read_bytes() == stream.read_bytes()
    _, pictures, _ = shown(stream, tmp_path / "one.mkv")
    _, same, _ = shown(stream, tmp_path / "two.mkv", workers=2)
    assert len(pictures) == FRAMES and all(map(np.array_equal, pictures, same))


def test_no_worker_is_no_way_to_work(film: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 workers; use 1 or more"):
        encode_video(film, tmp_path / "film.dsc", model=FakeModel(), workers=0)


# Processes


class Calls(Work):
    """Does what `call` says with the task."""

    def __init__(self, call: Callable[[int], object]) -> None:
        self.call = call

    def start(self) -> Callable[[int], object]:
        return self.call


def own_number(task: int) -> int:
    return os.getpid()


def die(task: int) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def fail(task: int) -> NoReturn:
    raise DamagedStream(f"task {task}")


def test_errors_come_back_and_processes_end() -> None:
    with pytest.raises(DamagedStream, match="task 3"), local_workers(Calls(fail), 1) as on_tasks:
        list(on_tasks([3]))
    with pytest.raises(CodecError, match="a worker process died"), local_workers(Calls(die), 1) as on_tasks:
        list(on_tasks([0]))
    with local_workers(Calls(own_number), 1) as on_tasks:
        (number,) = on_tasks([0])
    assert number != os.getpid() and not _is_alive(number)


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """Though that is killed, and cannot end them."""
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "import test_workers\n"
        "if __name__ == '__main__':\n"
        "    with test_workers.local_workers(test_workers.Calls(test_workers.own_number), 1) as on_tasks:\n"
        "        print(*on_tasks([0]), flush=True)\n"
        "        time.sleep(60)\n"
    )
    (tmp_path / "program.py").write_text(program)
    folders = f"{Path(__file__).parent}", f"{Path(__file__).parents[1]}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*folders, *sys.path])}
    line = [sys.executable, str(tmp_path / "program.py"), folders[0]]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment) as first:
        assert first.stdout
        number = int(first.stdout.readline())
        assert _is_alive(number)
        first.kill()
    waited = time.monotonic() + 20
    while _is_alive(number) and time.monotonic() < waited:
        time.sleep(0.1)
    assert not _is_alive(number)


def _is_alive(number: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_no_more_tasks_are_taken_than_are_needed() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    def submit(task: int) -> Future[int]:
        future: Future[int] = Future()
        future.set_result(task * 2)
        return future

    results = in_order(submit, tasks(), ahead=2)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8] and taken == list(range(7))
    assert list(results) == list(range(10, 200, 2))
