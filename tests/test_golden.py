"""Golden files: a short film as the released model coded it once, held against what the codec does today.

What is promised, and tested here:

- A golden file decodes everywhere to the same latents: the decoder itself compares each record's checksum.
- On a machine of the kind that wrote it (same processor, instructions and torch) the pictures are the same to the last
  bit, and the same film gives the same bytes again, with any number of threads.
- On any other machine floating-point sums round otherwise: pictures are at most one level of 8 bits and 0.01 dB apart,
  and an encoder may round one latent or another to its neighbour: the file is as large within 2 %, as good within
  0.05 dB, and decodes. (Between the instruction sets of one processor not one byte differed.)

After new weights: scripts/write_golden.py NAME --force.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import load_script, same_numbers_on_one_thread  # noqa: F401

from deepsphere_codec.bitstream import StreamReader
from deepsphere_codec.models.payload import Payload

golden = load_script("write_golden")
NAMES = list(golden.NAMES)


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def stream(name: str) -> Path:
    return golden.places(golden.FOLDER, name)[0]


@pytest.fixture
def told(name: str):
    return golden.Golden.read(golden.places(golden.FOLDER, name)[1])


def test_the_released_model_has_its_golden_file_and_no_other() -> None:
    assert sorted(path.name for path in golden.FOLDER.iterdir()) == sorted(
        path.name for name in NAMES for path in golden.places(golden.FOLDER, name)
    )
    assert sum(path.stat().st_size for path in golden.FOLDER.iterdir()) < 200_000


def test_it_holds_two_gops_and_frames_of_all_kinds(stream: Path, told) -> None:
    with StreamReader(stream) as reader:
        frames = list(reader.frames())
    assert [frame.kind for frame in frames] == [kind for kind, _ in golden.GROUPS]
    assert {"I", "P", "B"} == {frame.kind for frame in frames}
    parts = [Payload.unpack(frame.payload) for frame in frames]
    assert all(part.motion for part, frame in zip(parts, frames, strict=True) if frame.kind != "I")
    assert [part.quality_map is not None for part in parts].index(True) == golden.MAPPED
    assert min(len(frame.payload) for frame in frames) > 30, "a frame that repeats another tests nothing"
    shown = sorted(frames, key=lambda frame: frame.number)
    assert [f"{frame.check:04x}" for frame in shown] == [frame.check for frame in told.frames]


def test_it_is_read_as_it_was(stream: Path, told) -> None:
    seen = golden.described(stream)  # raises where latents differ
    assert seen.film == told.film, "the film itself is another one"
    for number, (ours, theirs) in enumerate(zip(seen.frames, told.frames, strict=True)):
        assert ours.check == theirs.check
        assert np.abs(ours.levels - theirs.levels).max() <= 1, f"frame {number}"
        assert abs(ours.ws_psnr_yuv - theirs.ws_psnr_yuv) <= 0.01, f"frame {number}"
        if told.machine == golden.this_machine():
            assert ours.picture == theirs.picture, f"frame {number}"


def test_it_is_written_as_it_was(name: str, stream: Path, told, tmp_path: Path) -> None:
    golden.code(name, tmp_path / "o.dsc")
    ours, theirs = (tmp_path / "o.dsc").read_bytes(), stream.read_bytes()
    if told.machine == golden.this_machine():
        assert ours == theirs
    elif ours != theirs:
        assert abs(len(ours) - len(theirs)) <= 0.02 * len(theirs)
        for frame, before in zip(golden.described(tmp_path / "o.dsc").frames, told.frames, strict=True):
            assert abs(frame.ws_psnr_yuv - before.ws_psnr_yuv) <= 0.05


# The script


def test_the_film_shows_something_that_moves() -> None:
    first, second = list(golden.film())[:2]
    assert first.y.std() > 20 and np.abs(first.y.astype(int) - second.y).mean() > 2
    assert all(plane.min() >= 16 and plane.max() <= 240 for plane in first)
    assert np.array_equal(first.y[32:64, 32:64], second.y[32:64, 32:64])
    assert np.array_equal(np.roll(first.y, 2, 1)[64:], second.y[64:])


def test_what_is_there_stays_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["write_golden", NAMES[0], "--out", str(tmp_path)])
    (tmp_path / f"{NAMES[0]}.json").write_text("mine")
    assert golden.run(golden.main, "write_golden") == 2
    assert "is there already; --force replaces it" in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    golden.main([NAMES[0], "--out", str(tmp_path), "--force"])
    assert "bytes" in capsys.readouterr().out
    stream, beside = golden.places(tmp_path, NAMES[0])
    assert golden.Golden.read(beside) == golden.described(stream)


def test_a_model_that_is_not_released(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert golden.run(lambda: golden.main(["fake", "--out", str(tmp_path / "o")])) == 2
    assert "there is no released model fake" in capsys.readouterr().err and not (tmp_path / "o").exists()
