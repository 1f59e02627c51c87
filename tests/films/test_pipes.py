"""Encoding from a pipe into a pipe: each frame is out before the next ones are in."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import FakeModel, make_film, make_frame

from deepsphere_codec.bitstream import StreamReader
from deepsphere_codec.cli import main
from deepsphere_codec.films import encode_video

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT, FRAMES = 256, 128, 16

COMMAND = """
import sys; sys.path.insert(0, sys.argv.pop(1))
import support
from deepsphere_codec import cli
from deepsphere_codec.films import model
model.load_model = lambda name, device: support.FakeModel()
cli.console()
"""


def y4m() -> Iterator[bytes]:
    """A film piece by piece, a frame each behind its header."""
    yield b"YUV4MPEG2 W%d H%d F25:1 Ip A1:1 C420mpeg2\n" % (WIDTH, HEIGHT)
    for number in range(FRAMES):
        yield b"FRAME\n" + b"".join(plane.tobytes() for plane in make_frame(WIDTH, HEIGHT, number))


@pytest.mark.parametrize("low_delay", [True, False])
def test_the_first_frame_is_out_before_the_third_is_in(low_delay: bool, tmp_path: Path) -> None:
    """With low delay each frame is out before the next but one is in; without it, when its group is chosen.

    No more goes in until what is due comes out.
    """
    os.mkfifo(tmp_path / "film.y4m")
    numbers, ends = os.pipe()
    arrived, out = threading.Semaphore(0), 0

    def encode() -> None:
        with os.fdopen(ends, "wb") as output:
            encode_video(tmp_path / "film.y4m", output, model=FakeModel(), nside=16, gop_size=9, low_delay=low_delay)

    def read() -> None:
        with os.fdopen(numbers, "rb") as pipe, StreamReader(pipe) as stream:
            for _ in stream.frames():
                arrived.release()

    threads = [threading.Thread(target=work, daemon=True) for work in (encode, read)]
    for thread in threads:
        thread.start()
    with (tmp_path / "film.y4m").open("wb") as film:
        for number, piece in enumerate(y4m()):
            film.write(piece)
            film.flush()
            if number == 2 or (number > 2 and low_delay):  # the header is piece 0: the second frame is in
                assert arrived.acquire(timeout=20), f"nothing came out though {number} frames are in"
                out += 1
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    while arrived.acquire(blocking=False):
        out += 1
    assert out == FRAMES


def test_a_pipe_holds_what_a_file_would(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m")
    into = io.BytesIO()
    report = encode_video(film, into, model=FakeModel(), gop_size=4)
    encode_video(film, tmp_path / "film.dsc", model=FakeModel(), gop_size=4)
    assert into.getvalue() == (tmp_path / "film.dsc").read_bytes() and report.bytes == len(into.getvalue())


def test_the_command_between_two_pipes(tmp_path: Path) -> None:
    """Standard output is the stream and nothing else; what the command tells goes to standard error."""
    film = b"".join(y4m())
    line = [sys.executable, "-c", COMMAND, str(ROOT / "tests"), "encode", "-", "-", "--nside", "16", "--json"]
    done = subprocess.run(line, input=film, capture_output=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert len(list(StreamReader(io.BytesIO(done.stdout)).frames())) == FRAMES
    assert b'"frames": 16' in done.stderr


def test_a_reader_that_goes_away_is_no_error_to_speak_of(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m", WIDTH, HEIGHT, FRAMES)
    line = [sys.executable, "-c", COMMAND, str(ROOT / "tests"), "encode", str(film), "-", "--nside", "64"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as command:
        assert command.stdout and command.stderr
        command.stdout.read(10)
        command.stdout.close()
        said = command.stderr.read()
    assert command.returncode == 141 and b"Traceback" not in said and b"error" not in said


def test_a_terminal_gets_no_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["encode", str(make_film(tmp_path / "film.y4m")), "-"]) == 2
    assert "cannot be shown on a terminal" in capsys.readouterr().err
