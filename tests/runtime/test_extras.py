"""Optional packages: each absent one is named in one line, with the extra that installs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deepsphere_codec.errors import UsageError
from deepsphere_codec.runtime.extras import EXTRAS, optional_imports

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = {"PIL": "pillow"}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=;~! ]", each)[0].replace("-", "_") for each in requirements}


def without(missing: set[str], folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python as if these packages were not installed."""
    (folder / "sitecustomize.py").write_text(
        "import importlib.abc, sys\n"
        "class Absent(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name.partition('.')[0] in {missing!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{folder}:{ROOT}"}
    line = [sys.executable, *map(str, command)]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)


def test_every_optional_package_is_in_its_extra_and_not_in_the_core() -> None:
    core = names(PROJECT["dependencies"])
    for package, extra in EXTRAS.items():
        distribution = DISTRIBUTIONS.get(package, package)
        assert distribution in names(PROJECT["optional-dependencies"][extra])
        assert distribution not in core
    everything = PROJECT["optional-dependencies"]["all"]
    assert everything == ["deepsphere-codec[graphs,pyg,report,train,ray]"]


@pytest.mark.parametrize("package", EXTRAS)
def test_an_absent_package_is_named_with_its_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError) as caught, optional_imports():
        __import__(f"{package}.part")
    assert str(caught.value) == f'{package} is not installed: pip install "deepsphere-codec[{EXTRAS[package]}]"'


def test_an_absent_package_that_is_not_optional_stays_an_import_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), optional_imports():
        __import__("no_such_package")


@pytest.mark.parametrize("script", ["report", "plot_rd", "diagnose_bits"])
def test_a_script_ends_in_one_line_without_its_extra(script: str, tmp_path: Path) -> None:
    done = without({"matplotlib", "jinja2"}, tmp_path, ROOT / "scripts" / f"{script}.py", "--help")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r'error: \w+ is not installed: pip install "deepsphere-codec\[report\]"\n', done.stderr)


def test_encode_decode_and_compare_use_the_core_alone(film: Path, tmp_path: Path) -> None:
    """Packages that CompressAI brings are there in an installation, but its code for video coding uses none either."""
    command = ["-m", "deepsphere_codec"]
    stream, decoded = tmp_path / "film.dsc", tmp_path / "film.mkv"
    small = ["--nside", "64", "--quality", "1", "--frames", "0:2"]
    absent = set(EXTRAS) - {"pytorch_msssim", "PIL"}  # CompressAI imports these itself
    for arguments in (
        ["encode", film, stream, *small],
        ["decode", stream, decoded],
        ["compare", film, decoded, "--frames", "0:2", "--metrics", "all"],
        ["models"],
        ["info", stream],
    ):
        done = without(absent, tmp_path, *command, *arguments)
        assert done.returncode == 0, done.stderr
    assert decoded.stat().st_size > 0
