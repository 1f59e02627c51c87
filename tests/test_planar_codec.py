"""The planar twin over a film, through the commands: real files, other processes, sizes that it takes and refuses."""

from __future__ import annotations

import copy
import dataclasses
import io
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from support import TINY, FakeModel, Spans, coded_with_signals, make_frame, one_thread

from deepsphere_codec.bitstream import StreamReader, StreamWriter
from deepsphere_codec.cli import main
from deepsphere_codec.codec import (
    VideoDecoder,
    VideoEncoder,
    frame_from_signal,
    make_resampler,
    signal_from_frame,
)
from deepsphere_codec.errors import IncompatibleStream, UsageError
from deepsphere_codec.gop.lookahead import LowDelay
from deepsphere_codec.gop.stream_info import check_header
from deepsphere_codec.models import LoadedModel, SphereDVC, load_model, save_model
from deepsphere_codec.sphere import ErpGrid, ErpPixels, ErpResampler
from deepsphere_codec.video import VideoInfo, YuvFrame, open_video

INFO = VideoInfo(256, 128, fps=Fraction(25), frames=None, full_range=False, matrix="bt709")
FLAT = dataclasses.replace(TINY, geometry="erp")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a twin as it begins, before any training: a block transform, with motion."""
    folder = tmp_path_factory.mktemp("twin")
    torch.manual_seed(3)
    save_model(folder, "twin", SphereDVC(FLAT, ErpGrid(64, 128)), {})
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> LoadedModel:
    return load_model(folder)


def test_a_plane_keeps_its_pixels() -> None:
    frame = make_frame(256, 128)
    frame = frame._replace(y=np.random.default_rng(1).integers(0, 256, (128, 256)).astype(np.uint8))
    pixels = make_resampler("erp", 128, 256, 64)
    x = signal_from_frame(frame, pixels)
    assert isinstance(pixels, ErpPixels) and x.shape == (1, 128 * 256, 3)
    assert torch.equal(x[0, :, 0] * 255, torch.from_numpy(frame.y).flatten().float()), "row by row"
    for plane, back in zip(frame, frame_from_signal(x, pixels), strict=True):
        assert np.array_equal(plane, back)
    assert isinstance(make_resampler("healpix", 128, 256, 32), ErpResampler)


@pytest.mark.slow
def test_another_process_decodes_what_the_encoder_kept(folder: Path, model: LoadedModel, film: Path, tmp_path: Path):
    """With any number of threads, from a file that the command wrote."""
    asked = ["--quality", "5", "--frames", "0:3", "--threads", "1", "--low-delay"]
    assert main(["encode", str(film), str(tmp_path / "o.dsc"), "--model", str(folder), *asked]) == 0
    with open_video(film, frames=(0, 3)) as reader:
        encoder = VideoEncoder(model, reader.info, quality=5.0)
        decoder = VideoDecoder(encoder.header, model)
        kept = [decoder.frame(x_hat) for _, x_hat in coded_with_signals(encoder, reader, LowDelay())]
    for threads in ("1", "2"):
        arguments = ["decode", tmp_path / "o.dsc", tmp_path / f"{threads}.mkv", "--threads", threads]
        line = [sys.executable, "-m", "deepsphere_codec", *map(str, arguments), "--model", str(folder)]
        done = subprocess.run(line, cwd=Path(__file__).parents[1], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        with open_video(tmp_path / f"{threads}.mkv") as reader:
            for frame, ours in zip(reader, kept, strict=True):
                assert all(map(np.array_equal, frame, ours)), f"{threads} threads"


def test_the_header_says_how_the_nodes_lie(model: LoadedModel) -> None:
    header = VideoEncoder(model, INFO).header
    assert (header.pixel_order, header.nside) == ("erp-rows", 64)
    assert VideoEncoder(FakeModel(), INFO).header.pixel_order == "face-major"
    check_header(header, model)
    with pytest.raises(IncompatibleStream, match="'face-major' is not that of twin; expected 'erp-rows'"):
        check_header(dataclasses.replace(header, pixel_order="face-major"), model)


def test_nside_is_what_the_model_divides(model: LoadedModel) -> None:
    with pytest.raises(UsageError, match="multiples of 32, such as 32 or 64"):
        VideoEncoder(model, INFO, nside=48)


@pytest.mark.parametrize(("size", "nside"), [((256, 128), 32), ((200, 100), None), ((256, 144), 64)])
def test_a_film_of_another_size_is_scaled_on_the_way(model: LoadedModel, size, nside) -> None:
    encoder = VideoEncoder(model, INFO._replace(width=size[0], height=size[1]), quality=8.0, nside=nside)
    frame = make_frame(*size)
    (coded,) = encoder.encode(frame)
    decoder = VideoDecoder(encoder.header, model)
    shown = decoder.frame(decoder.decode(coded.position, coded.payload, coded.check))
    assert encoder.x_hat is not None and encoder.x_hat.shape[1] == 8 * encoder.header.nside**2
    assert shown.y.shape == frame.y.shape
    assert psnr(frame, shown) > 30


def test_a_plane_is_decoded_at_any_size(model: LoadedModel) -> None:
    encoder = VideoEncoder(model, INFO, quality=8.0)
    (coded,) = encoder.encode(make_frame(256, 128))
    decoder = VideoDecoder(encoder.header, model, size=(128, 64))
    small = decoder.frame(decoder.decode(coded.position, coded.payload))
    assert psnr(make_frame(128, 64), small) > 25


def psnr(frame: YuvFrame, frame_hat: YuvFrame) -> float:
    """Of luma, dB."""
    return float(10 * np.log10(255**2 / np.square(frame.y.astype(float) - frame_hat.y).mean()))


def test_random_access_begins_at_an_i_frame(model: LoadedModel) -> None:
    encoder = VideoEncoder(model, INFO, gop_size=2)
    frames = [make_frame(256, 128, 4 * number) for number in range(4)]
    coded = list(coded_with_signals(encoder, frames, LowDelay()))
    decoder = VideoDecoder(encoder.header, copy.copy(model))
    for frame, x_hat in coded[2:]:
        assert torch.equal(decoder.decode(frame.position, frame.payload), x_hat)


def test_groups_are_decoded_as_they_were_coded(model: LoadedModel) -> None:
    """With a network's own states as references, from the bytes of a file, in order of display."""
    encoder, file, kept = VideoEncoder(model, INFO), io.BytesIO(), {}
    decoder = VideoDecoder(encoder.header, model)
    frames = [make_frame(256, 128, 4 * number) for number in range(6)]
    with StreamWriter(file, encoder.header) as writer:
        for coded, x_hat in coded_with_signals(encoder, frames, Spans(4)):
            writer.write(coded.kind, coded.payload, coded.check, span=coded.position.span)
            kept[coded.number] = decoder.frame(x_hat)
    assert list(kept) == [0, 4, 2, 1, 3, 5]
    with StreamReader(io.BytesIO(file.getvalue())) as reader:
        shown = list(VideoDecoder(encoder.header, model).show(reader.frames()))
    for number, frame in enumerate(shown):
        assert all(map(np.array_equal, frame, kept[number]))
