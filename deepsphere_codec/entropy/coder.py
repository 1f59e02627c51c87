"""Integers in, bytes out: CompressAI's rANS coder, and the tables that it needs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from deepsphere_codec.entropy.backend import BufferedRansEncoder, RansDecoder
from deepsphere_codec.errors import DamagedStream

_STATE_BYTES, _STATE_MIN = 8, 2**31  # what a payload begins with, and the least that the coder leaves there
_RUN = b"\xff" * 12
"""In no payload: three words of ones in a row, which bits that look like noise hold once in 2^96 places.

Beyond its row a symbol says how many digits it has in digits of its own, 15 for "and more": a payload of n bytes of
ones asks for 15 n bytes, and CompressAI's decoder reads them from whatever memory lies there. Without such a run a
symbol asks for 300 bytes at most (15 digits left in the state, 16 in two words, 7 before them).
"""
_SYMBOL_BYTES, _SLACK = 3, 1 << 16
"""What a symbol takes of the zeros behind a payload: 16 bits of the tables' precision, and more only where it lies
beyond its row, which zeros bring about no more often than noise does."""
_EXPECTED = 1 << 16
_TOTAL_BITS, _DIGIT_BITS = 16, 4
TOTAL = 1 << _TOTAL_BITS
"""Sum of a row's frequencies."""
_FEWEST = 4
"""CompressAI's encoder has room for four bytes a symbol, but writes eight more than its symbols take: fewer symbols
than these are followed by some that nobody reads."""
BEYOND = bytes(1 << 22)
"""Put behind a payload of up to a million symbols, whose end CompressAI's decoder does not look for: zeros, not memory
that is not ours."""


def begins_well(payload: bytes) -> bool:
    """Whether the coder may have written it: CompressAI's decoder must not be given anything else."""
    begun = len(payload) >= _STATE_BYTES and int.from_bytes(payload[:_STATE_BYTES], "little") >= _STATE_MIN
    return begun and _RUN not in payload


class Tables(NamedTuple):
    """Cumulative frequencies (16 bits), one row a distribution; stored with the weights, never recomputed.

    Attributes:
        cdf: [rows, longest], int32.
        length: Entries used in each row, [rows].
        offset: Symbol of each row's first entry, [rows].
    """

    cdf: Int[Tensor, "rows longest"]
    length: Int[Tensor, " rows"]
    offset: Int[Tensor, " rows"]

    def lists(self) -> tuple[list[list[int]], list[int], list[int]]:
        """Rows without their padding, lengths and offsets, as lists for the coder."""
        length = self.length.tolist()
        rows = [row[:n] for row, n in zip(self.cdf.tolist(), length, strict=True)]
        return rows, length, self.offset.tolist()

    def check(self, name: str, rows: int) -> None:
        """Check that these are tables that the coder can trust.

        Args:
            name: For the message.
            rows: Distributions that there must be.
        Raises:
            ValueError: another type or number of rows, or rows that are no distributions.
        """
        cdf, length, offset = self
        if not (cdf.dtype == length.dtype == offset.dtype == torch.int32):
            raise ValueError(f"the table {name} is not of 32-bit integers")
        if cdf.ndim != 2 or not (len(cdf) == len(length) == len(offset) == rows):
            raise ValueError(f"the table {name} has not {rows} rows")
        if not bool(((length >= 3) & (length <= cdf.shape[1])).all()):
            raise ValueError(f"the table {name} has rows that are longer than it is")
        for row, used_length in zip(cdf, length.tolist(), strict=True):
            used = row[:used_length].long()
            if used[0] != 0 or used[-1] != TOTAL or not bool((used.diff() > 0).all()):
                raise ValueError(f"the table {name} has rows that are no distributions")


class SymbolWriter:
    """Collects symbols in the order in which they will be read, and turns them into bytes at the end."""

    def __init__(self) -> None:
        self._encoder = BufferedRansEncoder()
        self._count = 0
        self._last: tuple[list[int], list[int], Tables] | None = None

    def write(self, symbols: Int[Tensor, " n"], rows: Int[Tensor, " n"], tables: Tables) -> None:
        """Add symbols, each with the row of the tables that it is distributed after."""
        if symbols.numel():
            self._count += symbols.numel()
            self._last = symbols[-1:].tolist(), rows[-1:].tolist(), tables
            self._encoder.encode_with_indexes(symbols.tolist(), rows.tolist(), *tables.lists())

    def finish(self) -> bytes:
        """The bytes of everything written."""
        if self._last is None:
            return b""  # flushed empty, CompressAI's coder crashes the process
        if self._count < _FEWEST:
            symbol, row, tables = self._last
            self._encoder.encode_with_indexes(_FEWEST * symbol, _FEWEST * row, *tables.lists())
        return self._encoder.flush()


class SymbolReader:
    """Reads symbols back in the order in which they were written.

    CompressAI's decoder looks neither for a payload's end nor at its beginning: what may lead it astray is refused, and
    behind the payload lie zeros, as many as the symbols to come can take.
    """

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._well = begins_well(payload)
        self._decoder = RansDecoder()
        self._left: int | None = None  # symbols that may still be asked for

    def expect(self, symbols: int) -> None:
        """Make ready, before the first is read, for so many symbols; for 65,536 in any case."""
        if self._left is None:
            self._left = max(symbols, _EXPECTED)
            self._decoder.set_stream(self._payload + bytes(_SYMBOL_BYTES * self._left + _SLACK))
        assert self._left >= symbols, "the first symbols are read, and behind the payload there is no room for so many"

    def read(self, rows: Int[Tensor, " n"], tables: Tables) -> Int[Tensor, " n"]:
        """The next symbols, int64, one for each row asked for.

        Raises:
            DamagedStream: no payload is like this one.
        """
        if not rows.numel():
            return torch.zeros(0, dtype=torch.int64)
        if not self._well:
            raise DamagedStream("a frame's symbols do not begin as the coder's do, or hold what it never writes")
        self.expect(rows.numel())
        self._left = (self._left or 0) - rows.numel()
        return torch.tensor(self._decoder.decode_stream(rows.tolist(), *tables.lists()), dtype=torch.int64)


def bits_of(symbols: Int[Tensor, " n"], rows: Int[Tensor, " n"], tables: Tables) -> Float[Tensor, " n"]:
    """Costs of symbols by the tables; the coder's bytes are that, but for the rounding of a whole payload.

    A symbol beyond its row is written as the row's last entry, the number of hexadecimal digits to come, and these.
    """
    cdf, length, offset = (part.cpu().long() for part in tables)
    entry, last = symbols - offset[rows], length[rows] - 2
    outside = (entry < 0) | (entry >= last)
    beyond = torch.where(entry < 0, -2 * entry - 1, 2 * (entry - last))[outside].double()
    entry = torch.where(outside, last, entry)
    share = cdf[rows, entry + 1] - cdf[rows, entry]
    bits = _TOTAL_BITS - share.double().log2()
    bits[outside] += _DIGIT_BITS * (1 + ((beyond + 1).log2() / _DIGIT_BITS).ceil())
    return bits
