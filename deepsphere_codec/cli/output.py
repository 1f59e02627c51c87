"""Output of the command: results as a table or as JSON, and notes on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TextIO

PROG = "deepsphere-codec"
Result = Mapping[str, object]


def print_result(result: Result, *, as_json: bool, file: TextIO) -> None:
    """Print a result.

    Args:
        result: Keys and values.
        as_json: Print one JSON object instead of a key and its value on each line.
        file: Output stream.
    """
    text = json.dumps(result, indent=2, allow_nan=False) if as_json else "\n".join(_table(result))
    print(text, file=file, flush=True)


def _table(result: Result, indent: str = "") -> Iterator[str]:
    """Lines with a key and its value, nested ones indented; rows of single frames are printed by --json only."""
    width = max(map(len, result), default=0)
    for key, value in result.items():
        if isinstance(value, Mapping):
            yield from [f"{indent}{key}", *_table(value, indent + "  ")]
        elif key == "coded_frames" and isinstance(value, list):
            yield from (" ".join(f"{name} {each[name]}" for name in each) for each in value)
        elif isinstance(value, list) and all(isinstance(each, Mapping) for each in value):
            for each in value if key != "per_frame" else ():
                yield from _table(each, indent)
        else:
            shown = f"{value:.4f}" if isinstance(value, float) else value
            yield f"{indent}{key:<{width}}  {shown}"


def print_notes(kind: str, lines: Iterable[str]) -> None:
    """Print lines on standard error, each after the program's name and their kind.

    Args:
        kind: Kind of the lines, such as "note".
        lines: The lines.
    """
    for line in lines:
        print(f"{PROG}: {kind}: {line}", file=sys.stderr)
