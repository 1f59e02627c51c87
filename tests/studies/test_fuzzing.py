"""Files that no encoder wrote, put to the decoder; and that whoever puts them there notices what goes wrong."""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import load_script, one_thread

from deepsphere_codec.errors import CodecError, DamagedStream, UsageError
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.models import References
from studies.fuzzing import campaign
from studies.fuzzing.campaign import Settings, run_campaign
from studies.fuzzing.films import Models, Seed, make_models, make_seeds
from studies.fuzzing.judge import LARGE, MIB, PARTLY, WHOLE, Decode, Judge, decoder_of
from studies.fuzzing.mutate import LONGEST, mutated, scrambled
from studies.fuzzing.parts import put_together, take_apart
from studies.fuzzing.tally import ENDINGS, Tally

QUICKLY = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
DICE = st.integers(0, 2**32).map(random.Random)


class Range(NamedTuple):
    """Where files are shot at."""

    models: Models
    seeds: list[Seed]
    decode: Decode


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Range]:
    folder = tmp_path_factory.mktemp("fuzz")
    with one_thread(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPSPHERE_CACHE", str(folder / "cache"))
        models = make_models(folder)
        yield Range(models, make_seeds(models), decoder_of(models, folder))


def test_the_files_to_begin_with_are_sound(place: Range) -> None:
    endings = Counter(Judge(place.decode, 20)(seed.data).ending for seed in place.seeds)
    assert endings[WHOLE] >= 8 and "" not in endings, "one has no frames, one no end"
    assert {seed.quick for seed in place.seeds} == {True, False}


def test_a_file_taken_apart_and_put_together_is_the_same(place: Range) -> None:
    whole = [seed.data for seed in place.seeds if seed.data[-4:] == b"CSD."]
    assert len(whole) >= 8
    for data in whole:
        parts = take_apart(data)
        assert parts and put_together(parts) == data
    assert take_apart(b"something else") is None


def test_changes_are_the_same_for_the_same_dice_and_others_for_others(place: Range) -> None:
    data, others = place.seeds[0].data, [seed.data for seed in place.seeds]
    found = [mutated(data, random.Random(number), others) for number in (1, 1, *range(2, 60))]
    assert found[0] == found[1] and len(set(found)) > 50
    assert all(len(each) <= LONGEST for each in found)


def test_changes_reach_every_ending(place: Range) -> None:
    """Checksums would stop nearly all of them at the first byte, were they not made right again."""
    others, endings = [seed.data for seed in place.seeds if seed.quick], Counter[str]()
    for number in range(400):
        dice = random.Random(number)
        endings[Judge(place.decode, 20)(mutated(dice.choice(others), dice, others)).ending] += 1
    assert set(endings) <= set(ENDINGS) and all(endings[name] > 3 for name in ENDINGS if name != LARGE), endings


@QUICKLY
@given(dice=DICE)
def test_a_file_changed_anywhere_ends_well(place: Range, dice: random.Random) -> None:
    others = [seed.data for seed in place.seeds]
    data = mutated(dice.choice([seed.data for seed in place.seeds if seed.quick]), dice, others)
    verdict = Judge(place.decode, 20)(data)
    assert not verdict.failure, verdict.failure


@settings(QUICKLY, max_examples=40)
@given(dice=DICE)
def test_a_file_of_a_network_changed_anywhere_ends_well(place: Range, dice: random.Random) -> None:
    others = [seed.data for seed in place.seeds]
    data = mutated(dice.choice([seed.data for seed in place.seeds if not seed.quick]), dice, others)
    verdict = Judge(place.decode, 20)(data)
    assert not verdict.failure, verdict.failure


@settings(QUICKLY, max_examples=60)
@given(payload=st.binary(max_size=2000), name=st.sampled_from(["sphere", "plane"]), flags=st.sampled_from(range(17)))
def test_any_payload_is_decoded_or_damage(place: Range, payload: bytes, name: str, flags: int) -> None:
    network = place.models[name].network(64)
    head = b"\0\0\0\0\1\0\0\x80"  # or hardly any would go past the coder's state
    for intra in (payload, head + payload):
        try:
            state = network.decode_intra(intra, 4.0)
            assert state.x_hat.isfinite().all()
            network.decode_inter(bytes([flags]) + payload, References(state), 4.0, 0)
        except DamagedStream:
            continue


# What goes wrong is noticed


def _not_found(data: bytes) -> str:
    return {}[data]


def _endless(data: bytes) -> str:
    while True:
        pass


def _endless_for_good(data: bytes) -> str:
    while True:
        try:
            sum(range(1000))
        except Exception:
            continue


def _greedy(data: bytes) -> str:
    return WHOLE if bytes(300 * MIB) else PARTLY


def _of_no_kind(data: bytes) -> str:
    raise CodecError("the disk is full")


@pytest.mark.parametrize(
    ("decode", "text"),
    [
        (_not_found, "KeyError"),
        (_endless, "more than 0.2 s"),
        (_endless_for_good, "more than 0.2 s"),
        (_greedy, "MemoryError"),
        (_of_no_kind, "no kind"),
    ],
    ids=["another error", "a hang", "a hang that holds on", "memory", "no kind"],
)
def test_what_goes_wrong_is_a_failure(decode: Decode, text: str) -> None:
    verdict = Judge(decode, 0.2, 100 * MIB)(b"a file")
    assert text in verdict.failure and verdict.ending == "" and verdict.seconds < 5
    assert Judge(lambda data: WHOLE, 0.2, 100 * MIB)(b"a file")[:2] == (WHOLE, ""), "and the next one is judged afresh"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is Linux's")
def test_memory_is_that_of_the_file_alone() -> None:
    takes = lambda size: Judge(lambda data: str(len(b"x" * size)), 5)(b"").peak  # noqa: E731
    assert takes(200 * MIB) > 150 * MIB
    assert takes(1000) < 20 * MIB


def test_a_tally_is_seen_by_another(tmp_path: Path) -> None:
    here, there = Tally(tmp_path / "tally"), Tally(tmp_path / "tally")
    here.begin(b"first")
    here.end(Judge(lambda data: PARTLY, 5)(b"first"))
    here.begin(b"second")
    there.read()
    assert (there.begun, there.done, there.failures, there.endings[PARTLY]) == (2, 1, 0, 1)
    assert there.lost() == b"second"
    assert (there.done, there.failures) == (2, 1)


LOST = """
import os, sys, time
from studies.fuzzing import work
work.decoder_of = lambda models, folder: bad
count = 0
def bad(data):
    global count
    count += 1
    if count == 20 and sys.argv[4] == "0": os.abort()
    if count == 20 and sys.argv[4] == "1": time.sleep(1000)
    if count == 21: raise KeyError("planted")
    return "decoded whole"
work.work(work.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
"""


@pytest.mark.slow
def test_a_process_that_ends_or_sleeps_is_a_failure_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "WORKER", [sys.executable, "-c", LOST])
    found = run_campaign(Settings(70, 0.2, 0, "random", tmp_path))
    assert (found["files"], found["failures"], found["endings"][WHOLE]) == (70, 3, 67)
    assert "ends the process with -6" in (tmp_path / "19.txt").read_text()
    assert "does not come back" in (tmp_path / "38.txt").read_text()
    assert "planted" in (tmp_path / "58.txt").read_text()
    assert (tmp_path / "19.dsc").stat().st_size > 0


def test_the_script_writes_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["fuzz", "--engine", "random", "--files", "200", "--keep", str(tmp_path / "kept")]
    monkeypatch.setattr(sys, "argv", [*line, "--out", str(tmp_path / "fuzz.json")])
    assert load_script("studies/fuzzing").main() == 0
    found = json.loads((tmp_path / "fuzz.json").read_text())
    assert found["files"] == 200 == sum(found["endings"].values()) and found["failures"] == 0
    assert found["endings"][WHOLE] > 5 and 0 < found["slowest_seconds"] < 2 and found["environment"]["torch"]
    assert found["peak_memory_mib"] < found["limits"]["memory_mib"] and "clips" not in found
    assert re.match(r"200 files in \d+ s: ", capsys.readouterr().out)
    assert not list((tmp_path / "kept").glob("*.dsc"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"engine": "atheris"}, r"atheris is not installed: pip install 'deepsphere-codec\[fuzz\]'"),
        ({"engine": "other"}, "engine is 'other', expected atheris or random"),
        ({"files": 0}, "--files is 0"),
        ({"seconds_each": -1.0}, "--seconds-each is -1.0"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    changes: dict[str, object],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(campaign, "find_spec", lambda name: None)
    wanted = Settings(10, 2.0, 0, "random", tmp_path)._replace(**changes)
    with pytest.raises(UsageError, match=text):
        run_campaign(wanted)
    assert run(lambda: run_campaign(wanted) and 0) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_worker_that_does_not_start_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "WORKER", [sys.executable, "-c", "raise SystemExit('nothing works')"])
    with pytest.raises(UsageError, match="worker.log says why"):
        run_campaign(Settings(10, 2.0, 0, "random", tmp_path))
    assert "nothing works" in (tmp_path / "worker.log").read_text()


def test_scrambling_takes_anything() -> None:
    for data in (b"", b"x", bytes(100)):
        assert all(isinstance(scrambled(data, random.Random(number)), bytes) for number in range(50))
