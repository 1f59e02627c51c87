"""What bad input gets: the right exit code, one clear line, no output, no traceback, nothing left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from support import FakeModel, files_no_larger_than, load_fake, make_film, one_thread, write_y4m

from deepsphere_codec import films
from deepsphere_codec.bitstream.layout import CRC, PROLOGUE
from deepsphere_codec.cli import main

Fails = Callable[..., str]


@pytest.fixture(autouse=True)
def _fake_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(films.model, "load_model", load_fake)
    monkeypatch.setattr(films.model, "list_models", lambda: [{"name": "fake"}])
    with one_thread():
        yield


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    films.encode_video(make_film(folder / "film.y4m"), folder / "film.dsc", model=FakeModel(), gop_size=3)
    return folder


@pytest.fixture
def here(originals: Path, tmp_path: Path) -> Path:
    """A folder with film.y4m and film.dsc."""
    shutil.copytree(originals, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def fails(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fails:
    """Runs a command in `here` that must fail with a code; returns its line on standard error."""
    monkeypatch.chdir(here)

    def run(code: int, *arguments: str) -> str:
        before = contents(here)
        capsys.readouterr()
        assert main(arguments) == code, capsys.readouterr().err
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("deepsphere-codec: error: ") and captured.err.count("\n") == 1
        assert "unexpected" not in captured.err and "Traceback" not in captured.err
        assert contents(here) == before, "the command left something, or took something away"
        return captured.err

    return run


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


# Arguments


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["play"],
        ["encode"],
        ["encode", "film.y4m"],
        ["encode", "film.y4m", "o.dsc", "--quality", "best"],
        ["encode", "film.y4m", "o.dsc", "--quality", "nan"],
        ["encode", "film.y4m", "o.dsc", "--quality", "0.5"],
        ["encode", "film.y4m", "o.dsc", "--quality", "8.5"],
        ["encode", "film.y4m", "o.dsc", "--nside", "18"],
        ["encode", "film.y4m", "o.dsc", "--nside", "0"],
        ["encode", "film.y4m", "o.dsc", "--nside", "-4"],
        ["encode", "film.y4m", "o.dsc", "--gop", "0"],
        ["encode", "film.y4m", "o.dsc", "--threads", "0"],
        ["encode", "film.y4m", "o.dsc", "--frames", "3"],
        ["encode", "film.y4m", "o.dsc", "--frames", "4:4"],
        ["encode", "film.y4m", "o.dsc", "--frames", "-2:4"],
        ["encode", "film.y4m", "o.dsc", "--frames", "a:b"],
        ["encode", "film.y4m", "o.dsc", "--frames", "6:9"],
        ["encode", "film.y4m", "o.dsc", "--model", "nobody"],
        ["encode", "film.y4m", "o.dsc", "--device", "abacus"],
        ["encode", "film.y4m", "no/such/folder/o.dsc"],
        ["encode", "film.y4m", "film.y4m", "--force"],
        ["decode", "film.dsc", "o.mkv", "--size", "64"],
        ["decode", "film.dsc", "o.mkv", "--size", "64x64"],
        ["decode", "film.dsc", "o.mkv", "--size", "66x33"],
        ["decode", "film.dsc", "o.mkv", "--size", "0x0"],
        ["decode", "film.dsc", "o.mkv", "--frames", "6:"],
        ["decode", "film.dsc", "o.mkv", "--frames", "70:80"],
        ["decode", "film.dsc", "no/such/folder/o.mkv"],
        ["compare", "film.y4m", "nothing.mkv"],
        ["info", "nothing.dsc"],
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_wrong_usage(arguments: list[str], fails: Fails) -> None:
    fails(2, *arguments)


def test_cuda_where_there_is_none(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "CUDA" in fails(2, "encode", "film.y4m", "o.dsc", "--device", "cuda")


# Films that are none


@pytest.mark.parametrize("command", [["encode", "{}", "o.dsc"], ["compare", "film.y4m", "{}"]], ids=lambda c: c[0])
@pytest.mark.parametrize("name", ["missing.mp4", "text.mp4", "empty.mp4", "noise.mkv", "folder", "pngs", "film.dsc"])
def test_what_is_not_a_film(command: list[str], name: str, here: Path, fails: Fails) -> None:
    (here / "text.mp4").write_text("not a film\n" * 20)
    (here / "empty.mp4").touch()
    (here / "noise.mkv").write_bytes(bytes(range(256)) * 40)
    (here / "folder").mkdir()
    (here / "pngs").mkdir()
    (here / "pngs" / "0001.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert name in fails(2, *(argument.format(name) for argument in command))


@pytest.mark.parametrize(("width", "height"), [(64, 48), (48, 64), (66, 33), (63, 31), (62, 31), (64, 31)])
def test_a_film_that_is_not_two_to_one_or_has_odd_sides(width: int, height: int, here: Path, fails: Fails) -> None:
    write_y4m(here / "odd.y4m", width, height, 2)
    assert f"{width}x{height}" in fails(2, "encode", "odd.y4m", "o.dsc")


def test_a_film_without_frames(here: Path, fails: Fails) -> None:
    write_y4m(here / "none.y4m", 64, 32, 0)
    fails(2, "encode", "none.y4m", "o.dsc")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("arguments", [["encode", "film.y4m", "o.dsc"], ["decode", "film.dsc", "o.mkv"]])
def test_an_unreadable_file(arguments: list[str], here: Path, fails: Fails) -> None:
    (here / arguments[1]).chmod(0)
    try:
        assert main([arguments[0], *arguments[1:]]) == 2
    finally:
        (here / arguments[1]).chmod(0o600)


# Outputs


@pytest.mark.parametrize("output", ["o.mkv", "o.mp4", "o.y4m", "frames"])
def test_an_output_that_exists_is_kept(output: str, here: Path, fails: Fails) -> None:
    if output == "frames":
        (here / output).mkdir()
        (here / output / "000000.png").write_bytes(b"old")
    else:
        (here / output).write_bytes(b"old")
    assert "--force" in fails(2, "decode", "film.dsc", output)
    if output != "frames":
        assert "--force" in fails(2, "encode", "film.y4m", output)


def test_a_folder_in_place_of_the_output(here: Path, fails: Fails) -> None:
    (here / "o.dsc").mkdir()
    assert "folder" in fails(2, "encode", "film.y4m", "o.dsc")
    assert "folder" in fails(2, "encode", "film.y4m", "o.dsc", "--force")


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", "big.y4m", "o.dsc"],
        ["decode", "big.dsc", "o.mkv"],
        ["decode", "big.dsc", "o.mp4"],
        ["decode", "big.dsc", "o.y4m"],
        ["decode", "big.dsc", "frames"],
    ],
    ids=lambda arguments: arguments[-1],
)
@pytest.mark.parametrize("size", [0, 600])
def test_a_file_that_cannot_grow(arguments: list[str], size: int, here: Path, fails: Fails) -> None:
    make_film(here / "big.y4m", width=256, height=128, frames=3)
    films.encode_video(here / "big.y4m", here / "big.dsc", model=FakeModel())
    with files_no_larger_than(size):
        fails(2, *arguments)


@pytest.fixture
def full_disk(here: Path) -> Iterator[Path]:
    """A real file system of 4 KiB, where one may be mounted."""
    folder = here / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(full_disk: Path, here: Path, fails: Fails) -> None:
    make_film(here / "big.y4m", width=256, height=128, frames=12)
    films.encode_video(here / "big.y4m", here / "big.dsc", model=FakeModel())
    fails(2, "encode", "big.y4m", "disk/o.dsc")
    for output in ("o.mkv", "o.mp4", "o.y4m", "frames"):
        fails(2, "decode", "big.dsc", f"disk/{output}")


# Streams


@pytest.mark.parametrize("part", [0.0, 0.01, 0.2, 0.4, 0.6, 0.8, 0.95, 0.999])
def test_a_truncated_stream(part: float, here: Path, fails: Fails) -> None:
    data = (here / "film.dsc").read_bytes()
    (here / "cut.dsc").write_bytes(data[: int(part * len(data))])
    if 0.01 < part < 0.95:
        fails(3, "decode", "cut.dsc", "o.mkv")
        fails(3, "info", "cut.dsc")
    else:  # cut within the magic there is no telling that it was a stream; within the index all frames are there
        assert main(["decode", "cut.dsc", "o.y4m", "--force"]) in (0, 2, 3)


def test_an_altered_stream_is_refused_or_decodes_the_same(here: Path, fails: Fails) -> None:
    data = (here / "film.dsc").read_bytes()
    assert main(["decode", "film.dsc", "right.y4m"]) == 0
    right = (here / "right.y4m").read_bytes()
    codes = []
    for place in [*range(0, 400, 7), *range(400, len(data) - 200, 997), *range(len(data) - 200, len(data), 11)]:
        altered = bytearray(data)
        altered[place] ^= 0x55
        (here / "altered.dsc").write_bytes(altered)
        code = main(["decode", "altered.dsc", "altered.y4m"])
        codes.append(code)
        assert code in (0, 2, 3, 4), place
        if code == 0:
            assert (here / "altered.y4m").read_bytes() == right, place
            (here / "altered.y4m").unlink()
        assert not (here / "altered.y4m").exists()
    assert codes.count(3) > len(codes) / 2


def test_a_payload_altered_in_the_middle_names_its_frame(here: Path, fails: Fails) -> None:
    data = bytearray((here / "film.dsc").read_bytes())
    data[len(data) // 2] ^= 1
    (here / "altered.dsc").write_bytes(data)
    assert "frame" in fails(3, "decode", "altered.dsc", "o.mkv")


def test_a_film_is_not_a_stream(fails: Fails) -> None:
    assert "not a .dsc file" in fails(3, "decode", "film.y4m", "o.mkv")
    assert "not a .dsc file" in fails(3, "info", "film.y4m")


@pytest.mark.parametrize(
    ("attribute", "word"), [("weights_hash", "weights"), ("tables_hash", "entropy tables"), ("name", "model")]
)
def test_a_stream_of_another_model(attribute: str, word: str, here: Path, fails: Fails) -> None:
    other = FakeModel()
    setattr(other, attribute, "other" if attribute == "name" else "c3" * 32)
    films.encode_video(here / "film.y4m", here / "other.dsc", model=other)
    assert word in fails(4, "decode", "other.dsc", "o.mkv")


def test_a_stream_of_a_newer_version(here: Path, fails: Fails) -> None:
    data = (here / "film.dsc").read_bytes()
    magic, version, length = PROLOGUE.unpack_from(data)
    end = PROLOGUE.size + length
    prologue = PROLOGUE.pack(magic, version + 0x100, length) + data[PROLOGUE.size : end]
    (here / "newer.dsc").write_bytes(prologue + CRC.pack(zlib.crc32(prologue)) + data[end + CRC.size :])
    assert "version 2.1" in fails(4, "decode", "newer.dsc", "o.mkv")
    assert "version 2.1" in fails(4, "info", "newer.dsc")
