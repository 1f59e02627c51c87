"""JSON files of measurements: read with one clear error, written atomically."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deepsphere_codec.errors import UsageError
from deepsphere_codec.runtime.atomic import atomic_output


def read_json(path: str | Path) -> Any:
    """Read the contents of a JSON file.

    Raises:
        UsageError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no JSON file: {error}") from error


def write_json(path: str | Path, data: Any) -> None:
    """Write a JSON file and its folders atomically; an existing file is replaced.

    Args:
        path: File to write.
        data: Contents in JSON types.
    Raises:
        ValueError: a number is not finite.
        UsageError: the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_output(path, force=True) as place:
        place.write_text(text, encoding="utf-8")
