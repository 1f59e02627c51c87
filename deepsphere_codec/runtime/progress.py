"""Progress reports: callbacks that the library calls and the command displays."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Progress = Callable[[int, int | None], None]
"""Callback that is called with (number done, total or None if it is not known) after each frame or other unit."""

LINE_SECONDS = 10.0  # interval between lines if standard error is not a terminal


@contextmanager
def progress_bar(label: str, stream: TextIO | None = None, unit: str = "frame") -> Iterator[Progress]:
    """Create a callback that draws a progress bar on a terminal, or writes a line every ten seconds elsewhere.

    Args:
        label: Text in front of the bar.
        stream: Output stream; None for standard error.
        unit: Name of the unit that is counted.
    Yields:
        The callback.
    """
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield _lines(label, stream, unit)
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit=unit, file=stream, dynamic_ncols=True, leave=False) as bar:

        def draw(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield draw


def _lines(label: str, stream: TextIO, unit: str) -> Progress:
    start = last = time.monotonic()

    def write(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_SECONDS:
            last = now
            of = f"/{total}" if total else ""
            stream.write(f"{label}: {done}{of} {unit}s, {done / (now - start):.2f} {unit}s/s\n")
            stream.flush()

    return write
