"""Writing of audio and tags next to the pictures of a film, copied without changes."""

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
"""Largest plausible distance of a time from a film's first frame, in seconds (four months)."""


DAMAGE = (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.ArgumentError)
"""Errors that FFmpeg raises for invalid audio packets; the pictures that this package writes do not cause them."""

_LOOKED_INTO = {"ac3", "eac3"}
"""Codecs whose packets the .mp4 muxer parses, so that a test packet of zeros would fail."""


class Holder(NamedTuple):
    """A container format and the audio and tags that it supports.

    Attributes:
        suffix: Suffix of its files.
        format: FFmpeg's name.
        codecs: Audio codecs, with FFmpeg's names.
        tags: Tags of a film; None for any.
        track_tags: Tags of a track; None for any.
        options: Options of the muxer for films with audio.
    """

    suffix: str
    format: str
    codecs: frozenset[str]
    tags: frozenset[str] | None
    track_tags: frozenset[str] | None
    options: Mapping[str, str]


MATROSKA = Holder(
    suffix=".mkv",
    format="matroska",
    codecs=frozenset(CARRIED),
    tags=None,
    track_tags=None,
    # If audio has ended or is late, pictures wait for it for this many microseconds, uncompressed in memory.
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
    """Writer of the audio and the tags of a film; to be created before its first frame is written.

    Args:
        container: The film.
        pictures: Its video stream.
        tracks: Audio tracks and tags to write.
        holder: Format of the film.

    Attributes:
        notes: Sentences about what is omitted, and why; may grow while packets are written.
    """

    def __init__(self, container: OutputContainer, pictures: Stream, tracks: Tracks, holder: Holder) -> None:
        self.notes: list[str] = []
        self._container = container
        self._tracks = [self._track(number, track, holder) for number, track in enumerate(tracks.audio)]
        container.metadata.update(self._supported("the film", tracks.tags, holder, holder.tags))
        pictures.metadata.update(self._supported("the pictures", tracks.video_tags, holder, holder.track_tags))

    def write(self, packet: TrackPacket) -> None:
        """Append a packet; see `VideoWriter.write_packet`."""
        if not 0 <= packet.track < len(self._tracks):
            raise ValueError(f"the packet is of track {packet.track}, the film has {len(self._tracks)}")
        track = self._tracks[packet.track]
        if track is None or not packet.data:
            return
        self._container.start_encoding()  # fixes the time bases of all tracks
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
        elif not _is_writable(track, holder):
            self._note(f"{name} is left out: its description is damaged")
        else:
            stream = _add_stream(self._container, track)
            stream.metadata.update(self._supported(name, track.tags, holder, holder.track_tags))
            stream.disposition = Disposition.default if track.default else Disposition(0)
            return _Track(stream, track.time_base)
        return None

    def _supported(
        self, owner: str, tags: Mapping[str, str], holder: Holder, keys: frozenset[str] | None
    ) -> dict[str, str]:
        for key in tags:
            if keys is not None and key.lower() not in keys:
                self._note(f"the tag {key!r} of {owner} is left out: {holder.suffix} has no place for it")
        return {key: value for key, value in tags.items() if keys is None or key.lower() in keys}

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


class _Track:
    """Conversion of one track's packets to PyAV's, in the time base of the output film."""

    def __init__(self, stream: AudioStream, time_base: Fraction) -> None:
        self._stream = stream
        self._time_base = time_base
        self._last: int | None = None

    def copy(self, packet: TrackPacket) -> av.Packet | None:
        """Convert a packet; None if its time is not plausible.

        Decoding times must increase: one that does not is set to one tick after the previous one.
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


def _is_writable(track: AudioTrack, holder: Holder) -> bool:
    """Check whether a film with only this track can be written, in memory."""
    try:
        with av.open(io.BytesIO(), "w", format=holder.format) as container:
            stream = _add_stream(container, track)
            container.start_encoding()
            if track.codec not in _LOOKED_INTO:  # an .mp4 describes tracks at its end, if they have a packet
                packet = av.Packet(bytes(16))
                packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, 0, 0, True
                packet.time_base = track.time_base
                container.mux(packet)
    except (av.FFmpegError, ValueError):
        return False
    return True
