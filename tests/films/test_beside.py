"""Audio, tags and times of a film, from the film through a `.dsc` file into another film."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from sounding import Tone, audio_of, make_sounding_film
from support import FakeModel, altered, make_film, make_frame, spans_of

from deepsphere_codec.bitstream import CodedFrame, Other, StreamReader, StreamWriter
from deepsphere_codec.cli import main
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.films import decode_to_file, encode_video
from deepsphere_codec.video import VideoInfo, create_video, open_video, read_packets, read_tracks, unpack_packets

GOP, FRAMES = 4, 25
TAGS = {"title": "Über dem See", "creation_time": "2024-05-06T07:08:09.000000Z"}
FILMS = {
    "aac.mp4": [Tone("aac", tags={"language": "deu"}), Tone("aac", "mono", {"language": "eng"})],
    "opus.mkv": [Tone("libopus"), Tone("flac", "5.1")],
}
TICK = Fraction(1, 90000)
IRREGULAR = [0, *itertools.accumulate(np.random.default_rng(1).integers(1, 12000, FRAMES - 1).tolist())]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sounding")
    return {
        f"{begins} {name}": make_sounding_film(folder / f"{begins}-{name}", tones, tags=TAGS, start=start)
        for name, tones in FILMS.items()
        for begins, start in (("early", 0), ("late", 10))
    }


@pytest.fixture(scope="module", autouse=True, params=[1, 2], ids="groups of {}".format)
def _spans(request: pytest.FixtureRequest) -> Iterator[None]:
    with spans_of(request.param):
        yield


@pytest.fixture(scope="module")
def streams(films: dict[str, Path], _spans: None) -> dict[str, Path]:
    for film in films.values():
        encode_video(film, film.with_suffix(".dsc"), model=FakeModel(), gop_size=GOP, force=True)
    return {name: film.with_suffix(".dsc") for name, film in films.items()}


@pytest.fixture(scope="module")
def irregular(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("irregular") / "film.mp4"
    info = VideoInfo(64, 32, Fraction(25), None, False, "bt709", time_base=TICK)
    with create_video(path, info) as writer:
        for number, time in enumerate(IRREGULAR):
            writer.write(make_frame(64, 32, number), time)
    return path


def times_of(path: Path) -> list[Fraction]:
    """Of the pictures, in seconds, in order of display."""
    with av.open(str(path)) as container:
        return sorted(packet.pts * packet.time_base for packet in container.demux(video=0) if packet.pts is not None)


# The whole film


@pytest.mark.parametrize("name", [f"{begins} {name}" for begins in ("early", "late") for name in FILMS])
def test_audio_and_tags_come_out_as_they_went_in(
    name: str, films: dict[str, Path], streams: dict[str, Path], tmp_path: Path
) -> None:
    output = tmp_path / name.split()[1]
    report = decode_to_file(streams[name], output, model=FakeModel())
    assert report.frames == FRAMES and report.notes == ()
    before, after = read_tracks(films[name]), read_tracks(output)
    assert after.tags == before.tags == TAGS
    assert [(track.codec, track.layout, track.language) for track in after.audio] == [
        (track.codec, track.layout, track.language) for track in before.audio
    ]
    for mine, theirs in zip(audio_of(output), audio_of(films[name]), strict=True):
        assert [packet.data for packet in mine] == [packet.data for packet in theirs] != []
        assert max(abs(a.start - b.start) for a, b in zip(mine, theirs, strict=True)) <= Fraction(1, 1000)


def test_audio_lies_in_the_gop_that_it_sounds_with(streams: dict[str, Path], films: dict[str, Path]) -> None:
    """A packet is decoded after the last frame of the GOP before ends, and before the last of its own does."""
    name = "early aac.mp4"
    time_bases = [track.time_base for track in read_tracks(films[name]).audio]
    places: list[tuple[int, Fraction]] = []
    gop = -1
    with StreamReader(streams[name]) as stream:
        for record in stream.records():
            if isinstance(record, CodedFrame):
                gop += record.kind == "I"
            elif record.kind == "a":
                places += [(gop, p.dts * time_bases[p.track]) for p in unpack_packets(record.body)]
    assert len({gop for gop, _ in places}) == 7
    for gop, seconds in places:
        assert gop == 0 or seconds >= Fraction(gop * GOP, 25)
        assert gop == 6 or seconds < Fraction((gop + 1) * GOP, 25)


def test_bits_of_audio_do_not_count_as_those_of_pictures(films: dict[str, Path], tmp_path: Path) -> None:
    film = films["early aac.mp4"]
    both = encode_video(film, tmp_path / "both.dsc", model=FakeModel())
    bare = encode_video(film, tmp_path / "bare.dsc", model=FakeModel(), pictures_only=True)
    assert (bare.bytes, both.bytes) == tuple((tmp_path / f"{name}.dsc").stat().st_size for name in ("bare", "both"))
    assert bare.bytes + 5000 < both.bytes and both.bpp == pytest.approx(bare.bpp, abs=16 * 8 / (FRAMES * 64 * 32))
    with StreamReader(tmp_path / "bare.dsc") as stream:
        assert not [record for record in stream.records() if isinstance(record, Other)]


# A range of frames


@pytest.mark.parametrize("frames", [(0, 4), (4, 8), (3, 17), (5, 6), (21, None), (None, 24)], ids=str)
@pytest.mark.parametrize("name", [f"{begins} {name}" for begins in ("early", "late") for name in FILMS])
def test_a_range_sounds_as_the_same_range_of_the_film(
    name: str, frames: tuple[int | None, int | None], films: dict[str, Path], streams: dict[str, Path], tmp_path: Path
) -> None:
    """By what the reader of films says belongs to it, which knows nothing of streams."""
    output = tmp_path / "range.mkv"
    decode_to_file(streams[name], output, frames=frames, model=FakeModel())
    with open_video(films[name], frames=frames) as reader:
        wanted = list(read_packets(films[name], reader.span))
    for number, mine in enumerate(audio_of(output)):
        assert [packet.data for packet in mine] == [packet.data for packet in wanted if packet.track == number]


def test_a_range_of_a_film_is_coded_with_its_audio(films: dict[str, Path], tmp_path: Path) -> None:
    film = films["late aac.mp4"]
    encode_video(film, tmp_path / "range.dsc", model=FakeModel(), gop_size=GOP, frames=(5, 20))
    decode_to_file(tmp_path / "range.dsc", tmp_path / "range.mp4", model=FakeModel())
    with open_video(film, frames=(5, 20)) as reader:
        wanted = list(read_packets(film, reader.span))
    for number, mine in enumerate(audio_of(tmp_path / "range.mp4")):
        assert [packet.data for packet in mine] == [packet.data for packet in wanted if packet.track == number] != []


# Times


@pytest.mark.parametrize("frames", [None, (0, 9), (7, 15), (8, None)], ids=str)
def test_a_variable_frame_rate_is_kept(frames: tuple[int, int | None] | None, irregular: Path, tmp_path: Path) -> None:
    encode_video(irregular, tmp_path / "film.dsc", model=FakeModel(), gop_size=GOP)
    decode_to_file(tmp_path / "film.dsc", tmp_path / "film.mp4", frames=frames, model=FakeModel())
    wanted = IRREGULAR[slice(*frames or (None,))]
    assert times_of(tmp_path / "film.mp4") == [(time - wanted[0]) * TICK for time in wanted]


def test_an_even_film_holds_no_times(tmp_path: Path) -> None:
    encode_video(make_film(tmp_path / "film.mkv"), tmp_path / "film.dsc", model=FakeModel())
    with StreamReader(tmp_path / "film.dsc") as stream:
        assert not stream.header.timed and {frame.time for frame in stream.frames()} == {None}


@pytest.mark.parametrize("lost", [0, 2, 4, 22], ids=["the first GOP", "within", "a later one", "the last"])
def test_stand_ins_have_times_between_those_of_their_neighbours(lost: int, irregular: Path, tmp_path: Path) -> None:
    encode_video(irregular, tmp_path / "film.dsc", model=FakeModel(), gop_size=GOP)
    with StreamReader(tmp_path / "film.dsc") as stream:
        coded = [frame.number for frame in stream.frames()]
    behind = [n for n in coded[coded.index(lost) :] if n < lost // GOP * GOP + GOP]
    altered(tmp_path / "film.dsc", tmp_path / "film.dsc", lost)
    report = decode_to_file(tmp_path / "film.dsc", tmp_path / "film.mp4", model=FakeModel(), keep_going=True)
    times = times_of(tmp_path / "film.mp4")
    assert report.frames == len(times) == len(set(times)) == FRAMES and report.filled == len(behind)
    sound = [n for n in range(FRAMES) if n not in behind]
    if lost:
        assert [times[n] for n in sound] == [IRREGULAR[n] * TICK for n in sound]


# Colour


@pytest.mark.parametrize("output", ["film.mp4", "film.mkv"])
def test_range_matrix_primaries_and_transfer_are_kept(output: str, tmp_path: Path) -> None:
    hdr = VideoInfo(64, 32, Fraction(25), None, True, "bt2020", primaries=9, transfer=16)
    with create_video(tmp_path / "hdr.mkv", hdr) as writer:
        writer.write(make_frame(64, 32))
    encode_video(tmp_path / "hdr.mkv", tmp_path / "film.dsc", model=FakeModel())
    decode_to_file(tmp_path / "film.dsc", tmp_path / output, model=FakeModel())
    with open_video(tmp_path / output) as reader:
        info = reader.info
    assert (info.full_range, info.matrix, info.primaries, info.transfer) == (True, "bt2020", 9, 16)


# Damage beside the pictures


def test_audio_that_makes_no_sense_is_damage(streams: dict[str, Path], tmp_path: Path) -> None:
    """Its checksum is right: whoever wrote it wrote nonsense."""
    for kind, body in (("a", b"nonsense"), ("t", b"\\xff" * 9), ("m", b"\\x01")):
        with StreamReader(streams["early aac.mp4"]) as stream, (tmp_path / f"{kind}.dsc").open("wb") as file:
            writer = StreamWriter(file, stream.header)
            for record in stream.records():
                if isinstance(record, CodedFrame):
                    writer.write(record.kind, record.payload, record.check, span=record.position.span)
                else:
                    writer.write_other(record._replace(body=body if record.kind == kind else record.body))
            writer.close()
        with pytest.raises(DamagedStream, match=f"record '{kind}' at byte"):
            decode_to_file(tmp_path / f"{kind}.dsc", tmp_path / "o.mkv", model=FakeModel())
        assert not (tmp_path / "o.mkv").exists()
        report = decode_to_file(tmp_path / f"{kind}.dsc", tmp_path / f"{kind}.mkv", model=FakeModel(), keep_going=True)
        assert report.frames == FRAMES and report.filled == 0 and report.damages


# Where there is no place for it


def test_what_an_output_has_no_place_for_is_told(
    streams: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepsphere_codec.films.decode.model_of", lambda *_: FakeModel())
    stream = str(streams["early aac.mp4"])
    assert main(["decode", stream, str(tmp_path / "film.y4m"), "--json"]) == 0
    assert "note: 2 tracks of audio and tags are left out: only .mkv and .mp4 can hold them" in capsys.readouterr().err
    assert main(["info", stream, "--json"]) == 0
    said = capsys.readouterr().out
    assert '"title": "\\u00dcber dem See"' in said and '"language": "deu"' in said
