"""The codec over a film: reconstruction, random access, headers, memory. With a model that is quick to run."""

from __future__ import annotations

import dataclasses
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from support import FakeModel, FakeState, Spans, coded_with_signals, make_film, make_frame, one_thread, spans_of

from deepsphere_codec.bitstream import LIMITS, CodedFrame, PictureOrder, Position, StreamReader, StreamWriter
from deepsphere_codec.codec import (
    VideoDecoder,
    VideoEncoder,
    check_quality,
    frame_from_signal,
    signal_from_frame,
)
from deepsphere_codec.errors import DamagedStream, IncompatibleStream, LostReference, UsageError
from deepsphere_codec.films import decode_to_file, decode_video, encode_video
from deepsphere_codec.gop.lookahead import ContentLookahead
from deepsphere_codec.gop.reference_buffer import ReferenceBuffer
from deepsphere_codec.gop.stream_info import check_header, film_info
from deepsphere_codec.models import list_models, load_model
from deepsphere_codec.runtime.progress import Progress
from deepsphere_codec.sphere import ErpResampler
from deepsphere_codec.video import VideoInfo, open_video, yuv_to_rgb

INFO = VideoInfo(64, 32, fps=Fraction(25), frames=None, full_range=False, matrix="bt709")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module", params=[1, 2, 8])
def stream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames, an I-frame every five, in groups of one, two or up to eight frames."""
    folder = tmp_path_factory.mktemp("codec")
    film = make_film(folder / "film.y4m", frames=10)
    with spans_of(request.param):
        encode_video(film, folder / "film.dsc", model=FakeModel(), gop_size=5)
    return folder / "film.dsc"


def coded_film(encoder: VideoEncoder, frames: int) -> list[CodedFrame]:
    """The coded frames of a film, from an I-frame on."""
    width, height = encoder.header.width, encoder.header.height
    coded = [encoder.encode(make_frame(width, height, number)) for number in range(frames)]
    return [*chain(*coded), *encoder.flush()]


def test_a_frame_survives_the_way_to_the_sphere_and_back() -> None:
    frame = make_frame(128, 64)
    resampler = ErpResampler(64, 128, 32)
    back = frame_from_signal(signal_from_frame(frame, resampler), resampler)
    for plane, plane_back in zip(frame, back, strict=True):
        assert plane_back.dtype == np.uint8
        assert np.abs(plane.astype(int) - plane_back).max() <= 2


def test_the_decoder_has_what_the_encoder_kept_bit_for_bit() -> None:
    encoder = VideoEncoder(FakeModel(), INFO, gop_size=7)
    decoder = VideoDecoder(encoder.header, FakeModel())
    coded = []
    for each, x_hat in coded_with_signals(encoder, [make_frame(64, 32, number) for number in range(13)], Spans(4)):
        assert torch.equal(decoder.decode(each.position, each.payload), x_hat)
        coded.append(each)
    assert "".join(each.position.kind for each in coded) == "IPBBBPBIPBBBP"
    assert [each.position.number for each in coded] == [0, 4, 2, 1, 3, 6, 5, 7, 11, 9, 8, 10, 12]


def test_frames_are_coded_and_shown_as_early_as_can_be() -> None:
    encoder = VideoEncoder(FakeModel(), INFO, lookahead=Spans(8))
    counts = [len(encoder.encode(make_frame(64, 32, number))) for number in range(10)]
    assert counts == [1, *[0] * 7, 8, 0] and len(encoder.flush()) == 1
    frames = coded_film(encoder, 9)
    shown, given = [], []

    def records() -> Iterator[CodedFrame]:
        for frame in frames:
            given.append(frame.position.number - frames[0].number)
            yield frame

    for number, picture in enumerate(VideoDecoder(encoder.header, FakeModel()).show(records())):
        assert np.abs(picture.y.astype(int) - make_frame(64, 32, number).y).max() <= 2
        shown.append(given[-1])
    assert shown == [0, 1, 1, 3, 3, 5, 5, 7, 7], "the record behind which each picture is shown"


@pytest.mark.parametrize("span", [1, 2, 4, 8])
def test_five_pictures_are_kept_however_long_a_gop_is(span: int) -> None:
    pictures, order, most = ReferenceBuffer(), PictureOrder(), 0
    pictures.keep(order.next("I"), FakeState(torch.zeros(1, 1, 3), 0))
    for _ in range(50):
        for kind in ("P", *"B" * (span - 1)):
            position = order.next(kind, span if kind == "P" else 1)
            references = pictures.references(position)
            assert references.distances[0] < 0 and (references.second is None) == (references.distances[1] == 0)
            pictures.keep(position, FakeState(torch.zeros(1, 1, 3), position.number))
            assert references.first.frames == position.first
            most = max(most, len(pictures))
    assert most == {1: 2, 2: 3, 4: 4, 8: 5}[span]


def test_the_report_counts_the_file(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m", frames=5)
    seen: list[tuple[int, int | None]] = []
    report = encode_video(
        film,
        tmp_path / "o.dsc",
        model=FakeModel(),
        frames=(1, 4),
        quality=2.5,
        low_delay=True,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    size = (tmp_path / "o.dsc").stat().st_size
    assert report[:7] == (3, 64, 32, 12, "fake", 2.5, size)
    assert report.bpp == size * 8 / (3 * 64 * 32)
    assert report.frames_per_second == pytest.approx(3 / report.encode_seconds)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_decoded_frames_are_the_films(stream: Path) -> None:
    decoded = list(decode_video(stream, model=FakeModel()))
    assert len(decoded) == 10
    with open_video(stream.with_suffix(".y4m")) as reader:
        for frame, rgb in zip(reader, decoded, strict=True):
            assert rgb.shape == (32, 64, 3) and rgb.dtype == np.uint8
            assert np.abs(yuv_to_rgb(frame, reader.info).astype(int) - rgb).mean() < 2


@pytest.mark.parametrize("frames", [(0, 1), (1, 3), (2, 5), (4, 8), (5, 6), (7, 8), (9, None), (None, 2), (8, 99)])
def test_random_access_gives_the_same_frames(stream: Path, frames: tuple[int | None, int | None]) -> None:
    everything = list(decode_video(stream, model=FakeModel()))
    some = list(decode_video(stream, model=FakeModel(), frames=frames))
    assert np.array_equal(np.stack(some), np.stack(everything[slice(*frames)]))


def test_a_small_picture_takes_no_large_sphere(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m")
    with pytest.raises(UsageError, match="nside 68 is too large for frames of 64x32; use 64 or less"):
        encode_video(film, tmp_path / "film.dsc", model=FakeModel(), nside=68)
    assert not (tmp_path / "film.dsc").exists()


def test_random_access_decodes_what_it_needs(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The I-frame, and the pictures that the one of the range rests on."""
    with StreamReader(stream) as reader:
        longest = max(frame.position.span for frame in reader.frames())
    decoded: list[str] = []
    decode = VideoDecoder.decode
    monkeypatch.setattr(
        VideoDecoder, "decode", lambda self, at, *rest: (decoded.append(at.kind), decode(self, at, *rest))[1]
    )
    list(decode_video(stream, model=FakeModel(), frames=(6, 7)))
    assert "".join(decoded) == {1: "IP", 2: "IPB", 4: "IPBB"}[longest]


def test_frames_may_have_another_size(stream: Path, tmp_path: Path) -> None:
    report = decode_to_file(stream, tmp_path / "small.y4m", model=FakeModel(), size=(48, 24), frames=(2, 5))
    assert report[:3] == (3, 48, 24)
    with open_video(tmp_path / "small.y4m") as reader:
        assert [frame.y.shape for frame in reader] == [(24, 48)] * 3


def test_threads_are_put_back(stream: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    decode_to_file(
        stream,
        tmp_path / "o.y4m",
        model=FakeModel(),
        threads=3,
        on_progress=lambda *_: seen.append(torch.get_num_threads()),
    )
    assert set(seen) == {3} and torch.get_num_threads() == before


def test_a_film_without_its_beginning_is_damaged() -> None:
    encoder = VideoEncoder(FakeModel(), INFO)
    for position in (Position("P", 4, 3), Position("B", 4, 3, 5)):
        with pytest.raises(LostReference, match=f"a {position.kind}-frame refers to frame 3, which is lost"):
            VideoDecoder(encoder.header, FakeModel()).decode(position, b"")


def test_what_refers_to_a_lost_frame_is_lost_and_nothing_else() -> None:
    encoder = VideoEncoder(FakeModel(), INFO, lookahead=Spans(8))
    decoder, lost = VideoDecoder(encoder.header, FakeModel()), []
    for position, payload, check, *_ in coded_film(encoder, 13):
        try:
            decoder.decode(position, payload, check ^ (position.number == 4))
        except DamagedStream as damage:
            lost.append(position.number)
            assert isinstance(damage, LostReference) == (position.number != 4)
    assert lost == [4, 2, 1, 3, 6, 5, 7]


@pytest.mark.parametrize(
    ("field", "part"), [("weights_hash", "weights"), ("tables_hash", "entropy tables"), ("graph_hash", "graph")]
)
def test_a_header_of_another_model_is_refused_by_name(field: str, part: str) -> None:
    header = dataclasses.replace(VideoEncoder(FakeModel(), INFO).header, **{field: "0" * 64})
    with pytest.raises(IncompatibleStream, match=part):
        check_header(header, FakeModel())


def test_a_header_with_an_nside_or_order_of_its_own_is_refused() -> None:
    header = VideoEncoder(FakeModel(), INFO).header
    for change in ({"nside": 18}, {"pixel_order": "nested"}):
        with pytest.raises(IncompatibleStream):
            check_header(dataclasses.replace(header, **change), FakeModel())


@pytest.mark.parametrize("quality", [0.99, 8.01, -1, float("nan"), float("inf")])
def test_quality_out_of_range(quality: float) -> None:
    with pytest.raises(UsageError, match="use 1 .* to 8"):
        check_quality(quality)


@pytest.mark.parametrize("size", [(64, 33), (63, 31), (64, 64), (0, 0), (-64, -32), (66, 33)])
def test_sizes_that_are_not_two_to_one(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="2:1"):
        film_info(VideoEncoder(FakeModel(), INFO).header, size)


@pytest.mark.parametrize("gop_size", [0, -1, LIMITS["gop_size"] + 1])
def test_a_gop_that_no_stream_holds(gop_size: int) -> None:
    with pytest.raises(UsageError, match="it takes 1 to 65536"):
        VideoEncoder(FakeModel(), INFO, gop_size=gop_size)


def test_a_film_larger_than_a_stream_holds() -> None:
    with pytest.raises(UsageError, match="larger than a stream can hold, 32768x16384"):
        VideoEncoder(FakeModel(), INFO._replace(width=65536, height=32768))


def test_memory_does_not_grow_with_the_film(tmp_path: Path) -> None:
    film, stream = make_film(tmp_path / "long.y4m", width=128, height=64, frames=400), tmp_path / "o.dsc"
    by_encode = _growth(lambda told: encode_video(film, stream, model=FakeModel(), on_progress=told))
    output = tmp_path / "o.y4m"
    by_decode = _growth(lambda told: decode_to_file(stream, output, model=FakeModel(), on_progress=told))
    # 300 frames held would be 44 MB of signals, or 4 MB as 8-bit pictures
    assert by_encode < 3e6 and by_decode < 3e6


def _growth(run: Callable[[Progress], object]) -> int:
    """Bytes that the process grew by between frames 100 and 400."""
    sizes = {}

    def told(done: int, total: int | None) -> None:
        if done in (100, 400):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            sizes[done] = pages * os.sysconf("SC_PAGE_SIZE")

    run(told)
    return sizes[400] - sizes[100]


def test_colours_are_those_of_the_film() -> None:
    info = INFO._replace(full_range=True, matrix="bt2020", primaries=9, transfer=16)
    decoder = VideoDecoder(VideoEncoder(FakeModel(), info).header, FakeModel())
    assert decoder.info == info._replace(frames=None)


def test_other_latents_than_the_encoders_are_noticed() -> None:
    """At the frame where they first differ, whatever the picture looks like."""
    info = VideoInfo(128, 64, fps=Fraction(25), frames=None, full_range=False, matrix="bt709")
    encoder = VideoEncoder(FakeModel(), info, gop_size=3, lookahead=Spans(1))
    coded = coded_film(encoder, 3)
    decoder = VideoDecoder(encoder.header, FakeModel())
    for each in coded[:2]:
        decoder.decode(each.position, each.payload, each.check)
    with pytest.raises(DamagedStream, match=r"decodes to other latents than were encoded \([0-9a-f]{4}, not "):
        decoder.decode(coded[2].position, coded[2].payload, coded[2].check ^ 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [card["name"] for card in list_models()])
def test_another_process_decodes_what_the_encoder_kept_with_any_number_of_threads(name: str, tmp_path: Path) -> None:
    info = VideoInfo(256, 128, fps=Fraction(25), frames=None, full_range=False, matrix="bt709")
    model = load_model(name)
    encoder = VideoEncoder(model, info, quality=4.5, gop_size=3)
    decoder, kept = VideoDecoder(encoder.header, model), []
    with (tmp_path / "o.dsc").open("wb") as file, StreamWriter(file, encoder.header) as writer:
        frames = [make_frame(256, 128, 3 * number) for number in range(4)]
        for coded, x_hat in coded_with_signals(encoder, frames, ContentLookahead()):
            writer.write(coded.kind, coded.payload, coded.check, span=coded.position.span)
            kept.append((coded.number, decoder.frame(x_hat)))
    for threads in ("1", "2", "3"):
        run_command("decode", tmp_path / "o.dsc", tmp_path / f"{threads}.mkv", "--threads", threads, "--device", "cpu")
        with open_video(tmp_path / f"{threads}.mkv") as reader:
            for frame, (_, ours) in zip(reader, sorted(kept, key=lambda each: each[0]), strict=True):
                assert all(map(np.array_equal, frame, ours)), f"{threads} threads"


@pytest.mark.slow
@pytest.mark.parametrize("name", [card["name"] for card in list_models()])
def test_a_full_size_film_takes_at_most_4_gib(name: str, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m", width=1024, height=512, frames=3)
    run_command("encode", film, tmp_path / "o.dsc", "--model", name, "--device", "cpu")
    run_command("decode", tmp_path / "o.dsc", tmp_path / "o.mkv", "--device", "cpu")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 * 2**20  # KiB; the largest child counts


def run_command(*arguments: str | Path) -> None:
    line = [sys.executable, "-m", "deepsphere_codec", *map(str, arguments)]
    done = subprocess.run(line, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
