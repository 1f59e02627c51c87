"""Audio and tags of a film: read as they are, cut with its frames."""

from __future__ import annotations

import os
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from sounding import Tone, audio_of, make_sounding_film

from deepsphere_codec.errors import UsageError
from deepsphere_codec.video import WHOLE, Span, TrackPacket, Tracks, cut, open_video, read_packets, read_tracks

GERMAN, ENGLISH = {"language": "deu", "title": "Erzähler"}, {"language": "eng"}
TAGS = {"title": "Rundgang", "date": "2024", "comment": "von oben"}
FILMS = {
    "aac.mp4": [Tone("aac", tags=GERMAN), Tone("aac", "mono", ENGLISH)],
    "opus.mkv": [Tone("libopus", tags=GERMAN), Tone("flac", "5.1", ENGLISH)],
    "pcm.mov": [Tone("pcm_s24le", tags=GERMAN), Tone("alac", tags=ENGLISH)],
    "transport.ts": [Tone("ac3", tags={"language": "deu"}), Tone("libmp3lame", tags=ENGLISH)],
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sounding")
    return {name: make_sounding_film(folder / name, tones, tags=TAGS) for name, tones in FILMS.items()}


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Films whose first frame lies 0.4 s behind the beginning of the sound."""
    folder = tmp_path_factory.mktemp("late")
    names = ("aac.mp4", "opus.mkv")
    return {name: make_sounding_film(folder / name, FILMS[name], tags=TAGS, start=10) for name in names}


@pytest.mark.parametrize("name", FILMS)
def test_tracks_are_described(name: str, films: dict[str, Path]) -> None:
    tracks = read_tracks(films[name])
    assert tracks.notes == () and tracks.video_tags == {}
    if not name.endswith(".ts"):  # which has no place for tags
        assert tracks.tags == TAGS
    with av.open(str(films[name])) as container:
        for track, stream, tone in zip(tracks.audio, container.streams.audio, FILMS[name], strict=True):
            context = stream.codec_context
            assert track.codec == tone.codec.removeprefix("lib").removesuffix("lame")
            assert (track.sample_rate, track.time_base) == (48000, stream.time_base)
            assert track.extradata == (context.extradata or b"")
            assert track.channels == av.AudioLayout(tone.layout).nb_channels
    if name != "pcm.mov":  # QuickTime keeps no language of PCM
        assert [track.language for track in tracks.audio] == ["deu", "eng"]
    if name == "aac.mp4":
        assert [track.layout for track in tracks.audio] == ["stereo", "mono"]
        assert [track.default for track in tracks.audio] == [True, False]
        assert tracks.audio[0].tags == GERMAN


@pytest.mark.parametrize("name", FILMS)
def test_packets_are_read_as_they_lie_there(name: str, films: dict[str, Path]) -> None:
    with av.open(str(films[name])) as container:
        streams = list(container.streams.audio)
        stored = [
            TrackPacket(streams.index(p.stream), p.pts, p.dts, p.duration, p.is_keyframe, bytes(p))
            for p in container.demux(*streams)
            if p.size
        ]
    assert list(read_packets(films[name])) == stored


@pytest.mark.parametrize("frames", [(0, None), (5, 20), (5, None), (0, 10), (-8, -2)], ids=str)
@pytest.mark.parametrize("name", ["aac.mp4", "opus.mkv"])
@pytest.mark.parametrize("begins", ["with the sound", "later"])
def test_what_sounds_with_a_range_of_frames(
    name: str, frames: tuple[int, int | None], begins: str, films: dict[str, Path], late: dict[str, Path]
) -> None:
    """Packets that begin between the first frame and the one behind the last; the first frame becomes 0."""
    film = (late if begins == "later" else films)[name]
    first, last, _ = slice(*frames).indices(25)
    with open_video(film, frames=frames) as reader:
        span = reader.span
    low = -(10**6) if frames[0] == 0 else Fraction(first, 25)
    high = 10**6 if last == 25 else Fraction(last, 25)
    got = list(read_packets(film, span))
    for number, (track, stored) in enumerate(zip(read_tracks(film).audio, audio_of(film), strict=True)):
        wanted = [packet for packet in stored if low <= packet.start < high]
        mine = [packet for packet in got if packet.track == number]
        assert [packet.data for packet in mine] == [packet.data for packet in wanted] != []
        off = [p.pts * track.time_base + Fraction(first, 25) - w.start for p, w in zip(mine, wanted, strict=True)]
        assert max(map(abs, off)) <= track.time_base / 2


def test_the_whole_film_keeps_what_sounds_before_the_first_frame(late: dict[str, Path]) -> None:
    with open_video(late["aac.mp4"]) as reader:
        packets = [packet for packet in read_packets(late["aac.mp4"], reader.span) if packet.track == 0]
    assert packets[0].pts == -1024 - 10 * 48000 // 25 and packets[-1].pts > 0


def test_packets_are_cut_without_reading_on() -> None:
    """Track 0 in 1/10 s, track 1 in 1/4 s; the span from 2 s to 5 s, 0 at 2 s."""
    asked: list[int] = []

    def endless() -> object:
        for second in range(10**6):
            asked.append(second)
            yield TrackPacket(0, 10 * second, 10 * second - 1, 10, True, b"")
            yield TrackPacket(1, 4 * second, 4 * second, 4, True, b"")

    bases = [Fraction(1, 10), Fraction(1, 4)]
    got = list(cut(endless(), bases, Span(Fraction(2), Fraction(5), Fraction(2))))
    assert [(p.track, p.pts, p.dts) for p in got if p.track == 0] == [(0, 0, -1), (0, 10, 9), (0, 20, 19)]
    assert [p.pts for p in got if p.track == 1] == [0, 4, 8]
    assert asked[-1] == 5


def test_whole_changes_nothing(films: dict[str, Path]) -> None:
    packets = list(read_packets(films["aac.mp4"]))
    assert list(cut(packets, [track.time_base for track in read_tracks(films["aac.mp4"]).audio], WHOLE)) == packets


def test_packets_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    film = make_sounding_film(tmp_path / "film.mkv", [Tone("pcm_s16le")], frames=150)
    tracemalloc.start()
    size = sum(len(packet.data) for packet in read_packets(film))
    assert size == 6 * 48000 * 4
    assert tracemalloc.get_traced_memory()[1] < size / 4
    tracemalloc.stop()


# What is left out


def test_what_is_not_carried_is_told(tmp_path: Path) -> None:
    film = make_sounding_film(tmp_path / "film.mov", [Tone("pcm_mulaw"), Tone("aac")])
    tracks = read_tracks(film)
    assert [track.codec for track in tracks.audio] == ["aac"]
    assert tracks.notes == ("track 1 (audio, pcm_mulaw) is left out: this codec is not carried",)
    assert {packet.track for packet in read_packets(film)} == {0}


def test_a_second_track_of_pictures_is_told(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "film.mkv"), "w") as container:
        for _ in range(2):
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for stream in container.streams:
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64), np.uint8), format="yuv420p")
            picture.pts = 0
            container.mux([*stream.encode(picture), *stream.encode(None)])
    (note,) = read_tracks(tmp_path / "film.mkv").notes
    assert note == "track 1 (video, ffv1) is left out: only the pictures and audio are carried"


def test_what_holds_no_audio(film: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path in (film, tmp_path / "folder"):
        assert read_tracks(path) == Tracks() and list(read_packets(path)) == []
    assert "can be read only once" in read_tracks(tmp_path / "pipe").notes[0]
    assert list(read_packets(tmp_path / "pipe")) == []


def test_what_is_no_film(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"a letter" * 99)
    with pytest.raises(UsageError, match="cannot be opened as a film"):
        read_tracks(tmp_path / "film.mp4")


def test_tags_that_speak_of_the_file_stay_with_it(tmp_path: Path) -> None:
    tags = {"title": "a", "encoder": "b", "BPS": "1", "DURATION": "2", "NUMBER_OF_FRAMES-eng": "3", "FOO": "c"}
    film = make_sounding_film(
        tmp_path / "film.mkv", [Tone("aac", tags={"BPS-eng": "4", "_STATISTICS_TAGS": "5"})], tags=tags
    )
    tracks = read_tracks(film)
    assert tracks.tags == {"title": "a", "FOO": "c"} and tracks.audio[0].tags == {}


def test_tags_that_are_no_text_do_not_shut_a_film(tmp_path: Path) -> None:
    film = make_sounding_film(tmp_path / "film.mkv", [], tags={"title": "Caf-XX-"})
    film.write_bytes(film.read_bytes().replace(b"Caf-XX-", b"Caf\xe9 ab"))  # Latin-1
    assert read_tracks(film).tags["title"].startswith("Caf")
    with open_video(film) as reader:
        assert len(list(reader)) == 25


def test_channels_in_an_order_of_the_films_own(tmp_path: Path) -> None:
    """Centre, left, right: PyAV frees such a layout twice, which ends the process, unless it is handled with care."""
    film = make_sounding_film(tmp_path / "film.mov", [Tone("pcm_s16le", "3.0")])
    data = film.read_bytes()
    at = data.rindex(b"chan") + 8  # behind the version: the tag of the layout
    film.write_bytes(data[:at] + (114 << 16 | 3).to_bytes(4, "big") + data[at + 4 :])  # MPEG_3_0_B
    for _ in range(5):
        (track,) = read_tracks(film).audio
        assert (track.layout, track.channels) == ("3 channels", 3)
