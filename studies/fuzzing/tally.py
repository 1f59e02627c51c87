"""What a run of fuzzing counts, where it outlives the process that counts it."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from studies.fuzzing.judge import KINDS, LARGE, PARTLY, WHOLE, Verdict

ENDINGS = (WHOLE, PARTLY, *(kind.__name__ for kind in KINDS), LARGE)
_NUMBERS = struct.Struct(f"<QQQdQQ{len(ENDINGS)}Q")
_ROOM = 1 << 20


class Tally:
    """Counts in a file that two processes have in memory: whoever looks on sees them when the other one has ended.

    Args:
        path: Made where it is missing.
    Attributes:
        begun, done: Files put to the decoder, and those that it came back from.
        failures: Of them.
        slowest: Seconds.
        peak: Of memory, bytes.
        room: Memory that a file may take, bytes.
        endings: How often each of `ENDINGS` came.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_NUMBERS.size + 4 + _ROOM))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self.read()

    def read(self) -> None:
        """What the other process has counted."""
        numbers = _NUMBERS.unpack_from(self._memory)
        self.begun, self.done, self.failures, self.slowest, self.peak, self.room, *ends = numbers
        self.endings = dict(zip(ENDINGS, ends, strict=True))

    def begin(self, data: bytes) -> None:
        """A file is about to be decoded."""
        self.begun += 1
        self._memory[_NUMBERS.size : _NUMBERS.size + 4 + len(data)] = struct.pack("<I", len(data)) + data
        self._write()

    def end(self, verdict: Verdict) -> None:
        self.done += 1
        self.slowest, self.peak = max(self.slowest, verdict.seconds), max(self.peak, verdict.peak)
        if verdict.failure:
            self.failures += 1
        else:
            self.endings[verdict.ending] += 1
        self._write()

    def lost(self) -> bytes:
        """The file that the other process did not come back from; it counts as a failure."""
        (length,) = struct.unpack_from("<I", self._memory, _NUMBERS.size)
        self.done, self.failures = self.begun, self.failures + 1
        self._write()
        return self._memory[_NUMBERS.size + 4 : _NUMBERS.size + 4 + length]

    def _write(self) -> None:
        counts = self.begun, self.done, self.failures, self.slowest, self.peak, self.room
        _NUMBERS.pack_into(self._memory, 0, *counts, *self.endings.values())
