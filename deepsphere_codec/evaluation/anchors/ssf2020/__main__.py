"""The command: encode, decode, zoo, convert; one JSON object on standard output.

python -m deepsphere_codec.evaluation.anchors.ssf2020 encode FILM OUT.ssf --weights FOLDER --quality 3
python -m deepsphere_codec.evaluation.anchors.ssf2020 decode IN.ssf OUT.mkv --weights FOLDER
python -m deepsphere_codec.evaluation.anchors.ssf2020 zoo FOLDER --quality 1 3 5 7
python -m deepsphere_codec.evaluation.anchors.ssf2020 convert ssf2020-mse-3-9c8b998d.pth.tar FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from deepsphere_codec.runtime.memory import keep_freed_memory
from deepsphere_codec.runtime.threads import spin_briefly

spin_briefly()
keep_freed_memory()

from deepsphere_codec.errors import CodecError, UsageError  # noqa: E402
from deepsphere_codec.evaluation.anchors.ssf2020.films import decode_film, encode_film  # noqa: E402
from deepsphere_codec.evaluation.anchors.ssf2020.weights import RELEASED  # noqa: E402
from deepsphere_codec.evaluation.anchors.ssf2020.zoo import METRIC, QUALITIES, convert_zoo, fetch_zoo  # noqa: E402
from deepsphere_codec.runtime.progress import progress_bar  # noqa: E402

PROG = "ssf2020"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Returns:
        The exit code: 0 done, 2 wrong usage or unreadable input, 3 damaged stream, 4 a stream that these weights cannot
        decode.
    """
    try:
        args = _parser().parse_args(argv)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CompressAI's, of no concern to whoever encodes
            result = args.run(args)
    except CodecError as error:
        sys.stderr.write(f"{PROG}: error: {' '.join(str(error).split())}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"{PROG}: error: {error.filename or 'output'}: {error.strerror}\n")
        return CodecError.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"{PROG}: interrupted; no output was written\n")
        return 130
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def _encode(args: argparse.Namespace) -> dict[str, Any]:
    with progress_bar("encode") as on_progress:
        report = encode_film(
            args.input,
            args.output,
            weights=args.weights,
            quality=args.quality,
            gop=args.gop,
            frames=(0, args.frames),
            threads=args.threads,
            force=args.force,
            on_progress=on_progress,
        )
    return report._asdict() | {"i_frames": report.i_frames._asdict(), "p_frames": report.p_frames._asdict()}


def _decode(args: argparse.Namespace) -> dict[str, Any]:
    with progress_bar("decode") as on_progress:
        report = decode_film(
            args.input,
            args.output,
            weights=args.weights,
            threads=args.threads,
            force=args.force,
            on_progress=on_progress,
        )
    return report._asdict()


def _convert(args: argparse.Namespace) -> dict[str, Any]:
    return {"quality": convert_zoo(args.input, args.output, args.quality)}


def _zoo(args: argparse.Namespace) -> dict[str, Any]:
    return fetch_zoo(args.folder, args.quality, args.metric, show_progress=sys.stderr.isatty())._asdict()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROG, description="CompressAI's ssf2020 as a codec of 360° films.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str, **paths: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        for path, metavar in paths.items():
            sub.add_argument(path, type=Path, metavar=metavar)
        return sub

    encode = command("encode", _encode, "Code a film into an .ssf file.", input="INPUT", output="OUTPUT.ssf")
    encode.add_argument("--quality", type=int, metavar="N", help="where FOLDER has several")
    encode.add_argument("--gop", type=int, default=32, metavar="N", help="frames from I-frame to I-frame (32)")
    encode.add_argument("--frames", type=int, metavar="N", help="of the film, from its first (all)")
    encode.add_argument("--threads", type=int, default=1, metavar="N", help="whoever decodes needs as many (1)")
    decode = command("decode", _decode, "Decode an .ssf file.", input="INPUT", output="OUTPUT")
    decode.add_argument("--threads", type=int, metavar="N", help="(as many as it was encoded with)")
    for sub in (encode, decode):
        sub.add_argument("--weights", type=Path, default=RELEASED, metavar="FOLDER", help="quality-N, or of several")
        sub.add_argument("--force", action="store_true", help="replace an existing output")
    zoo = command("zoo", _zoo, "Download CompressAI's weights into FOLDER/quality-N.", folder="FOLDER")
    zoo.add_argument("--quality", type=int, nargs="+", default=QUALITIES, metavar="N", help="1 to 9 (1 3 5 7)")
    zoo.add_argument("--metric", default=METRIC, help=f"that they were trained for ({METRIC})")
    convert = command(
        "convert",
        _convert,
        "Bring a file of CompressAI's weights into FOLDER/quality-N.",
        input="INPUT",
        output="FOLDER",
    )
    convert.add_argument("--quality", type=int, metavar="N", help="(as the file's name says)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
