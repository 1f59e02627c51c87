"""The end of a test run says how many tests were skipped, and why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = """
import pytest

@pytest.mark.parametrize("number", range(3))
@pytest.mark.skipif(True, reason="needs CUDA")
def test_of_a_gpu(number): ...

def test_of_footage(footage): ...

def test_that_runs(): ...
"""


@pytest.mark.parametrize("options", [[], ["-n", "1"]])
def test_skips_are_counted_by_reason(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "conftest.py").symlink_to(ROOT / "tests" / "conftest.py")
    (tmp_path / "test_some.py").write_text(TESTS)
    environment = os.environ | {"DEEPSPHERE_FOOTAGE": "/no/such/folder", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), *options]
    done = subprocess.run([*command, str(tmp_path)], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    end = [line for line in done.stdout.partition(" 4 skipped ")[2].splitlines() if line][1:3]
    assert end == ["    3  needs CUDA", "    1  no footage in /no/such/folder; DEEPSPHERE_FOOTAGE names its folder"]
