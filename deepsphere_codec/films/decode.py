"""Decoding of a `.dsc` file to a film or to RGB frames."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8

from deepsphere_codec.bitstream import StreamReader
from deepsphere_codec.errors import DamagedStream, UsageError
from deepsphere_codec.films.beside import SoundOut, tracks_of
from deepsphere_codec.films.gops import DecodeWork, records_by_gop
from deepsphere_codec.films.model import model_of
from deepsphere_codec.films.playback import Decode, Playback, ShownPicture
from deepsphere_codec.films.reports import DecodeReport
from deepsphere_codec.gop.stream_info import film_info
from deepsphere_codec.models import LoadedModel
from deepsphere_codec.runtime.progress import Progress
from deepsphere_codec.runtime.workers import Placement, thread_count, workers_at
from deepsphere_codec.video import FrameRange, Tracks, VideoWriter, create_video, yuv_to_rgb


def decode_video(
    path: str | Path | BinaryIO,
    *,
    frames: FrameRange | None = None,
    model: str | Path | LoadedModel | None = None,
    device: str = "cpu",
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Decode a `.dsc` file, one uint8 RGB frame at a time, in constant memory.

    Args:
        path: Path of the file, or a file open for reading in binary mode, which may be a pipe.
        frames: Half-open range of frames; decoding starts at the previous I-frame. None for all.
        model: Name, folder, or loaded model; None for the one that the stream names.
        device: Device of the networks, "cpu" or "cuda".
    Returns:
        Iterator over the frames in order of display, [height, width, 3], uint8.
    Raises:
        DamagedStream: the file is truncated or altered.
        IncompatibleStream: the model that wrote it is not installed.
        UsageError: the file cannot be read, or the range holds no frames.
    """
    with StreamReader(path) as stream:
        first, stop = _selection(frames, stream)
        work = DecodeWork(model_of(stream.header, model, device), stream.header, None, first, stop)
        info = film_info(stream.header)
        with _decoding(work, Placement()) as decode:
            for shown in Playback(stream, decode, info, first, stop).pictures():
                yield yuv_to_rgb(shown.picture, info)


def decode_to_file(
    input: str | Path | BinaryIO,
    output: str | Path,
    *,
    frames: FrameRange | None = None,
    size: tuple[int, int] | None = None,
    force: bool = False,
    keep_going: bool = False,
    model: str | Path | LoadedModel | None = None,
    device: str = "cpu",
    threads: int | None = None,
    workers: int = 1,
    cluster: str | None = None,
    on_progress: Progress | None = None,
) -> DecodeReport:
    """Decode a `.dsc` file into a film, which appears complete or not at all.

    Args:
        input: Path of the file, or a file open for reading in binary mode, which may be a pipe.
        output: `.mkv` (lossless) or `.mp4`, both with audio and tags, `.y4m`, or a folder for PNG frames.
        frames: Half-open range of frames; decoding starts at the previous I-frame. None for all.
        size: (width, height) of the decoded frames, 2:1 and even; None for the source's.
        force: Replace an existing output.
        keep_going: Continue after damages, which are listed in the report.
        model: Name, folder, or loaded model; None for the one that the stream names.
        device: Device of the networks, "cpu" or "cuda".
        threads: Number of torch's threads in each process; None for all processors.
        workers: Number of processes that decode GOPs in parallel.
        cluster: Address of a Ray cluster to use instead, or None.
        on_progress: Called with (frames done, total or None).
    Returns:
        Report of the decode.
    Raises:
        DamagedStream: the file is truncated or altered.
        IncompatibleStream: the model that wrote it is not installed.
        UsageError: the file cannot be read, the range holds no frames, the output exists, or the size is not 2:1.
    """
    place = Placement(workers, cluster, threads)
    with StreamReader(input, strict=not keep_going) as stream:
        first, stop = _selection(frames, stream)
        count = None if stop is None else stop - first
        info = film_info(stream.header, size)._replace(frames=count)
        tracks, damages = _tracks(stream, keep_going)
        with create_video(output, info, force=force, tracks=tracks) as writer:
            work = DecodeWork(
                model_of(stream.header, model, device), stream.header, size, first, stop, place.threads_of_each
            )
            to_end = stop is None or stop == stream.frame_count
            sound = SoundOut(tracks, info, from_start=first == 0, to_end=to_end)
            start = time.perf_counter()
            with _decoding(work, place) as decode:
                playback = Playback(stream, decode, info, first, stop, keep_going=keep_going)
                _write_film(playback, sound, writer, on_progress, count)
            if not writer.count:
                raise UsageError(f"{stream.name} has no frames in {_range_text(frames)}; it holds {stream.frame_count}")
    seconds = time.perf_counter() - start
    messages = [str(each) for each in (stream.damage, *damages, *playback.damages) if each]
    return DecodeReport(
        frames=writer.count,
        width=info.width,
        height=info.height,
        decode_seconds=seconds,
        frames_per_second=writer.count / seconds,
        filled=playback.filled,
        damages=tuple(dict.fromkeys(messages)),
        notes=tuple(writer.notes),
    )


@contextmanager
def _decoding(work: DecodeWork, place: Placement) -> Iterator[Decode]:
    """Create the function that decodes records: in this process one by one, or in workers GOP by GOP."""
    if place.is_here:
        with thread_count(place.threads):
            decoder = work.decoder()
            yield lambda records: work.decode(decoder, records)
    else:
        with workers_at(place, work) as on_tasks:
            yield lambda records: chain.from_iterable(on_tasks(records_by_gop(records)))


def _write_film(
    playback: Playback, sound: SoundOut, writer: VideoWriter, on_progress: Progress | None, count: int | None
) -> None:
    zero: int | None = None
    for event in playback.events():
        if isinstance(event, ShownPicture):
            zero = event.time if zero is None else zero
            writer.write(event.picture, event.time - zero)
            sound.shown(event.time)
            if on_progress:
                on_progress(writer.count, count)
        else:
            with playback.noting():
                sound.take(event)
        for packet in sound.due():
            writer.write_packet(packet)


def _tracks(stream: StreamReader, keep_going: bool) -> tuple[Tracks, list[DamagedStream]]:
    """Read audio tracks and tags; if they are damaged and `keep_going` is set, return none of them and the damage."""
    try:
        return tracks_of(stream.preface()), []
    except DamagedStream as damage:
        named = DamagedStream(f"{stream.name}: {damage}")
        if not keep_going:
            raise named from damage
        return Tracks(), [named]


def _selection(frames: FrameRange | None, stream: StreamReader) -> tuple[int, int | None]:
    """First frame of the range and its end (exclusive); None for the end of a stream of unknown length."""
    first, last = frames or (None, None)
    count = stream.frame_count
    if count is None:
        if (first or 0) < 0 or (last or 0) < 0:
            raise UsageError(f"{stream.name} does not say how many frames it holds; count {_range_text(frames)} from 0")
        selected = range(first or 0, max(first or 0, last or 0) if last is not None else (first or 0) + 1)
    else:
        selected = range(count)[slice(first, last)]
    if not selected:
        raise UsageError(f"{stream.name} has no frames in {_range_text(frames)}; it holds {count}, counted from 0")
    return selected.start, last if count is None else selected.stop


def _range_text(frames: FrameRange | None) -> str:
    return ":".join("" if end is None else str(end) for end in frames or (None, None))
