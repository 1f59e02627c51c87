"""Audio and tags beside the pictures of a film that is written: copied as they are."""

from __future__ import annotations

import io
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import Disposition, Stream

from deepsphere_codec.video.metadata import MP4_TAGS, MP4_TRACK_TAGS
from deepsphere_codec.video.template import CARRIED, open_template
from deepsphere_codec.video.tracks import AudioTrack, TrackPacket, Tracks

LATEST = 10**7
"""Seconds; what lies farther from a film's first frame (four months) is no time of a film."""


DAMAGE = (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.ArgumentError)
"""What FFmpeg says of audio that it cannot make sense of; our own pictures give no reason to."""

_LOOKED_INTO = {"ac3", "eac3"}
"""Codecs whose packets an .mp4 describes; one of zeros would not do."""


class Holder(NamedTuple):
    """A container, and what it can hold."""

    suffix: str
    format: str
    codecs: frozenset[str]
    tags: frozenset[str] | None
    """Of the film; None: any."""
    track_tags: frozenset[str] | None
    options: Mapping[str, str]
    """For films with audio."""


MATROSKA = Holder(
    suffix=".mkv",
    format="matroska",
    codecs=frozenset(CARRIED),
    tags=None,
    track_tags=None,
    # Where audio has ended or is late, pictures wait for it this many microseconds, lossless and in memory.
    options={"max_interleave_delta": "1000000"},
)
MP4 = Holder(
    suffix=".mp4",
    format="mp4",
    codecs=frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus"}),  # what players expect there
    tags=frozenset(MP4_TAGS),
    track_tags=frozenset(MP4_TRACK_TAGS),
    options={},
)


class Beside:
    """What lies beside the pictures of a film. Made before its first frame is written.

    Attributes:
        notes: What is left out, and why; may grow while packets are written.
    """

    def __init__(self, container: OutputContainer, pictures: Stream, tracks: Tracks, holder: Holder) -> None:
        self.notes: list[str] = []
        self._container = container
        self._tracks = [self._track(number, track, holder) for number, track in enumerate(tracks.audio)]
        container.metadata.update(self._held("the film", tracks.tags, holder, holder.tags))
        pictures.metadata.update(self._held("the pictures", tracks.video_tags, holder, holder.track_tags))

    def write(self, packet: TrackPacket) -> None:
        """See `VideoWriter.write_packet`."""
        if not 0 <= packet.track < len(self._tracks):
            raise ValueError(f"the packet is of track {packet.track}, the film has {len(self._tracks)}")
        track = self._tracks[packet.track]
        if track is None or not packet.data:
            return
        self._container.start_encoding()  # which settles the clocks of all tracks
        copy = track.copy(packet)
        if copy is None:
            self._note(f"packets of audio track {packet.track} are left out: their times are no sensible ones")
            return
        try:
            self._container.mux(copy)
        except DAMAGE:
            self._note(f"packets of audio track {packet.track} are left out: they are damaged")

    def _track(self, number: int, track: AudioTrack, holder: Holder) -> _Track | None:
        name = f"audio track {number} ({track.codec})"
        if track.codec not in holder.codecs:
            self._note(f"{name} is left out: {holder.suffix} cannot hold it")
        elif not _is_sound(track, holder):
            self._note(f"{name} is left out: its description is damaged")
        else:
            stream = _add_stream(self._container, track)
            stream.metadata.update(self._held(name, track.tags, holder, holder.track_tags))
            stream.disposition = Disposition.default if track.default else Disposition(0)
            return _Track(stream, track.time_base)
        return None

    def _held(self, whose: str, tags: Mapping[str, str], holder: Holder, held: frozenset[str] | None) -> dict[str, str]:
        for key in tags:
            if held is not None and key.lower() not in held:
                self._note(f"the tag {key!r} of {whose} is left out: {holder.suffix} has no place for it")
        return {key: value for key, value in tags.items() if held is None or key.lower() in held}

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


class _Track:
    """Turns packets of one track into PyAV's, on the clock of the film that is written."""

    def __init__(self, stream: AudioStream, time_base: Fraction) -> None:
        self._stream = stream
        self._time_base = time_base
        self._last: int | None = None

    def copy(self, packet: TrackPacket) -> av.Packet | None:
        """None for a packet whose time is none.

        Times of decoding must grow: one that does not is taken to be a tick behind the one before it.
        """
        if max(abs(packet.pts), abs(packet.dts), packet.duration) * self._time_base > LATEST:
            return None
        copy = av.Packet(packet.data)
        time_base = self._stream.time_base or self._time_base
        copy.stream, copy.time_base = self._stream, time_base
        scale = self._time_base / time_base
        dts = round(packet.dts * scale)
        self._last = dts if self._last is None else max(dts, self._last + 1)
        copy.dts, copy.pts = self._last, max(round(packet.pts * scale), self._last)
        copy.duration = round(packet.duration * scale)
        copy.is_keyframe = packet.is_keyframe
        return copy


def _add_stream(container: OutputContainer, track: AudioTrack) -> AudioStream:
    with open_template(track.codec) as template:
        stream = container.add_stream_from_template(template.streams.audio[0], opaque=True)
    context = stream.codec_context
    context.extradata = track.extradata or None
    context.sample_rate, context.layout = track.sample_rate, track.layout
    if context.layout.nb_channels != track.channels:
        raise ValueError(f"the layout {track.layout} has not {track.channels} channels")
    stream.time_base = track.time_base
    return stream


def _is_sound(track: AudioTrack, holder: Holder) -> bool:
    """Whether a film with this track alone can be written; in memory."""
    try:
        with av.open(io.BytesIO(), "w", format=holder.format) as container:
            stream = _add_stream(container, track)
            container.start_encoding()
            if track.codec not in _LOOKED_INTO:  # an .mp4 describes tracks at its end, and only those with a packet
                packet = av.Packet(bytes(16))
                packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, 0, 0, True
                packet.time_base = track.time_base
                container.mux(packet)
    except (av.FFmpegError, ValueError):
        return False
    return True
