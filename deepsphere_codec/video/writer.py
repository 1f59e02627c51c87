"""Writing of films, with the format chosen by the suffix; outputs appear complete or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av

from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.frames import VideoInfo
from deepsphere_codec.runtime.atomic import NO_ROOM, atomic_folder, atomic_output
from deepsphere_codec.video.sinks import MkvWriter, Mp4Writer, PngWriter, VideoWriter, Y4mWriter
from deepsphere_codec.video.tracks import Tracks

FILM_WRITERS = {".mkv": MkvWriter, ".mp4": Mp4Writer, ".y4m": Y4mWriter}

OTHER_SUFFIXES = set(".avi .mov .webm .m4v .ts .mpg .yuv .gif .png .jpg .jpeg .dsc".split())
"""Suffixes of files; a path with one of these is not treated as a folder."""


@contextmanager
def create_video(
    path: str | Path, info: VideoInfo, *, force: bool = False, tracks: Tracks | None = None
) -> Iterator[VideoWriter]:
    """Create a film to write frames into; it appears under its name when the block ends without an exception.

    Args:
        path: `.mkv` (FFV1, lossless), `.mp4` (H.264, visually lossless, marked as spherical), `.y4m` (raw planes), or
            a folder for PNG frames in RGB.
        info: Size, frame rate and colour; the number of frames in it is not used.
        force: Replace an existing file, or a folder that holds nothing but PNG files.
        tracks: Tags, and the audio tracks whose packets will be given to `VideoWriter.write_packet`;
            `VideoWriter.notes` lists what cannot be stored.
    Returns:
        Context manager with the writer.
    Raises:
        UsageError: the output exists, cannot be written, has a suffix that is not supported, or gets no frame.
        CodecError: the disk is full, or FFmpeg cannot write the film.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in OTHER_SUFFIXES:
        raise UsageError(f"{path}: {suffix} files are not written; use .mkv, .mp4, .y4m or a folder for PNG frames")
    maker = FILM_WRITERS.get(suffix, PngWriter)
    place = atomic_folder(path, force=force, suffix=".png") if maker is PngWriter else atomic_output(path, force=force)
    with place as temporary:
        writer = maker(temporary, info, tracks or Tracks())
        try:
            yield writer
            if not writer.count:
                raise UsageError(f"{path} got no frames; nothing was written")
            writer.finish()
        except BaseException as error:
            with suppress(Exception):  # the first error is the one to report
                writer.close()
            if isinstance(error, av.FFmpegError) and error.errno not in NO_ROOM:
                raise CodecError(
                    f"{path} cannot be written: {error.strerror}; choose another kind of output"
                ) from error
            raise
