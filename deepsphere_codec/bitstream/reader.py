"""Reader of `.dsc` files: from any frame on, up to the first damage, or skipping damaged parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypeGuard

from deepsphere_codec.bitstream.header import Header
from deepsphere_codec.bitstream.layout import BETWEEN, END, FRAME_RECORDS, KEYFRAME, MIN_FRAME
from deepsphere_codec.bitstream.order import PictureOrder
from deepsphere_codec.bitstream.records import CodedFrame, End, Gop, Other, unpack_frame
from deepsphere_codec.bitstream.source import ByteSource, RawRecord
from deepsphere_codec.errors import DamagedStream, IncompatibleStream, UsageError

OnDamage = Callable[[DamagedStream], None]
_Step = CodedFrame | Other | DamagedStream

_SEARCHED = 16  # limit of bytes read while searching for the next undamaged I-frame, as a multiple of the file's size
_SEARCHED_IN_ALL = 4 * _SEARCHED  # limit for all such searches in a file
_PIECE = 1 << 16


class StreamReader:
    """Reader of a stream's header and of its records from any frame on; a context manager.

    Opening checks the header and, if the file is seekable, its end; each record is checked when it is read. Closing
    closes the file only if the reader opened it.

    Args:
        file: A path, or a file open for reading in binary mode, which may be a pipe.
        strict: Whether to refuse a file without a valid end; otherwise the attribute `damage` describes the problem.
    Raises:
        UsageError: the file is missing or cannot be read.
        DamagedStream: it is not a `.dsc` file, is truncated, or its header or end is altered.
        IncompatibleStream: its format is newer than this package.
    """

    def __init__(self, file: str | Path | BinaryIO, *, strict: bool = True) -> None:
        self._own: BinaryIO | None = None
        if isinstance(file, str | Path):
            self._own = file = _open(Path(file))
        self.damage: DamagedStream | None = None
        self._end: End | None = None
        self._ahead: Iterator[_Step] | None = None
        try:
            self._source = ByteSource(file, str(getattr(file, "name", "the stream")))
            if self._source.size is not None:
                self._read_end(strict)
        except BaseException:
            self.close()
            raise

    @property
    def header(self) -> Header:
        """Header of the stream."""
        return self._source.header

    @property
    def name(self) -> str:
        """Name of the file, for messages."""
        return self._source.name

    @property
    def seekable(self) -> bool:
        """Whether reading can start at any GOP."""
        return self._source.size is not None

    @property
    def frame_count(self) -> int | None:
        """Number of frames according to the end record; None if that is missing or, in a pipe, not yet read."""
        return self._end and self._end.frames

    @property
    def bytes_read(self) -> int:
        """Number of bytes read so far."""
        return self._source.bytes_read

    def frames(
        self, first: int = 0, stop: int | None = None, *, on_damage: OnDamage | None = None
    ) -> Iterator[CodedFrame]:
        """Read the GOPs that contain a range of frames, in order of coding.

        Args:
            first: First frame of the range.
            stop: End of the range (exclusive); None for all frames.
            on_damage: Called with each damage; reading then continues at the next undamaged I-frame. If None, the first
                damage is raised.
        Returns:
            Iterator over the frames.
        Raises:
            ValueError: first is negative.
            DamagedStream: a record is altered or missing; the message names its frame and byte.
            IncompatibleStream: a record is of a kind that this installation does not know, and that matters.
        """
        return (each for each in self.records(first, stop, on_damage=on_damage) if isinstance(each, CodedFrame))

    def records(
        self, first: int = 0, stop: int | None = None, *, on_damage: OnDamage | None = None
    ) -> Iterator[CodedFrame | Other]:
        """Read the records, including those that are not frames, of the GOPs that contain a range of frames.

        A pipe can be read once only.

        Args:
            first: First frame of the range.
            stop: End of the range (exclusive); None for all frames.
            on_damage: Called with each damage; reading then continues at the next undamaged I-frame. If None, the first
                damage is raised.
        Returns:
            Iterator over the records.
        Raises:
            ValueError: first is negative.
            DamagedStream: a record is altered or missing; the message names its frame and byte.
            IncompatibleStream: a record is of a kind that this installation does not know, and that matters.
        """
        if first < 0:
            raise ValueError(f"first is {first}, expected 0 or more")
        return _without_damages(self._steps(first, stop), on_damage)

    def preface(self) -> Sequence[Other]:
        """Read the records before the first frame, up to a damage, which `records` will report."""
        gops = self._end.gops if self._end else ()
        steps = self._walked(_Walk(self._source, None), gops[0].offset if gops else None, None)
        preface: list[Other] = []
        ahead: list[_Step] = []
        for step in steps:
            ahead.append(step)
            if not isinstance(step, Other):
                break
            preface.append(step)
        if not self.seekable:
            self._ahead = chain(ahead, steps)
        return preface

    def close(self) -> None:
        """Close the file, if the reader opened it."""
        if self._own:
            self._own.close()

    def __enter__(self) -> StreamReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_end(self, strict: bool) -> None:
        try:
            self._end = self._source.end()
        except DamagedStream as damage:
            if strict:
                for _ in self.records():  # its message locates the damage better than that of a missing end
                    pass
                raise
            self.damage = damage

    def _steps(self, first: int, stop: int | None) -> Iterator[_Step]:
        if self._ahead is not None:
            steps, self._ahead = self._ahead, None
            return steps
        gops = self._end.gops if self._end else ()
        start = max((gop for gop in gops if 0 < gop.number <= first), default=None)
        behind = (gop.offset for gop in gops if stop is not None and gop.number >= stop)
        return self._walked(_Walk(self._source, start), next(behind, None), stop)

    def _walked(self, walk: _Walk, end: int | None, stop: int | None) -> Iterator[_Step]:
        """Walk up to the byte `end`, or if that is None, to the first I-frame with a number of at least `stop`."""
        searched = 0
        while end is None or walk.offset < end:
            try:
                record = walk.step()
            except DamagedStream as damage:
                yield damage
                already_read = self._source.bytes_read
                offset = self._next_keyframe(walk.search_from, searched)
                if offset is None:
                    return
                searched += self._source.bytes_read - already_read
                walk.go_on_at(offset)
                continue
            if record is None or (stop is not None and _begins_gop(record) and record.number >= stop):
                return
            yield record

    def _next_keyframe(self, offset: int, searched: int) -> int | None:
        """Find the offset of the next undamaged I-frame; None if there is none, and for a pipe.

        Args:
            offset: Byte at which the search begins.
            searched: Number of bytes that earlier searches have read.
        """
        if self._source.size is None:
            return None
        most = min(_SEARCHED * self._source.size, _SEARCHED_IN_ALL * self._source.size - searched)
        enough = self._source.bytes_read + most
        for place in self._places(offset):
            if self._is_keyframe(place):
                return place
            if self._source.bytes_read > enough:
                break
        return None

    def _places(self, offset: int) -> Iterator[int]:
        """Offsets at which an I-frame may begin."""
        if self._end:
            yield from (gop.offset for gop in self._end.gops if gop.offset >= offset)
            return
        while piece := self._source.read(offset, _PIECE):
            place = piece.find(KEYFRAME.encode())
            while place >= 0:
                yield offset + place
                place = piece.find(KEYFRAME.encode(), place + 1)
            offset += len(piece)

    def _is_keyframe(self, offset: int) -> bool:
        try:
            return self._source.record(offset, None, 0).kind == KEYFRAME
        except DamagedStream:
            return False


def _without_damages(steps: Iterator[_Step], on_damage: OnDamage | None) -> Iterator[CodedFrame | Other]:
    for step in steps:
        if not isinstance(step, DamagedStream):
            yield step
        elif on_damage is None:
            raise step
        else:
            on_damage(step)


def _begins_gop(record: CodedFrame | Other) -> TypeGuard[CodedFrame]:
    return isinstance(record, CodedFrame) and record.kind == KEYFRAME


class _Walk:
    """Sequential walk through the records of a stream.

    Args:
        source: Bytes of the stream.
        gop: GOP to begin with; None for the first record.

    Attributes:
        offset: Offset of the next record.
        search_from: Offset at which to begin the search for an undamaged I-frame after a damage.
    """

    def __init__(self, source: ByteSource, gop: Gop | None) -> None:
        self._source = source
        self.offset = self.search_from = gop.offset if gop else source.first
        self._order = PictureOrder(gop.number if gop else 0)
        self._gops: list[Gop] = []
        self._whole = gop is None  # whether all GOPs of the end record have been read
        self._gap = False  # whether frames may be missing before the next one

    def go_on_at(self, offset: int) -> None:
        """Continue at the I-frame at this offset, whatever its number is."""
        self.offset, self._whole, self._gap = offset, False, True
        self._order = PictureOrder(self._order.frames)

    def step(self) -> CodedFrame | Other | None:
        """Read the next record; None at the end record."""
        self.search_from = self.offset + 1
        record = self._source.record(self.offset, self._order.due, self._order.place)
        if record.kind.isascii() and record.kind.islower():
            self.offset = record.end
            return Other(record.kind, record.body, record.offset)
        if record.kind not in (END, *FRAME_RECORDS):
            raise IncompatibleStream(
                f"{self._source.name}: the record at byte {record.offset} is of the kind {record.kind!r}, which this "
                f"installation does not know; use a newer deepsphere-codec"
            )
        if record.kind != BETWEEN and not self._order.is_whole:
            self.search_from = self.offset  # this record may be undamaged
            raise self._source.damaged(
                f"frame {self._order.due} is due at byte {record.offset}, a B-frame, where a record {record.kind!r} is"
            )
        if record.kind == END:
            self._check_end(record)
            return None
        frame = self._frame(record)
        self._gap = False
        self.offset = record.end
        if frame.kind == KEYFRAME:
            self._gops.append(Gop(frame.number, frame.offset))
        return frame

    def _frame(self, record: RawRecord) -> CodedFrame:
        due, expected = self._order.due, self._order.frames
        try:
            frame = unpack_frame(record.kind, record.body, self._order, self._source.header.timed, record.offset)
        except ValueError as error:
            raise self._source.damaged(f"frame {due} at byte {record.offset} is altered: {error}") from error
        late = self._gap and expected < frame.number <= self._most()
        if frame.kind == KEYFRAME and frame.number != expected and not late:
            raise self._source.damaged(f"frame {due} is due at byte {record.offset}, where frame {frame.number} is")
        return frame

    def _most(self) -> int:
        """Upper bound of a frame's number in a file of this size, so that a forged number cannot extend the film."""
        return (self._source.size or 0) // MIN_FRAME

    def _check_end(self, record: RawRecord) -> None:
        end = self._source.end_of(record)
        if end.frames != self._order.frames or (self._whole and list(end.gops) != self._gops):
            raise self._source.damaged(f"the end record at byte {record.offset} contradicts the records")
        self._source.check_trailer(record)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
