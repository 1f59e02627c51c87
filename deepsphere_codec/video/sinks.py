"""Writers of frames: a film written with PyAV, `.y4m`, or a folder of PNG files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from deepsphere_codec.frames import VideoInfo, YuvFrame
from deepsphere_codec.video.colour import yuv_to_rgb
from deepsphere_codec.video.mux import MATROSKA, MP4, Beside, Holder
from deepsphere_codec.video.spherical import mark_as_spherical
from deepsphere_codec.video.tags import tags_of
from deepsphere_codec.video.tracks import TrackPacket, Tracks


class VideoWriter(ABC):
    """Writer of a film's frames in order; created and finished by `create_video`."""

    def __init__(self, info: VideoInfo) -> None:
        self.info = info
        self.count = 0
        self.notes: list[str] = []
        """Sentences for the user about tracks and tags that are omitted, and why."""
        self._last_pts = -1

    def write(self, frame: YuvFrame, pts: int | None = None) -> None:
        """Append a frame.

        Args:
            frame: The picture.
            pts: Display time in `info.tick`s, from 0, increasing from frame to frame; None for even spacing at
                `info.fps`. `.mkv` rounds it to a millisecond; `.y4m` and folders cannot store it.
        Raises:
            ValueError: the size or dtype differs from what the film was created for, or the time does not increase.
        """
        if pts is None:
            pts = round(self.count / (self.info.fps * self.info.tick))
        if pts <= self._last_pts:
            raise ValueError(f"frame {self.count} has the time {pts}, that before it {self._last_pts}; times must grow")
        height, width = self.info.height, self.info.width
        expected = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
        shapes = tuple(plane.shape for plane in frame)
        if shapes != expected or any(plane.dtype != np.uint8 for plane in frame):
            raise ValueError(f"got planes {shapes} of {frame.y.dtype}, expected {expected} of uint8")
        self._write(frame, pts)
        self.count += 1
        self._last_pts = pts

    @abstractmethod
    def write_packet(self, packet: TrackPacket) -> None:
        """Append a packet of an audio track; a packet that the film cannot store is omitted.

        Frames and packets should be written roughly in order of presentation: those that are early wait in memory, or
        end up far in the file from what they are played with.

        Args:
            packet: Packet of a track given to `create_video`; its times count from the first frame.
        Raises:
            ValueError: there is no such track.
        """

    @abstractmethod
    def _write(self, frame: YuvFrame, pts: int) -> None: ...

    @abstractmethod
    def finish(self) -> None:
        """Write the frames still in the encoder, and the end of the file."""

    @abstractmethod
    def close(self) -> None:
        """Close the file, finished or not."""


class Encoder(NamedTuple):
    """A video encoder.

    Attributes:
        name: FFmpeg's name.
        options: Options of the encoder.
    """

    name: str
    options: Mapping[str, str]


FFV1 = Encoder("ffv1", {"level": "3", "slicecrc": "1"})
X264 = Encoder("libx264", {"crf": "12", "preset": "fast"})


class FilmWriter(VideoWriter):
    """Writer of a film with one video track, encoded with PyAV, and copied audio tracks.

    Args:
        path: Path of the film.
        info: Size, frame rate and colour.
        tracks: Audio tracks and tags.
        holder: Format of the film.
        encoder: Video encoder.
    """

    def __init__(self, path: Path, info: VideoInfo, tracks: Tracks, *, holder: Holder, encoder: Encoder) -> None:
        super().__init__(info)
        self._path = path
        self._open = True
        options = holder.options if tracks.audio else {}
        self._container = av.open(f"file:{path}", "w", format=holder.format, container_options=dict(options))
        self._stream = self._video_stream(encoder)
        self._duration = max(1, round(1 / (info.fps * info.tick)))  # counts for the last frame only
        self._beside = Beside(self._container, self._stream, tracks, holder)
        self.notes = self._beside.notes

    def _video_stream(self, encoder: Encoder) -> av.VideoStream:
        info = self.info
        stream = self._container.add_stream(encoder.name, rate=info.fps)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = info.width, info.height, "yuv420p"
        stream.options = dict(encoder.options)
        stream.thread_type = "AUTO"
        context = stream.codec_context
        context.time_base = info.tick
        context.color_range = _av_range(info)
        self._tags = tags_of(info.matrix, info.primaries, info.transfer)
        context.colorspace, context.color_primaries, context.color_trc = self._tags
        return stream

    def write_packet(self, packet: TrackPacket) -> None:
        """Append a packet of an audio track."""
        self._beside.write(packet)

    def _write(self, frame: YuvFrame, pts: int) -> None:
        planes = np.concatenate([plane.ravel() for plane in frame]).reshape(-1, self.info.width)
        picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        picture.pts, picture.time_base = pts, self.info.tick
        picture.duration = self._duration
        picture.color_range, picture.colorspace = _av_range(self.info), self._tags.matrix
        self._container.mux(self._stream.encode(picture))

    def finish(self) -> None:
        """Write the frames still in the encoder, and the end of the file."""
        self._container.mux(self._stream.encode(None))
        self.close()

    def close(self) -> None:
        """Close the file, finished or not."""
        if self._open:
            self._open = False
            self._container.close()


class MkvWriter(FilmWriter):
    """Writer of `.mkv` films with FFV1, which is lossless and has a checksum per slice.

    Args:
        path: Path of the film.
        info: Size, frame rate and colour.
        tracks: Audio tracks and tags.
    """

    def __init__(self, path: Path, info: VideoInfo, tracks: Tracks) -> None:
        super().__init__(path, info, tracks, holder=MATROSKA, encoder=FFV1)


class Mp4Writer(FilmWriter):
    """Writer of `.mp4` films with visually lossless H.264, marked as spherical for players.

    Args:
        path: Path of the film.
        info: Size, frame rate and colour.
        tracks: Audio tracks and tags.
    """

    def __init__(self, path: Path, info: VideoInfo, tracks: Tracks) -> None:
        super().__init__(path, info, tracks, holder=MP4, encoder=X264)

    def finish(self) -> None:
        """Write the end of the file and mark the film as spherical."""
        super().finish()
        mark_as_spherical(self._path)


class PlainWriter(VideoWriter):
    """Base of writers for formats without audio and tags.

    Args:
        path: Path of the output.
        info: Size, frame rate and colour.
        tracks: Audio tracks and tags, which are omitted with a note.
    """

    def __init__(self, path: Path, info: VideoInfo, tracks: Tracks) -> None:
        super().__init__(info)
        omitted = [f"{len(tracks.audio)} tracks of audio"] * bool(tracks.audio) + ["tags"] * bool(tracks.tags)
        if omitted:
            self.notes.append(f"{' and '.join(omitted)} are left out: only .mkv and .mp4 can hold them")

    def write_packet(self, packet: TrackPacket) -> None:
        """Ignore a packet, since the format has no audio."""


class Y4mWriter(PlainWriter):
    """Writer of `.y4m` (YUV4MPEG2) files: a line of text, then raw planes; the format cannot store the colour matrix.

    Args:
        path: Path of the file.
        info: Size, frame rate and colour.
        tracks: Audio tracks and tags, which are omitted with a note.
    """

    def __init__(self, path: Path, info: VideoInfo, tracks: Tracks) -> None:
        super().__init__(path, info, tracks)
        self._file = path.open("wb")
        name = "FULL" if info.full_range else "LIMITED"
        rate = f"F{info.fps.numerator}:{info.fps.denominator}"
        self._file.write(f"YUV4MPEG2 W{info.width} H{info.height} {rate} Ip A1:1 C420 XCOLORRANGE={name}\n".encode())

    def _write(self, frame: YuvFrame, pts: int) -> None:
        self._file.write(b"FRAME\n")
        for plane in frame:
            self._file.write(plane.tobytes())

    def finish(self) -> None:
        """Close the file."""
        self._file.close()

    def close(self) -> None:
        """Close the file, finished or not."""
        self._file.close()


class PngWriter(PlainWriter):
    """Writer of a folder of RGB pictures 000000.png, 000001.png, ...

    Args:
        folder: The folder, which exists.
        info: Size, frame rate and colour.
        tracks: Audio tracks and tags, which are omitted with a note.
    """

    def __init__(self, folder: Path, info: VideoInfo, tracks: Tracks) -> None:
        super().__init__(folder, info, tracks)
        self._folder = folder
        encoder = av.CodecContext.create("png", "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = info.width, info.height, "rgb24"
        encoder.time_base = 1 / info.fps
        encoder.thread_count = 1  # with more threads the encoder delays its output
        self._encoder = encoder

    def _write(self, frame: YuvFrame, pts: int) -> None:
        picture = av.VideoFrame.from_ndarray(yuv_to_rgb(frame, self.info), format="rgb24")
        picture.pts = self.count
        data = b"".join(bytes(packet) for packet in self._encoder.encode(picture))
        (self._folder / f"{self.count:06d}.png").write_bytes(data)

    def finish(self) -> None:
        """Do nothing: every picture is a file of its own."""

    def close(self) -> None:
        """Do nothing: every picture is a file of its own."""


def _av_range(info: VideoInfo) -> int:
    return 2 if info.full_range else 1
