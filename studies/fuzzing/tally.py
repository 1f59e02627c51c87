"""Counters of a fuzzing run that outlive the process that counts."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from studies.fuzzing.judge import KINDS, LARGE, PARTLY, WHOLE, Verdict

ENDINGS = (WHOLE, PARTLY, *(kind.__name__ for kind in KINDS), LARGE)
_NUMBERS = struct.Struct(f"<QQQdQQ{len(ENDINGS)}Q")
_ROOM = 1 << 20


class Tally:
    """Counters in a memory-mapped file, which another process can read after the counting process has ended.

    Args:
        path: File, created if missing.
    Attributes:
        begun: Number of files whose decoding began.
        done: Number of files whose decoding ended.
        failures: Number of failures.
        slowest: Longest time, seconds.
        peak: Largest memory, bytes.
        room: Memory limit per file, bytes.
        endings: Number of files for each of `ENDINGS`.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_NUMBERS.size + 4 + _ROOM))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self.read()

    def read(self) -> None:
        """Read the counters of the other process."""
        numbers = _NUMBERS.unpack_from(self._memory)
        self.begun, self.done, self.failures, self.slowest, self.peak, self.room, *ends = numbers
        self.endings = dict(zip(ENDINGS, ends, strict=True))

    def begin(self, data: bytes) -> None:
        """Record that decoding of a file begins."""
        self.begun += 1
        self._memory[_NUMBERS.size : _NUMBERS.size + 4 + len(data)] = struct.pack("<I", len(data)) + data
        self._write()

    def end(self, verdict: Verdict) -> None:
        """Record the outcome of a file."""
        self.done += 1
        self.slowest, self.peak = max(self.slowest, verdict.seconds), max(self.peak, verdict.peak)
        if verdict.failure:
            self.failures += 1
        else:
            self.endings[verdict.ending] += 1
        self._write()

    def lost(self) -> bytes:
        """Return the file at which the other process was lost; it counts as a failure."""
        (length,) = struct.unpack_from("<I", self._memory, _NUMBERS.size)
        self.done, self.failures = self.begun, self.failures + 1
        self._write()
        return self._memory[_NUMBERS.size + 4 : _NUMBERS.size + 4 + length]

    def _write(self) -> None:
        counts = self.begun, self.done, self.failures, self.slowest, self.peak, self.room
        _NUMBERS.pack_into(self._memory, 0, *counts, *self.endings.values())
