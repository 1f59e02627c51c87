"""Coding of integers to bytes with CompressAI's rANS coder, and the tables that it needs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from deepsphere_codec.entropy.backend import BufferedRansEncoder, RansDecoder
from deepsphere_codec.errors import DamagedStream

_STATE_BYTES, _STATE_MIN = 8, 2**31  # a payload begins with the coder's state; its smallest possible value
_RUN = b"\xff" * 12
"""Run of three words of ones, which no payload contains: in random bits it occurs once in 2^96 positions.

A symbol beyond its row is preceded by its number of digits, itself coded in digits, where 15 means that more follow. A
payload of n bytes of ones would therefore request 15 n bytes, and CompressAI's decoder would read them from memory
beyond the payload. Without such a run a symbol requests 300 bytes at most (15 digits left in the state, 16 in two
words, 7 before them).
"""
_SYMBOL_BYTES, _SLACK = 3, 1 << 16
"""Bytes that a symbol may take from the zeros behind a payload: the 16 bits of the tables' precision, and more only for
symbols beyond their row, which zeros produce no more often than random bits do."""
_EXPECTED = 1 << 16
_TOTAL_BITS, _DIGIT_BITS = 16, 4
TOTAL = 1 << _TOTAL_BITS
"""Sum of a row's frequencies."""
_FEWEST = 4
"""Smallest number of symbols in a payload: CompressAI's encoder allocates four bytes per symbol, but writes eight more
than its symbols take, so shorter payloads are padded with symbols that are never read."""
BEYOND = bytes(1 << 22)
"""Zeros to append to a payload of up to a million symbols, since CompressAI's decoder does not check for its end and
would read memory beyond it."""


def begins_well(payload: bytes) -> bool:
    """Check whether the coder can have written a payload; CompressAI's decoder must not be given any other."""
    starts_valid = len(payload) >= _STATE_BYTES and int.from_bytes(payload[:_STATE_BYTES], "little") >= _STATE_MIN
    return starts_valid and _RUN not in payload


class Tables(NamedTuple):
    """Cumulative frequencies (16 bits), one row per distribution; stored with the weights, never recomputed.

    Attributes:
        cdf: Cumulative frequencies, [rows, longest], int32.
        length: Number of entries used in each row, [rows], int32.
        offset: Symbol of each row's first entry, [rows], int32.
    """

    cdf: Int[Tensor, "rows longest"]
    length: Int[Tensor, " rows"]
    offset: Int[Tensor, " rows"]

    def lists(self) -> tuple[list[list[int]], list[int], list[int]]:
        """Return rows without their padding, lengths and offsets, as lists for the coder."""
        length = self.length.tolist()
        rows = [row[:n] for row, n in zip(self.cdf.tolist(), length, strict=True)]
        return rows, length, self.offset.tolist()

    def check(self, name: str, rows: int) -> None:
        """Check that the tables are valid, since the coder does not check them.

        Args:
            name: Name of the tables, for the message.
            rows: Expected number of distributions.
        Raises:
            ValueError: the dtype or the number of rows differs, or a row is not a distribution.
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
    """Encoder that collects symbols in the order of reading and converts them to bytes at the end."""

    def __init__(self) -> None:
        self._encoder = BufferedRansEncoder()
        self._count = 0
        self._last: tuple[list[int], list[int], Tables] | None = None

    def write(self, symbols: Int[Tensor, " n"], rows: Int[Tensor, " n"], tables: Tables) -> None:
        """Append symbols.

        Args:
            symbols: Values, [n].
            rows: Row of the tables with the distribution of each symbol, [n].
            tables: The tables.
        """
        if symbols.numel():
            self._count += symbols.numel()
            self._last = symbols[-1:].tolist(), rows[-1:].tolist(), tables
            self._encoder.encode_with_indexes(symbols.tolist(), rows.tolist(), *tables.lists())

    def finish(self) -> bytes:
        """Return the bytes of all symbols written."""
        if self._last is None:
            return b""  # flushing CompressAI's coder without symbols crashes the process
        if self._count < _FEWEST:
            symbol, row, tables = self._last
            self._encoder.encode_with_indexes(_FEWEST * symbol, _FEWEST * row, *tables.lists())
        return self._encoder.flush()


class SymbolReader:
    """Decoder that reads symbols in the order in which they were written.

    CompressAI's decoder checks neither the beginning nor the end of a payload. Payloads that could make it read beyond
    its memory are therefore refused, and zeros are appended, as many as the expected symbols can take.

    Args:
        payload: Bytes written by `SymbolWriter.finish`.
    """

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._well = begins_well(payload)
        self._decoder = RansDecoder()
        self._left: int | None = None  # number of symbols that may still be read

    def expect(self, symbols: int) -> None:
        """Prepare to read up to a number of symbols (at least 65,536); call it before the first `read`."""
        if self._left is None:
            self._left = max(symbols, _EXPECTED)
            self._decoder.set_stream(self._payload + bytes(_SYMBOL_BYTES * self._left + _SLACK))
        assert self._left >= symbols, "the first symbols are read, and there is no room for so many behind the payload"

    def read(self, rows: Int[Tensor, " n"], tables: Tables) -> Int[Tensor, " n"]:
        """Read the next symbols.

        Args:
            rows: Row of the tables with the distribution of each symbol, [n].
            tables: The tables.
        Returns:
            Symbols, [n], int64.
        Raises:
            DamagedStream: the coder cannot have written this payload.
        """
        if not rows.numel():
            return torch.zeros(0, dtype=torch.int64)
        if not self._well:
            raise DamagedStream("a frame's symbols do not begin as the coder's do, or hold what it never writes")
        self.expect(rows.numel())
        self._left = (self._left or 0) - rows.numel()
        return torch.tensor(self._decoder.decode_stream(rows.tolist(), *tables.lists()), dtype=torch.int64)


def bits_of(symbols: Int[Tensor, " n"], rows: Int[Tensor, " n"], tables: Tables) -> Float[Tensor, " n"]:
    """Compute the bits of symbols; the size of a payload is their sum, up to its final rounding.

    A symbol beyond its row is written as the row's last entry, the number of its hexadecimal digits, and the digits.

    Args:
        symbols: Values, [n].
        rows: Row of the tables with the distribution of each symbol, [n].
        tables: The tables.
    Returns:
        Bits of each symbol, [n], float64.
    """
    cdf, length, offset = (part.cpu().long() for part in tables)
    entry, last = symbols - offset[rows], length[rows] - 2
    outside = (entry < 0) | (entry >= last)
    escaped = torch.where(entry < 0, -2 * entry - 1, 2 * (entry - last))[outside].double()
    entry = torch.where(outside, last, entry)
    share = cdf[rows, entry + 1] - cdf[rows, entry]
    bits = _TOTAL_BITS - share.double().log2()
    bits[outside] += _DIGIT_BITS * (1 + ((escaped + 1).log2() / _DIGIT_BITS).ceil())
    return bits
