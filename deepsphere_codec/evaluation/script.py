"""What scripts share: exit codes as the command's, a bar on standard error, and checks of arguments."""

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
    """Run a script's main function, for its exit code; an error is one line on standard error, and has a code too.

    Args:
        name: Of the script, if the line is to begin with it.
        kept: What is said of the work that was done before an interrupt.
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
    """Import inside what a script needs: an absent package ends the script, in one line on standard error."""
    try:
        with optional_imports():
            yield
    except UsageError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


def check_positive(args: argparse.Namespace, *names: str) -> None:
    """Raises UsageError where one of these numbers is given and not above 0."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value <= 0:
            raise UsageError(f"--{name} is {value}: must be greater than 0")


def report_missing(results: Sequence[Results], stream: TextIO | None = None) -> int:
    """One line for each point that is missing, on standard error; the exit code that a script ends with."""
    lines = [f"missing: {each.codec} {_missing_line(missing)}" for each in results for missing in each.missing]
    for line in lines:
        (stream or sys.stderr).write(f"{line}\n")
    return INCOMPLETE if lines else 0


@contextmanager
def point_bar(stream: TextIO | None = None) -> Iterator[OnPoint]:
    """A callback that draws a bar on a terminal, and writes a line for each point in either case."""
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
