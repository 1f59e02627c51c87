"""The command: what it prints, where, and its exit codes. In-process with a quick model; a few real processes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import load_fake, make_film, one_thread, spans_of

from deepsphere_codec import films
from deepsphere_codec.cli import main
from deepsphere_codec.models import list_models
from deepsphere_codec.runtime.progress import progress_bar
from deepsphere_codec.video import create_video, open_video

ROOT = Path(__file__).resolve().parents[1]

ENCODE_KEYS = "frames width height nside model quality bytes bpp encode_seconds frames_per_second".split()
DECODE_KEYS = "frames width height decode_seconds frames_per_second".split()
COMPARE_KEYS = "frames ws-psnr-y ws-psnr-yuv psnr-y s-psnr-nn-y ms-ssim-y".split()

# The command itself, with a model that takes its time so that a signal finds it at work.
SLOW_COMMAND = """
import sys; sys.path.insert(0, sys.argv.pop(1))
import support
from deepsphere_codec import cli
from deepsphere_codec.films import model
model.load_model = lambda name, device: support.FakeModel(delay=0.1)
model.list_models = lambda: [{"name": "fake"}]
cli.console()
"""


@pytest.fixture(autouse=True)
def _fake_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(films.model, "load_model", load_fake)
    monkeypatch.setattr(films.model, "list_models", lambda: [{"name": "fake"}])
    with one_thread():
        yield


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return make_film(tmp_path / "film.y4m")


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict:
    """Run a command that must succeed; standard output must be one JSON object and nothing else."""
    assert main([*map(str, arguments), "--json"]) == 0
    captured = capsys.readouterr()
    assert "error" not in captured.err
    return json.loads(captured.out)


def test_encode_info_decode(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = tmp_path / "o.dsc"
    encoded = run_json(capsys, "encode", film, stream, "--quality", "2.5", "--gop", "4", "--nside", "20", "--low-delay")
    assert list(encoded) == ENCODE_KEYS
    assert (encoded["frames"], encoded["nside"], encoded["quality"]) == (6, 20, 2.5)
    assert encoded["bytes"] == stream.stat().st_size

    info = run_json(capsys, "info", stream)
    assert (info["width"], info["height"], info["nside"], info["model"]) == (64, 32, 20, "fake")
    assert (info["quality"], info["gop_size"], info["frames"]) == (2.5, 4, 6)
    assert info["weights_hash"] and info["tables_hash"] and info["graph_hash"]
    assert {kind: each["count"] for kind, each in info["frame_types"].items()} == {"I": 2, "P": 4}
    assert "coded_frames" not in info
    assert 0 < sum(each["bytes"] for each in info["frame_types"].values()) < info["bytes"] == encoded["bytes"]

    decoded = run_json(capsys, "decode", stream, tmp_path / "o.mkv", "--frames", "1:4", "--size", "48x24")
    assert list(decoded) == DECODE_KEYS
    assert (decoded["frames"], decoded["width"], decoded["height"]) == (3, 48, 24)


def test_info_tells_of_each_frame(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with spans_of(4):
        run_json(capsys, "encode", film, tmp_path / "o.dsc")
    info = run_json(capsys, "info", tmp_path / "o.dsc", "--frames")
    rows = info["coded_frames"]
    assert [(row["number"], row["type"], row["layer"]) for row in rows] == [
        (0, "I", 0), (4, "P", 0), (2, "B", 1), (1, "B", 2), (3, "B", 2), (5, "P", 0),
    ]  # fmt: skip
    assert sum(row["bytes"] for row in rows) == sum(each["bytes"] for each in info["frame_types"].values())
    assert {kind: each["count"] for kind, each in info["frame_types"].items()} == {"B": 3, "I": 1, "P": 2}
    assert main(["info", str(tmp_path / "o.dsc"), "--frames"]) == 0
    assert f"number 4 type P layer 0 bytes {rows[1]['bytes']}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("output", ["o.mkv", "o.mp4", "o.y4m", "frames"])
def test_decode_writes_each_kind_of_film(film: Path, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = film.parent
    run_json(capsys, "encode", film, folder / "o.dsc")
    run_json(capsys, "decode", folder / "o.dsc", folder / output)
    again = run_json(capsys, "encode", folder / output, folder / "again.dsc")
    assert again["frames"] == 6


def test_compare(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    big = make_film(tmp_path / "big.y4m", width=512, height=256, frames=2)
    run_json(capsys, "encode", big, tmp_path / "o.dsc")
    run_json(capsys, "decode", tmp_path / "o.dsc", tmp_path / "o.mkv")
    measured = run_json(capsys, "compare", big, tmp_path / "o.mkv")
    assert list(measured)[:6] == COMPARE_KEYS and list(measured)[-1] == "per_frame"
    assert {"cpp-psnr-y", "s-psnr-i-y", "ws-ssim-y", "seam-error-y", "pole-error-y", "viewport-ssim-y"} < set(measured)
    assert measured["frames"] == 2 and measured["ws-psnr-yuv"] > 40 and measured["cpp-psnr-y"] > 40
    same = run_json(capsys, "compare", big, big, "--frames", "0:2", "--metrics", "quick")
    assert list(same)[:6] == COMPARE_KEYS and "viewport-psnr-y" not in same
    assert same["psnr-y"] == 100


def test_compare_through_viewports_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film, decoded = (make_film(tmp_path / f"{name}.y4m", width=128, height=64, frames=1) for name in "ab")
    with open_video(film) as reader:
        info, (frame,) = reader.info, list(reader)
    y = frame.y.copy()
    y[:, 100:104] += 9  # about 105 degrees to the right
    with create_video(decoded, info, force=True) as writer:
        writer.write(frame._replace(y=y))
    front, right, both = (
        run_json(capsys, "compare", film, decoded, f"--viewports={views}")["viewport-psnr-y"]
        for views in ("0,0,60", "100,0,60", "0,0,60;100,0,60")
    )
    assert front == 100 and right < 40 and both == pytest.approx((front + right) / 2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--viewports", "0,0"], "'0,0' is no list of views; write YAW,PITCH,FOV"),
        (["--viewports", "0,0,180"], "no list of views"),
        (["--viewports", "0,95,90"], "no list of views"),
        (["--viewports", "0,nan,90"], "no list of views"),
        (["--viewports", ";"], "no list of views"),
        (["--viewports", "0,0,90", "--metrics", "quick"], "--viewports is for --metrics all"),
        (["--metrics", "vmaf"], "invalid choice: 'vmaf'"),
    ],
)
def test_compare_refuses(film: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str) -> None:
    assert main(["compare", str(film), str(film), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_compare_takes_a_decoded_part_of_the_source(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_json(capsys, "encode", film, tmp_path / "o.dsc", "--frames", "0:4")
    run_json(capsys, "decode", tmp_path / "o.dsc", tmp_path / "o.mkv")
    assert run_json(capsys, "compare", film, tmp_path / "o.mkv")["frames"] == 4
    run_json(capsys, "decode", tmp_path / "o.dsc", tmp_path / "part.mkv", "--frames", "1:3")
    whole, part = (
        run_json(capsys, "compare", film, tmp_path / name, *frames)["per_frame"]
        for name, frames in {"o.mkv": (), "part.mkv": ("--frames", "1:3")}.items()
    )
    assert part == whole[1:3]


def test_without_json_there_is_a_table(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", str(film), str(tmp_path / "o.dsc")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ENCODE_KEYS
    assert main(["info", str(tmp_path / "o.dsc")]) == 0
    assert "frame_types" in capsys.readouterr().out


def test_models(capsys: pytest.CaptureFixture[str]) -> None:
    listed = run_json(capsys, "models")
    assert [card["name"] for card in listed["models"]] == [card["name"] for card in list_models()]


def test_models_in_short(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    shown, cards = capsys.readouterr().out, list_models()
    assert all(f"{card['measured']['points'][0]['bpp']:.3f} bpp" in shown for card in cards)
    assert len(shown.splitlines()) <= 8 * len(cards), "the settings of the training are for --json"


def test_an_existing_output_gives_way_to_force(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for output in ("o.dsc", "o.mkv"):
        (tmp_path / output).write_bytes(b"old")
    run_json(capsys, "encode", film, tmp_path / "o.dsc", "--force")
    run_json(capsys, "decode", tmp_path / "o.dsc", tmp_path / "o.mkv", "--force")
    assert (tmp_path / "o.mkv").stat().st_size > 100


def test_outputs_have_the_usual_permissions(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_json(capsys, "encode", film, tmp_path / "o.dsc")
    (tmp_path / "other").touch()
    assert (tmp_path / "o.dsc").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_an_error_of_ours_shows_where_only_with_debug(
    film: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(films, "encode_video", lambda *_, **__: 1 / 0)
    assert main(["encode", str(film), "o.dsc"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["encode", str(film), "o.dsc", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")]
)
def test_out_of_memory_is_said_in_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(films, "encode_video", fail)
    assert main(["encode", "a", "b"]) == 2
    assert "out of memory" in capsys.readouterr().err


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_bar_on_a_terminal_and_quiet_elsewhere() -> None:
    for stream, shown in ((_Terminal(), True), (io.StringIO(), False)):
        with progress_bar("encode", stream) as told:
            for done in range(1, 4):
                told(done, 3)
                time.sleep(0.11)  # the bar draws ten times a second
        assert ("encode" in stream.getvalue()) is shown
        assert ("frame/s" in stream.getvalue()) is shown


def test_progress_writes_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 11.0, 12.0, 22.0])
    monkeypatch.setattr("deepsphere_codec.runtime.progress.time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    with progress_bar("decode", stream) as told:
        for done in range(1, 5):
            told(done, None if done == 4 else 4)
    assert stream.getvalue().splitlines() == ["decode: 2/4 frames, 0.18 frames/s", "decode: 4 frames, 0.18 frames/s"]


def test_progress_says_what_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 20.0])
    monkeypatch.setattr("deepsphere_codec.runtime.progress.time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    with progress_bar("preparing", stream, "film") as told:
        told(1, 3)
    assert stream.getvalue() == "preparing: 1/3 films, 0.05 films/s\n"


def test_help_answers_at_once() -> None:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "deepsphere_codec", "--help"], cwd=ROOT, capture_output=True)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0 and b"encode" in done.stdout and done.stderr == b""
    assert min(seconds) < 0.5


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"set -o pipefail; {sys.executable} -m deepsphere_codec models --json | true"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 141) and done.stderr == ""


@pytest.mark.parametrize(
    ("command", "output", "number", "code"),
    [("encode", "o.dsc", signal.SIGINT, 130), ("decode", "o.mkv", signal.SIGTERM, 143)],
)
def test_an_interrupted_command_leaves_nothing(
    command: str, output: str, number: signal.Signals, code: int, tmp_path: Path
) -> None:
    source = make_film(tmp_path / "film.y4m", frames=80)
    if command == "decode":
        films.encode_video(source, tmp_path / "film.dsc", model=load_fake())
        source = tmp_path / "film.dsc"
    before = set(os.listdir(tmp_path))
    line = [sys.executable, "-c", SLOW_COMMAND, str(ROOT / "tests"), command, str(source), str(tmp_path / output)]
    # A shell starts jobs in the background with SIGINT ignored, and a child inherits that.
    process = subprocess.Popen(
        line,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 60
        while set(os.listdir(tmp_path)) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert (process.returncode, out) == (code, "")
    assert err.count("\n") == 1 and "no output was written" in err
    assert set(os.listdir(tmp_path)) == before


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    line = [sys.executable, "scripts/demo.py", "--frames", "2", "--out", str(tmp_path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ("bpp", "WS-PSNR", "frames/s"))
    for name in ("source.mkv", "film.dsc", "decoded.mkv", "decoded.mp4", "viewports.png", "report.json"):
        assert (tmp_path / name).stat().st_size > 0
