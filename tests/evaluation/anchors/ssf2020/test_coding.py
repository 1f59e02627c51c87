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

from deepsphere_codec.entropy.planar import ScaleSpaceFlow
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.evaluation.anchors.ssf2020.__main__ import main
from deepsphere_codec.evaluation.anchors.ssf2020.coding import SsfCoder
from deepsphere_codec.evaluation.anchors.ssf2020.container import Frame, SsfFile, pack, unpack
from deepsphere_codec.evaluation.anchors.ssf2020.network import PlanarFlow
from deepsphere_codec.evaluation.anchors.ssf2020.weights import load_ssf
from deepsphere_codec.video import open_video

Fails = Callable[..., str]


@pytest.fixture(scope="module")
def network(weights: Path) -> PlanarFlow:
    return load_ssf(weights / "quality-3")[0]


@pytest.fixture(scope="module")
def coded(weights: Path, small_film: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The film as a file with a GOP of 2, and the encoder's report, both of another process."""
    path = tmp_path_factory.mktemp("coded") / "film.ssf"
    return path, run("encode", small_film, path, "--weights", weights / "quality-3", "--gop", "2")


@pytest.fixture(scope="module")
def file(coded) -> SsfFile:
    return unpack(coded[0].read_bytes(), "film")


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str], tmp_path: Path, weights: Path) -> Fails:
    """Runs a command line that must fail with a code and leave nothing; returns its line on standard error."""

    def fail(code: int, *arguments: str | Path, weights: Path = weights / "quality-3") -> str:
        before = sorted(tmp_path.iterdir())
        assert main([*map(str, arguments), "--weights", str(weights)]) == code
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("ssf2020: error: ") and err.count("\n") == 1
        assert sorted(tmp_path.iterdir()) == before
        return err

    return fail


def run(*arguments: str | Path) -> dict:
    """The report of a command in a process of its own."""
    command = [sys.executable, "-m", "deepsphere_codec.evaluation.anchors.ssf2020", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[4])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_new_process_decodes_what_the_encoder_saw(coded, network, weights, small_film: Path, tmp_path: Path) -> None:
    path, encoded = coded
    decoded = run("decode", path, tmp_path / "film.mkv", "--weights", weights / "quality-3")
    assert decoded["pictures"] == encoded["pictures"]
    with open_video(small_film) as source, open_video(tmp_path / "film.mkv") as reader:
        film, coder = list(reader), SsfCoder(network, source.info)
        for number, (frame, shown) in enumerate(zip(source, film, strict=True)):
            coder.encode(frame, is_intra=number % 2 == 0)
            assert all(np.array_equal(a, b) for a, b in zip(coder.shown(), shown, strict=True))
    assert coder.digest.hexdigest() == encoded["pictures"]
    assert not np.array_equal(film[0].y, film[1].y), "a P-frame that says nothing would prove nothing"


def test_the_report_tells_what_the_file_holds(coded, file: SsfFile) -> None:
    report, (first, second, third) = coded[1], file.frames
    assert [frame.frame_type for frame in file.frames] == ["I", "P", "I"]
    assert (file.info.width, file.info.height, file.gop, file.quality, file.threads) == (96, 48, 2, 3, 1)
    assert report["bpp_p"] == sum(map(len, second.strings)) * 8 / (96 * 48)
    assert report["bpp_i"] == sum(map(len, [*first.strings, *third.strings])) * 8 / (2 * 96 * 48)
    assert all(len(string) > 8 for frame in file.frames for string in frame.strings[::2]), "latents are all zero"


@torch.inference_mode()
def test_strings_are_those_of_compressais_own_call(network: PlanarFlow, small_film: Path) -> None:
    """And so is what its own decoder makes of them, as far as bounds do not matter."""
    with open_video(small_film) as reader:
        info, frames = reader.info, list(reader)
    coder = SsfCoder(network, info)
    coded = coder.encode(frames[0], is_intra=True)
    strings, shapes = network.compress([coder.picture(frames[0])])
    assert [each[0] for each in strings[0]] == list(coded.strings)
    decoded = network.decompress(strings, shapes)[0]
    bounded = coder.space.to_rgb(coder.space.from_rgb(decoded).clamp(0, 1))
    torch.testing.assert_close(coder.x_ref, bounded, atol=0, rtol=0)


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


def test_an_altered_file_ends_with_3(coded, fails: Fails, tmp_path: Path) -> None:
    data = bytearray(coded[0].read_bytes())
    data[-3] ^= 1
    (tmp_path / "bad.ssf").write_bytes(data)
    line = fails(3, "decode", tmp_path / "bad.ssf", tmp_path / "o.mkv")
    assert "bad.ssf is cut short or altered: the checksum of frame 2 differs" in line


def test_other_weights_end_with_4(file: SsfFile, fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "other.ssf").write_bytes(pack(file._replace(weights_hash="ab" * 32, quality=5)))
    line = fails(4, "decode", tmp_path / "other.ssf", tmp_path / "o.mkv")
    assert "was written with the weights abababababab… of quality 5; " in line


@pytest.mark.parametrize("string", [b"", b"\x01" * 7, bytes(40)], ids=["empty", "short", "zeros"])
def test_a_string_that_no_coder_wrote_is_refused_though_its_checksum_holds(file, network, string: bytes) -> None:
    first, second, third = file.frames
    forged = pack(file._replace(frames=[first, Frame([*second.strings[:3], string]), third]))
    coder = SsfCoder(network, file.info)
    coder.decode(first)
    with pytest.raises(DamagedStream, match="do not begin as the coder's do"):
        coder.decode(unpack(forged, "film").frames[1])


def test_a_string_cut_short_decodes_to_something_and_not_to_a_crash(file: SsfFile, network: PlanarFlow) -> None:
    y, z = file.frames[0].strings
    assert SsfCoder(network, file.info).decode(Frame([y[:12], z])).y.shape == (48, 96)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["encode", "FILM", "o.ssf", "--gop", "0"], "gop is 0, threads 1: expected 1 or more"),
        (["encode", "FILM", "o.ssf", "--threads", "0"], "gop is 32, threads 0"),
        (["encode", "nowhere.mkv", "o.ssf"], "nowhere.mkv"),
        (["decode", "nowhere.ssf", "o.mkv"], "nowhere.ssf: No such file"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_wrong_usage_ends_with_2(arguments, message, small_film, fails, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in fails(2, *(small_film if each == "FILM" else each for each in arguments))
    assert "nowhere does not hold weights" in fails(2, "encode", small_film, "o.ssf", weights=tmp_path / "nowhere")


def test_an_output_that_is_there_is_kept(small_film: Path, fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "o.ssf").write_bytes(b"mine")
    assert "exists" in fails(2, "encode", small_film, tmp_path / "o.ssf")
    assert (tmp_path / "o.ssf").read_bytes() == b"mine"
