"""What a film holds beside its pictures: audio as it is stored, and tags (title, date, language …)."""

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
    """What a player must know of an audio track."""

    codec: str
    """FFmpeg's name, one of `CARRIED`: "aac", "opus" …"""
    extradata: bytes
    """What the decoder must know before the first packet; empty for some codecs."""
    time_base: Fraction
    """Unit of the packets' times, in seconds."""
    sample_rate: int
    """Samples a second."""
    channels: int
    layout: str
    """FFmpeg's name: "stereo", "5.1(side)", "ambisonic 1"; "6 channels" where it is not known which is which."""
    default: bool
    """Whether a player chooses it unless told otherwise."""
    tags: Mapping[str, str]
    """"language" (ISO 639-2, as "deu"), "title" …; "SA3D": see `ambisonics`."""

    @property
    def language(self) -> str:
        return self.tags.get("language", "und")


class Tracks(NamedTuple):
    """What a film holds beside its pictures, packets apart."""

    tags: Mapping[str, str] = {}
    """Of the film: "title", "date", "creation_time" …"""
    video_tags: Mapping[str, str] = {}
    """Of the track of pictures."""
    audio: Sequence[AudioTrack] = ()
    notes: Sequence[str] = ()
    """What is left out, and why; a sentence each, for the user."""


class TrackPacket(NamedTuple):
    """A piece of audio as it is stored."""

    track: int
    """Index in `Tracks.audio`."""
    pts: int
    """When it begins to sound, in the track's `time_base`; 0: with the first frame. May be negative."""
    dts: int
    """When it is to be decoded."""
    duration: int
    """In the track's `time_base`; 0: not known."""
    is_keyframe: bool
    data: bytes


def read_tracks(path: str | Path) -> Tracks:
    """What a film holds beside its pictures. A folder of pictures holds nothing, of a pipe nothing can be had.

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
    """The audio of a film in the order of the file, read as it is asked for, in constant memory.

    Packets are copied byte for byte. What some containers say beside them of samples to drop (the last milliseconds of
    Opus in Matroska) is not kept.

    Args:
        path: What `read_tracks` was given.
        span: See `cut`; `VideoReader.span` for the audio of the frames that it delivers.
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
    """The packets that begin inside a span, with times counted from its zero.

    Args:
        packets: Of all tracks, each track's in order of time; no more are read when all tracks are behind the span.
        time_bases: Of the tracks, in seconds.
        span: In the time that the packets have.
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
    """Whether a name of a channel layout is one of FFmpeg's own, and not a list of channels ("FR+FL")."""
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
    """Its name and number of channels; an order of channels of the film's own is not kept."""
    layout = stream.codec_context.layout
    name, channels = layout.name, layout.nb_channels
    # Both objects hold one allocation and free it (PyAV 18), unless the context is given another layout.
    stream.codec_context.layout = "mono"
    return (name if is_layout(name) else f"{channels} channels"), channels


def _why_left_out(stream: Stream) -> str:
    name = _codec(stream) if stream.codec_context is not None else "unknown"
    why = "this codec is not carried" if stream.type == "audio" else "only the pictures and audio are carried"
    return f"track {stream.index} ({stream.type}, {name}) is left out: {why}"


def _packets(path: Path, container: InputContainer, carried: Sequence[AudioStream]) -> Iterator[TrackPacket]:
    numbers = {stream.index: number for number, stream in enumerate(carried)}
    due = [0] * len(carried)  # for packets without a time
    packets = container.demux(*carried)
    while True:
        with one_line(path, "its audio cannot be read"):
            packet = next(packets, None)
        if packet is None:
            return
        if packet.size:  # the last one of each track has nothing in it
            number = numbers[packet.stream_index]
            copy = _copy(packet, number, due[number])
            due[number] = copy.pts + copy.duration
            yield copy


def _copy(packet: av.Packet, number: int, due: int) -> TrackPacket:
    times = [time for time in (packet.pts, packet.dts) if time is not None] or [due]
    return TrackPacket(number, times[0], times[-1], max(0, packet.duration or 0), packet.is_keyframe, bytes(packet))
