"""The first training of docs/training.md, with fewer steps: from random weights to a model that encodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import make_film

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_small_model_trains_on_generated_films_and_encodes(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stderr
        return done.stdout

    config, python = ROOT / "configs" / "quick.toml", sys.executable
    changes = ["--set", "stages.intra.train.steps=60", "--set", "stages.inter.train.steps=20"]
    run(python, ROOT / "scripts" / "train.py", config, *changes)
    assert [path.name for path in sorted((tmp_path / "runs" / "quick").iterdir())] == ["inter", "intra"]
    run(python, ROOT / "scripts" / "release.py", "quick", config, "--out", "models")
    film = make_film(tmp_path / "film.mkv", width=256, height=128, frames=3)
    command = [python, "-m", "deepsphere_codec"]
    report = json.loads(run(*command, "encode", film, "film.dsc", "--model", "models/quick", "--json"))
    run(*command, "decode", "film.dsc", "out.mkv", "--model", "models/quick")
    compared = json.loads(run(*command, "compare", film, "out.mkv", "--json"))
    assert 0 < report["bpp"] < 4 and compared["ws-psnr-yuv"] > 20
