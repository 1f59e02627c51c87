#!/usr/bin/env python3
"""Write the golden files: a short film as released models code it, and what it decodes to.

    scripts/write_golden.py [NAME …] [--force]

The film has I-, P- and B-frames and a map of quality. Run it for a new model, new weights of an old one, or a new
version of the format. tests/test_golden.py holds the codec to what it wrote.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from deepsphere_codec.bitstream import PictureOrder, StreamReader, StreamWriter
from deepsphere_codec.codec import CHECK_MASK, VideoDecoder, VideoEncoder, make_resampler, signal_from_frame
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.environment import environment
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.gop.reference_buffer import ReferenceBuffer
from deepsphere_codec.metrics.psnr import Planes, ws_psnr_yuv
from deepsphere_codec.models import DEFAULT_MODEL, list_models, load_model
from deepsphere_codec.video import VideoInfo, YuvFrame

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "golden"
WIDTH, HEIGHT, NSIDE = 256, 128, 64
QUALITY = 4.0
GROUPS = (("I", 1), ("P", 2), ("B", 1), ("P", 1), ("I", 1), ("P", 1))
"""Frames in order of coding: type, and span of the group that a P-frame begins."""
FRAMES = len(GROUPS)
MAPPED = 4
"""Number of the I-frame from which quality follows a map."""
NAMES = (DEFAULT_MODEL,)
SAMPLED = 8  # distance of the sample's pixels in both directions


class GoldenFrame(NamedTuple):
    """Expected result of decoding a frame.

    Attributes:
        check: Check of the latents in the record, hex.
        picture: SHA-256 of the picture's planes, hex.
        ws_psnr_yuv: WS-PSNR-YUV against the film, dB.
        sample: Every eighth pixel of every eighth row of the three planes, base64.
    """

    check: str
    picture: str
    ws_psnr_yuv: float
    sample: str

    @property
    def levels(self) -> Int[np.ndarray, " n"]:
        """Pixels of the sample."""
        return np.frombuffer(base64.b64decode(self.sample), np.uint8).astype(int)


class Golden(NamedTuple):
    """Data stored beside a golden file.

    Attributes:
        machine: Machine that wrote it, on which the last bit of a picture may depend.
        film: SHA-256 of the film's planes, hex.
        frames: Expected results of all frames.
    """

    machine: dict[str, str]
    film: str
    frames: list[GoldenFrame]

    @classmethod
    def read(cls, path: Path) -> Golden:
        told = json.loads(path.read_text())
        return cls(told["machine"], told["film"], [GoldenFrame(**frame) for frame in told["frames"]])

    def write(self, path: Path) -> None:
        told = self._asdict() | {"frames": [frame._asdict() for frame in self.frames]}
        path.write_text(json.dumps(told, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [card["name"] for card in list_models()]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)} (default: {', '.join(NAMES)})")
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help="default: tests/golden")
    args = parser.parse_args(arguments)
    names = args.names or NAMES
    for name in names:
        if name not in known:
            raise UsageError(f"there is no released model {name}; there are {', '.join(known)}")
        if not args.force and any(path.exists() for path in places(args.out, name)):
            raise UsageError(f"{places(args.out, name)[0]} is there already; --force replaces it")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in names:
        stream, beside = places(args.out, name)
        code(name, stream)
        described(stream).write(beside)
        print(f"{stream}  {stream.stat().st_size} bytes")


def places(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the paths of a model's golden file and of its data.

    Args:
        folder: Folder of the golden files.
        name: Name of the model.
    Returns:
        Both paths.
    """
    return folder / f"{name}.dsc", folder / f"{name}.json"


def code(name: str, stream: Path) -> None:
    """Code the film with a model, with its frames in the order of GROUPS.

    Args:
        name: Name of the model.
        stream: File to write.
    """
    model, frames = load_model(name), list(film())
    info = VideoInfo(WIDTH, HEIGHT, Fraction(30), FRAMES, False, "bt709")
    header = VideoEncoder(model, info, quality=QUALITY, nside=NSIDE, gop_size=MAPPED).header
    network, resampler = model.network(NSIDE), make_resampler(model.geometry, HEIGHT, WIDTH, NSIDE)
    quality_map = np.arange(network.pyramid.grids[-1].npix, dtype=np.int8) - 5
    order, pictures = PictureOrder(), ReferenceBuffer()
    with stream.open("wb") as file, StreamWriter(file, header) as writer, torch.inference_mode():
        for kind, span in GROUPS:
            position = order.next(kind, span)
            x = signal_from_frame(frames[position.number], resampler)
            own_map = quality_map if position.number >= MAPPED else None
            if kind == "I":
                coded = network.encode_intra(x, QUALITY, own_map)
            else:
                references = pictures.references(position)
                coded = network.encode_inter(x, references, QUALITY, position.layer, own_map)
            pictures.keep(position, coded.state)
            writer.write(kind, coded.payload, coded.state.check & CHECK_MASK, span=span)


def described(stream: Path) -> Golden:
    """Decode a stream of the film and describe the result."""
    frames = []
    for (check, picture), source in zip(decoded(stream), film(), strict=True):
        decibels = round(float(ws_psnr_yuv(Planes(*source), Planes(*picture))), 4)
        frames.append(GoldenFrame(check, picture_hash([picture]), decibels, _sample(picture)))
    return Golden(this_machine(), picture_hash(film()), frames)


def decoded(stream: Path) -> Iterator[tuple[str, YuvFrame]]:
    """Decode each frame; yields its check, which the decoder compares, and its picture."""
    with StreamReader(stream) as reader:
        decoder = VideoDecoder(reader.header, load_model(reader.header.model))
        frames = list(reader.frames())
        checks = [f"{frame.check:04x}" for frame in sorted(frames, key=lambda frame: frame.number)]
        yield from zip(checks, decoder.show(frames), strict=True)


def this_machine() -> dict[str, str]:
    """Describe what the last bit of a picture may depend on."""
    capability = torch.backends.cpu.get_cpu_capability()
    return {"cpu": str(environment()["cpu"]), "instructions": capability, "torch": torch.__version__}


def picture_hash(frames: Iterable[YuvFrame]) -> str:
    """Compute the SHA-256 of all planes, hex."""
    return hashlib.sha256(b"".join(plane.tobytes() for frame in frames for plane in frame)).hexdigest()


def film(frames: int = FRAMES) -> Iterator[YuvFrame]:
    """Generate a textured scene that rotates about the vertical axis behind a static square, under a changing sky.

    It is computed in integers only, so that the film is the same on every machine.
    """
    random = np.random.RandomState(7)  # its numbers are guaranteed to stay the same, unlike a Generator's
    luma = (3 * _clouds(random, 16, WIDTH, HEIGHT) + _clouds(random, 4, WIDTH, HEIGHT)) // 4
    chroma = [96 + _clouds(random, 16, WIDTH // 2, HEIGHT // 2) // 4 for _ in "uv"]
    for number in range(frames):
        sky = _clouds(random, 16, WIDTH, HEIGHT // 4)
        planes = [np.roll(luma, 2 * number, 1), *(np.roll(plane, number, 1) for plane in chroma)]
        for plane, size in zip(planes, (32, 16, 16), strict=True):
            plane[size : 2 * size, size : 2 * size] = plane[:size, :size].max()
        planes[0][: HEIGHT // 4] = sky
        yield YuvFrame(*(plane.astype(np.uint8) for plane in planes))


def _clouds(random: np.random.RandomState, step: int, width: int, height: int) -> Int[np.ndarray, "height width"]:
    """Numbers from 16 to 235: a random one every `step` pixels, linear in between; left and right edges match."""
    corners = random.randint(16, 236, (height // step + 1, width // step))
    part = np.arange(step)
    rows = corners[..., None] * (step - part) + np.roll(corners, -1, 1)[..., None] * part
    rows = rows.reshape(len(corners), 1, width)
    whole = rows[:-1] * (step - part[:, None]) + rows[1:] * part[:, None]
    return whole.reshape(height, width) // step**2


def _sample(picture: YuvFrame) -> str:
    return base64.b64encode(b"".join(plane[::SAMPLED, ::SAMPLED].tobytes() for plane in picture)).decode()


if __name__ == "__main__":
    sys.exit(run(main, "write_golden", "the files written so far are kept"))
