"""Results made up for tests of what is done with results, and scripts that run in this process."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from deepsphere_codec.evaluation.results import Point, Results

MakeResults = Callable[..., Results]


class Done(NamedTuple):
    code: int | str | None
    out: str
    err: str


RunScript = Callable[..., Done]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def run_script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunScript:
    """Runs a script of the repository, `NAME.py` or `studies/NAME`, with arguments."""

    def run(name: str, *arguments: str | Path) -> Done:
        path = ROOT / name / "__main__.py" if name.startswith("studies/") else ROOT / "scripts" / name
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(path), run_name="__main__")
        return Done(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def make_results() -> MakeResults:
    return _straight_curve


def _straight_curve(name: str, factor: float = 1.0, codec: str | None = None, clips: int = 3) -> Results:
    """10 dB for each decade of rate, shifted by a factor in rate."""

    def points(clip: int) -> list[Point]:
        return [Point(q, factor * 10 ** (q / 10 - 2), 35 + q + clip / 4, ws_psnr_y=34.0 + q) for q in (0.0, 3, 6, 9)]

    return Results(
        name, "made up", codec or name, {"frames": 32}, {f"clip{n}.mp4": points(n) for n in range(clips)}, {}
    )
