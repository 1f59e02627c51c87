"""The baseline as a codec: another process decodes its file to the same bits; what is wrong is told in one line."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import make_film

from deepsphere_codec.entropy.planar import ScaleSpaceFlow
from deepsphere_codec.errors import DamagedStream, UsageError
from deepsphere_codec.evaluation.anchors.ssf2020 import NAME
from deepsphere_codec.evaluation.anchors.ssf2020.__main__ import main
from deepsphere_codec.evaluation.anchors.ssf2020.coding import Pictures, SsfDecoder, SsfEncoder, film_info
from deepsphere_codec.evaluation.anchors.ssf2020.container import Frame, pack, unpack
from deepsphere_codec.evaluation.anchors.ssf2020.films import SsfEncodeReport, encode_film
from deepsphere_codec.evaluation.anchors.ssf2020.network import FlowUnit, PlanarFlow
from deepsphere_codec.evaluation.anchors.ssf2020.weights import (
    hash_of,
    load_ssf,
    save_ssf,
    weights_hash,
)
from deepsphere_codec.video import YuvFrame, open_video

Runs = Callable[..., str]


@pytest.fixture(scope="module")
def network(weights: Path) -> PlanarFlow:
    return load_ssf(weights / "quality-3").network


@pytest.fixture(scope="module")
def coded(weights: Path, small_film: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SsfEncodeReport]:
    """The film as a file with a GOP of 2, and what was said of it."""
    path = tmp_path_factory.mktemp("coded") / "film.ssf"
    return path, encode_film(small_film, path, weights=weights, gop=2)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Runs:
    """Runs a command line that must fail with a code and leave nothing; returns its line on standard error."""

    def run(code: int, *arguments: str | Path) -> str:
        before = sorted(tmp_path.iterdir())
        assert main([str(each) for each in arguments]) == code
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("ssf2020: error: ") and err.count("\n") == 1
        assert sorted(tmp_path.iterdir()) == before
        return err

    return run


def frames_of(film: Path) -> list[YuvFrame]:
    with open_video(film) as reader:
        return list(reader)


def test_a_new_process_decodes_what_the_encoder_saw(coded, weights: Path, small_film: Path, tmp_path: Path) -> None:
    path, report = coded
    out = tmp_path / "film.mkv"
    command = [sys.executable, "-m", "deepsphere_codec.evaluation.anchors.ssf2020", "decode", str(path), str(out)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[4])}
    line = [*command, "--weights", str(weights)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["pictures"] == report.pictures and told["frames"] == report.frames == 3
    film = frames_of(out)
    assert [frame.y.shape for frame in film] == [(48, 96)] * 3
    network = load_ssf(weights / "quality-3").network
    with open_video(small_film) as reader:
        encoder = SsfEncoder(network, reader.info, gop=2)
        for source, shown in zip(reader, film, strict=True):
            encoder.encode(source)
            expected = encoder.pictures.to_frame(encoder.x_ref)
            assert all(np.array_equal(a, b) for a, b in zip(expected, shown, strict=True))
    assert not np.array_equal(film[0].y, film[1].y), "a P-frame that says nothing would prove nothing"


def test_the_report_tells_what_the_file_holds(coded) -> None:
    path, report = coded
    header, frames = unpack(path.read_bytes(), "film")
    assert [frame.frame_type for frame in frames] == ["I", "P", "I"]
    assert (header.width, header.height, header.gop, header.quality, header.threads) == (96, 48, 2, 3, 1)
    assert report.bytes == path.stat().st_size and report.bpp == report.bytes * 8 / (3 * 96 * 48)
    assert report.p_frames == (1, sum(map(len, frames[1].strings))) and report.i_frames.frames == 2
    assert sum(share.bytes for share in (report.i_frames, report.p_frames)) < report.bytes
    assert all(len(string) > 8 for frame in frames for string in frame.strings[::2]), "latents are all zero"


@torch.inference_mode()
def test_strings_are_those_of_compressais_own_call(network: PlanarFlow, small_film: Path) -> None:
    """And so is what its own decoder makes of them, as far as bounds do not matter."""
    with open_video(small_film) as reader:
        info, frames = reader.info, list(reader)
    encoder, decoder, pictures = SsfEncoder(network, info, gop=3), SsfDecoder(network, info), Pictures(info)
    ours = [encoder.encode(frame) for frame in frames]
    strings, shapes = network.compress([pictures.of_frame(frames[0]), encoder.x_ref])
    assert [each[0] for each in strings[0]] == list(ours[0].strings) and tuple(shapes[0]) == pictures.hyper_shape
    decoder.decode(ours[0])
    decoded = network.decompress(strings[:1], shapes[:1])[0]
    torch.testing.assert_close(decoder.x_ref, pictures.bounded(decoded), atol=0, rtol=0)


@torch.inference_mode()
def test_flow_moves_by_as_many_pixels_in_a_picture_of_any_size(network: PlanarFlow) -> None:
    """A flow of 8 pixels in the unit's halves, on a ramp: 8 pixels at twice the size, and at four times by one side."""
    for height, width in ((128, 128), (128, 256), (256, 512)):
        ramp = torch.stack([torch.arange(width).expand(height, -1), torch.arange(height)[:, None].expand(-1, width)])
        x_ref = torch.cat([ramp, ramp[:1]]).float()[None]
        motion = torch.zeros(1, 3, height, width)
        motion[:, 0], motion[:, 1], motion[:, 2] = 8 / 64, -4 / 64, -1.0  # -1 is the sharp end of scale space
        moved = network.forward_prediction(x_ref, motion) - x_ref
        inner = moved[0, :, 20:-20, 20:-20]
        torch.testing.assert_close(inner[0], torch.full_like(inner[0], 8.0), atol=2e-3, rtol=0)
        torch.testing.assert_close(inner[1], torch.full_like(inner[1], -4.0), atol=2e-3, rtol=0)


@torch.inference_mode()
def test_without_a_unit_it_is_compressais(network: PlanarFlow) -> None:
    """Whose flow moves twice as far where the picture is twice as wide."""
    plain = copy.copy(network)
    plain.unit = None
    x_ref, motion = torch.rand(1, 3, 128, 256), 0.1 * torch.randn(1, 3, 128, 256)
    theirs = ScaleSpaceFlow.forward_prediction(network, x_ref, motion)
    assert torch.equal(plain.forward_prediction(x_ref, motion), theirs)
    motion[:, 0] *= 2  # twice as wide as the unit
    torch.testing.assert_close(network.forward_prediction(x_ref, motion), theirs, atol=1e-5, rtol=0)


def test_an_altered_file_ends_with_3(coded, weights: Path, fails: Runs, tmp_path: Path) -> None:
    data = bytearray(coded[0].read_bytes())
    data[-3] ^= 1
    (tmp_path / "bad.ssf").write_bytes(data)
    line = fails(3, "decode", tmp_path / "bad.ssf", tmp_path / "o.mkv", "--weights", weights)
    assert "bad.ssf: frame 2 at byte" in line and "checksum differs" in line


@pytest.mark.parametrize("string", [b"", b"\x01" * 7, bytes(40)], ids=["empty", "short", "zeros"])
def test_a_string_that_no_coder_wrote_is_refused_though_its_checksum_holds(coded, network, string: bytes) -> None:
    header, frames = unpack(coded[0].read_bytes(), "film")
    forged = pack(header, [frames[0], frames[1]._replace(strings=(*frames[1].strings[:3], string)), frames[2]])
    _, frames = unpack(forged, "film")
    decoder = SsfDecoder(network, film_info(header))
    decoder.decode(frames[0])
    with pytest.raises(DamagedStream, match="do not begin as the coder's do"):
        decoder.decode(frames[1])


def test_a_string_cut_short_decodes_to_something_and_not_to_a_crash(coded, network) -> None:
    header, frames = unpack(coded[0].read_bytes(), "film")
    cut = Frame("I", (frames[0].strings[0][:12], frames[0].strings[1]))
    assert SsfDecoder(network, film_info(header)).decode(cut).y.shape == (48, 96)


def test_a_p_frame_alone_is_refused(coded, network) -> None:
    header, frames = unpack(coded[0].read_bytes(), "film")
    with pytest.raises(DamagedStream, match="before any I-frame"):
        SsfDecoder(network, film_info(header)).decode(frames[1])


def test_other_weights_end_with_4(coded, weights: Path, network, fails: Runs, tmp_path: Path) -> None:
    other = copy.deepcopy(network)
    next(other.img_decoder.parameters()).data.view(-1)[0] += 0.5
    save_ssf(tmp_path / "quality-3", other, 3, {})
    line = fails(4, "decode", coded[0], tmp_path / "o.mkv", "--weights", tmp_path)
    assert "was written with the weights" in line
    (tmp_path / "quality-3" / "weights.safetensors").unlink()
    card = json.loads((tmp_path / "quality-3" / "card.json").read_text())
    (tmp_path / "quality-3" / "card.json").write_text(json.dumps(card | {"quality": 5}))
    assert "needs quality 3" in fails(4, "decode", coded[0], tmp_path / "o.mkv", "--weights", tmp_path)
    line = fails(4, "decode", coded[0], tmp_path / "o.mkv", "--weights", tmp_path / "nowhere")
    assert "holds no weights of planar-ssf2020" in line


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "the following arguments are required"),
        (["encode", "FILM", "o.ssf", "--quality", "4"], "has no quality 4; it has 3"),
        (["encode", "FILM", "o.ssf", "--gop", "0"], "gop is 0, threads 1: expected 1 or more"),
        (["encode", "FILM", "o.ssf", "--threads", "0"], "gop is 32, threads 0"),
        (["encode", "nowhere.mkv", "o.ssf"], "nowhere.mkv"),
        (["decode", "nowhere.ssf", "o.mkv"], "nowhere.ssf cannot be read: no such file"),
        (["convert", "ours.pth.tar", "out"], "ours.pth.tar does not say its quality"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_wrong_usage_ends_with_2(arguments, message, weights, small_film, fails, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(small_film) if each == "FILM" else each for each in arguments]
    given += ["--weights", str(weights)] if arguments[:1] in (["encode"], ["decode"]) else []
    assert message in fails(2, *given)


def test_an_output_that_is_there_is_kept(coded, weights, small_film, fails, tmp_path) -> None:
    (tmp_path / "o.ssf").write_bytes(b"mine")
    assert "exists" in fails(2, "encode", small_film, tmp_path / "o.ssf", "--weights", weights)
    assert (tmp_path / "o.ssf").read_bytes() == b"mine"


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"name": "planar-ssf2020", "quality": "3"}'])
def test_cards_of_something_else_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(UsageError, match="card.json (is no card of planar-ssf2020|cannot be read)"):
        load_ssf(tmp_path)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(json.dumps({"name": NAME, "quality": 3, "flow_unit": None}))
    with pytest.raises(UsageError, match="weights.safetensors cannot be read"):
        load_ssf(tmp_path)
    save_file({"a": torch.zeros(2)}, tmp_path / "weights.safetensors")
    with pytest.raises(UsageError, match="holds other weights than planar-ssf2020's"):
        load_ssf(tmp_path)


def test_the_units_of_flow_are_part_of_what_a_stream_names(weights: Path, tmp_path: Path) -> None:
    tensors = {"a": torch.ones(2)}
    hashes = {weights_hash(tensors, unit) for unit in (None, FlowUnit(128, 128), FlowUnit(256, 128))}
    assert len(hashes) == 3 and hash_of(weights / "quality-3") == load_ssf(weights / "quality-3").weights_hash


def test_sizes_that_need_no_padding(network: PlanarFlow, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m", 256, 128, 1)
    with open_video(film) as reader:
        encoder, decoder = SsfEncoder(network, reader.info, 32), SsfDecoder(network, reader.info)
        frame = decoder.decode(encoder.encode(next(reader)))
    assert frame.y.shape == (128, 256) and torch.equal(encoder.x_ref, decoder.x_ref)
