"""Sources of frames: a film that PyAV opens, or a folder of PNG files."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from deepsphere_codec.errors import UsageError
from deepsphere_codec.frames import VideoInfo, YuvFrame
from deepsphere_codec.video.colour import rgb_to_yuv
from deepsphere_codec.video.container import one_line, open_container, video_stream
from deepsphere_codec.video.convert import RGB_MATRIX, colour_of, frame_from_av, rgb_from_av
from deepsphere_codec.video.scan import scan
from deepsphere_codec.video.timing import EVEN, Timing

DEFAULT_FPS = Fraction(30)  # for a folder of pictures, and for a film without a frame rate


class SourceFrame(NamedTuple):
    """A frame with the time stored in the film.

    Attributes:
        frame: The picture.
        pts: Display time in units of the film's time base, as stored; None if there is none.
    """

    frame: YuvFrame
    pts: int | None


class FrameSource(ABC):
    """FrameSource of a film's frames in order, and of its properties; `frames` may be called once."""

    info: VideoInfo

    @abstractmethod
    def frames(self) -> Iterator[SourceFrame]:
        """Iterate over the frames in order of display."""

    def timing(self, first: int, last: int | None) -> Timing:
        """Determine the display times of a range of frames.

        Args:
            first: First frame of the range.
            last: End of the range (exclusive); None for the end of the film.
        Returns:
            Timing of the range.
        """
        return EVEN

    @abstractmethod
    def close(self) -> None:
        """Close the film."""


def open_source(path: Path) -> FrameSource:
    """Open a film or a folder, and read its first frame.

    Raises:
        UsageError: it is missing, unreadable, not a film, or has no frames.
    """
    with one_line(path, "cannot be read"):
        folder, exists = path.is_dir(), path.exists()
    if not exists:
        raise UsageError(f"{path} does not exist; give a film or a folder of PNG frames")
    return FolderSource(path) if folder else FilmSource(path)


class FilmSource(FrameSource):
    """FrameSource that decodes a film with PyAV.

    Args:
        path: Path of the film.
    Raises:
        UsageError: the film cannot be read, or has no frames.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._container = open_container(path)
        try:
            self._stream = stream = video_stream(path, self._container)
            stream.thread_type = "AUTO"
            self._decoded = self._container.decode(stream)
            with one_line(path, "frame 0 cannot be decoded"):
                self._first = next(self._decoded, None)
            if self._first is None:
                raise UsageError(f"{path} has no frames; give a film with at least one")
            with _named(path):
                colour = colour_of(self._first)
        except BaseException:
            self.close()
            raise
        self._first_pts = self._first.pts
        stored_fps = stream.average_rate or stream.guessed_rate
        fps = stored_fps or DEFAULT_FPS
        count = _frame_count(stream, self._container, fps)
        size = self._first.width, self._first.height
        self.info = VideoInfo(*size, fps, count, colour.full_range, colour.matrix, bool(stored_fps), *colour[2:])

    def timing(self, first: int, last: int | None) -> Timing:
        """Determine the display times of a range of frames by scanning the film's packets.

        Args:
            first: First frame of the range.
            last: End of the range (exclusive); None for the end of the film.
        Returns:
            Timing of the range.
        """
        return scan(self._path, self.info.fps, self._first_pts, first, last)

    def frames(self) -> Iterator[SourceFrame]:
        """Decode the frames in order of display."""
        frame, number = self._first, 0
        self._first = None
        while frame is not None:
            self._check_alike(frame, number)
            yield SourceFrame(frame_from_av(frame), frame.pts)
            number += 1
            with one_line(self._path, f"frame {number} cannot be decoded"):
                frame = next(self._decoded, None)
        self._check_whole(number)

    def close(self) -> None:
        """Close the film."""
        self._container.close()

    def _check_whole(self, number: int) -> None:
        """Raise UsageError if an .mp4 or .mov is shorter than its index; FFmpeg reports no error at the file's end."""
        expected = max((entry.pos + entry.size for entry in self._stream.index_entries), default=0)
        size = self._path.stat().st_size
        if expected > size:
            missing = expected - size
            raise UsageError(
                f"{self._path} is cut short: it ends after frame {number - 1}, {missing} bytes before its index says"
            )

    def _check_alike(self, frame: av.VideoFrame, number: int) -> None:
        if (frame.width, frame.height) != (self.info.width, self.info.height):
            raise UsageError(
                f"{self._path}: frame {number} is {frame.width}x{frame.height}, those before it "
                f"{self.info.width}x{self.info.height}; give a film of one size"
            )


class FolderSource(FrameSource):
    """FrameSource that reads a folder of RGB pictures in PNG files, delivered as BT.709, limited range.

    Args:
        folder: The folder.
    Raises:
        UsageError: the folder cannot be read, or holds no PNG files.
    """

    def __init__(self, folder: Path) -> None:
        try:
            files = sorted((file for file in folder.iterdir() if _is_png(file)), key=_natural)
        except OSError as error:
            raise UsageError(f"{folder} cannot be read: {error.strerror}") from error
        if not files:
            raise UsageError(f"{folder} holds no PNG frames; give a film or a folder of .png files")
        self._files = files
        first = _read_png(files[0])
        size = first.width, first.height
        self.info = VideoInfo(*size, DEFAULT_FPS, len(files), False, RGB_MATRIX, knows_fps=False)

    def frames(self) -> Iterator[SourceFrame]:
        """Read the pictures in natural order of their names."""
        for file in self._files:
            picture = _read_png(file)
            if (picture.width, picture.height) != (self.info.width, self.info.height):
                raise UsageError(
                    f"{file} is {picture.width}x{picture.height}, the first frame "
                    f"{self.info.width}x{self.info.height}; give frames of one size"
                )
            yield SourceFrame(rgb_to_yuv(rgb_from_av(picture), matrix=RGB_MATRIX), None)

    def close(self) -> None:
        """Do nothing: no file stays open."""


def _frame_count(stream: VideoStream, container: InputContainer, fps: Fraction) -> int | None:
    if stream.frames > 0:
        return stream.frames
    # Matroska and y4m give a duration only, rounded to their clock's ticks
    if container.duration:
        return round(Fraction(container.duration, av.time_base) * fps) or None
    return None


def _read_png(file: Path) -> av.VideoFrame:
    try:
        packet = av.Packet(file.read_bytes())
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    with one_line(file, "is not a PNG picture"):
        decoder = av.CodecContext.create("png", "r")
        pictures = [*decoder.decode(packet), *decoder.decode(None)]
    if not pictures:
        raise UsageError(f"{file} holds no picture; it is damaged")
    return pictures[0]


def _is_png(file: Path) -> bool:
    return file.suffix.lower() == ".png" and not file.name.startswith(".")


def _natural(file: Path) -> list[tuple[int, str]]:
    """Sort key in which digits inside a name compare as numbers."""
    parts = re.split(r"(\d+)", file.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
