"""Whole films: a film in, an `.ssf` file out, and back."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from deepsphere_codec.errors import IncompatibleStream, UsageError
from deepsphere_codec.evaluation.anchors.ssf2020.coding import Picture, SsfDecoder, SsfEncoder, film_info
from deepsphere_codec.evaluation.anchors.ssf2020.container import Frame, SsfHeader, pack, unpack
from deepsphere_codec.evaluation.anchors.ssf2020.weights import RELEASED, LoadedSsf, load_ssf, quality_folders
from deepsphere_codec.runtime.atomic import atomic_output
from deepsphere_codec.runtime.progress import Progress
from deepsphere_codec.video import VideoInfo, create_video, open_video

FrameRange = tuple[int | None, int | None]


class OfType(NamedTuple):
    """Frames of one type, and the bytes of their payloads."""

    frames: int
    bytes: int


class SsfEncodeReport(NamedTuple):
    """What an encode did.

    Attributes:
        encode_seconds: From the first frame read to the last one coded; loading the network is left out.
        i_frames, p_frames: What the frames took.
        pictures: SHA-256, hex, of all decoded pictures as the network sees them, to the last bit.
    """

    frames: int
    width: int
    height: int
    quality: int
    bytes: int
    bpp: float
    encode_seconds: float
    i_frames: OfType
    p_frames: OfType
    pictures: str


class SsfDecodeReport(NamedTuple):
    """What a decode did; `pictures` is that of the encode if it went right."""

    frames: int
    width: int
    height: int
    decode_seconds: float
    pictures: str


def encode_film(
    input: Path,
    output: Path,
    *,
    weights: Path = RELEASED,
    quality: int | None = None,
    gop: int = 32,
    frames: FrameRange | None = None,
    threads: int = 1,
    force: bool = False,
    on_progress: Progress | None = None,
) -> SsfEncodeReport:
    """Code a film into an `.ssf` file, which appears whole or not at all.

    Args:
        weights: Folder `quality-N`, or one of several such.
        quality: Which of several.
        gop: Frames from I-frame to I-frame.
        frames: Half-open range of source frames; all unless given.
        threads: Of torch; whoever decodes needs as many.
    Raises:
        UsageError: an argument is out of range, the input cannot be read, there are no such weights, the output exists.
    """
    if gop < 1 or threads < 1:
        raise UsageError(f"gop is {gop}, threads {threads}: expected 1 or more of each")
    with (
        open_video(input, frames=frames) as reader,
        atomic_output(output, force=force) as place,
        _torch_threads(threads),
    ):
        loaded = load_ssf(_folder_of(weights, quality))
        encoder, digest, coded = SsfEncoder(loaded.network, reader.info, gop), hashlib.sha256(), []
        start = time.perf_counter()
        for frame in reader:
            coded.append(encoder.encode(frame))
            _add(digest, encoder.x_ref)
            if on_progress:
                on_progress(len(coded), reader.expected)
        seconds = time.perf_counter() - start
        data = pack(_header(reader.info, loaded, len(coded), gop, threads), coded)
        place.write_bytes(data)
    info = reader.info
    bpp = len(data) * 8 / (len(coded) * info.width * info.height)
    return SsfEncodeReport(
        frames=len(coded),
        width=info.width,
        height=info.height,
        quality=loaded.quality,
        bytes=len(data),
        bpp=bpp,
        encode_seconds=seconds,
        i_frames=_of_type(coded, "I"),
        p_frames=_of_type(coded, "P"),
        pictures=digest.hexdigest(),
    )


def decode_film(
    input: Path,
    output: Path,
    *,
    weights: Path = RELEASED,
    threads: int | None = None,
    force: bool = False,
    on_progress: Progress | None = None,
) -> SsfDecodeReport:
    """Decode an `.ssf` file into a film, which appears whole or not at all.

    Args:
        output: As `create_video` takes it.
        weights: Folder of those that coded it, or of several such.
        threads: Of torch; as many as the file was written with unless given.
    Raises:
        DamagedStream: the file is truncated or altered.
        IncompatibleStream: these are other weights than those that coded it.
        UsageError: the file cannot be read, there are no weights, the output exists.
    """
    header, frames = unpack(_read(input), str(input))
    info = film_info(header)
    with create_video(output, info, force=force) as writer, _torch_threads(threads or header.threads):
        loaded = _weights_of(header, weights, input)
        decoder, digest = SsfDecoder(loaded.network, info), hashlib.sha256()
        start = time.perf_counter()
        for done, frame in enumerate(frames, 1):
            writer.write(decoder.decode(frame))
            _add(digest, decoder.x_ref)
            if on_progress:
                on_progress(done, len(frames))
        seconds = time.perf_counter() - start
    return SsfDecodeReport(len(frames), info.width, info.height, seconds, digest.hexdigest())


def _folder_of(weights: Path, quality: int | None) -> Path:
    found = quality_folders(weights)
    if quality is None and len(found) == 1:
        return next(iter(found.values()))
    if quality not in found:
        raise UsageError(f"{weights} has no quality {quality}; it has {', '.join(map(str, found))}")
    return found[quality]


def _weights_of(header: SsfHeader, weights: Path, input: Path) -> LoadedSsf:
    try:
        found = quality_folders(weights)
    except UsageError as error:
        raise IncompatibleStream(f"{input} needs weights to be decoded: {error}") from error
    if header.quality not in found:
        raise IncompatibleStream(f"{input} needs quality {header.quality}; {weights} has {', '.join(map(str, found))}")
    loaded = load_ssf(found[header.quality])
    if loaded.weights_hash != header.weights_hash:
        raise IncompatibleStream(
            f"{input} was written with the weights {header.weights_hash[:12]}…, {found[header.quality]} holds "
            f"{loaded.weights_hash[:12]}…; name those with --weights"
        )
    return loaded


def _header(info: VideoInfo, loaded: LoadedSsf, frames: int, gop: int, threads: int) -> SsfHeader:
    try:
        return SsfHeader(
            width=info.width,
            height=info.height,
            fps_num=info.fps.numerator,
            fps_den=info.fps.denominator,
            gop=gop,
            frames=frames,
            threads=threads,
            quality=loaded.quality,
            full_range=info.full_range,
            weights_hash=loaded.weights_hash,
            matrix=info.matrix,
        )
    except ValueError as error:
        raise UsageError(f"an .ssf file cannot hold this: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error


def _add(digest: hashlib._Hash, x_hat: Picture | None) -> None:
    assert x_hat is not None
    digest.update(x_hat.contiguous().numpy().data)


def _of_type(frames: Sequence[Frame], frame_type: str) -> OfType:
    sizes = [sum(map(len, frame.strings)) for frame in frames if frame.frame_type == frame_type]
    return OfType(len(sizes), sum(sizes))


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
