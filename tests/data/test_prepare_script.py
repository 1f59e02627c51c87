"""scripts/prepare_films.py: what it takes, what it says, and how it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from support import load_script, make_film, same_signals


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("prepare_films")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of its own; the script takes SIGTERM for itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").mkdir()
    with same_signals():
        yield tmp_path


def test_films_of_several_folders(script: ModuleType, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "more").mkdir()
    make_film(here / "films" / "a.mkv", frames=4)
    make_film(here / "more" / "a.mkv", frames=4)
    (here / "more" / "bad.mp4").write_bytes(b"not a film")
    options = "--frames 2 --width 32 --clips-per-film 1 --stereo top-bottom --out clips"
    assert script.main(["films", "more", *options.split()]) == 0
    names = {path.stem: np.load(path).shape for path in (here / "clips").glob("*.npy")}
    assert names == dict.fromkeys(("films_a_L", "films_a_R", "more_a_L", "more_a_R"), (2, 24, 32))
    printed = capsys.readouterr()
    assert printed.out == "4 clips in clips\n"
    (line,) = [line for line in printed.err.splitlines() if "left out" in line]
    assert line.startswith("prepare_films: left out: more/bad.mp4")


def test_clips_of_a_film(script: ModuleType, here: Path) -> None:
    make_film(here / "films" / "a.mkv", frames=6)
    assert script.main("films --frames 2 --clips-per-film 9 --stride 3".split()) == 0
    assert sorted(path.stem for path in (here / "runs" / "clips").glob("*.npy")) == ["a_000", "a_001"]


def test_ugc360(script: ModuleType, here: Path) -> None:
    folder = here / "ugc" / "UGC360-M" / "xyz" / "03"
    folder.mkdir(parents=True)
    for number in range(1, 10):
        Image.fromarray(np.zeros((32, 64, 3), np.uint8)).save(folder / f"0{number}.png")
    rows = "video_id,clip_id,license,width,height\nxyz,3,CC-BY,64,32\nxyz,4,CC0,64,32\n"
    (here / "ugc" / "UGC360-M" / "ugc360-m.csv").write_text(rows)
    assert script.main("--ugc360 ugc --sizes M --licences CC-BY --out clips".split()) == 0
    assert [path.stem for path in (here / "clips").glob("*.npy")] == ["ugc360-m_xyz_03"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "name a FOLDER, or --ugc360 ROOT"),
        ("films --stereo upside-down", "invalid choice: 'upside-down'"),
        ("films --frames many", "invalid int value: 'many'"),
    ],
)
def test_a_wrong_command_line_ends_with_2(
    script: ModuleType, arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        script.main(arguments.split())
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nowhere", "nowhere holds no films"),
        ("films --frames 0", "at least 1"),
        ("--ugc360 nowhere", "ugc360-s.csv is not there"),
    ],
)
def test_wrong_usage_is_one_line_and_2(
    script: ModuleType, arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(arguments.split()) == 2
    err = capsys.readouterr().err
    assert message in err and err.startswith("prepare_films: error: ") and err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_with_130_and_keeps_what_is_whole(
    script: ModuleType, here: Path, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        make_film(here / "films" / f"{name}.mkv", frames=1)
    prepare_films = script.prepare_films
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored

    def interrupted(*arguments: object, on_progress: object, **options: object) -> list[str]:
        return prepare_films(*arguments, on_progress=lambda *each: os.kill(os.getpid(), number), **options)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(script, "prepare_films", interrupted)
            assert script.main(["films", "--out", "clips"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "run it again to go on" in capsys.readouterr().err
    assert {path.name for path in (here / "clips").iterdir()} == {"a.npy", "prepared.json"}
    assert script.main(["films", "--out", "clips"]) == 0
    assert sorted(path.stem for path in (here / "clips").glob("*.npy")) == ["a", "b"]
