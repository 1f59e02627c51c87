"""README.md and the pages in docs/ do what they say: their commands and their Python are run, their paths exist.

A comment in front of a block says how:

    <!-- test: slow -->             run with the slow tests
    <!-- test: skip: why -->        not run here

Blocks of a page run in order and in one folder, which has a film, `film.mp4` (256x128), a grey picture, `map.png`, and
the repository's own files.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from support import make_film, make_grey

import deepsphere_codec

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- test: (?P<mark>[^\n]*?) -->\n+)?```(?P<kind>console|sh|python)\n(?P<text>.*?)^```", re.M | re.S
)


class Block(NamedTuple):
    page: str
    line: int
    kind: str
    text: str
    mark: str


def blocks(page: str, text: str) -> list[Block]:
    found = BLOCK.finditer(text)
    return [Block(page, text[: m.start("kind")].count("\n") + 1, m["kind"], m["text"], m["mark"] or "") for m in found]


def as_cases(found: list[Block]) -> list:
    cases = []
    for block in found:
        kind, _, why = block.mark.partition(":")
        marks = {"": [], "slow": [pytest.mark.slow], "skip": [pytest.mark.skip(reason=why.strip())]}[kind]
        cases.append(pytest.param(block, marks=marks, id=f"{block.page} line {block.line}"))
    return cases


def script_of(block: Block) -> list[str]:
    """The command that runs a block; of a console block, only the lines after a $ (and their continuations)."""
    if block.kind == "python":
        return [sys.executable, "-c", block.text]
    text = block.text
    if block.kind == "console":
        text = "\n".join(re.findall(r"^\$ (.*(?:(?<=\\)\n.*)*)", text, re.M))
    return ["bash", "-euo", "pipefail", "-c", text]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @cache
    def folder_of(page: str) -> Path:
        folder = tmp_path_factory.mktemp(Path(page).stem)
        make_film(folder / "film.mp4", width=256, height=128, frames=4)
        make_grey(folder / "map.png", np.tile(np.linspace(96, 160, 256).astype(np.uint8), (128, 1)))
        for name in ("scripts", "studies", "graphs", "results"):
            (folder / name).symlink_to(ROOT / name)
        return folder

    return folder_of


@pytest.mark.parametrize("block", as_cases([block for page in PAGES for block in blocks(page.name, page.read_text())]))
def test_block(block: Block, folder_of: Callable[[str], Path]) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    folder = folder_of(block.page)
    done = subprocess.run(script_of(block), cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_blocks_are_found() -> None:
    text = (
        "a\n```sh\necho a\n```\n<!-- test: skip: needs a GPU -->\n```console\n$ echo b \\\n    c\nb c\n$ echo d\n```\n"
    )
    first, second = blocks("page.md", text)
    assert first == Block("page.md", 2, "sh", "echo a\n", "")
    assert (second.kind, second.mark) == ("console", "skip: needs a GPU")
    assert script_of(second)[-1] == "echo b \\\n    c\necho d"


def test_each_promise_names_a_test_that_is_there() -> None:
    text = (ROOT / "docs" / "trust.md").read_text()
    named = re.findall(r"^\| [^|]+ \| `(tests/[\w/]+\.py)(?:::(\w+))?` \|$", text, re.M)
    assert len(named) > 15
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text() if name else (ROOT / path).exists(), f"{path}::{name}"


def test_the_picture_of_the_way_names_files_that_are_there() -> None:
    (picture,) = re.findall(r"^```text\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    named = re.findall(r"[\w/]+\.py", picture)
    assert len(named) > 15
    assert [path for path in named if not (ROOT / "deepsphere_codec" / path).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_and_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    folders = "|".join(("configs", "deepsphere_codec", "docs", "examples", "graphs", "results", "scripts", "studies"))
    named = re.findall(rf"`((?:{folders})/[\w./-]*)(?: [^`]*)?`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_the_page_on_the_api_has_all_public_names() -> None:
    named = re.findall(r"^::: deepsphere_codec\.(\w+)$", (ROOT / "docs" / "api.md").read_text(), re.M)
    assert sorted(named) == sorted(deepsphere_codec.__all__)


def test_the_citation_has_the_version() -> None:
    assert f"\nversion: {deepsphere_codec.__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra [docs]")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_scripts_run_as_the_pages_write_them() -> None:
    for path in sorted((ROOT / "scripts").glob("*.py")):
        assert path.read_text().startswith("#!/usr/bin/env python3\n") and os.access(path, os.X_OK), path
