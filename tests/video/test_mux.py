"""Audio and tags beside the pictures: copied, in step, read back without a line of ours."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type
from copying import INFO, copy_film, grey, write_film
from sounding import Tone, audio_of, make_sounding_film, samples_of

from deepsphere_codec.video import Tracks, create_video, open_video, read_packets, read_tracks

GERMAN, ENGLISH = {"language": "deu", "title": "Erzähler"}, {"language": "eng"}
TAGS = {"title": "Rundgang", "date": "2024", "comment": "von oben", "location": "+48.1000+011.5000/"}
AAC = [Tone("aac", tags=GERMAN), Tone("aac", "mono", ENGLISH)]
LOSSLESS = [Tone("libopus", tags=GERMAN), Tone("flac", "5.1", ENGLISH)]
MILLISECOND = Fraction(1, 1000)


@pytest.fixture(scope="module")
def aac(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sounding_film(tmp_path_factory.mktemp("aac") / "film.mp4", AAC, tags=TAGS)


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sounding_film(tmp_path_factory.mktemp("lossless") / "film.mkv", LOSSLESS, tags=TAGS)


# Copied


@pytest.mark.parametrize("output", ["out.mp4", "out.mkv"])
@pytest.mark.parametrize("source", ["aac", "lossless"])
def test_audio_is_copied_in_step(source: str, output: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    film = request.getfixturevalue(source)
    assert copy_film(film, tmp_path / output) == []
    before, after = audio_of(film), audio_of(tmp_path / output)
    assert len(before) == len(after) == 2
    for theirs, ours in zip(before, after, strict=True):
        assert [packet.data for packet in ours] == [packet.data for packet in theirs]
        assert max(abs(a.start - b.start) for a, b in zip(ours, theirs, strict=True)) <= MILLISECOND
        if output == "out.mp4":
            assert max(abs(a.duration - b.duration) for a, b in zip(ours, theirs, strict=True)) <= MILLISECOND


@pytest.mark.parametrize("output", ["out.mp4", "out.mkv"])
@pytest.mark.parametrize("source", ["aac", "lossless"])
def test_it_sounds_the_same(source: str, output: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A decoder gets what it needs to know; how much padding it drops at either end counts for nothing."""
    film = request.getfixturevalue(source)
    copy_film(film, tmp_path / output)
    for track in range(2):
        before, after = samples_of(film, track), samples_of(tmp_path / output, track)
        assert before.shape[0] == after.shape[0] and abs(before.shape[1] - after.shape[1]) <= 2048
        part = before[:, 2048:22048]
        assert any(np.array_equal(after[:, shift : shift + 20000], part) for shift in range(4097))


@pytest.mark.parametrize("output", ["out.mp4", "out.mkv"])
def test_tags_are_kept(output: str, aac: Path, tmp_path: Path) -> None:
    copy_film(aac, tmp_path / output)
    tracks = read_tracks(tmp_path / output)
    assert tracks.tags == read_tracks(aac).tags and tracks.tags.items() >= TAGS.items()
    assert [track.tags for track in tracks.audio] == [GERMAN, ENGLISH]
    assert [track.default for track in tracks.audio] == [True, False]
    with av.open(str(tmp_path / output)) as container:
        assert container.metadata["title"] == "Rundgang"
        assert [stream.language for stream in container.streams.audio] == ["deu", "eng"]


def test_what_speaks_of_the_pictures_is_kept(tmp_path: Path) -> None:
    tracks = Tracks(video_tags={"language": "fra", "title": "Vue"})
    for output in ("out.mp4", "out.mkv"):
        assert write_film(tmp_path / output, tracks, []) == []
        assert read_tracks(tmp_path / output).video_tags == tracks.video_tags


def test_a_part_of_a_film(aac: Path, tmp_path: Path) -> None:
    copy_film(aac, tmp_path / "out.mp4", frames=(5, 20))
    for theirs, ours in zip(audio_of(aac), audio_of(tmp_path / "out.mp4"), strict=True):
        wanted = [packet for packet in theirs if Fraction(5, 25) <= packet.start < Fraction(20, 25)]
        assert [packet.data for packet in ours] == [packet.data for packet in wanted]
        off = [a.start + Fraction(5, 25) - b.start for a, b in zip(ours, wanted, strict=True)]
        assert max(map(abs, off)) <= MILLISECOND


def test_pictures_and_audio_lie_side_by_side(aac: Path, tmp_path: Path) -> None:
    """No player has to seek to and fro: at any place of the file, both are within half a second of each other."""
    for output in ("out.mp4", "out.mkv"):
        copy_film(aac, tmp_path / output)
        with av.open(str(tmp_path / output)) as container:
            packets = sorted((p for p in container.demux() if p.size), key=lambda packet: packet.pos)
            latest = dict.fromkeys(range(3), 0.0)
            for packet in packets:
                latest[packet.stream_index] = float(packet.dts * packet.time_base)
                assert max(latest.values()) - min(latest.values()) < 0.5


def test_audio_of_a_transport_stream_is_unwrapped(tmp_path: Path) -> None:
    """AAC has a header on each packet there, which an .mp4 says once for all: it sounds the same."""
    film = make_sounding_film(tmp_path / "film.ts", [Tone("aac")])
    assert copy_film(film, tmp_path / "out.mp4") == []
    (before,), (after,) = audio_of(film), audio_of(tmp_path / "out.mp4")
    assert [packet.data[7:] for packet in before] == [packet.data for packet in after]


def test_a_variable_rate_keeps_its_audio(aac: Path, tmp_path: Path) -> None:
    tracks, packets = read_tracks(aac), list(read_packets(aac))
    info = INFO._replace(time_base=Fraction(1, 90000))
    with create_video(tmp_path / "out.mp4", info, tracks=tracks) as writer:
        for packet in packets:
            writer.write_packet(packet)
        for time in (0, 100, 40000, 90001):
            writer.write(grey(), time)
    assert [[packet.data for packet in track] for track in audio_of(tmp_path / "out.mp4")] == [
        [packet.data for packet in packets if packet.track == number] for number in range(2)
    ]
    with open_video(tmp_path / "out.mp4") as reader:
        assert [frame.pts * reader.info.tick for frame in reader.timed()] == [
            Fraction(time, 90000) for time in (0, 100, 40000, 90001)
        ]


@pytest.mark.parametrize("output", ["out.mp4", "out.mkv"])
def test_a_film_without_audio_is_written_as_ever(output: str, tmp_path: Path) -> None:
    files = []
    for tracks in (None, Tracks()):
        with create_video(tmp_path / output, INFO, force=True, tracks=tracks) as writer:
            writer.write(grey())
        data = (tmp_path / output).read_bytes()
        files.append(len(data) if output == "out.mkv" else data)  # Matroska has random ids
    assert files[0] == files[1] and writer.notes == []


# Seen in the round


def test_the_pictures_alone_are_marked(aac: Path, tmp_path: Path) -> None:
    copy_film(aac, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio", "audio"]
        data = {side.type: bytes(side) for side in next(container.decode(video=0)).side_data}
    assert struct.unpack_from("i", data[Type.SPHERICAL])[0] == 0, "equirectangular"
    whole = (tmp_path / "out.mp4").read_bytes()
    assert whole.count(b"sv3d") == whole.count(b"st3d") == whole.count(b"GSpherical:Spherical>true") == 1


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="no ffprobe on the path")
def test_ffprobe_sees_a_sphere_with_sound(aac: Path, tmp_path: Path) -> None:
    copy_film(aac, tmp_path / "out.mp4")
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(tmp_path / "out.mp4")]
    streams = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["streams"]
    assert [stream["codec_type"] for stream in streams] == ["video", "audio", "audio"]
    kinds = [side["side_data_type"] for side in streams[0]["side_data_list"]]
    assert "Spherical Mapping" in kinds


def sa3d(path: Path) -> tuple[int, ...]:
    """Type, order, ordering, normalisation, channels and their map, by hand."""
    data = path.read_bytes()
    at = data.index(b"SA3D")
    (size,) = struct.unpack_from(">I", data, at - 4)
    version, *fields = struct.unpack_from(f">BBIBBI{(size - 20) // 4}I", data, at + 4)
    assert version == 0
    return tuple(fields)


def test_sound_from_all_around_stays_so(tmp_path: Path) -> None:
    """From film to film the box says the same; of itself FFmpeg reads four loudspeakers."""
    plain = make_sounding_film(tmp_path / "plain.mp4", [Tone("aac", "4.0")])
    tracks = read_tracks(plain)
    assert "SA3D" not in tracks.audio[0].tags
    tagged = tracks._replace(audio=[track._replace(tags={"SA3D": "ambisonic 1"}) for track in tracks.audio])
    assert write_film(tmp_path / "first.mp4", tagged, list(read_packets(plain))) == []
    assert copy_film(tmp_path / "first.mp4", tmp_path / "second.mp4") == []
    for name in ("first.mp4", "second.mp4"):
        assert sa3d(tmp_path / name) == (0, 1, 0, 0, 4, 0, 1, 2, 3)
        assert read_tracks(tmp_path / name).audio[0].tags == {"SA3D": "ambisonic 1"}
