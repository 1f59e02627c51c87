"""JSON files of measurements: read with one clear error, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deepsphere_codec.errors import UsageError
from deepsphere_codec.runtime.atomic import atomic_output


def read_json(path: str | Path) -> Any:
    """What the file holds.

    Raises:
        UsageError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no JSON file: {error}") from error


def write_json(path: str | Path, data: Any) -> None:
    """Write the file and the folders that it lies in, in place of what is there.

    Raises:
        ValueError: a number is not finite.
        UsageError: it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_output(path, force=True) as place:
        place.write_text(text, encoding="utf-8")
