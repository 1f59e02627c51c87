"""Names in the package: a class name says which class it is, wherever it is read."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]


def classes(folder: Path) -> dict[str, list[str]]:
    """Files of a folder that define a class, by the class's name."""
    found = defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(str(path.relative_to(ROOT)))
    return found


def test_a_class_name_is_unique_in_the_package() -> None:
    shared = {name: files for name, files in classes(ROOT / "deepsphere_codec").items() if len(files) > 1}
    assert not shared


def test_studies_take_no_class_name_of_the_package() -> None:
    package, studies = classes(ROOT / "deepsphere_codec"), classes(ROOT / "studies")
    assert studies and not {name: package[name] + studies[name] for name in package.keys() & studies.keys()}
