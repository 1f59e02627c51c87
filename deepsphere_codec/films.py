"""Whole films: a file in, a file out, one frame at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8

from deepsphere_codec.atomic import atomic_output
from deepsphere_codec.bitstream import Header, StreamReader, StreamWriter
from deepsphere_codec.codec import VideoDecoder, VideoEncoder, check_quality, film_info
from deepsphere_codec.errors import IncompatibleStream, UsageError
from deepsphere_codec.models import DEFAULT_MODEL, LoadedModel, list_models, load_model
from deepsphere_codec.playback import Playback
from deepsphere_codec.progress import Progress
from deepsphere_codec.video import VideoReader, create_video, open_video, yuv_to_rgb

FrameRange = tuple[int | None, int | None]
"""Half-open, as a Python slice: (None, None) is every frame."""


class EncodeReport(NamedTuple):
    """What an encode did; the seconds run from the first frame read to the file's end, model loading left out."""

    frames: int
    width: int
    height: int
    nside: int
    model: str
    quality: float
    bytes: int
    bpp: float
    encode_seconds: float
    frames_per_second: float


class DecodeReport(NamedTuple):
    """What a decode did; frames are those written, the seconds include those decoded on the way to the first.

    Frames that were lost to damage are filled with others, and counted in `filled`; `damages` says what is damaged.
    """

    frames: int
    width: int
    height: int
    decode_seconds: float
    frames_per_second: float
    filled: int = 0
    damages: tuple[str, ...] = ()


def encode_video(
    input: str | Path,
    output: str | Path,
    *,
    model: str | Path | LoadedModel = DEFAULT_MODEL,
    quality: float = 4.0,
    nside: int | None = None,
    gop_size: int = 32,
    frames: FrameRange | None = None,
    force: bool = False,
    assume_erp: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    on_progress: Progress | None = None,
) -> EncodeReport:
    """Code a film into a `.dsc` file, which appears whole or not at all.

    Args:
        input: Anything `open_video` reads.
        output: The file to write.
        model: A name, a folder, or a loaded model (whose device then counts).
        quality, nside, gop_size: See `VideoEncoder`.
        frames: Half-open range of source frames; all unless given.
        force: Replace an existing output.
        assume_erp: Take a film that is not 2:1 for a whole ERP.
        threads: For torch, during this call.
        on_progress: Called with (frames done, frames in all or None).
    Raises:
        UsageError: an argument is out of range, the input cannot be read or has no frames, the output exists.
    """
    input, output = Path(input), Path(output)
    check_quality(quality)  # before anything slow
    if output.exists() and input.exists() and output.samefile(input):
        raise UsageError(f"{output} is the input itself; name another output")
    with open_video(input, assume_erp=assume_erp, frames=frames) as reader, atomic_output(output, force=force) as place:
        loaded = _loaded(model, device)
        with _thread_count(threads), place.open("wb") as file:
            encoder = VideoEncoder(loaded, reader.info, quality=quality, nside=nside, gop_size=gop_size)
            start = time.perf_counter()
            count = _encode_all(reader, encoder, file, on_progress)
    seconds = time.perf_counter() - start
    header, size = encoder.header, output.stat().st_size
    bpp = size * 8 / (count * header.width * header.height)
    return EncodeReport(
        frames=count,
        width=header.width,
        height=header.height,
        nside=header.nside,
        model=header.model,
        quality=float(quality),
        bytes=size,
        bpp=bpp,
        encode_seconds=seconds,
        frames_per_second=count / seconds,
    )


def decode_video(
    path: str | Path | BinaryIO,
    *,
    frames: FrameRange | None = None,
    model: str | Path | LoadedModel | None = None,
    device: str = "cpu",
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Decode a `.dsc` file, one uint8 RGB frame at a time, in constant memory.

    Args:
        path: The file, or one open for reading in binary mode, which may be a pipe.
        frames: Half-open range; decoding starts at the I-frame before it.
        model: The one the stream names, unless given.
    Raises:
        DamagedStream: the file is truncated or altered.
        IncompatibleStream: this installation has not the model that wrote it.
        UsageError: the file cannot be read, or the range holds no frames.
    """
    with StreamReader(path) as stream:
        first, stop = _selection(frames, stream)
        decoder = VideoDecoder(stream.header, _model_of(stream.header, model, device))
        for frame in Playback(stream, decoder, first, stop).frames():
            yield yuv_to_rgb(frame, decoder.info)


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
    on_progress: Progress | None = None,
) -> DecodeReport:
    """Decode a `.dsc` file into a film, which appears whole or not at all.

    Args:
        input: The file, or one open for reading in binary mode, which may be a pipe.
        output: `.mkv` (lossless), `.mp4`, `.y4m`, or a folder of PNG.
        size: (width, height), 2:1 and even; the source's unless given.
        keep_going: Go past damages; the report tells of them.
        frames, model: See `decode_video`; the others as in `encode_video`.
    Raises:
        As `decode_video`; UsageError also for an existing output or a size that is not 2:1.
    """
    with StreamReader(input, strict=not keep_going) as stream:
        first, stop = _selection(frames, stream)
        count = None if stop is None else stop - first
        info = film_info(stream.header, size)._replace(frames=count)
        with create_video(output, info, force=force) as writer, _thread_count(threads):
            decoder = VideoDecoder(stream.header, _model_of(stream.header, model, device), size=size)
            playback = Playback(stream, decoder, first, stop, keep_going=keep_going)
            start, done = time.perf_counter(), 0
            for done, frame in enumerate(playback.frames(), 1):
                writer.write(frame)
                if on_progress:
                    on_progress(done, count)
            if not done:
                raise UsageError(f"{stream.name} has no frames in {_range_text(frames)}; it holds {stream.frame_count}")
    seconds = time.perf_counter() - start
    damages = [str(each) for each in (stream.damage, *playback.damages) if each]
    return DecodeReport(
        done, info.width, info.height, seconds, done / seconds, playback.filled, tuple(dict.fromkeys(damages))
    )


def _encode_all(reader: VideoReader, encoder: VideoEncoder, file: BinaryIO, on_progress: Progress | None) -> int:
    writer = StreamWriter(file, encoder.header)
    count = 0
    for count, frame in enumerate(reader, 1):
        coded = encoder.encode(frame)
        writer.write(coded.frame_type, coded.payload, coded.check)
        if on_progress:
            on_progress(count, reader.expected)
    writer.close()
    return count


def _loaded(model: str | Path | LoadedModel, device: str) -> LoadedModel:
    return load_model(model, device=device) if isinstance(model, str | Path) else model


def _model_of(header: Header, model: str | Path | LoadedModel | None, device: str) -> LoadedModel:
    if model is not None:
        return _loaded(model, device)
    installed = [card["name"] for card in list_models()]
    if header.model not in installed:  # a file must not choose a folder to load from
        raise IncompatibleStream(
            f"the stream needs the model {header.model!r}, installed: {', '.join(installed) or 'none'}; "
            f"name its folder with --model"
        )
    return load_model(header.model, device=device)


def _selection(frames: FrameRange | None, stream: StreamReader) -> tuple[int, int | None]:
    """The first frame wanted and the one after the last; None where the stream does not say how many it holds."""
    first, last = frames or (None, None)
    count = stream.frame_count
    if count is None:
        if (first or 0) < 0 or (last or 0) < 0:
            raise UsageError(f"{stream.name} does not say how many frames it holds; count {_range_text(frames)} from 0")
        wanted = range(first or 0, max(first or 0, last or 0) if last is not None else (first or 0) + 1)
    else:
        wanted = range(count)[slice(first, last)]
    if not wanted:
        raise UsageError(f"{stream.name} has no frames in {_range_text(frames)}; it holds {count}, counted from 0")
    return wanted.start, last if count is None else wanted.stop


def _range_text(frames: FrameRange | None) -> str:
    return ":".join("" if end is None else str(end) for end in frames or (None, None))


@contextmanager
def _thread_count(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
