"""The README's numbers are those of results/, not typed in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_figures_are_current() -> None:
    done = subprocess.run([sys.executable, "scripts/readme_figures.py", "--check"], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, "run scripts/readme_figures.py"


def test_a_changed_number_is_noticed(tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "readme_figures.py"
    script.parent.mkdir()
    script.write_text((ROOT / "scripts" / "readme_figures.py").read_text())
    (tmp_path / "results").symlink_to(ROOT / "results")
    text = (ROOT / "README.md").read_text()
    first = text.index("| 1 | 0.") + len("| 1 | 0.")
    digit = str((int(text[first]) + 1) % 10)
    (tmp_path / "README.md").write_text(text[:first] + digit + text[first + 1 :])
    assert subprocess.run([sys.executable, script, "--check"]).returncode == 1
