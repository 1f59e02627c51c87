"""Symbols to bytes and back: every value, any order of tables, and no more bytes than the distributions promise."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter, Tables, bits_of
from deepsphere_codec.entropy.hyperprior import LEVELS, Hyperprior
from deepsphere_codec.errors import DamagedStream

TOTAL = 1 << 16
# Two distributions: {-1, 0, 1} and {10, 11}; a row's last entry is what lies outside its symbols. The second is padded.
PROBABILITIES = ((16384, 32768, 16000, 384), (60000, 5000, 536))
TABLES = Tables(
    torch.tensor([[0, 16384, 49152, 65152, TOTAL], [0, 60000, 65000, TOTAL, 0]], dtype=torch.int32),
    torch.tensor([5, 4], dtype=torch.int32),
    torch.tensor([-1, 10], dtype=torch.int32),
)
SHIFTED = Tables(TABLES.cdf, TABLES.length, TABLES.offset + 100)


def round_trip(symbols: list[int], rows: list[int], tables: Tables = TABLES) -> bytes:
    """The payload, once it has been seen to read back."""
    writer = SymbolWriter()
    writer.write(torch.tensor(symbols), torch.tensor(rows), tables)
    payload = writer.finish()
    assert SymbolReader(payload).read(torch.tensor(rows), tables).tolist() == symbols
    return payload


def scales_of(hyperprior: Hyperprior) -> Tables:
    return Tables(hyperprior.scale_cdf, hyperprior.scale_length, hyperprior.scale_offset)


def draw(n: int) -> tuple[list[int], list[int], float]:
    """Symbols drawn as the tables say, their rows, and how many bits that is worth."""
    rows = torch.randint(2, (n,)).tolist()
    symbols, bits = [], 0.0
    for row, u in zip(rows, torch.rand(n).tolist(), strict=True):
        frequencies = PROBABILITIES[row][:-1]
        entry = next(i for i in range(len(frequencies)) if u * sum(frequencies) < sum(frequencies[: i + 1]))
        symbols.append(int(TABLES.offset[row]) + entry)
        bits -= math.log2(frequencies[entry] / TOTAL)
    return symbols, rows, bits


def test_symbols_cost_what_their_row_says():
    symbols, rows, bits = draw(20000)
    assert len(round_trip(symbols, rows)) * 8 == pytest.approx(bits, rel=0.001, abs=80)  # a state of 64 bits ends it


def test_bits_of_symbols_are_those_of_their_rows():
    symbols, rows, bits = draw(20000)
    found = bits_of(torch.tensor(symbols), torch.tensor(rows), TABLES)
    assert found.shape == (20000,) and float(found.sum()) == pytest.approx(bits)
    assert float(bits_of(torch.tensor([-1]), torch.tensor([0]), TABLES)) == 2, "a quarter"
    assert bits_of(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), TABLES).shape == (0,)


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("far", [0, 1, 2, 3, 4, 9, 20, 64, 127, 128, 129, 1000, 123456, 2**20])
@pytest.mark.parametrize("sign", [1, -1])
def test_bits_of_symbols_are_bytes_also_outside_their_row(row, far, sign):
    symbols, rows = [sign * far + 10 * row] * 4000, [row] * 4000
    found = bits_of(torch.tensor(symbols), torch.tensor(rows), TABLES)
    assert len(round_trip(symbols, rows)) * 8 == pytest.approx(float(found.sum()), rel=0.001, abs=80)


def test_bits_of_symbols_of_all_scales_are_bytes(hyperprior: Hyperprior):
    """Two in a hundred lie far out of their row."""
    rows = torch.randint(LEVELS, (20000,))
    scales = 0.04 * (64 / 0.04) ** (rows / (LEVELS - 1))
    symbols = scales * torch.randn(20000) * torch.where(torch.rand(20000) < 0.02, 1000, 1)
    symbols, tables = symbols.round().long(), scales_of(hyperprior)
    bits = float(bits_of(symbols, rows, tables).sum())
    assert len(round_trip(symbols.tolist(), rows.tolist(), tables)) * 8 == pytest.approx(bits, rel=0.001)


@pytest.mark.parametrize("far", [2, -2, 9, 12, 64, -65, 1000, -1000, 123456, -123456, 2**24])
def test_values_outside_the_table_come_through(far):
    round_trip([far, 0, far, far + 1, -1], [0, 0, 1, 1, 0])


def test_every_value_around_the_table_comes_through():
    values = list(range(-40, 41))
    for row in (0, 1):
        round_trip(values, [row] * len(values))


def test_several_tables_in_one_payload_are_read_in_the_order_they_were_written():
    parts = [(draw(50), tables) for tables in (TABLES, SHIFTED, TABLES)]
    writer = SymbolWriter()
    for (symbols, rows, _), tables in parts:
        writer.write(torch.tensor(symbols) + (tables.offset - TABLES.offset)[0], torch.tensor(rows), tables)
    reader = SymbolReader(writer.finish())
    for (symbols, rows, _), tables in parts:
        shift = int((tables.offset - TABLES.offset)[0])
        assert (reader.read(torch.tensor(rows), tables) - shift).tolist() == symbols


@pytest.mark.parametrize("symbol", [0, 1, 70, -(2**20)])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_few_symbols_do_not_overrun_the_coders_memory(count, symbol):
    """It has room for four bytes a symbol, and writes eight more than the symbols take; see glibc's heap."""
    for _ in range(20):
        assert len(round_trip([symbol] * count, [0] * count)) <= 8 + 8 * max(count, 8)


def test_a_write_may_be_read_in_pieces():
    symbols, rows, _ = draw(100)
    writer = SymbolWriter()
    writer.write(torch.tensor(symbols), torch.tensor(rows), TABLES)
    reader = SymbolReader(writer.finish())
    pieces = [reader.read(torch.tensor(rows[i : i + 7]), TABLES) for i in range(0, 100, 7)]
    assert torch.cat(pieces).tolist() == symbols
    assert pieces[0].dtype == torch.int64


def test_nothing_written_costs_nothing_and_reads_as_nothing():
    none = torch.zeros(0, dtype=torch.int64)
    plain, padded = SymbolWriter(), SymbolWriter()
    for writer, parts in ((plain, [False]), (padded, [True, False, True])):
        for empty in parts:
            writer.write(none if empty else torch.tensor([0, 1]), none if empty else torch.tensor([0, 0]), TABLES)
    payload = padded.finish()
    assert payload == plain.finish()
    reader = SymbolReader(payload)
    first = reader.read(none, TABLES)
    assert first.numel() == 0 and first.dtype == torch.int64
    assert reader.read(torch.tensor([0, 0]), TABLES).tolist() == [0, 1]


def test_a_payload_of_nothing_at_all():
    writer = SymbolWriter()
    payload = writer.finish()
    assert len(payload) <= 4
    assert SymbolReader(payload).read(torch.zeros(0, dtype=torch.int64), TABLES).numel() == 0


@pytest.mark.parametrize("payload", [b"", b"\0", bytes(7), bytes(8), bytes(1000), b"\xff\xff\xff\x7f" + bytes(100)])
def test_a_payload_that_the_coder_never_begins_like_is_damaged(payload):
    """Its state is 2^31 at least; less would stay zero and never end."""
    reader = SymbolReader(payload)
    assert reader.read(torch.zeros(0, dtype=torch.int64), TABLES).numel() == 0
    with pytest.raises(DamagedStream, match="do not begin as the coder's do"):
        reader.read(torch.tensor([0]), TABLES)


@pytest.mark.parametrize("cut", [8, 12, 100, 300])
def test_beyond_a_payloads_end_lie_zeros_and_not_what_memory_holds(cut):
    symbols, rows, _ = draw(3000)
    payload = round_trip(symbols, rows)
    assert len(payload) > cut
    missing = bytes(len(payload) - cut)
    found = [SymbolReader(part).read(torch.tensor(rows), TABLES) for part in (payload[:cut], payload[:cut] + missing)]
    assert torch.equal(*found), "the same each time, and on every machine"
    assert found[0].tolist() != symbols


@pytest.mark.parametrize("n", [12, 13, 1000])
@pytest.mark.parametrize("before", [8, 9, 12, 15])
def test_digits_without_end_are_damage(n, before):
    with pytest.raises(DamagedStream, match="never writes"):
        SymbolReader(b"\x80" * before + b"\xff" * n).read(torch.zeros(4, dtype=torch.int64), TABLES)


def test_the_longest_run_of_ones_that_is_read_ends_within_the_zeros_behind_it():
    """Eleven of them, at every place of a word, each time as the last that is there."""
    for before in range(8, 16):
        payload = b"\x80" * before + b"\xff" * 11
        reader, longer = SymbolReader(payload), SymbolReader(payload + bytes(1000))
        rows = torch.zeros(2000, dtype=torch.int64)
        assert torch.equal(reader.read(rows, TABLES), longer.read(rows, TABLES))


OUT_OF_ITS_MEMORY = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_coder import *
rows = torch.zeros(2 * 10**7, dtype=torch.int64)
with pytest.raises(DamagedStream):
    SymbolReader(b"\\x80" * 8 + b"\\xff" * 400_000).read(rows[:4], TABLES)
reader = SymbolReader((2**63).to_bytes(8, "little"))
reader.expect(len(rows))
assert len(reader.read(rows, TABLES)) == len(rows)
"""


@pytest.mark.slow
def test_what_led_the_decoder_out_of_its_memory_does_not_end_the_process():
    """Ones ask for 15 times as many digits; and a picture 8192 pixels wide for 20 million symbols, here of none."""
    done = subprocess.run([sys.executable, "-c", OUT_OF_ITS_MEMORY], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done


def test_more_symbols_than_were_told_of_are_not_read():
    reader = SymbolReader(round_trip([0] * 10, [0] * 10))
    reader.expect(70_000)
    assert len(reader.read(torch.zeros(69_999, dtype=torch.int64), TABLES)) == 69_999
    with pytest.raises(AssertionError, match="no room for so many"):
        reader.read(torch.zeros(2, dtype=torch.int64), TABLES)


def test_lists_leave_the_padding_out():
    rows, lengths, offsets = TABLES.lists()
    assert rows == [[0, 16384, 49152, 65152, TOTAL], [0, 60000, 65000, TOTAL]]
    assert lengths == [5, 4] and offsets == [-1, 10]


def test_built_tables_are_distributions(hyperprior: Hyperprior):
    """What rANS needs: each row rises strictly from 0 to 2^16, so that no symbol is impossible."""
    tables = scales_of(hyperprior)
    rows, lengths, offsets = tables.lists()
    assert len(rows) == len(offsets) == LEVELS
    assert all(value.dtype == torch.int32 for value in tables)
    for row, length in zip(rows, lengths, strict=True):
        assert len(row) == length >= 3
        assert row[0] == 0 and row[-1] == TOTAL
        assert all(low < high for low, high in zip(row, row[1:], strict=False))
    tables.check("scale", LEVELS)


def test_latents_tables_are_gaussians_around_zero(hyperprior: Hyperprior):
    """Row i has scale 0.04 … 64, geometric: its probabilities are those of the Gaussian's integral."""
    rows, _, offsets = scales_of(hyperprior).lists()
    for i in (20, 40, 63):
        scale = 0.04 * (64 / 0.04) ** (i / 63)
        for symbol in (-2, -1, 0, 1, 2):
            entry = symbol - offsets[i]
            found = (rows[i][entry + 1] - rows[i][entry]) / TOTAL
            edges = [0.5 * math.erf((symbol + half) / scale / math.sqrt(2)) for half in (-0.5, 0.5)]
            assert found == pytest.approx(edges[1] - edges[0], rel=0.02, abs=2e-4 if i < 63 else 4e-4)
        assert offsets[i] < -5 * scale
