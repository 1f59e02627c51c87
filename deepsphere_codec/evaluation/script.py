"""What the measuring scripts share: a bar on standard error, and exit codes as the command's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from deepsphere_codec.errors import CodecError
from deepsphere_codec.evaluation.evaluate import Measured, OnPoint

INTERRUPTED = 130


def run(main: Callable[[], None]) -> int:
    """Run a script's main function; an error is one line on standard error, and its exit code."""
    try:
        main()
    except CodecError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"error: {error.filename or 'output'}: {error.strerror}\n")
        return CodecError.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the points measured so far are kept, run it again to go on\n")
        return INTERRUPTED
    return 0


@contextmanager
def point_bar(stream: TextIO | None = None) -> Iterator[OnPoint]:
    """A callback that draws a bar on a terminal, and writes a line for each point in either case."""
    from tqdm import tqdm

    stream = stream or sys.stderr
    with tqdm(unit="point", file=stream, dynamic_ncols=True, leave=False, disable=not stream.isatty()) as bar:

        def show(measured: Measured) -> None:
            if measured.done == 1:
                bar.reset(measured.total)
                bar.set_description(measured.codec)
            bar.update(1)
            bar.write(_line(measured), file=stream)

        yield show


def _line(measured: Measured) -> str:
    point = measured.point
    rate = "" if point.bpp is None else f"{point.bpp:.4f} bpp, "
    head = f"[{measured.done}/{measured.total}] {measured.codec} {measured.clip} quality {point.quality:g}"
    return f"{head}: {rate}{point.ws_psnr_yuv:.2f} dB WS-PSNR-YUV"
