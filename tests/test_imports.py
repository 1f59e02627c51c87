"""The layers of the package, and what importing it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "deepsphere_codec"
FILES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "studies").rglob("*.py")])
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of each import from this project."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("deepsphere_codec", "studies"):
            yield from ((node.module or "", alias.name) for alias in node.names)


def test_the_contracts_are_kept() -> None:
    """Run import-linter on the contracts in .importlinter."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", LINT], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "5 kept, 0 broken" in done.stdout, done.stdout


def test_a_contract_that_is_broken_is_found(tmp_path: Path) -> None:
    for folder in ("deepsphere_codec", "studies"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    contracts = (ROOT / ".importlinter").read_text().replace("    deepsphere_codec.errors\n", "", 1)
    contracts = contracts.replace("layers =\n    studies\n", "layers =\n    deepsphere_codec.errors\n    studies\n", 1)
    (tmp_path / ".importlinter").write_text(contracts)
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", LINT], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "Each part stands on those below it BROKEN" in done.stdout, done.stdout


def test_no_part_reaches_into_the_private_names_of_another() -> None:
    for path in FILES:
        part = path.relative_to(ROOT).with_suffix("").parts[:2]
        for module, name in imports(path):
            private = [w for w in (*module.split("."), name) if w.startswith("_") and not w.startswith("__")]
            assert tuple(module.split(".")[:2]) == part or not private, f"{path}: {module}.{name} is private"


def test_the_library_does_not_print() -> None:
    for path in PACKAGE.rglob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        prints = [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]
        is_command = path.relative_to(PACKAGE).parts[0] == "cli" or path.name == "__main__.py"
        assert is_command or not prints, path


def test_importing_the_package_is_quick_and_light() -> None:
    code = "import sys, deepsphere_codec; print(*{'torch', 'numpy', 'av', 'compressai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_public_name_is_there() -> None:
    import deepsphere_codec

    for name in deepsphere_codec.__all__:
        assert getattr(deepsphere_codec, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = deepsphere_codec.nothing
