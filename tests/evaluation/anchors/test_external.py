"""Encoders that are programs: command lines, files, the cutting of streams, and what is said where one is absent.

The programs are stand-ins that the tests write: lossless, and they note how they were called.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from support import make_film

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.classical import GOP, AnchorCodec
from deepsphere_codec.evaluation.anchors.external import INTRA_PERIOD, VTM_CONFIG, VTM_CONFIG_VARIABLE, split_pictures
from deepsphere_codec.evaluation.script import run

WIDTH, HEIGHT, FRAMES = 64, 32, 3
SAMPLES = WIDTH * HEIGHT * 3 // 2
SPS, PPS = (kind << 3 | 1 for kind in (15, 16))
APS, SUFFIX_APS, PICTURE_HEADER, DELIMITER, SEI, SUFFIX_SEI = (kind << 3 | 1 for kind in (17, 18, 19, 20, 23, 24))
IDR, TRAIL = (kind << 3 | 1 for kind in (8, 0))
WHOLE, PART = b"\x80", b"\x00"  # a slice's first byte: with the picture header inside, or without


def unit(kind: int, content: bytes = b"\x01") -> bytes:
    """A NAL unit with its start code; the content must not look like one."""
    return b"\x00\x00\x00\x01\x00" + bytes([kind]) + content


# Frame n is "n:" and its samples as hexadecimal digits; they are coded last to first, after the first.
STAND_IN = f"""#!{sys.executable}
import json, sys
from pathlib import Path
arguments = sys.argv[1:]
with open({{log!r}}, "a") as log:
    print(json.dumps([Path(sys.argv[0]).name, *arguments]), file=log)
if {{failure!r}}:
    sys.exit({{failure!r}})

def value(*names):
    for name in names:
        for i, argument in enumerate(arguments):
            if argument == name:
                return arguments[i + 1]
            if argument.startswith(name + "="):
                return argument.split("=", 1)[1]

def unit(kind, content):
    return bytes([0, 0, 0, 1, 0, kind << 3 | 1]) + content

stream = value("--output", "--BitstreamFile") if {{encodes!r}} else value("--bitstream", "--BitstreamFile")
if {{encodes!r}}:
    data = Path(value("--input", "--InputFile")).read_bytes()
    frames = [data[i : i + {SAMPLES}] for i in range(0, len(data), {SAMPLES})]
    sets = unit(15, b"sps") + unit(16, b"pps")
    coded = sets
    for n in [0, *range(len(frames) - 1, 0, -1)]:
        slices = b"\\x80%d:" % n + frames[n].hex().encode()
        coded += unit(20, b"-") + sets + unit(23, b"sei") + unit(0 if n else 8, slices)
    Path(stream).write_bytes(coded)
else:
    units = Path(stream).read_bytes().split(bytes([0, 0, 0, 1]))[1:]
    assert [each[1] >> 3 for each in units[:2]] == [15, 16], "no parameter sets"
    slices = [each[3:].decode().split(":") for each in units if each[1] >> 3 in (0, 8)]
    frames = [bytes.fromhex(samples) for _, samples in sorted(slices, key=lambda each: int(each[0]))]
    yuv = Path(value("--output", "--ReconFile"))
    if value("--OutputBitDepth") == "8":
        yuv.write_bytes(b"".join(frames))
    else:
        yuv.write_bytes(b"".join((4 * sample + 1).to_bytes(2, "little") for frame in frames for sample in frame))
"""


def install(folder: Path, encoder: str, decoder: str, failure: str = "") -> Path:
    """Programs in a folder; returns the file where they note how they were called."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "calls"
    for name, encodes in ((encoder, True), (decoder, False)):
        program = folder / name
        program.write_text(STAND_IN.format(log=str(log), encodes=encodes, failure=failure))
        program.chmod(0o755)
    return log


def calls(log: Path) -> list[list[str]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return make_film(tmp_path / "film.y4m", WIDTH, HEIGHT, FRAMES + 1)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of PATH; empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv(VTM_CONFIG_VARIABLE, raising=False)
    return folder


def picture_bits(numbers: Iterable[int]) -> int:
    """Of the stand-in's pictures: start code, header, SEI, slice; no delimiters, no parameter sets."""
    return sum(8 * (len(unit(SEI, b"sei")) + len(unit(TRAIL, b"\x80%d:" % n)) + 2 * SAMPLES) for n in numbers)


def test_vvenc_through_files(film: Path, path: Path) -> None:
    log = install(path, "vvencapp", "vvdecapp")
    codec = AnchorCodec("vvenc", FRAMES)
    point = codec.measure(film, 27)
    (encoder, *encode), (decoder, *decode) = calls(log)
    assert (encoder, decoder) == ("vvencapp", "vvdecapp")
    options = dict(zip(encode[::2], encode[1::2], strict=True))
    assert Path(options.pop("--input")).name == "source.yuv" and Path(options.pop("--output")).name == "stream.266"
    assert options == {
        "--size": f"{WIDTH}x{HEIGHT}",
        "--format": "yuv420",
        "--framerate": "25",
        "--frames": str(FRAMES),
        "--qp": "27",
        "--preset": "medium",
        "--qpa": "0",
        "--intraperiod": "32",
        "--refreshtype": "idr",
        "--threads": "2",
    }
    assert decode[::2] == ["--bitstream", "--output"]
    pixels = WIDTH * HEIGHT
    assert point.bpp == picture_bits(range(FRAMES)) / (FRAMES * pixels)
    assert point.bpp_i == picture_bits([0]) / pixels
    assert point.bpp_p == picture_bits([1, 2]) / (2 * pixels)
    assert point.ws_psnr_yuv == 100  # lossless, and in order of display; 10 bits are rounded back
    assert point.encode_seconds and point.decode_seconds
    assert not Path(decode[1]).exists()  # nothing is left behind


def test_vtm_through_files(film: Path, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = install(tmp_path / "vtm" / "bin", "EncoderAppStatic", "DecoderAppStatic")
    monkeypatch.setenv("PATH", str(log.parent))
    config = tmp_path / "vtm" / "cfg" / VTM_CONFIG
    config.parent.mkdir()
    config.touch()
    point = AnchorCodec("vtm", FRAMES).measure(film, 32)
    (_, *encode), (_, *decode) = calls(log)
    assert encode[:2] == ["-c", str(config)]
    options = dict(option.split("=") for option in encode[2:])
    assert Path(options.pop("--InputFile")).name == "source.yuv"
    assert Path(options.pop("--BitstreamFile")).name == "stream.266"
    assert options == {
        "--SourceWidth": str(WIDTH),
        "--SourceHeight": str(HEIGHT),
        "--FrameRate": "25",
        "--FramesToBeEncoded": str(FRAMES),
        "--QP": "32",
        "--IntraPeriod": "32",
        "--DecodingRefreshType": "2",
        "--InputBitDepth": "8",
        "--InputChromaFormat": "420",
        "--ConformanceWindowMode": "1",
        "--Level": "6.2",
    }
    assert decode[2] == "--OutputBitDepth=8"
    assert point.ws_psnr_yuv == 100 and point.bpp == picture_bits(range(FRAMES)) / (FRAMES * WIDTH * HEIGHT)


def test_vtms_configuration_is_needed(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(path, "EncoderApp", "DecoderApp")
    with pytest.raises(UsageError, match=f"EncoderApp needs {VTM_CONFIG}; let {VTM_CONFIG_VARIABLE} name"):
        AnchorCodec("vtm")
    config = tmp_path / "mine.cfg"
    config.touch()
    monkeypatch.setenv(VTM_CONFIG_VARIABLE, str(config))
    assert AnchorCodec("vtm").name == "VTM random access"


@pytest.mark.parametrize(
    ("codec", "present", "message"),
    [
        ("vvenc", "", "VVenC is absent: PATH has no vvencapp; install it, or leave this anchor out"),
        ("vvenc", "vvencapp", "VVenC is absent: PATH has no vvdecapp; install it, or leave this anchor out"),
        ("vtm", "", "VTM is absent: PATH has no EncoderApp or EncoderAppStatic; install it, or leave this anchor out"),
    ],
)
def test_an_absent_program_is_one_line_and_exit_code_2(
    codec: str, present: str, message: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if present:
        install(path, present, present)
    assert run(lambda: AnchorCodec(codec) and None) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_program_that_fails_is_quoted(film: Path, path: Path) -> None:
    install(path, "vvencapp", "vvdecapp", failure="first line\nno licence for Mondays")
    with pytest.raises(UsageError, match="vvencapp failed with exit code 1; it said: no licence for Mondays"):
        AnchorCodec("vvenc", 1).measure(film, 32)


def test_a_stream_that_lacks_a_picture_is_refused(film: Path, path: Path) -> None:
    install(path, "vvencapp", "vvdecapp")
    program = path / "vvencapp"
    program.write_text(program.read_text().replace("range(len(frames) - 1, 0, -1)", "range(len(frames) - 1, 1, -1)"))
    with pytest.raises(UsageError, match="vvencapp coded 3 frames as 2 pictures"):
        AnchorCodec("vvenc", FRAMES).measure(film, 32)


def test_a_decoder_that_writes_something_else_is_refused(film: Path, path: Path) -> None:
    install(path, "vvencapp", "vvdecapp")
    program = path / "vvdecapp"
    program.write_text(program.read_text() + "    yuv.write_bytes(yuv.read_bytes()[2:])\n")
    expected = f"vvdecapp wrote {2 * 2 * SAMPLES - 2} bytes, which are not 2 frames of {WIDTH}x{HEIGHT}"
    with pytest.raises(UsageError, match=expected):
        AnchorCodec("vvenc", 2).measure(film, 32)


def test_settings_tell_one_build_from_another(path: Path) -> None:
    install(path, "vvencapp", "vvdecapp")
    before = AnchorCodec("vvenc", 8).settings
    assert (before["encoder"], before["options"]["qpa"], before["frames"]) == ("VVenC", "0", 8)
    assert json.loads(json.dumps(before)) == before
    (path / "vvencapp").write_text((path / "vvencapp").read_text() + "# newer\n")
    assert AnchorCodec("vvenc", 8).settings["encoder_sha256"] != before["encoder_sha256"]


def test_the_gop_is_that_of_the_other_anchors() -> None:
    assert INTRA_PERIOD == GOP


def test_pictures_of_several_slices() -> None:
    first = [unit(APS, b"alf"), unit(SEI, b"sei"), unit(PICTURE_HEADER, b"ph"), unit(IDR, PART), unit(IDR, PART)]
    first.append(unit(SUFFIX_SEI, b"md5"))
    second = [unit(PICTURE_HEADER, b"ph2"), unit(APS, b"lmcs"), unit(TRAIL, PART), unit(SUFFIX_APS, b"alf2")]
    third = [unit(PPS, b"another pps"), unit(TRAIL, WHOLE)]
    sets = [unit(SPS, b"sps"), unit(PPS, b"pps")]
    stream = [unit(DELIMITER), *sets, *first, unit(DELIMITER), *sets, *second, *third]
    header, packets = split_pictures(b"".join(stream))
    assert header == b"".join(sets)
    assert [packet.data for packet in packets] == [b"".join(units) for units in (first, second, third)]
    assert [packet.is_keyframe for packet in packets] == [True, False, False]


def test_start_codes_of_three_and_of_four_bytes() -> None:
    short = unit(TRAIL, WHOLE)[1:]
    header, packets = split_pictures(unit(SPS, b"sps") + unit(IDR, WHOLE) + short + short)
    assert header == unit(SPS, b"sps")
    assert [packet.data for packet in packets] == [unit(IDR, WHOLE), short, short]
    assert split_pictures(b"") == (b"", [])
