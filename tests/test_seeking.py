"""Long films: a part is decoded without reading the rest, and ten thousand frames take the memory of one thousand."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support import FakeModel, make_film, one_thread, peak_memory, spans_of

from deepsphere_codec.bitstream import StreamReader
from deepsphere_codec.films import decode_to_file, encode_video
from deepsphere_codec.video import open_video

FRAMES, GOP = 200, 5
SPANS = [1, 4]
SMALL, LONG = 1_000, 10_000
MIB = 2**20


class CountedFile(io.FileIO):
    """What is asked of the file itself, beneath any buffer."""

    bytes_read = 0

    def readinto(self, buffer) -> int:
        count = super().readinto(buffer)
        self.bytes_read += count
        return count

    def read(self, size: int = -1) -> bytes:
        data = super().read(size)
        self.bytes_read += len(data)
        return data

    def readall(self) -> bytes:
        raise AssertionError("the whole file is read at once")


class Map(NamedTuple):
    """Where things lie in a stream, bytes.

    Attributes:
        header, end: What everything before the first record takes, and the end record with its trailer.
        frames: Of each record.
    """

    header: int
    end: int
    frames: list[int]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module", params=SPANS, ids=["groups of one", "groups of four"])
def stream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty GOPs of five frames."""
    folder = tmp_path_factory.mktemp("seeking")
    film = make_film(folder / "film.y4m", frames=FRAMES)
    with spans_of(request.param):
        encode_video(film, folder / "film.dsc", model=FakeModel(), gop_size=GOP)
    return folder / "film.dsc"


@pytest.fixture(scope="module")
def places(stream: Path) -> Map:
    with StreamReader(stream) as reader:
        offsets = [frame.offset for frame in reader.frames()]
    data = stream.read_bytes()
    end = int.from_bytes(data[-16:-8], "little")  # FORMAT.md: the trailer begins with the end record's offset
    assert data[end : end + 1] == b"E"
    lengths = [after - before for before, after in zip(offsets, [*offsets[1:], end], strict=True)]
    return Map(offsets[0], len(data) - end, lengths)


@pytest.mark.parametrize(
    "frames", [(0, 1), (0, 5), (101, 103), (100, 104), (97, 105), (100, 105), (196, 200), (199, None), (-3, None)]
)
def test_a_part_is_decoded_from_its_gops_alone(
    frames: tuple[int | None, int | None], stream: Path, places: Map, tmp_path: Path
) -> None:
    """Bytes that the file gave, whatever the reader says of itself: header and end once, and the GOPs of the part."""
    wanted = range(FRAMES)[slice(*frames)]
    gops = range(wanted.start // GOP * GOP, -(-wanted.stop // GOP) * GOP)
    with CountedFile(stream) as file:
        report = decode_to_file(file, tmp_path / "o.y4m", frames=frames, model=FakeModel())
    assert report.frames == len(wanted)
    # The end record is read when the film is opened, and once more where the part ends with it.
    ends = 2 if wanted.stop == FRAMES else 1
    assert file.bytes_read <= places.header + ends * places.end + sum(places.frames[i] for i in gops)
    assert file.bytes_read >= places.header + places.end + sum(places.frames[gops.start : gops.stop - GOP + 1])
    assert file.bytes_read < stream.stat().st_size / 8


def test_the_part_is_that_of_the_film(stream: Path, tmp_path: Path) -> None:
    with CountedFile(stream) as file:
        decode_to_file(file, tmp_path / "part.y4m", frames=(101, 103), model=FakeModel())
    decode_to_file(stream, tmp_path / "whole.y4m", model=FakeModel())
    with open_video(tmp_path / "part.y4m") as part, open_video(tmp_path / "whole.y4m", frames=(101, 103)) as whole:
        for ours, theirs in zip(part, whole, strict=True):
            assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))


def test_reader_and_file_count_alike(stream: Path) -> None:
    with CountedFile(stream) as file, StreamReader(file) as reader:
        frames = reader.frames(123)
        for _ in range(3):
            next(frames)
        assert reader.bytes_read == file.bytes_read > 0


def test_a_buffer_reads_a_few_blocks_more(stream: Path, places: Map, tmp_path: Path) -> None:
    """As of a path: the operating system is asked for whole blocks, a few of them, wherever the part lies."""
    blocks = 8 * io.DEFAULT_BUFFER_SIZE
    for first in (0, 101, 196):
        raw = CountedFile(stream)
        with io.BufferedReader(raw) as file:
            decode_to_file(file, tmp_path / "o.y4m", frames=(first, first + 2), model=FakeModel(), force=True)
        gop = range(first // GOP * GOP, first // GOP * GOP + GOP)
        assert raw.bytes_read <= places.header + places.end + sum(places.frames[i] for i in gop) + blocks


# Memory


class Memory(NamedTuple):
    """Most that a process has held, bytes: until its thousandth frame, and until its end."""

    small: int
    long: int


@pytest.mark.slow
@pytest.mark.parametrize(("gop_size", "span", "limit"), [(32, 1, 1 * MIB), (33, 8, 1 * MIB), (1, 1, 6 * MIB)])
def test_ten_thousand_frames_take_the_memory_of_one_thousand(
    gop_size: int, span: int, limit: int, tmp_path: Path
) -> None:
    """But for the index: 150 bytes of a GOP while it grows, 350 while it is written, here 9000 GOPs more at most."""
    make_film(tmp_path / "film.y4m", width=32, height=16, frames=LONG)
    for work in ("encode", "decode"):
        memory = _measured(work, gop_size, span, tmp_path)
        assert memory.long - memory.small < limit, work


def _measured(work: str, gop_size: int, span: int, folder: Path) -> Memory:
    line = [sys.executable, __file__, work, str(gop_size), str(span), str(folder)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Memory(*json.loads(done.stdout))


def _run(work: str, gop_size: str, span: str, folder: str) -> None:
    film, stream, output = (Path(folder) / name for name in ("film.y4m", f"{gop_size}.dsc", f"{gop_size}.y4m"))
    seen: list[int] = []

    def told(done: int, total: int | None) -> None:
        if done == SMALL:
            seen.append(peak_memory())

    run: dict[str, Callable[[], object]] = {
        "encode": lambda: encode_video(film, stream, model=FakeModel(), gop_size=int(gop_size), on_progress=told),
        "decode": lambda: decode_to_file(stream, output, model=FakeModel(), on_progress=told),
    }
    with one_thread(), spans_of(int(span)):
        run[work]()
    print(json.dumps([*seen, peak_memory()]))


if __name__ == "__main__":
    _run(*sys.argv[1:])
