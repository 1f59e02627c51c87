"""Reads a `.dsc` file, from any frame on, or as far as it is sound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from deepsphere_codec.bitstream.header import Header
from deepsphere_codec.bitstream.source import Entry, Source
from deepsphere_codec.errors import DamagedStream, UsageError


class StreamReader:
    """A stream's header, and its records from any frame on. A context manager; it closes what it opened itself.

    Opening checks the header and the index; each record is checked when it is read.

    Args:
        file: A path, or a seekable file open for reading in binary mode.
        strict: Whether a stream must be whole. Otherwise every record is read once, those before the first damage
            count, and `damage` tells of it.
    Raises:
        UsageError: the file is missing or cannot be read.
        DamagedStream: it is no `.dsc` file, is truncated, or its header or index is altered.
        IncompatibleStream: its format is newer than this package.
    """

    def __init__(self, file: str | Path | BinaryIO, *, strict: bool = True) -> None:
        self._own: BinaryIO | None = None
        if isinstance(file, str | Path):
            self._own = file = _open(Path(file))
        self.damage: DamagedStream | None = None
        try:
            self._source = Source(file, str(getattr(file, "name", "the stream")))
            if strict:
                self._entries = self._strict_entries()
            else:
                self._entries, self.damage = self._readable_entries()
        except BaseException:
            self.close()
            raise

    @property
    def header(self) -> Header:
        return self._source.header

    @property
    def frame_count(self) -> int:
        return len(self._entries)

    def records(self, start: int = 0) -> Iterator[tuple[str, bytes]]:
        """(frame type, payload) of each frame from `start` on; beyond the last there are none.

        Raises:
            ValueError: start is negative.
            DamagedStream: a record is altered; the message names its frame and byte.
        """
        if start < 0:
            raise ValueError(f"start is {start}, expected 0 or more")
        return self._records(start)

    def keyframe_before(self, number: int) -> int:
        """The last I-frame at or before frame `number`: where decoding it begins.

        Raises:
            ValueError: there is no such frame.
            DamagedStream: no I-frame lies before it.
        """
        if not 0 <= number < self.frame_count:
            raise ValueError(f"frame {number} of a stream with {self.frame_count}")
        for candidate in range(number, -1, -1):
            if self._entries[candidate].frame_type == "I":
                return candidate
        raise self._source.damaged(f"no I-frame at or before frame {number}")

    def close(self) -> None:
        if self._own:
            self._own.close()

    def __enter__(self) -> StreamReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _records(self, start: int) -> Iterator[tuple[str, bytes]]:
        for number in range(start, self.frame_count):
            entry = self._entries[number]
            record = self._source.record(number, entry.offset)
            if record.kind != entry.frame_type:
                raise self._source.damaged(f"frame {number} at byte {entry.offset} is of another type than indexed")
            yield record.kind, record.payload

    def _strict_entries(self) -> list[Entry]:
        try:
            return self._source.index()
        except DamagedStream:
            self._source.scan([])  # tells better where the damage is than the lack of an index does
            raise

    def _readable_entries(self) -> tuple[list[Entry], DamagedStream | None]:
        entries: list[Entry] = []
        try:
            self._source.scan(entries)
        except DamagedStream as damage:
            return entries, damage
        return entries, None


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
