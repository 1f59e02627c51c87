"""Number formats that are quick on this machine: found by trying, whatever else it does meanwhile."""

from __future__ import annotations

import itertools

import pytest
import torch

from deepsphere_codec.runtime import quick
from deepsphere_codec.runtime.quick import in_bfloat16, least_seconds, quick_bfloat16


def test_the_shortest_turn_counts_but_not_the_first(monkeypatch):
    clock = itertools.accumulate([0, 0.5, 1, 4, 1, 2, 1, 3])  # turns of 0.5, 4, 2 and 3 seconds
    monkeypatch.setattr(quick.time, "perf_counter", lambda: next(clock))
    computed = []
    assert least_seconds(lambda: computed.append(1)) == 2
    assert len(computed) == 4


@pytest.mark.parametrize("slower, quick_enough", [(0.5, True), (1.5, True), (40, False)])
def test_bfloat16_is_quick_where_it_takes_less_than_twice_as_long(monkeypatch, slower, quick_enough):
    seconds = {torch.bfloat16: slower, torch.float32: 1.0}
    monkeypatch.setattr(quick, "least_seconds", lambda compute: seconds[compute().dtype])
    quick_bfloat16.cache_clear()
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert quick_bfloat16("cpu") == quick_enough
        assert in_bfloat16("auto", "cpu") == quick_enough
        assert in_bfloat16("bfloat16", "cpu") and not in_bfloat16("float32", "cpu")
    finally:
        quick_bfloat16.cache_clear()
