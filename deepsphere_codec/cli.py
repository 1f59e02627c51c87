"""The command `deepsphere-codec`. What is slow to import is imported where it is needed: --help answers at once."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TextIO

from deepsphere_codec import __version__
from deepsphere_codec.arguments import (
    frames_argument,
    positive_argument,
    size_argument,
    usable_device,
    viewports_argument,
)
from deepsphere_codec.errors import CodecError, DamagedStream, UsageError
from deepsphere_codec.memory import keep_freed_memory
from deepsphere_codec.progress import progress_bar
from deepsphere_codec.threads import spin_briefly

if TYPE_CHECKING:
    from deepsphere_codec.bitstream import Other

PROG = "deepsphere-codec"
EXIT_BUG = 1  # not one of the documented codes: a mistake of ours, not of the user's or the stream's
EXIT_OS = 2  # no permission, out of memory: nothing the stream can be blamed for
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_TERMINATED = 128 + signal.SIGTERM
EXIT_PIPE = 128 + signal.SIGPIPE

STANDARD = "-"

Result = Mapping[str, object]


class _Terminated(BaseException):
    """Raised where SIGTERM arrives, so that everything opened is closed and removed on the way out."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def console() -> None:
    """Entry point of the installed command."""
    spin_briefly()
    keep_freed_memory()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    code = main()
    if code == EXIT_PIPE:  # Python flushes standard output once more at exit and would complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: Arguments after the program's name; the process's own unless given.
    Returns:
        The exit code: 0 done, 2 wrong usage or unreadable input, 3 damaged stream, 4 a stream this installation
        cannot decode; 130 and 143 after Ctrl-C and SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        with _quiet_warnings(debug):
            args = _parser().parse_args(arguments)
            result = args.run(args)
            is_taken = getattr(args, "output", None) == STANDARD
            _print(result, as_json=args.json, file=sys.stderr if is_taken else sys.stdout)
        return DamagedStream.exit_code if result.get("damages") else 0
    except (Exception, KeyboardInterrupt, _Terminated) as error:
        if debug:
            traceback.print_exc()
        code, message = _explain(error)
        if message:
            print(f"{PROG}: {message}", file=sys.stderr)
        return code


def _explain(error: BaseException) -> tuple[int, str]:
    """The exit code of an exception, and the one line that says what it was."""
    if isinstance(error, CodecError):
        return error.exit_code, f"error: {_one_line(error)}"
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED, f"interrupted; {_left(error)}"
    if isinstance(error, _Terminated):
        return EXIT_TERMINATED, f"terminated; {_left(error)}"
    if isinstance(error, BrokenPipeError):
        return EXIT_PIPE, ""
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return EXIT_OS, f"error: {place}{error.strerror or _one_line(error)}; {_left(error)}"
    if _is_out_of_memory(error):
        return EXIT_OS, f"error: out of memory; try a smaller --nside or frame size ({_one_line(error)[:80]})"
    return EXIT_BUG, f"error: unexpected {type(error).__name__}: {_one_line(error)}; --debug shows where"


def _left(error: BaseException) -> str:
    """What is left of the output."""
    return "; ".join(["no output was written", *getattr(error, "__notes__", [])])


def _is_out_of_memory(error: BaseException) -> bool:
    # torch's OutOfMemoryError is CUDA's; on the CPU it raises a plain RuntimeError.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


@contextmanager
def _quiet_warnings(debug: bool) -> Iterator[None]:
    """Keep other packages' warnings off the user's screen, and put our own on one line each."""
    if debug:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=UserWarning, module="deepsphere_codec")
        warnings.showwarning = _show_warning
        yield


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"{PROG}: warning: {message}", file=sys.stderr)


def _encode(args: argparse.Namespace) -> Result:
    from deepsphere_codec.films import encode_video
    from deepsphere_codec.models import DEFAULT_MODEL

    with progress_bar("encode") as on_progress:
        report = encode_video(
            "/dev/stdin" if args.input == STANDARD else args.input,
            _standard_output() if args.output == STANDARD else args.output,
            model=args.model or DEFAULT_MODEL,
            quality=args.quality,
            nside=args.nside,
            gop_size=args.gop,
            low_delay=args.low_delay,
            quality_map=args.quality_map,
            preset=args.preset,
            frames=args.frames,
            force=args.force,
            resume=args.resume,
            pictures_only=args.pictures_only,
            assume_erp=args.assume_erp,
            device=usable_device(args.device),
            threads=args.threads,
            workers=args.workers,
            cluster=args.cluster,
            on_progress=on_progress,
        )
    _tell("note", report.notes)
    return {key: value for key, value in report._asdict().items() if key != "notes"}


def _decode(args: argparse.Namespace) -> Result:
    from deepsphere_codec.films import decode_to_file

    with progress_bar("decode") as on_progress:
        report = decode_to_file(
            sys.stdin.buffer if args.input == STANDARD else args.input,
            args.output,
            frames=args.frames,
            size=args.size,
            force=args.force,
            keep_going=args.keep_going,
            model=args.model,
            device=usable_device(args.device),
            threads=args.threads,
            workers=args.workers,
            cluster=args.cluster,
            on_progress=on_progress,
        )
    _tell("note", report.notes)
    _tell("damaged", report.damages)
    told = report._asdict() | {"damages": list(report.damages)}
    left_out = {"notes"} if args.keep_going else {"notes", "filled", "damages"}
    return {key: value for key, value in told.items() if key not in left_out}


def _tell(what: str, lines: Iterable[str]) -> None:
    for line in lines:
        print(f"{PROG}: {what}: {line}", file=sys.stderr)


def _standard_output() -> BinaryIO:
    if sys.stdout.isatty():
        raise UsageError("a .dsc file is no text for a terminal; name a file, or lead the output into a pipe")
    return sys.stdout.buffer


def _info(args: argparse.Namespace) -> Result:
    from dataclasses import asdict

    from deepsphere_codec.bitstream import Frame, StreamReader, record_size, version_text

    sizes: dict[str, list[int]] = {}
    preface: list[Other] = []
    rows: list[Result] = []
    beside = 0
    with StreamReader(args.input) as stream:
        for record in stream.records():
            if isinstance(record, Frame):
                position, size = record.position, len(record.payload)
                sizes.setdefault(record.kind, []).append(size)
                if args.frames:
                    row = {"number": position.number, "type": position.kind, "layer": position.layer, "bytes": size}
                    rows.append(row)
            else:
                beside += record_size(record.body)
                preface += [record] * (not sizes)
        header = stream.header
    frames = sum(map(len, sizes.values()))
    total = os.path.getsize(args.input)
    return {
        **asdict(header),
        "version": version_text(header.version),
        "frames": frames,
        "bytes": total,
        "bpp": (total - beside) * 8 / (frames * header.width * header.height) if frames else None,
        "frame_types": {kind: {"count": len(each), "bytes": sum(each)} for kind, each in sorted(sizes.items())},
        **({"beside": {"bytes": beside, **_beside(preface)}} if beside else {}),
        **({"coded_frames": rows} if args.frames else {}),
    }


def _beside(preface: Sequence[Other]) -> Result:
    """Tags, and what each track of audio is."""
    from deepsphere_codec.films import tracks_of

    tracks = tracks_of(preface)
    audio = [
        {"codec": track.codec, "sample_rate": track.sample_rate, "layout": track.layout, "language": track.language}
        for track in tracks.audio
    ]
    return {"tags": dict(tracks.tags), "audio": audio}


def _compare(args: argparse.Namespace) -> Result:
    from functools import partial

    from deepsphere_codec.evaluation.compare import compare_videos
    from deepsphere_codec.evaluation.frame_metrics import ALL_KEYS, QUICK_KEYS, Measure, measure_frame, measure_quick
    from deepsphere_codec.evaluation.viewport_metrics import CUBE, Look

    is_quick = args.metrics == "quick"
    if is_quick and args.viewports:
        raise UsageError("--viewports is for --metrics all; quick looks through none")
    looks = [Look(*numbers) for numbers in args.viewports or CUBE]
    measure: Measure = measure_quick if is_quick else partial(measure_frame, looks=looks)
    with progress_bar("compare") as on_progress:
        comparison = compare_videos(
            args.reference, args.decoded, frames=args.frames, measure=measure, on_progress=on_progress
        )
    return comparison.as_dict(QUICK_KEYS if is_quick else ALL_KEYS)


def _models(args: argparse.Namespace) -> Result:
    from deepsphere_codec.models import list_models

    cards = list_models()
    if args.json:
        return {"models": cards}
    return {"models": [_in_short(card) for card in cards]}


def _in_short(card: Mapping[str, Any]) -> Result:
    """What a reader of a terminal wants of a model's card; --json has all of it."""
    points = card.get("measured", {}).get("points", [])
    reached = ", ".join(f"{p['ws-psnr-yuv']:.1f} dB at {p['bpp']:.3f} bpp (quality {p['quality']:g})" for p in points)
    shown = {"name": card["name"], "parameters": card.get("parameters"), "reaches": reached or "not measured"}
    return shown | {key: card[key] for key in ("data", "hardware", "licence", "weights_hash") if key in card}


def _print(result: Result, *, as_json: bool, file: TextIO) -> None:
    text = json.dumps(result, indent=2, allow_nan=False) if as_json else "\n".join(_table(result))
    print(text, file=file, flush=True)


def _table(result: Result, indent: str = "") -> Iterator[str]:
    """Key and value on each line, nested ones indented; the rows of single frames are for --json."""
    width = max(map(len, result), default=0)
    for key, value in result.items():
        if isinstance(value, Mapping):
            yield from [f"{indent}{key}", *_table(value, indent + "  ")]
        elif key == "coded_frames" and isinstance(value, list):
            yield from (" ".join(f"{name} {each[name]}" for name in each) for each in value)
        elif isinstance(value, list) and all(isinstance(each, Mapping) for each in value):
            for each in value if key != "per_frame" else ():
                yield from _table(each, indent)
        else:
            shown = f"{value:.4f}" if isinstance(value, float) else value
            yield f"{indent}{key:<{width}}  {shown}"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROG, description="A learned codec for 360° video that works on the sphere.")
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], Result], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        sub.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return sub

    encode = command("encode", _encode, "Code a 360° film (equirectangular, 2:1) into a .dsc file.")
    encode.add_argument(
        "input", metavar="INPUT", help=f"a film, a .y4m file or a folder of PNG frames; {STANDARD} reads standard input"
    )
    encode.add_argument("output", metavar="OUTPUT.dsc", help=f"{STANDARD} writes standard output, frame by frame")
    encode.add_argument("--quality", type=float, default=4.0, metavar="Q", help="1 smallest ... 8 best (4)")
    encode.add_argument(
        "--nside", type=int, metavar="N", help="resolution (by quality, at most a quarter of the width)"
    )
    encode.add_argument("--gop", type=int, default=32, metavar="N", help="frames from I-frame to I-frame, at most (32)")
    encode.add_argument(
        "--low-delay", action="store_true", help="code each frame as soon as it is read, without B-frames"
    )
    encode.add_argument(
        "--preset", choices=["fast", "medium", "slow"], default="medium", help="how long the encoder searches (medium)"
    )
    encode.add_argument(
        "--quality-map",
        metavar="PNG",
        help="grey ERP picture that says where quality is higher or lower: 128 as asked, 16 a whole quality more",
    )
    encode.add_argument("--assume-erp", action="store_true", help="take a film that is not 2:1 for a whole ERP")
    encode.add_argument("--pictures-only", action="store_true", help="leave out audio and tags")
    encode.add_argument(
        "--resume", action="store_true", help="keep what is coded in OUTPUT.part until it is whole, and go on with it"
    )
    _add_coding_options(encode, "a model's name or its folder (the one that comes with the package)")

    decode = command("decode", _decode, "Decode a .dsc file.")
    decode.add_argument("input", metavar="INPUT.dsc", help=f"{STANDARD} reads standard input")
    decode.add_argument(
        "--keep-going", action="store_true", help="go past damages: fill what is lost, name it, and end with code 3"
    )
    decode.add_argument("output", metavar="OUTPUT", help=".mkv (lossless), .mp4, .y4m, or a folder for PNG frames")
    decode.add_argument(
        "--size", type=size_argument, metavar="WxH", help="size of the decoded frames, 2:1 (the source's)"
    )
    _add_coding_options(decode, "a model's name or its folder (the one the stream names)")

    info = command("info", _info, "Show what a .dsc file holds, and check every record.")
    info.add_argument("input", metavar="INPUT.dsc")
    info.add_argument(
        "--frames", action="store_true", help="also number, type, layer and bytes of each frame, in order of coding"
    )

    compare = command("compare", _compare, "Measure a decoded film against its source.")
    compare.add_argument("reference", metavar="REFERENCE")
    compare.add_argument("decoded", metavar="DECODED")
    _add_frames(compare, "half-open range of REFERENCE's frames that was coded (from the first)")
    compare.add_argument(
        "--metrics", choices=["quick", "all"], default="all", help="quick leaves out what needs resampling (all)"
    )
    compare.add_argument(
        "--viewports",
        type=viewports_argument,
        metavar="YAW,PITCH,FOV;...",
        help="flat views to measure in, degrees, such as --viewports='0,0,90;-120,35,70' (the six faces of a cube)",
    )

    command("models", _models, "List the models that are installed.")
    return parser


def _add_coding_options(parser: argparse.ArgumentParser, model: str) -> None:
    parser.add_argument("--model", metavar="NAME|DIR", help=model)
    _add_frames(parser, "half-open range of frames, counted from 0 (all)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=positive_argument, metavar="N", help="threads of each process (all)")
    parser.add_argument("--workers", type=positive_argument, default=1, metavar="N", help="processes, a GOP each (1)")
    parser.add_argument("--cluster", metavar="ADDRESS", help="code on a Ray cluster instead, such as host:6379")
    parser.add_argument("--force", action="store_true", help="replace an existing OUTPUT")


def _add_frames(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--frames", type=frames_argument, metavar="A:B", help=text)
