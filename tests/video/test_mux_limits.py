"""Audio and tags that a film cannot hold, or that make no sense: told, and the film is written all the same."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from copying import copy_film, write_film
from sounding import Tone, audio_of, make_sounding_film

from deepsphere_codec.errors import CodecError
from deepsphere_codec.video import AudioTrack, TrackPacket, Tracks, open_video, read_tracks
from deepsphere_codec.video.metadata import MP4_TAGS

TRACK = AudioTrack("aac", b"\x11\x90", Fraction(1, 48000), 48000, 2, "stereo", True, {})


@pytest.fixture(scope="module")
def aac(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tones = [Tone("aac"), Tone("aac", "mono")]
    return make_sounding_film(tmp_path_factory.mktemp("aac") / "film.mp4", tones, tags={"title": "Rundgang"})


def test_what_mp4_cannot_hold_is_told(tmp_path: Path) -> None:
    film = make_sounding_film(tmp_path / "film.mkv", [Tone("pcm_s16le"), Tone("flac")], tags={"FOO": "bar"})
    notes = copy_film(film, tmp_path / "out.mp4")
    assert notes == [
        "audio track 0 (pcm_s16le) is left out: .mp4 cannot hold it",
        "the tag 'FOO' of the film is left out: .mp4 has no place for it",
    ]
    (kept,) = audio_of(tmp_path / "out.mp4")
    assert [packet.data for packet in kept] == [packet.data for packet in audio_of(film)[1]]
    assert copy_film(film, tmp_path / "out.mkv") == [] and len(audio_of(tmp_path / "out.mkv")) == 2


def test_mp4_keeps_each_tag_that_it_is_said_to(tmp_path: Path) -> None:
    tags = dict.fromkeys(MP4_TAGS, "1") | {
        "location": "+48.1000+011.5000/",
        "creation_time": "2024-05-01T10:00:00.000000Z",
    }
    assert write_film(tmp_path / "out.mp4", Tracks(tags), []) == []
    assert read_tracks(tmp_path / "out.mp4").tags == tags


@pytest.mark.parametrize("output", ["out.y4m", "frames"])
def test_outputs_of_pictures_alone(output: str, aac: Path, tmp_path: Path) -> None:
    assert copy_film(aac, tmp_path / output) == [
        "2 tracks of audio and tags are left out: only .mkv and .mp4 can hold them"
    ]
    with open_video(tmp_path / output) as reader:
        assert len(list(reader)) == 25
    assert write_film(tmp_path / f"2{output}", Tracks(), []) == []


@pytest.mark.parametrize(("output", "codec", "extradata", "layout"), [
    ("out.mp4", "flac", b"none", "stereo"), ("out.mkv", "flac", b"none", "stereo"), ("out.mp4", "opus", b"", "stereo"),
    ("out.mp4", "aac", b"\x11\x90", "5.1"), ("out.mkv", "aac", b"\x11\x90", "no layout"),
])  # fmt: skip
def test_tracks_that_make_no_sense(output: str, codec: str, extradata: bytes, layout: str, tmp_path: Path) -> None:
    track = TRACK._replace(codec=codec, extradata=extradata, layout=layout)
    notes = write_film(tmp_path / output, Tracks(audio=[track]), [TrackPacket(0, 0, 0, 960, True, bytes(99))])
    assert notes == [f"audio track 0 ({codec}) is left out: its description is damaged"]
    with open_video(tmp_path / output) as reader:
        assert len(list(reader)) == 3


def test_times_that_make_no_sense(aac: Path, tmp_path: Path) -> None:
    """Times that do not grow are set right; those of another century are left out."""
    tracks, data = read_tracks(aac), b"\x21\x10\x04\x60\x8c\x1c"
    times = [0, 1024, 1024, 500, 1 << 60, 4096]
    packets = [TrackPacket(0, time, time, 1024, True, data + bytes([number])) for number, time in enumerate(times)]
    notes = write_film(tmp_path / "out.mp4", tracks, [*packets, TrackPacket(0, 5000, 5000, 1024, True, b"")])
    assert notes == ["packets of audio track 0 are left out: their times are no sensible ones"]
    kept = audio_of(tmp_path / "out.mp4")[0]
    assert [packet.data[-1] for packet in kept] == [0, 1, 2, 3, 5]
    assert [packet.start * 48000 for packet in kept] == [0, 1024, 1025, 1026, 4096]


def test_packets_of_no_track(tmp_path: Path) -> None:
    for number in (1, -1):
        with pytest.raises(ValueError, match="the film has 1"):
            write_film(tmp_path / "out.mp4", Tracks(audio=[TRACK]), [TrackPacket(number, 0, 0, 1, True, b"a")])


def test_noise_in_place_of_audio_is_no_crash(tmp_path: Path) -> None:
    """Damaged audio costs packets, a track, or at worst the film in one line."""
    rng = np.random.default_rng(0)
    for number, codec in enumerate(["aac", "ac3", "eac3", "wavpack", "opus", "truehd", "mp3"]):
        for output in ("out.mp4", "out.mkv"):
            track = TRACK._replace(codec=codec, extradata=rng.bytes(int(rng.integers(60))))
            packets = [
                TrackPacket(0, 960 * k, 960 * k, 960, True, rng.bytes(int(rng.integers(1, 99)))) for k in range(20)
            ]
            try:
                write_film(tmp_path / f"{number}{output}", Tracks(audio=[track]), packets)
            except CodecError as error:
                assert "cannot be written" in str(error) and "\n" not in str(error)
