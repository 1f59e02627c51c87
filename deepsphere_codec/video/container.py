"""Opening of films with PyAV, and conversion of its errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from deepsphere_codec.errors import UsageError

NO_FILM_FORMATS = {"tty"}  # FFmpeg opens any .txt file as a film of a terminal


def open_container(path: Path) -> InputContainer:
    """Open a film.

    Raises:
        UsageError: it cannot be read, or is not a film.
    """
    with one_line(path, "cannot be opened as a film"):
        # "file:" so that a colon in a name is not taken for a protocol; tags need not be UTF-8
        container = av.open(f"file:{path}", metadata_errors="replace")
    if container.format.name in NO_FILM_FORMATS:
        container.close()
        raise UsageError(f"{path} is not a film; give a film or a folder of PNG frames")
    return container


def video_stream(path: Path, container: InputContainer) -> VideoStream:
    """Return the first video stream that is not the cover picture of an audio file.

    Args:
        path: Path of the film, for the message.
        container: The opened film.
    Returns:
        The stream.
    Raises:
        UsageError: there is none.
    """
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise UsageError(f"{path} holds no video; give a film or a folder of PNG frames")


@contextmanager
def one_line(path: Path, problem: str) -> Iterator[None]:
    """Convert errors of PyAV within the context to a UsageError with a message of one line.

    Args:
        path: Path of the film, for the message.
        problem: Description of the failure, for the message.
    Returns:
        Context manager.
    Raises:
        UsageError: PyAV has raised an error.
    """
    try:
        yield
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path}: {problem} ({reason}); give an undamaged film or a folder of PNG frames") from error
