"""Listing of the films in a folder."""

from __future__ import annotations

from pathlib import Path

from deepsphere_codec.errors import UsageError

FILM_SUFFIXES = {".mp4", ".mkv", ".webm", ".mov", ".avi", ".y4m"}


def find_clips(folder: str | Path) -> list[Path]:
    """List the films in a folder, sorted by name.

    Raises:
        UsageError: the folder does not exist, or holds no film.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; name one that holds clips")
    clips = sorted(path for path in folder.iterdir() if path.suffix.lower() in FILM_SUFFIXES)
    if not clips:
        raise UsageError(f"{folder} holds no films ({', '.join(sorted(FILM_SUFFIXES))})")
    return clips
