"""Process that decodes the files; if it is lost at one of them, `campaign` starts another one.

python -m studies.fuzzing.worker FOLDER FILES SECONDS SEED ENGINE
"""

from __future__ import annotations

import faulthandler
import sys
from pathlib import Path


def main(folder: Path, files: int, seconds: float, seed: int, engine: str) -> None:
    """Decode until the folder's tally reaches the given number of files.

    Args:
        folder: Folder with the tally; failures are written there.
        files: Number of files.
        seconds: Limit of processor time per file.
        seed: Seed of the changes.
        engine: "atheris" or "random".
    """
    faulthandler.enable((folder / "worker.log").open("a"))
    if engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["deepsphere_codec"], exclude=["deepsphere_codec.evaluation"]):
            _import()
    _import()
    from studies.fuzzing.work import work

    work(folder, files, seconds, seed, engine)


def _import() -> None:
    """Import everything that decoding needs; imports within `instrument_imports` report the lines that are reached."""
    import studies.fuzzing.films
    import studies.fuzzing.judge  # noqa: F401


if __name__ == "__main__":
    place, count, limit, start, name = sys.argv[1:]
    main(Path(place), int(count), float(limit), int(start), name)
