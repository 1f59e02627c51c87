"""The process that decodes the files: it may be lost at any of them, and `campaign` starts another one.

python -m studies.fuzzing.worker FOLDER FILES SECONDS SEED ENGINE
"""

from __future__ import annotations

import faulthandler
import sys
from pathlib import Path


def main(folder: Path, files: int, seconds: float, seed: int, engine: str) -> None:
    """Decode until so many files are done, as the tally in the folder counts them.

    Args:
        folder: Has the tally; failures go there.
        seconds: For a file.
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
    """All that decoding needs: what is imported within `instrument_imports` reports the lines that it reaches."""
    import studies.fuzzing.films
    import studies.fuzzing.judge  # noqa: F401


if __name__ == "__main__":
    place, count, limit, start, name = sys.argv[1:]
    main(Path(place), int(count), float(limit), int(start), name)
