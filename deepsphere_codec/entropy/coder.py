"""Integers in, bytes out: CompressAI's rANS coder, and the tables that it needs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from deepsphere_codec.entropy.backend import BufferedRansEncoder, RansDecoder
from deepsphere_codec.errors import DamagedStream

_STATE_BYTES, _STATE_MIN = 8, 2**31  # what a payload begins with, and the least that the coder leaves there
BEYOND = bytes(1 << 22)
"""Put behind a payload, whose end CompressAI's decoder does not look for: zeros, not memory that is not ours."""


def begins_well(payload: bytes) -> bool:
    """Whether the coder may have written it: CompressAI's decoder must not be given anything else."""
    return len(payload) >= _STATE_BYTES and int.from_bytes(payload[:_STATE_BYTES], "little") >= _STATE_MIN


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
        """As the coder takes them; rows without their padding."""
        length = self.length.tolist()
        rows = [row[:n] for row, n in zip(self.cdf.tolist(), length, strict=True)]
        return rows, length, self.offset.tolist()


class SymbolWriter:
    """Collects symbols in the order in which they will be read, and turns them into bytes at the end."""

    def __init__(self) -> None:
        self._encoder = BufferedRansEncoder()
        self._empty = True

    def write(self, symbols: Int[Tensor, " n"], rows: Int[Tensor, " n"], tables: Tables) -> None:
        """Add symbols, each with the row of the tables that it is distributed after."""
        if symbols.numel():
            self._empty = False
            self._encoder.encode_with_indexes(symbols.tolist(), rows.tolist(), *tables.lists())

    def finish(self) -> bytes:
        """The bytes of everything written."""
        return b"" if self._empty else self._encoder.flush()  # flushed empty, CompressAI's coder crashes the process


class SymbolReader:
    """Reads symbols back in the order in which they were written."""

    def __init__(self, payload: bytes) -> None:
        self._begun = begins_well(payload)
        self._decoder = RansDecoder()
        self._decoder.set_stream(payload + BEYOND)

    def read(self, rows: Int[Tensor, " n"], tables: Tables) -> Int[Tensor, " n"]:
        """The next symbols, int64, one for each row asked for.

        Raises:
            DamagedStream: no payload begins like this one.
        """
        if not rows.numel():
            return torch.zeros(0, dtype=torch.int64)
        if not self._begun:
            raise DamagedStream("a frame's symbols do not begin as the coder's do")
        return torch.tensor(self._decoder.decode_stream(rows.tolist(), *tables.lists()), dtype=torch.int64)
