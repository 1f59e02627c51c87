"""Where frames go: a film that PyAV writes, `.y4m`, or a folder of PNG files."""

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
    """Takes frames in order. `create_video` makes it, and ends it."""

    def __init__(self, info: VideoInfo) -> None:
        self.info = info
        self.count = 0
        self.notes: list[str] = []
        """What of the tracks given to `create_video` is left out, and why; a sentence each, for the user."""
        self._last_pts = -1

    def write(self, frame: YuvFrame, pts: int | None = None) -> None:
        """Append a frame.

        Args:
            frame: The picture.
            pts: When it is shown, in `info.tick`s, from 0, growing from frame to frame; evenly at `info.fps` unless
                given. `.mkv` rounds it to a thousandth of a second; `.y4m` and folders cannot hold it.
        Raises:
            ValueError: the size or type differs from what the film was created for, or the time does not grow.
        """
        if pts is None:
            pts = round(self.count / (self.info.fps * self.info.tick))
        if pts <= self._last_pts:
            raise ValueError(f"frame {self.count} has the time {pts}, that before it {self._last_pts}; times must grow")
        height, width = self.info.height, self.info.width
        expected = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
        got = tuple(plane.shape for plane in frame)
        if got != expected or any(plane.dtype != np.uint8 for plane in frame):
            raise ValueError(f"got planes {got} of {frame.y.dtype}, expected {expected} of uint8")
        self._write(frame, pts)
        self.count += 1
        self._last_pts = pts

    @abstractmethod
    def write_packet(self, packet: TrackPacket) -> None:
        """Append a packet of an audio track; what the film cannot hold is left out.

        Frames and packets are to come about as they are shown: what runs ahead waits in memory, or lies far in the file
        from what it sounds with.

        Args:
            packet: Of a track given to `create_video`; its times count from the first frame.
        Raises:
            ValueError: it is of another track.
        """

    @abstractmethod
    def _write(self, frame: YuvFrame, pts: int) -> None: ...

    @abstractmethod
    def finish(self) -> None:
        """Write what is still held back, and what belongs at the end."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file, finished or not."""


class Encoder(NamedTuple):
    name: str
    options: Mapping[str, str]


FFV1 = Encoder("ffv1", {"level": "3", "slicecrc": "1"})
X264 = Encoder("libx264", {"crf": "12", "preset": "fast"})


class FilmWriter(VideoWriter):
    """One track of pictures through PyAV, and audio as it is."""

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
        self._beside.write(packet)

    def _write(self, frame: YuvFrame, pts: int) -> None:
        planes = np.concatenate([plane.ravel() for plane in frame]).reshape(-1, self.info.width)
        picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        picture.pts, picture.time_base = pts, self.info.tick
        picture.duration = self._duration
        picture.color_range, picture.colorspace = _av_range(self.info), self._tags.matrix
        self._container.mux(self._stream.encode(picture))

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))
        self.close()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._container.close()


class MkvWriter(FilmWriter):
    """FFV1: every sample is kept, and each slice carries a checksum."""

    def __init__(self, path: Path, info: VideoInfo, tracks: Tracks) -> None:
        super().__init__(path, info, tracks, holder=MATROSKA, encoder=FFV1)


class Mp4Writer(FilmWriter):
    """H.264 that the eye cannot tell from its source, marked for players as a sphere."""

    def __init__(self, path: Path, info: VideoInfo, tracks: Tracks) -> None:
        super().__init__(path, info, tracks, holder=MP4, encoder=X264)

    def finish(self) -> None:
        super().finish()
        mark_as_spherical(self._path)


class PlainWriter(VideoWriter):
    """Pictures and nothing else."""

    def __init__(self, path: Path, info: VideoInfo, tracks: Tracks) -> None:
        super().__init__(info)
        what = [f"{len(tracks.audio)} tracks of audio"] * bool(tracks.audio) + ["tags"] * bool(tracks.tags)
        if what:
            self.notes.append(f"{' and '.join(what)} are left out: only .mkv and .mp4 can hold them")

    def write_packet(self, packet: TrackPacket) -> None: ...


class Y4mWriter(PlainWriter):
    """YUV4MPEG2: a line of text, then bare planes. It has no field for the matrix."""

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
        self._file.close()

    def close(self) -> None:
        self._file.close()


class PngWriter(PlainWriter):
    """A folder of 000000.png, 000001.png, ... in RGB."""

    def __init__(self, folder: Path, info: VideoInfo, tracks: Tracks) -> None:
        super().__init__(folder, info, tracks)
        self._folder = folder
        encoder = av.CodecContext.create("png", "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = info.width, info.height, "rgb24"
        encoder.time_base = 1 / info.fps
        encoder.thread_count = 1  # with more, pictures come out late
        self._encoder = encoder

    def _write(self, frame: YuvFrame, pts: int) -> None:
        picture = av.VideoFrame.from_ndarray(yuv_to_rgb(frame, self.info), format="rgb24")
        picture.pts = self.count
        data = b"".join(bytes(packet) for packet in self._encoder.encode(picture))
        (self._folder / f"{self.count:06d}.png").write_bytes(data)

    def finish(self) -> None: ...

    def close(self) -> None: ...


def _av_range(info: VideoInfo) -> int:
    return 2 if info.full_range else 1
