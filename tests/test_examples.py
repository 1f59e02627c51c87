"""The examples run, on generated films."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SAYS = {
    "encode_film": ["generated.dsc: 4 frames", "frame 3: 256x128", "generated.decoded.mkv: WS-PSNR"],
    "train_ten_steps": ["step 10: loss", "bits per pixel with the model ten-steps"],
    "own_convolution": ["ring convolutions", "the decoder's picture is the encoder's"],
    "evaluate_own_codec": ["rounding and zlib, 16: ", "x264 medium, 28: "],
}
"""Text that each example must print."""


def test_each_example_is_tested_and_short() -> None:
    paths = sorted((ROOT / "examples").glob("*.py"))
    assert [path.stem for path in paths] == sorted(SAYS)
    assert all(len(path.read_text().splitlines()) <= 60 for path in paths)


@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for words in SAYS[name]:
        assert words in done.stdout
