"""Progress as a callback: the library calls it, the command draws it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Progress = Callable[[int, int | None], None]
"""Called with (frames done, frames in all or None where the film does not say) after each frame, or what is counted."""

LINE_SECONDS = 10.0  # between lines where standard error is a file: enough to see life, too few to fill a log


@contextmanager
def progress_bar(label: str, stream: TextIO | None = None, unit: str = "frame") -> Iterator[Progress]:
    """A callback that draws a bar with frames/s on a terminal, or writes a line now and then elsewhere.

    Args:
        label: What is going on, in front of the bar.
        stream: Where to draw; standard error unless given.
        unit: What is counted.
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
