"""Films in: anything PyAV opens, `.y4m`, or a folder of PNG frames, one 4:2:0 picture at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType

from deepsphere_codec.errors import UsageError
from deepsphere_codec.frames import VideoInfo, YuvFrame
from deepsphere_codec.video.sources import FrameSource, open_source
from deepsphere_codec.video.timing import EVEN, Clock, Span, TimedFrame, Timing

FrameRange = tuple[int | None, int | None]
"""Half-open, as a Python slice: (None, None) is every frame, (-3, None) the last three."""


def open_video(path: str | Path, *, assume_erp: bool = False, frames: FrameRange | None = None) -> VideoReader:
    """Open a film to read it once, from front to back, in constant memory.

    Args:
        path: A film, a `.y4m` file, or a folder of PNG frames (in natural order: 2.png before 10.png).
        assume_erp: Take a film that is not 2:1 (a 16:9 one, say) for a whole equirectangular picture as it is.
        frames: Half-open range to deliver; for a negative end the film is decoded once more, to count its frames.
            A film's packets are read through once up to the range's end, not decoded, to see whether frames lie evenly.
    Raises:
        UsageError: missing, unreadable, no film, not 2:1, odd sizes, no frames, a range that is empty.
    """
    path = Path(path)
    first, last = _from_front(path, *(frames or (None, None)))
    source = open_source(path)
    try:
        _check_size(path, source.info, assume_erp)
        timing = source.timing(first, last)
    except UsageError:
        source.close()
        raise
    return VideoReader(path, source, first, last, timing)


class VideoReader(Iterator[YuvFrame]):
    """The frames of a film in order, once; a context manager. `open_video` makes it.

    Iterating raises UsageError where a frame cannot be decoded, and where the range holds no frame at all.

    Attributes:
        info: What the film is; its `time_base` is None if the frames of the range lie evenly.
        span: The time that the range takes in the film, for what goes beside the pictures (`read_packets`).
    """

    def __init__(self, path: Path, source: FrameSource, first: int, last: int | None, timing: Timing = EVEN) -> None:
        self.info: VideoInfo = source.info._replace(time_base=timing.time_base)
        self.span: Span = timing.span
        self._path = path
        self._source = source
        self._first, self._last = first, last
        self._frames = islice(source.frames(), first, last)
        self._delivered = 0
        self._clock = Clock(self.info)

    @property
    def expected(self) -> int | None:
        """How many frames the range holds, as far as the file says; for a progress bar."""
        if self.info.frames is None:
            return None
        return len(range(self.info.frames)[self._first : self._last])

    def timed(self) -> Iterator[TimedFrame]:
        """The frames that are left, each with its timestamp in `info.tick`s: see `Clock` for how it is made."""
        while (frame := self._next()) is not None:
            yield frame

    def __next__(self) -> YuvFrame:
        frame = self._next()
        if frame is None:
            raise StopIteration
        return frame.frame

    def _next(self) -> TimedFrame | None:
        frame = next(self._frames, None)
        if frame is not None:
            self._delivered += 1
            return TimedFrame(frame.frame, self._clock.at(frame.pts))
        if not self._delivered:
            raise UsageError(
                f"{self._path} has no frames in {_range_text(self._first, self._last)}; frames count from 0"
            )
        return None

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _from_front(path: Path, first: int | None, last: int | None) -> tuple[int, int | None]:
    """The range with both ends counted from the film's beginning."""
    text = _range_text(first, last)
    if (first or 0) < 0 or (last or 0) < 0:
        first, last, _ = slice(first, last).indices(_count(path))
    first = first or 0
    if last is not None and last <= first:
        raise UsageError(f"the range {text} holds no frames; write A:B with A < B")
    return first, last


def _count(path: Path) -> int:
    """Frames in the film, by decoding them: what a file says of itself may be wrong."""
    source = open_source(path)
    try:
        return sum(1 for _ in source.frames())
    finally:
        source.close()


def _check_size(path: Path, info: VideoInfo, assume_erp: bool) -> None:
    size = f"{info.width}x{info.height}"
    if info.width % 2 or info.height % 2:
        raise UsageError(f"{path} is {size}; width and height must be even: crop or scale it first")
    if info.width != 2 * info.height and not assume_erp:
        raise UsageError(
            f"{path} is {size}, not 2:1 as an equirectangular film is; if it holds a whole sphere all the same, "
            f"use --assume-erp"
        )


def _range_text(first: int | None, last: int | None) -> str:
    return f"{'' if first is None else first}:{'' if last is None else last}"
