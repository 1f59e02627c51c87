"""The program `deepsphere-codec`: its parser, its exit codes, and its error messages of one line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from deepsphere_codec import __version__
from deepsphere_codec.cli.compare import add_compare
from deepsphere_codec.cli.decode import add_decode
from deepsphere_codec.cli.encode import add_encode
from deepsphere_codec.cli.info import add_info
from deepsphere_codec.cli.models import add_models
from deepsphere_codec.cli.options import STANDARD
from deepsphere_codec.cli.output import PROG, print_result
from deepsphere_codec.errors import CodecError, DamagedStream, UsageError
from deepsphere_codec.runtime.memory import keep_freed_memory
from deepsphere_codec.runtime.threads import spin_briefly

EXIT_BUG = 1  # not one of the documented codes: an error in this package
EXIT_OS = 2  # errors of the system, such as missing permission or memory
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_TERMINATED = 128 + signal.SIGTERM
EXIT_PIPE = 128 + signal.SIGPIPE


class _Terminated(BaseException):
    """Raised on SIGTERM, so that open files are closed and temporary ones removed."""


class _CommandParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def console() -> None:
    """Run the installed command, its entry point."""
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
        argv: Arguments after the program's name; None for those of the process.
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
            print_result(result, as_json=args.json, file=sys.stderr if is_taken else sys.stdout)
        return DamagedStream.exit_code if result.get("damages") else 0
    except (Exception, KeyboardInterrupt, _Terminated) as error:
        if debug:
            traceback.print_exc()
        code, message = _explain(error)
        if message:
            print(f"{PROG}: {message}", file=sys.stderr)
        return code


def _explain(error: BaseException) -> tuple[int, str]:
    """Exit code of an exception, and its message in one line."""
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
    """Describe the state of the output after an error."""
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
    """Hide warnings of other packages, and print those of this package on one line each."""
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


def _parser() -> argparse.ArgumentParser:
    parser = _CommandParser(prog=PROG, description="A learned codec for 360° video that works on the sphere.")
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (add_encode, add_decode, add_info, add_compare, add_models):
        add(verbs)
    return parser
