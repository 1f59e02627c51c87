"""Encoders that are separate programs: VVenC, and the VVC test model (VTM), if they are in PATH.

A program reads the frames as raw .yuv, 8 bit 4:2:0. Its stream is split into pictures, so that bits are counted as for
the other anchors, without parameter sets; the decoder reads the counted pictures with the parameter sets before them.
Internally both use 10 bits, as in JVET's test conditions; decoded frames are rounded to 8 bits. Seconds are those of
the whole program, including its input and output.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from deepsphere_codec.errors import UsageError
from deepsphere_codec.video import VideoInfo, YuvFrame
from deepsphere_codec.video.anchor import AnchorPacket, AnchorSettings, AnchorStream

INTRA_PERIOD = 32
VTM_CONFIG = "encoder_randomaccess_vtm.cfg"
VTM_CONFIG_VARIABLE = "DEEPSPHERE_VTM_CFG"

# Types of NAL units: H.266, table 5
_LAST_SLICE, _KEY_SLICES = 11, {7, 8, 9}  # key slices: IDR_W_RADL, IDR_N_LP, CRA
_PARAMETER_SETS = {12, 13, 14, 15, 16}  # OPI, DCI, VPS, SPS, PPS; an APS belongs to a picture
_PICTURE_HEADER, _DELIMITER = 19, 20
_SUFFIXES = {18, 21, 22, 24}  # APS and SEI after the slices, end of sequence, end of stream
_START_CODE = re.compile(rb"\x00?\x00\x00\x01")


class EncoderJob(NamedTuple):
    """Files and parameters of one encoder run."""

    yuv: Path
    info: VideoInfo
    frames: int
    stream: Path
    qp: str


class Program(NamedTuple):
    """An encoder and its decoder; of several names the first one in PATH is used."""

    title: str
    encoders: tuple[str, ...]
    decoders: tuple[str, ...]
    options: Mapping[str, str]  # options of the encoder other than files, sizes and the QP
    installed: Callable[[Path], list[str]]  # arguments that name other files of the encoder's installation
    encode: Callable[[EncoderJob, Mapping[str, str]], list[str]]  # arguments
    decode: Callable[[Path, Path], list[str]]


class _Unit(NamedTuple):
    data: bytes  # start code included
    payload: bytes
    kind: int

    @property
    def begins_picture(self) -> bool:
        """Whether the unit is a picture header, or a slice that contains one (the slice's first bit)."""
        return self.kind == _PICTURE_HEADER or (self.kind <= _LAST_SLICE and self.payload[2] >= 0x80)


class ExternalCoder:
    """Encoder and decoder that run programs in PATH.

    Args:
        program: Description of the programs.
    Raises:
        UsageError: a program is absent, or a file that it needs; says which.
    """

    how = "as a program, QP, 10 bits inside"

    def __init__(self, program: Program) -> None:
        self._program = program
        self._encoder = _find(program.title, program.encoders)
        self._decoder = _find(program.title, program.decoders)
        self._installed = program.installed(self._encoder)
        self.settings: dict[str, Any] = {
            "encoder": program.title,
            "options": dict(program.options),
            "encoder_sha256": hashlib.sha256(self._encoder.read_bytes()).hexdigest()[:16],
        }

    def encode(self, frames: Iterable[YuvFrame], info: VideoInfo, quality: float) -> AnchorStream:
        """Encode frames at a QP.

        Args:
            frames: Frames in order of display.
            info: Size, rate and colours of the film.
            quality: QP.
        Returns:
            Packets in order of decoding, one per frame.
        Raises:
            UsageError: the encoder fails, or writes another number of pictures.
        """
        with TemporaryDirectory() as folder:
            yuv, stream = Path(folder, "source.yuv"), Path(folder, "stream.266")
            job = EncoderJob(yuv, info, _write_yuv(yuv, frames), stream, f"{quality:g}")
            start = time.perf_counter()
            _run(self._encoder, [*self._installed, *self._program.encode(job, self._program.options)], stream)
            seconds = time.perf_counter() - start
            header, packets = split_pictures(stream.read_bytes())
        if len(packets) != job.frames:
            raise UsageError(f"{self._encoder.name} coded {job.frames} frames as {len(packets)} pictures")
        settings = AnchorSettings(self._encoder.name, self._decoder.name, self._program.options, threads=0)
        return AnchorStream(settings, header, tuple(packets), seconds)

    def decode(self, stream: AnchorStream, info: VideoInfo) -> Iterator[YuvFrame]:
        """Decode packets to frames in order of display.

        Args:
            stream: Result of `encode`.
            info: Size, rate and colours of the film.
        Returns:
            Iterator over the frames.
        Raises:
            UsageError: the decoder fails, or does not write as many frames of 8 or 10 bits as expected.
        """
        with TemporaryDirectory() as folder:
            path, yuv = Path(folder, "stream.266"), Path(folder, "decoded.yuv")
            path.write_bytes(stream.header + b"".join(packet.data for packet in stream.packets))
            _run(self._decoder, self._program.decode(path, yuv), yuv)
            samples = info.width * info.height * 3 // 2
            sample_size, rest = divmod(yuv.stat().st_size, len(stream.packets) * samples)
            if rest or sample_size not in (1, 2):
                expected = f"{len(stream.packets)} frames of {info.width}x{info.height}"
                raise UsageError(f"{self._decoder.name} wrote {yuv.stat().st_size} bytes, which are not {expected}")
            yield from _read_yuv(yuv, info, samples, sample_size)


def split_pictures(stream: bytes) -> tuple[bytes, list[AnchorPacket]]:
    """Split an H.266 byte stream (annex B) into its parameter sets and its pictures.

    Source: ITU-T H.266, 7.4.2.4 (order of NAL units).

    Args:
        stream: Byte stream.
    Returns:
        The parameter sets before the first picture, and the pictures in order of decoding with all other units that
        belong to them. Delimiters and repeated parameter sets are left out, since a container would drop them.
    """
    header, waiting, known = b"", b"", set()
    pictures: list[AnchorPacket] = []
    for unit in _units(stream):
        if unit.kind == _DELIMITER or unit.payload in known:
            continue
        if unit.kind in _PARAMETER_SETS:
            known.add(unit.payload)
        if unit.kind in _PARAMETER_SETS and not pictures:
            header += unit.data
        elif unit.begins_picture:
            pictures.append(AnchorPacket(waiting + unit.data, unit.kind in _KEY_SLICES))
            waiting = b""
        elif pictures and (unit.kind <= _LAST_SLICE or unit.kind in _SUFFIXES):
            data, is_keyframe = pictures[-1]
            pictures[-1] = AnchorPacket(data + waiting + unit.data, is_keyframe or unit.kind in _KEY_SLICES)
            waiting = b""
        else:
            waiting += unit.data  # belongs to the next picture
    return header, pictures


def _units(stream: bytes) -> Iterator[_Unit]:
    codes = list(_START_CODE.finditer(stream))
    for code, following in zip_longest(codes, codes[1:]):
        end = following.start() if following else len(stream)
        payload = stream[code.end() : end]
        if len(payload) > 2:  # the unit's header has two bytes
            yield _Unit(stream[code.start() : end], payload, payload[1] >> 3)


def _find(title: str, names: Sequence[str]) -> Path:
    found = [path for path in map(shutil.which, names) if path]
    if not found:
        raise UsageError(f"{title} is absent: PATH has no {' or '.join(names)}; install it, or leave this anchor out")
    return Path(found[0])


def _run(program: Path, arguments: Sequence[str], output: Path) -> None:
    """Run a program and check that it wrote its output file."""
    done = subprocess.run(
        [str(program), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode or not output.exists():
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise UsageError(f"{program.name} failed with exit code {done.returncode}; it said: {said}")


def _write_yuv(path: Path, frames: Iterable[YuvFrame]) -> int:
    """Write the planes of all frames one after the other; returns the number of frames."""
    count = 0
    with path.open("wb") as file:
        for count, frame in enumerate(frames, 1):  # noqa: B007
            for plane in frame:
                file.write(plane.tobytes())
    return count


def _read_yuv(path: Path, info: VideoInfo, samples: int, sample_size: int) -> Iterator[YuvFrame]:
    luma, half = info.width * info.height, (info.height // 2, info.width // 2)
    with path.open("rb") as file:
        while data := file.read(samples * sample_size):
            flat = np.frombuffer(data, np.uint8) if sample_size == 1 else _from_10_bit(np.frombuffer(data, "<u2"))
            u, v = flat[luma:].reshape(2, *half)
            yield YuvFrame(flat[:luma].reshape(info.height, info.width), u, v)


def _from_10_bit(samples: np.ndarray) -> np.ndarray:
    return np.minimum((samples + 2) >> 2, 255).astype(np.uint8)


def _vvenc_arguments(job: EncoderJob, options: Mapping[str, str]) -> list[str]:
    named = {
        "input": str(job.yuv),
        "size": f"{job.info.width}x{job.info.height}",
        "format": "yuv420",
        "framerate": _whole_rate(job.info),
        "frames": str(job.frames),
        "output": str(job.stream),
        "qp": job.qp,
    }
    return [part for key, value in (named | dict(options)).items() for part in (f"--{key}", value)]


def _vtm_arguments(job: EncoderJob, options: Mapping[str, str]) -> list[str]:
    named = {
        "InputFile": str(job.yuv),
        "SourceWidth": str(job.info.width),
        "SourceHeight": str(job.info.height),
        "FrameRate": _whole_rate(job.info),
        "FramesToBeEncoded": str(job.frames),
        "BitstreamFile": str(job.stream),
        "QP": job.qp,
    }
    return [f"--{key}={value}" for key, value in (named | dict(options)).items()]


def _whole_rate(info: VideoInfo) -> str:
    """Frame rate as a whole number, which both programs require; with a constant QP it does not affect pictures."""
    return str(max(round(info.fps), 1))


def _vtm_config(encoder: Path) -> list[str]:
    """`-c` and VTM's random access configuration, from VTM's own folder or the environment variable's."""
    folders = [parent / "cfg" for parent in encoder.resolve().parents]
    places = [Path(os.environ.get(VTM_CONFIG_VARIABLE, "")), *(folder / VTM_CONFIG for folder in folders)]
    for place in places:
        if place.is_file():
            return ["-c", str(place)]
    raise UsageError(f"{encoder.name} needs {VTM_CONFIG}; let {VTM_CONFIG_VARIABLE} name that file")


VVENC = Program(
    title="VVenC",
    encoders=("vvencapp",),
    decoders=("vvdecapp",),
    options={
        "preset": "medium",
        "qpa": "0",  # perceptual QP adaptation would lower the PSNR that is measured here
        "intraperiod": str(INTRA_PERIOD),
        "refreshtype": "idr",
        "threads": "2",  # fixed: parallel coding of frames may depend on it
    },
    installed=lambda _: [],
    encode=_vvenc_arguments,
    decode=lambda stream, yuv: ["--bitstream", str(stream), "--output", str(yuv)],
)
VTM = Program(
    title="VTM",
    encoders=("EncoderApp", "EncoderAppStatic"),
    decoders=("DecoderApp", "DecoderAppStatic"),
    options={
        "IntraPeriod": str(INTRA_PERIOD),
        "DecodingRefreshType": "2",  # IDR
        "InputBitDepth": "8",
        "InputChromaFormat": "420",
        "ConformanceWindowMode": "1",  # pads what is no multiple of the smallest block
        "Level": "6.2",
    },
    installed=_vtm_config,
    encode=_vtm_arguments,
    decode=lambda stream, yuv: [f"--BitstreamFile={stream}", f"--ReconFile={yuv}", "--OutputBitDepth=8"],
)
