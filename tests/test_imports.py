"""The layers of the package, read from its imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "deepsphere_codec"

FOUNDATION = {"errors", "progress", "atomic", "threads", "memory", "quick", "cursor"}
BORDERS = FOUNDATION | {"sphere", "bitstream", "video"}
OPERATORS = BORDERS | {"graph"}
PARTS = OPERATORS | {"layers", "entropy"}  # the hyperprior is made of layers, no layer needs an entropy model
MODELS = PARTS | {"motion", "models"}
CODEC = MODELS | {"codec", "films", "resolution", "lookahead", "grouping", "reference_buffer", "stream_info"}
MEASURED = CODEC | {"baselines"}

MAY_IMPORT = {
    "cursor": set(),
    "errors": set(),
    "progress": set(),
    "memory": set(),
    "quick": set(),
    "threads": set(),
    "arguments": {"errors"},
    "atomic": {"errors"},
    "sphere": FOUNDATION,
    "bitstream": FOUNDATION,
    "video": FOUNDATION,
    "graph": BORDERS,
    "layers": OPERATORS,
    "entropy": OPERATORS | {"layers"},
    "motion": PARTS,
    "models": PARTS | {"motion"},
    "resolution": MODELS,
    "lookahead": BORDERS,
    "grouping": BORDERS | {"lookahead"},
    "reference_buffer": MODELS,
    "stream_info": MODELS,
    "codec": MODELS | {"resolution", "lookahead", "grouping", "reference_buffer", "stream_info"},
    "films": MODELS | {"codec", "lookahead", "grouping", "reference_buffer", "stream_info"},
    "baselines": MODELS,  # others' codecs, for `evaluation` to measure and `training` to train
    "evaluation": MEASURED,
    "cli": CODEC | {"evaluation", "arguments"},
    "__main__": {"cli"},
    "data": MODELS,
    "training": MEASURED | {"data", "evaluation"},
}

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part_of(path: Path) -> str:
    """The part of the package that a file belongs to: its folder, or its own name at the top."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of each import, absolute; name is empty for `import module`."""
    package = ["deepsphere_codec", *path.relative_to(PACKAGE).parts[:-1]] if path.is_relative_to(PACKAGE) else []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def own_parts(path: Path) -> Iterator[tuple[str, str, str]]:
    """(part, module, name) of each import from this package."""
    for module, name in imports(path):
        if module == "deepsphere_codec":
            yield name, module, name
        elif module.startswith("deepsphere_codec."):
            yield module.split(".")[1], module, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_part_imports_only_what_lies_below_it(path: Path) -> None:
    part = part_of(path)
    allowed = MAY_IMPORT[part] | {part, "__version__"}
    wrong = [module for imported, module, _ in own_parts(path) if imported not in allowed]
    assert not wrong, f"{part} must not import {wrong}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_part_reaches_into_the_private_names_of_another(path: Path) -> None:
    for part, module, name in own_parts(path):
        private = [word for word in (*module.split("."), name) if word.startswith("_") and not word.startswith("__")]
        assert part == part_of(path) or not private, f"{module}.{name} is private to {part}"


@pytest.mark.parametrize(("package", "home"), [("av", "video"), ("compressai", "entropy")])
def test_a_package_is_imported_in_one_place(package: str, home: str) -> None:
    scripts = sorted((ROOT / "scripts").glob("*.py"))
    outside = [path for path in [*FILES, *scripts] if path in scripts or part_of(path) != home]
    users = [path for path in outside for module, _ in imports(path) if module.split(".")[0] == package]
    assert not users, f"only {home}/ imports {package}"


def test_bitstream_needs_only_the_standard_library() -> None:
    for path in (PACKAGE / "bitstream").glob("*.py"):
        outside = {module.split(".")[0] for module, _ in imports(path)} - {"deepsphere_codec"}
        assert outside <= sys.stdlib_module_names, path


def test_nothing_imports_torchmetrics() -> None:
    # a torchvision built for another torch breaks it
    assert not [path for path in FILES for module, _ in imports(path) if module.startswith("torchmetrics")]


def test_the_library_does_not_print() -> None:
    for path in FILES:
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        prints = [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]
        assert part_of(path) == "cli" or not prints, path


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
