"""The command: encode, decode, convert; one JSON object on standard output.

python -m deepsphere_codec.evaluation.anchors.ssf2020 encode FILM OUT.ssf --weights FOLDER/quality-3
python -m deepsphere_codec.evaluation.anchors.ssf2020 decode IN.ssf OUT.mkv --weights FOLDER/quality-3
python -m deepsphere_codec.evaluation.anchors.ssf2020 convert ssf2020-mse-3-9c8b998d.pth.tar FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepsphere_codec.errors import IncompatibleStream, UsageError
from deepsphere_codec.evaluation.anchors.ssf2020.coding import SsfCoder
from deepsphere_codec.evaluation.anchors.ssf2020.container import Frame, SsfFile, pack, unpack
from deepsphere_codec.evaluation.anchors.ssf2020.weights import convert_zoo, load_ssf
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.runtime.atomic import atomic_output
from deepsphere_codec.runtime.memory import keep_freed_memory
from deepsphere_codec.runtime.workers import thread_count
from deepsphere_codec.video import create_video, open_video


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Returns:
        The exit code: 0 done, 2 wrong usage or unreadable input, 3 damaged stream, 4 a stream that these weights cannot
        decode.
    """
    args = _parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CompressAI's warnings do not concern the user
        return run(lambda: print(json.dumps(args.run(args))), "ssf2020", "no output was written")


def _encode(args: argparse.Namespace) -> dict[str, Any]:
    """Encode a film; seconds count from the first frame read to the last one coded."""
    if args.gop < 1 or args.threads < 1:
        raise UsageError(f"gop is {args.gop}, threads {args.threads}: expected 1 or more of each")
    with (
        open_video(args.input, frames=(0, args.frames)) as film,
        atomic_output(args.output, force=args.force) as place,
        thread_count(args.threads),
    ):
        network, quality, weights_hash = load_ssf(args.weights)
        coder, start = SsfCoder(network, film.info), time.perf_counter()
        frames = [coder.encode(frame, is_intra=number % args.gop == 0) for number, frame in enumerate(film)]
        seconds = time.perf_counter() - start
        place.write_bytes(pack(SsfFile(film.info, args.gop, args.threads, quality, weights_hash, frames)))
    size = {"width": film.info.width, "height": film.info.height}
    bpp = {f"bpp_{each.lower()}": _bpp(frames, each, film.info.width * film.info.height) for each in ("I", "P")}
    return size | bpp | {"encode_seconds": seconds, "pictures": coder.digest.hexdigest()}


def _decode(args: argparse.Namespace) -> dict[str, Any]:
    """Decode a file; "pictures" equals that of the encoder if decoding succeeded."""
    file = unpack(args.input.read_bytes(), str(args.input))
    network, quality, weights_hash = load_ssf(args.weights)
    if weights_hash != file.weights_hash:
        raise IncompatibleStream(
            f"{args.input} was written with the weights {file.weights_hash[:12]}… of quality {file.quality}; "
            f"{args.weights} holds {weights_hash[:12]}… of quality {quality}; name those with --weights"
        )
    with create_video(args.output, file.info, force=args.force) as film, thread_count(file.threads):
        coder, start = SsfCoder(network, file.info), time.perf_counter()
        for frame in file.frames:
            film.write(coder.decode(frame))
        seconds = time.perf_counter() - start
    return {"decode_seconds": seconds, "pictures": coder.digest.hexdigest()}


def _convert(args: argparse.Namespace) -> dict[str, Any]:
    return {"quality": convert_zoo(args.input, args.output)}


def _bpp(frames: Sequence[Frame], frame_type: str, pixels: int) -> float | None:
    """Mean over the frames of a type, in bits per pixel; None if there is none."""
    sizes = [sum(map(len, frame.strings)) for frame in frames if frame.frame_type == frame_type]
    return sum(sizes) * 8 / (len(sizes) * pixels) if sizes else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ssf2020", description="CompressAI's ssf2020 as a codec of 360° films.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    encode = commands.add_parser("encode", help="code a film into an .ssf file")
    decode = commands.add_parser("decode", help="decode an .ssf file")
    convert = commands.add_parser("convert", help="convert a file of CompressAI's weights into FOLDER/quality-N")
    for command, function in ((encode, _encode), (decode, _decode), (convert, _convert)):
        command.set_defaults(run=function)
        command.add_argument("input", type=Path)
        command.add_argument("output", type=Path)
    for command in (encode, decode):
        command.add_argument("--weights", type=Path, required=True, metavar="FOLDER", help="quality-N")
        command.add_argument("--force", action="store_true", help="replace an existing output")
    encode.add_argument("--gop", type=int, default=32, metavar="N", help="frames from I-frame to I-frame (32)")
    encode.add_argument("--frames", type=int, metavar="N", help="number of frames from the first (all)")
    encode.add_argument("--threads", type=int, default=1, metavar="N", help="number of threads, to decode too (1)")
    return parser


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
