"""Audio tracks, as they are stored, and tags (title, date, language …) of a film."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Disposition, Stream

from deepsphere_codec.video.ambisonics import TAG, ambisonic_tracks
from deepsphere_codec.video.container import one_line, open_container, video_stream
from deepsphere_codec.video.metadata import own_tags
from deepsphere_codec.video.template import CARRIED
from deepsphere_codec.video.timing import WHOLE, Span


class AudioTrack(NamedTuple):
    """Parameters of an audio track.

    Attributes:
        codec: FFmpeg's name, one of `CARRIED`: "aac", "opus" …
        extradata: Data that the decoder needs before the first packet; empty for some codecs.
        time_base: Unit of the packets' times, seconds.
        sample_rate: Samples per second.
        channels: Number of channels.
        layout: FFmpeg's name: "stereo", "5.1(side)", "ambisonic 1"; "6 channels" if their order is not known.
        default: Whether players choose this track by default.
        tags: Tags: "language" (ISO 639-2, such as "deu"), "title" …; for "SA3D" see `ambisonics`.
    """

    codec: str
    extradata: bytes
    time_base: Fraction
    sample_rate: int
    channels: int
    layout: str
    default: bool
    tags: Mapping[str, str]

    @property
    def language(self) -> str:
        """Language (ISO 639-2), "und" if it is not known."""
        return self.tags.get("language", "und")


class Tracks(NamedTuple):
    """Audio tracks and tags of a film, without the packets.

    Attributes:
        tags: Tags of the film: "title", "date", "creation_time" …
        video_tags: Tags of the video track.
        audio: The audio tracks.
        notes: Sentences for the user about tracks that are omitted, and why.
    """

    tags: Mapping[str, str] = {}
    video_tags: Mapping[str, str] = {}
    audio: Sequence[AudioTrack] = ()
    notes: Sequence[str] = ()


class TrackPacket(NamedTuple):
    """A packet of an audio track, as it is stored.

    Attributes:
        track: Index in `Tracks.audio`.
        pts: Presentation time in the track's `time_base`, 0 at the first frame; may be negative.
        dts: Decoding time in the track's `time_base`.
        duration: Duration in the track's `time_base`; 0 if it is not known.
        is_keyframe: Whether decoding can start with it.
        data: Bytes of the packet.
    """

    track: int
    pts: int
    dts: int
    duration: int
    is_keyframe: bool
    data: bytes


def read_tracks(path: str | Path) -> Tracks:
    """Read the audio tracks and tags of a film; empty for a folder of pictures and for a pipe.

    Raises:
        UsageError: the film cannot be opened.
    """
    path = Path(path)
    if path.is_dir():
        return Tracks()
    if not path.is_file():
        return Tracks(notes=(f"audio and tags of {path} are left out: it can be read only once",))
    with open_container(path) as container:
        pictures = video_stream(path, container)
        carried = _carried(container)
        left_out = [stream for stream in container.streams if stream not in (pictures, *carried)]
        ambisonics = ambisonic_tracks(path)
        tags = own_tags(container.metadata)
        return Tracks(
            tags=tags,
            video_tags=own_tags(pictures.metadata, beside=tags),
            audio=tuple(_audio_track(stream, tags, ambisonics.get(stream.id)) for stream in carried),
            notes=tuple(_why_left_out(stream) for stream in left_out),
        )


def read_packets(path: str | Path, span: Span = WHOLE) -> Iterator[TrackPacket]:
    """Iterate over the audio packets of a film in the order of the file, in constant memory.

    Packets are copied byte for byte. The number of samples to discard, which some containers store separately (the last
    milliseconds of Opus in Matroska), is not copied.

    Args:
        path: Path of the film, as given to `read_tracks`.
        span: Time span; `VideoReader.span` for the audio of the frames that a reader delivers.
    Returns:
        Iterator over the packets.
    Raises:
        UsageError: the film cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        return
    with open_container(path) as container:
        carried = _carried(container)
        for stream in container.streams:
            stream.discard = Discard.default if stream in carried else Discard.all
        time_bases = [stream.time_base or Fraction(1) for stream in carried]
        if carried:
            yield from cut(_packets(path, container, carried), time_bases, span)


def cut(packets: Iterable[TrackPacket], time_bases: Sequence[Fraction], span: Span) -> Iterator[TrackPacket]:
    """Select the packets that begin inside a span, with times relative to its zero.

    Args:
        packets: Packets of all tracks, each track's in order of time; reading stops once all tracks are past the span.
        time_bases: Time base of each track, seconds.
        span: The span, in the time of the packets.
    Returns:
        Iterator over the packets.
    """
    behind: set[int] = set()
    for packet in packets:
        tick = time_bases[packet.track]
        seconds = packet.pts * tick
        if span.stop is not None and seconds >= span.stop:
            behind.add(packet.track)
            if len(behind) == len(time_bases):
                return
        elif span.start is None or seconds >= span.start:
            shift = round(span.zero / tick)
            yield packet._replace(pts=packet.pts - shift, dts=packet.dts - shift)


def is_layout(name: str) -> bool:
    """Return whether a channel layout is one that FFmpeg names, and not a list of channels ("FR+FL")."""
    return re.fullmatch(r"[a-z0-9.() -]{1,32}", name) is not None


def _carried(container: InputContainer) -> list[AudioStream]:
    return [
        stream
        for stream in container.streams.audio
        if stream.codec_context is not None and stream.time_base and _codec(stream) in CARRIED
    ]


def _codec(stream: Stream) -> str:
    return stream.codec_context.codec.canonical_name


def _audio_track(stream: AudioStream, film_tags: Mapping[str, str], ambisonics: str | None) -> AudioTrack:
    context = stream.codec_context
    layout, channels = _layout(stream)
    return AudioTrack(
        codec=_codec(stream),
        extradata=bytes(context.extradata or b""),
        time_base=stream.time_base or Fraction(1),
        sample_rate=context.sample_rate,
        channels=channels,
        layout=layout,
        default=bool(stream.disposition & Disposition.default),
        tags=own_tags(stream.metadata, beside=film_tags) | ({TAG: ambisonics} if ambisonics else {}),
    )


def _layout(stream: AudioStream) -> tuple[str, int]:
    """Name and number of channels of a track's layout; a custom order of channels is not preserved."""
    layout = stream.codec_context.layout
    name, channels = layout.name, layout.nb_channels
    # Both objects own and free the same allocation (PyAV 18), unless the context gets another layout.
    stream.codec_context.layout = "mono"
    return (name if is_layout(name) else f"{channels} channels"), channels


def _why_left_out(stream: Stream) -> str:
    name = _codec(stream) if stream.codec_context is not None else "unknown"
    why = "this codec is not carried" if stream.type == "audio" else "only the pictures and audio are carried"
    return f"track {stream.index} ({stream.type}, {name}) is left out: {why}"


def _packets(path: Path, container: InputContainer, carried: Sequence[AudioStream]) -> Iterator[TrackPacket]:
    numbers = {stream.index: number for number, stream in enumerate(carried)}
    next_pts = [0] * len(carried)  # for packets without a time
    packets = container.demux(*carried)
    while True:
        with one_line(path, "its audio cannot be read"):
            packet = next(packets, None)
        if packet is None:
            return
        if packet.size:  # the last packet of each track is empty
            number = numbers[packet.stream_index]
            copy = _copy(packet, number, next_pts[number])
            next_pts[number] = copy.pts + copy.duration
            yield copy


def _copy(packet: av.Packet, number: int, next_pts: int) -> TrackPacket:
    times = [time for time in (packet.pts, packet.dts) if time is not None] or [next_pts]
    return TrackPacket(number, times[0], times[-1], max(0, packet.duration or 0), packet.is_keyframe, bytes(packet))
