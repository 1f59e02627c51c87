"""Common parts of scripts: exit codes of the command, a progress bar on standard error, and checks of arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.evaluation.evaluate import OnPoint, PointProgress
from deepsphere_codec.evaluation.results import Missing, Results
from deepsphere_codec.runtime.extras import optional_imports

INCOMPLETE = 1
INTERRUPTED = 130
POINTS_ARE_KEPT = "the points measured so far are kept, run it again to go on"


def run(main: Callable[[], int | None], name: str = "", kept: str = POINTS_ARE_KEPT) -> int:
    """Run a script's main function and return its exit code; an error is printed as one line on standard error.

    Args:
        main: Main function; returns an exit code, or None for 0.
        name: Name of the script, to begin the line of an error with; empty for none.
        kept: Message about work that was saved before an interrupt.
    Returns:
        Exit code.
    """
    head = f"{name}: " if name else ""
    try:
        with optional_imports():
            return main() or 0
    except CodecError as error:
        sys.stderr.write(f"{head}error: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"{head}error: {error.filename or 'output'}: {error.strerror}\n")
        return CodecError.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"{head}interrupted; {kept}\n")
        return INTERRUPTED


@contextmanager
def imports_of_script() -> Iterator[None]:
    """Context for a script's imports: a missing package ends the script with one line on standard error."""
    try:
        with optional_imports():
            yield
    except UsageError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


def check_positive(args: argparse.Namespace, *names: str) -> None:
    """Check that arguments are above 0 if they are given.

    Args:
        args: Parsed arguments.
        *names: Names of the arguments to check.
    Raises:
        UsageError: a number is not above 0.
    """
    for name in names:
        value = getattr(args, name)
        if value is not None and value <= 0:
            raise UsageError(f"--{name} is {value}: must be greater than 0")


def report_missing(results: Sequence[Results], stream: TextIO | None = None) -> int:
    """Write one line for each missing point.

    Args:
        results: Results of each codec.
        stream: Stream to write to; None for standard error.
    Returns:
        Exit code of the script.
    """
    lines = [f"missing: {each.codec} {_missing_line(missing)}" for each in results for missing in each.missing]
    for line in lines:
        (stream or sys.stderr).write(f"{line}\n")
    return INCOMPLETE if lines else 0


@contextmanager
def point_bar(stream: TextIO | None = None) -> Iterator[OnPoint]:
    """Provide a callback that draws a progress bar on a terminal, and writes a line for each point in any case."""
    from tqdm import tqdm

    stream = stream or sys.stderr
    with tqdm(unit="point", file=stream, dynamic_ncols=True, leave=False, disable=not stream.isatty()) as bar:

        def show(measured: PointProgress) -> None:
            if measured.done == 1:
                bar.reset(measured.total)
                bar.set_description(measured.codec)
            bar.update(1)
            bar.write(_line(measured), file=stream)

        yield show


def _line(measured: PointProgress) -> str:
    point = measured.point
    head = f"[{measured.done}/{measured.total}] {measured.codec}"
    if isinstance(point, Missing):
        return f"{head} {_missing_line(point)}"
    rate = "" if point.bpp is None else f"{point.bpp:.4f} bpp, "
    return f"{head} {measured.clip} quality {point.quality:g}: {rate}{point.ws_psnr_yuv:.2f} dB WS-PSNR-YUV"


def _missing_line(missing: Missing) -> str:
    return f"{missing.clip} quality {missing.quality:g}: {missing.why}"
