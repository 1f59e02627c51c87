"""README.md does what it says: its commands and its Python are run.

A comment in front of a block says how:

    <!-- test: slow -->             run with the slow tests
    <!-- test: skip: why -->        not run here

Blocks run in order and in one folder, which has a film, `film.mp4` (256x128), a grey picture, `map.png`, and the
repository's own files.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from support import make_film, make_grey

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(
    r"^(?:<!-- test: (?P<mark>[^\n]*?) -->\n+)?```(?P<kind>console|sh|python)\n(?P<text>.*?)^```", re.M | re.S
)


class Block(NamedTuple):
    line: int
    kind: str
    text: str
    mark: str


def blocks(text: str) -> list[Block]:
    found = BLOCK.finditer(text)
    return [Block(text[: m.start("kind")].count("\n") + 1, m["kind"], m["text"], m["mark"] or "") for m in found]


def as_cases(found: list[Block]) -> list:
    cases = []
    for block in found:
        kind, _, why = block.mark.partition(":")
        marks = {"": [], "slow": [pytest.mark.slow], "skip": [pytest.mark.skip(reason=why.strip())]}[kind]
        cases.append(pytest.param(block, marks=marks, id=f"line {block.line}"))
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
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    make_film(folder / "film.mp4", width=256, height=128, frames=4)
    make_grey(folder / "map.png", np.tile(np.linspace(96, 160, 256).astype(np.uint8), (128, 1)))
    for name in ("scripts", "studies", "graphs", "results"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.mark.parametrize("block", as_cases(blocks((ROOT / "README.md").read_text())))
def test_block(block: Block, folder: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script_of(block), cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_blocks_are_found() -> None:
    text = (
        "a\n```sh\necho a\n```\n<!-- test: skip: needs a GPU -->\n```console\n$ echo b \\\n    c\nb c\n$ echo d\n```\n"
    )
    first, second = blocks(text)
    assert first == Block(2, "sh", "echo a\n", "")
    assert (second.kind, second.mark) == ("console", "skip: needs a GPU")
    assert script_of(second)[-1] == "echo b \\\n    c\necho d"


def test_each_promise_names_a_test_that_is_there() -> None:
    text = (ROOT / "README.md").read_text()
    named = re.findall(r"^\| [^|]+ \| `(tests/[\w/]+\.py)(?:::(\w+))?` \|$", text, re.M)
    assert len(named) > 15
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text() if name else (ROOT / path).exists(), f"{path}::{name}"
