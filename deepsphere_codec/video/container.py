"""Films opened with PyAV, and its errors told as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from deepsphere_codec.errors import UsageError

NO_FILM_FORMATS = {"tty"}  # FFmpeg draws any .txt file as a terminal would, and calls that a film


def open_container(path: Path) -> InputContainer:
    """Open a film.

    Raises:
        UsageError: it cannot be read, or is no film.
    """
    with one_line(path, "cannot be opened as a film"):
        # "file:" so that a colon in a name is not taken for a protocol; tags need not be UTF-8
        container = av.open(f"file:{path}", metadata_errors="replace")
    if container.format.name in NO_FILM_FORMATS:
        container.close()
        raise UsageError(f"{path} is not a film; give a film or a folder of PNG frames")
    return container


def video_stream(path: Path, container: InputContainer) -> VideoStream:
    """The first stream of pictures that is not a cover (of an audio file).

    Raises:
        UsageError: there is none.
    """
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise UsageError(f"{path} holds no video; give a film or a folder of PNG frames")


@contextmanager
def one_line(path: Path, what: str) -> Iterator[None]:
    """PyAV's errors as ours."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path}: {what} ({reason}); give a sound film or a folder of PNG frames") from error
