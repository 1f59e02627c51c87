"""A film in, a `.dsc` file out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from deepsphere_codec.bitstream import CodedFrame, Partial, StreamWriter, read_partial
from deepsphere_codec.bitstream.layout import KEYFRAME
from deepsphere_codec.codec import PRESET, VideoEncoder, check_quality
from deepsphere_codec.errors import DamagedStream, UsageError
from deepsphere_codec.films.beside import SoundIn, preface_of
from deepsphere_codec.films.gops import EncodeWork
from deepsphere_codec.films.model import loaded
from deepsphere_codec.films.reports import EncodeReport
from deepsphere_codec.gop.grouping import Group, Grouping, gops_of, groups_of
from deepsphere_codec.gop.lookahead import ContentLookahead, LowDelay
from deepsphere_codec.models import DEFAULT_MODEL, LoadedModel
from deepsphere_codec.runtime.atomic import atomic_output, resumable_output
from deepsphere_codec.runtime.progress import Progress
from deepsphere_codec.runtime.workers import Placement, thread_count, workers_at
from deepsphere_codec.video import (
    FrameRange,
    TimedFrame,
    TrackPacket,
    Tracks,
    VideoReader,
    open_video,
    read_grey,
    read_packets,
    read_tracks,
)

Encode = Callable[[Iterable[Group]], Iterator[CodedFrame]]


class _Output(NamedTuple):
    """Where a stream goes.

    Attributes:
        begun: What is there already; None where nothing is.
        name: For messages.
    """

    file: BinaryIO
    begun: Partial | None
    name: str


def encode_video(
    input: str | Path,
    output: str | Path | BinaryIO,
    *,
    model: str | Path | LoadedModel = DEFAULT_MODEL,
    quality: float = 4.0,
    nside: int | None = None,
    gop_size: int = 32,
    low_delay: bool = False,
    quality_map: str | Path | None = None,
    preset: str = PRESET,
    frames: FrameRange | None = None,
    force: bool = False,
    resume: bool = False,
    pictures_only: bool = False,
    assume_erp: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    workers: int = 1,
    cluster: str | None = None,
    on_progress: Progress | None = None,
) -> EncodeReport:
    """Code a film into a `.dsc` file, which appears whole or not at all.

    Args:
        input: Anything `open_video` reads.
        output: The file to write; or one open for writing in binary mode, such as a pipe, into which each frame goes as
            soon as it is coded.
        model: A name, a folder, or a loaded model (whose device then counts).
        quality, nside, gop_size, preset: See `VideoEncoder`.
        quality_map: Grey PNG of a whole ERP: quality is as asked where it is 128, and one higher where it is 16 more.
        low_delay: Code each frame as soon as it is read, from frames before it alone; without B-frames.
        frames: Half-open range of source frames; all unless given.
        force: Replace an existing output.
        resume: Keep what is coded beside the output, as OUTPUT.part, until it is whole; and go on where such a file
            ends. The output is the same byte for byte as one that was never interrupted.
        pictures_only: Leave out audio and tags.
        assume_erp: Take a film that is not 2:1 for a whole ERP.
        threads: For torch, during this call; in each process.
        workers: Processes that code GOPs at once, each of which holds one or two GOPs of pictures.
        cluster: Address of a Ray cluster that codes them instead.
        on_progress: Called with (frames done, frames in all or None).
    Raises:
        UsageError: an argument is out of range, the input cannot be read or has no frames, the output exists, or what
            is to be resumed was written from another film or otherwise.
    """
    input, place = Path(input), Placement(workers, cluster, threads)
    check_quality(quality)  # before anything slow
    grey = None if quality_map is None else read_grey(quality_map)
    _check_not_input(input, output)
    with open_video(input, assume_erp=assume_erp, frames=frames) as reader, _opened(output, force, resume) as target:
        tracks = Tracks() if pictures_only else read_tracks(input)
        work = EncodeWork(
            loaded(model, device), reader.info, quality, nside, gop_size, grey, preset, place.threads_of_each
        )
        with _encoding(work, place) as (encoder, encode):
            start = time.perf_counter()
            sound = SoundIn(_packets(input, reader, tracks), tracks, reader.info)
            film = _Film(reader, reader.timed(), tracks, sound)
            grouping = Grouping(gop_size, LowDelay() if low_delay else ContentLookahead())
            if target.begun:
                _skip(film, encoder, target, target.begun)
            coded = encode(groups_of(film.frames, grouping))
            written = _write_stream(film, encoder, coded, target, on_progress)
            seconds = time.perf_counter() - start
    header = encoder.header
    return EncodeReport(
        frames=written.frames,
        width=header.width,
        height=header.height,
        nside=header.nside,
        model=header.model,
        quality=float(quality),
        bytes=written.size,
        bpp=(written.size - written.beside) * 8 / (written.frames * header.width * header.height),
        encode_seconds=seconds,
        frames_per_second=(written.frames - written.before) / seconds,
        notes=tuple(tracks.notes),
    )


class _Film(NamedTuple):
    """What is still to be coded of a film."""

    reader: VideoReader
    frames: Iterator[TimedFrame]
    tracks: Tracks
    sound: SoundIn


class _Written(NamedTuple):
    """A stream: its frames, those that were there before, its bytes, those beside the frames."""

    frames: int
    before: int
    size: int
    beside: int


@contextmanager
def _opened(output: str | Path | BinaryIO, force: bool, resume: bool) -> Iterator[_Output]:
    if not isinstance(output, str | Path):
        if resume:
            raise UsageError("what goes into a pipe cannot be resumed; name a file")
        yield _Output(output, None, "the output")
    elif resume:
        with resumable_output(output, force=force) as (file, name):
            begun = _begun(file, name)
            if begun is None:
                file.seek(0)
                file.truncate()
            yield _Output(file, begun, name)
    else:
        with atomic_output(output, force=force) as place, place.open("wb") as file:
            yield _Output(file, None, str(output))


def _begun(file: BinaryIO, name: str) -> Partial | None:
    try:
        return read_partial(file)
    except DamagedStream as damage:
        raise UsageError(f"{name} is there and not what an encode left: {damage}; remove it") from damage


@contextmanager
def _encoding(work: EncodeWork, place: Placement) -> Iterator[tuple[VideoEncoder, Encode]]:
    """An encoder of this process, and what codes groups, here, as they come, or elsewhere, GOP by GOP."""
    if place.is_here:
        encoder = work.encoder()
        with thread_count(place.threads):
            yield encoder, lambda groups: chain.from_iterable(map(encoder.encode_group, groups))
    else:
        with workers_at(place, work) as on_tasks:
            encoder = work.encoder()
            yield encoder, lambda groups: chain.from_iterable(on_tasks(gops_of(groups)))


def _write_stream(
    film: _Film,
    encoder: VideoEncoder,
    frames: Iterable[CodedFrame],
    output: _Output,
    on_progress: Progress | None,
) -> _Written:
    writer = StreamWriter(output.file, encoder.header, output.begun)
    if not output.begun:
        for other in preface_of(film.tracks):
            writer.write_other(other)
    before, latest = writer.frame_count, 0
    for coded in frames:
        for other in film.sound.rest_of_gop() if coded.kind == KEYFRAME else ():
            writer.write_other(other)
        written = writer.write(coded.kind, coded.payload, coded.check, coded.time, coded.position.span)
        latest = max(latest, written.ticks)
        for other in film.sound.until(latest) if writer.is_whole else ():
            writer.write_other(other)
        output.file.flush()
        if on_progress:
            on_progress(writer.frame_count, film.reader.expected)
    for other in film.sound.rest():
        writer.write_other(other)
    writer.close()
    output.file.flush()
    return _Written(writer.frame_count, before, writer.size, writer.beside)


def _skip(film: _Film, encoder: VideoEncoder, output: _Output, begun: Partial) -> None:
    """Pass over what is coded already; the last I-frame of it is coded once more, to see that the rest will fit."""
    there, due = asdict(begun.header), asdict(encoder.header)
    if differing := [key for key in due if due[key] != there[key]]:
        raise UsageError(f"{output.name} was written with another {', '.join(differing)}; use the same, or remove it")
    if [other[:2] for other in begun.preface] != [other[:2] for other in preface_of(film.tracks)]:
        raise UsageError(f"{output.name} was written with other audio or tags; use the same, or remove it")
    number = -1
    for number, frame in zip(range(begun.frames), film.frames, strict=False):
        film.sound.until(frame.pts)
        if number == begun.keyframe.number:
            (coded,) = encoder.encode_group(Group([frame], is_key=True))
            if (coded.payload, coded.check) != (begun.keyframe.payload, begun.keyframe.check):
                raise UsageError(f"{output.name} was written from another film, or on another machine; remove it")
    if number < begun.frames - 1:
        raise UsageError(f"{output.name} holds more frames than the film; remove it")
    film.sound.rest_of_gop()
    output.file.truncate(begun.size)
    output.file.seek(begun.size)


def _packets(input: Path, reader: VideoReader, tracks: Tracks) -> Iterator[TrackPacket]:
    return read_packets(input, reader.span) if tracks.audio else iter(())


def _check_not_input(input: Path, output: str | Path | BinaryIO) -> None:
    if isinstance(output, str | Path) and Path(output).exists() and input.exists() and Path(output).samefile(input):
        raise UsageError(f"{output} is the input itself; name another output")
