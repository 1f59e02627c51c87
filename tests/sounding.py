"""Films with sound, made with PyAV alone; and such films read back without a line of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest

RATE = 48000
PER_FRAME = 1024
"""Samples that go into the encoder at once."""


class Tone(NamedTuple):
    """A track of a sine."""

    codec: str
    layout: str = "stereo"
    tags: Mapping[str, str] = {}


class Copied(NamedTuple):
    """A packet as FFmpeg reads it."""

    start: Fraction
    """Seconds."""
    duration: Fraction
    data: bytes


def make_sounding_film(
    path: Path, tones: Sequence[Tone], *, tags: Mapping[str, str] | None = None, frames: int = 25, start: int = 0
) -> Path:
    """64x32, 25 frames a second, as long as its sound; frame 0 lies `start` frames after the sound begins."""
    with av.open(str(path), "w") as container:
        container.metadata.update(tags or {})
        pictures = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        pictures.width, pictures.height, pictures.pix_fmt = 64, 32, "yuv420p"
        tracks = [container.add_stream(tone.codec, rate=RATE, layout=tone.layout) for tone in tones]
        for track, tone in zip(tracks, tones, strict=True):
            track.metadata.update(tone.tags)
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64), 20 + 4 * number, np.uint8), format="yuv420p")
            picture.pts, picture.time_base = start + number, Fraction(1, 25)
            container.mux(pictures.encode(picture))
        container.mux(pictures.encode(None))
        for track, tone in zip(tracks, tones, strict=True):
            for part in _sine(tone, track.codec_context.format.name, (start + frames) * RATE // 25):
                container.mux(track.encode(part))
            container.mux(track.encode(None))
    return path


def _sine(tone: Tone, sample_format: str, samples: int) -> list[av.AudioFrame]:
    channels = av.AudioLayout(tone.layout).nb_channels
    resampler = av.AudioResampler(format=sample_format, layout=tone.layout, rate=RATE)
    parts: list[av.AudioFrame] = []
    for begin in range(0, samples, PER_FRAME):
        time = np.arange(begin, min(begin + PER_FRAME, samples)) / RATE
        planes = [0.3 * np.sin(2 * np.pi * 220 * (channel + 1) * time) for channel in range(channels)]
        part = av.AudioFrame.from_ndarray(np.stack(planes).astype(np.float32), format="fltp", layout=tone.layout)
        part.sample_rate, part.pts, part.time_base = RATE, begin, Fraction(1, RATE)
        parts += resampler.resample(part)
    return parts


def audio_of(path: Path) -> list[list[Copied]]:
    """The packets of each audio track of a film; times from the film's first frame."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux() if packet.size]
        zero = min(packet.pts * packet.time_base for packet in packets if packet.stream.type == "video")
        return [
            [
                Copied(packet.pts * packet.time_base - zero, packet.duration * packet.time_base, bytes(packet))
                for packet in packets
                if packet.stream_index == stream.index
            ]
            for stream in container.streams.audio
        ]


def samples_of(path: Path, track: int = 0) -> np.ndarray:
    """What a track sounds like: [channels, samples]."""
    with av.open(str(path)) as container:
        parts = [frame.to_ndarray() for frame in container.decode(container.streams.audio[track])]
    return np.concatenate(parts, axis=1)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 frames with sound, for the conftest of a folder to import."""
    return make_sounding_film(tmp_path_factory.mktemp("film") / "film.mp4", [Tone("aac")], tags={"title": "A"})
