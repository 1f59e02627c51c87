"""The wheel: what it holds, what it weighs, and what it says of its licence."""

from __future__ import annotations

import subprocess
import sys
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest

ROOT = Path(__file__).resolve().parents[1]
MEGABYTE = 1_000_000
WEIGHTS = "deepsphere_codec/models/weights/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """Built from the committed files of this checkout, with the tools of this environment."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if tracked.returncode:
        pytest.skip("a wheel's contents follow from a git checkout")
    for name in filter(None, tracked.stdout.decode().split("\0")):
        path = folder / "source" / name
        if (ROOT / name).exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(ROOT / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=folder / "source", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ZipFile(next(folder.glob("*.whl")))


def packed(entries: list[ZipInfo]) -> int:
    return sum(entry.compress_size for entry in entries)


@pytest.mark.slow
def test_code_and_model_stay_below_their_sizes(wheel: ZipFile) -> None:
    weights = [entry for entry in wheel.infolist() if entry.filename.startswith(WEIGHTS)]
    code = [entry for entry in wheel.infolist() if not entry.filename.startswith(WEIGHTS)]
    assert {Path(entry.filename).parts[3] for entry in weights} == {"sphere-dvc"}
    assert packed(code) < 8 * MEGABYTE and 0 < packed(weights) < 16 * MEGABYTE
    assert Path(str(wheel.filename)).stat().st_size < 24 * MEGABYTE


@pytest.mark.slow
def test_the_wheel_holds_what_decoding_and_type_checking_need(wheel: ZipFile) -> None:
    names = set(wheel.namelist())
    graphs = {f"deepsphere_codec/_graphs/{path.name}" for path in (ROOT / "graphs").glob("*_k8.safetensors")}
    assert len(graphs) == 7 and {name for name in names if "/_graphs/" in name} == graphs
    assert {"deepsphere_codec/py.typed", "deepsphere_codec/motion/counts.npz"} <= names
    assert {f"{WEIGHTS}sphere-dvc/{name}" for name in ("weights.safetensors", "card.json")} <= names
    assert not [name for name in names if name.split("/")[0] in ("tests", "studies", "scripts", "graphs")]


@pytest.mark.slow
def test_both_licences_come_with_the_wheel(wheel: ZipFile) -> None:
    folder = next(name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name)
    about = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
    assert about["License-Expression"] == "MIT AND LicenseRef-research-weights"
    for name in ("LICENSE", "LICENSE-weights"):
        assert wheel.read(f"{folder}/licenses/{name}") == (ROOT / name).read_bytes()
    assert b"LicenseRef-research-weights" in wheel.read(f"{folder}/licenses/LICENSE-weights")
    python = {
        line for line in about.get_all("Classifier", []) if line.startswith("Programming Language :: Python :: 3.")
    }
    assert python == {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12)}
