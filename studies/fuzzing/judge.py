"""Decoding of one file with a record of its outcome, time and memory."""

from __future__ import annotations

import io
import resource
import signal
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NamedTuple, NoReturn, cast

from deepsphere_codec.bitstream import StreamReader
from deepsphere_codec.codec import VideoDecoder
from deepsphere_codec.errors import CodecError, DamagedStream, IncompatibleStream, UsageError
from deepsphere_codec.films import decode_to_file, decode_video
from deepsphere_codec.gop.stream_info import film_info
from deepsphere_codec.models import LoadedModel
from deepsphere_codec.video import yuv_to_rgb
from studies.fuzzing.films import LARGEST_NSIDE, PIXELS, Models

WHOLE, PARTLY, LARGE = "decoded whole", "decoded past damages", "larger than is decoded here"
KINDS = (DamagedStream, IncompatibleStream, UsageError)
MIB = 1 << 20
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

Decode = Callable[[bytes], str]


class Verdict(NamedTuple):
    """Outcome of decoding a file.

    Attributes:
        ending: How it was decoded, or the name of the project's error; "" for a failure.
        failure: Cause and location of a failure; "" if there was none.
        seconds: Processor time.
        peak: Additional memory of the process while decoding, bytes.
    """

    ending: str
    failure: str
    seconds: float
    peak: int


class _TooLong(BaseException):
    """Raised when the time is up; not caught by `except Exception`."""


class Judge:
    """Runs a decoder on files within limits.

    Args:
        decode: Decoder; returns how decoding ended, or raises.
        seconds: Limit of processor time per file.
        memory: Limit of additional memory, bytes; None for no limit.
    """

    def __init__(self, decode: Decode, seconds: float, memory: int | None = None) -> None:
        self._decode, self._seconds, self._memory = decode, seconds, memory

    def __call__(self, data: bytes) -> Verdict:
        before = memory_now()
        start = time.process_time()
        ending = failure = ""
        try:
            with _within(self._seconds), _memory_limit(self._memory):
                ending = self._decode(data)
        except CodecError as error:
            ending = type(error).__name__
            if type(error) not in KINDS:
                failure = f"an error of no kind that a file may lead to\n{traceback.format_exc()}"
        except _TooLong:
            failure = f"more than {self._seconds:g} s\n{traceback.format_exc()}"
        except Exception:
            failure = traceback.format_exc()
        seconds, peak = time.process_time() - start, max(0, peak_memory() - before)
        if not failure and self._memory is not None and peak > self._memory:
            failure = f"{peak / MIB:.0f} MiB of memory, more than {self._memory / MIB:.0f}"
        return Verdict("" if failure else ending, failure, seconds, peak)


def decoder_of(models: Models, folder: Path) -> Decode:
    """Make a decoder that uses one of five ways, chosen by the file's bytes.

    The ways are: whole, to films past damaged parts, without and with audio, from a pipe, and frame by frame without
    comparing checks, so that changed payloads are decoded to pictures too.

    Args:
        models: Models by name.
        folder: Folder for the films.
    Returns:
        Decoder.
    """
    ways = (_whole, _from_a_pipe, _unchecked, _film(folder / "film.y4m"), _film(folder / "film.mkv"))

    def decode(data: bytes) -> str:
        with StreamReader(io.BytesIO(data), strict=False) as stream:
            header = stream.header
        if header.width * header.height > PIXELS or header.nside > LARGEST_NSIDE:
            return LARGE
        return ways[zlib.crc32(data) % len(ways)](data, models.get(header.model))

    return decode


@contextmanager
def _memory_limit(room: int | None) -> Iterator[None]:
    """Limit additional address space; beyond the limit allocations raise MemoryError."""
    if room is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_in_status("VmSize") + room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _whole(data: bytes, model: LoadedModel | None) -> str:
    return _shown(io.BytesIO(data), model)


def _from_a_pipe(data: bytes, model: LoadedModel | None) -> str:
    return _shown(cast(BinaryIO, _Pipe(data)), model)


def _shown(file: BinaryIO, model: LoadedModel | None) -> str:
    for picture in decode_video(file, model=model):
        assert picture.dtype == "uint8" and picture.ndim == 3
    return WHOLE


def _unchecked(data: bytes, model: LoadedModel | None) -> str:
    """Decode like a player that ignores wrong checks."""
    damages: list[DamagedStream] = []
    with StreamReader(io.BytesIO(data), strict=False) as stream:
        if model is None:
            return _whole(data, model)
        decoder = VideoDecoder(stream.header, model)
        for frame in stream.frames(on_damage=damages.append):
            try:
                yuv_to_rgb(decoder.frame(decoder.decode(frame.position, frame.payload)), film_info(stream.header))
            except DamagedStream as damage:
                damages.append(damage)
    return PARTLY if damages else WHOLE


def _film(place: Path) -> Callable[[bytes, LoadedModel | None], str]:
    def decode(data: bytes, model: LoadedModel | None) -> str:
        report = decode_to_file(io.BytesIO(data), place, model=model, keep_going=True, force=True)
        return PARTLY if report.damages else WHOLE

    return decode


class _Pipe(io.RawIOBase):
    """Stream that can be read in order only."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise _TooLong after the given processor time."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise _TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def memory_now() -> int:
    """Return the memory of the process in bytes and reset its peak."""
    with suppress(OSError):  # not Linux, or not permitted: the peak is then that of the whole run
        _CLEAR.write_text("5")
        return _in_status("VmRSS")
    return peak_memory()


def peak_memory() -> int:
    """Return the peak memory since `memory_now`, bytes."""
    try:
        return _in_status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _in_status(name: str) -> int:
    """Value of the process status in bytes."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
