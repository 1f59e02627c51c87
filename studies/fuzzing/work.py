"""What the worker does once everything is imported."""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress
from pathlib import Path

import torch

from studies.fuzzing.engines import Put, by_chance, by_coverage
from studies.fuzzing.films import Models, largest_seed, make_models, make_seeds
from studies.fuzzing.judge import Decode, Judge, decoder_of, memory_now, peak_memory
from studies.fuzzing.tally import Tally

WORKPLACE, TALLY = "work", "tally"
"""In the folder: what the worker needs, and may leave; and its counts."""
_TRIM = 100  # files
MEMORY_FACTOR = 2
"""Times what a sound film of the largest size takes besides the interpreter, model and all: no file may take more."""


def work(folder: Path, files: int, seconds: float, seed: int, engine: str) -> None:
    """Decode files until the tally of the folder counts so many; failures go into the folder."""
    torch.set_num_threads(1)
    place = folder / WORKPLACE
    (place / "corpus").mkdir(parents=True)
    os.environ["DEEPSPHERE_CACHE"] = str(place / "cache")
    idle = memory_now()
    models = make_models(place)
    seeds, tally = make_seeds(models), Tally(folder / TALLY)
    decode = decoder_of(models, place)
    tally.room = MEMORY_FACTOR * (_sound_peak(models, decode) - idle)
    put = _putting(Judge(decode, seconds, tally.room), tally, files, folder)
    gc.freeze()
    if engine == "random":
        by_chance(seeds, seed, put)
    else:
        by_coverage(seeds, seed, put, place / "corpus")


def _sound_peak(models: Models, decode: Decode) -> int:
    """Memory, in bytes, with a sound film of the largest size."""
    verdict = Judge(decode, 100)(largest_seed(models))
    assert not verdict.failure, verdict.failure
    return peak_memory()


def _putting(judge: Judge, tally: Tally, files: int, folder: Path) -> Put:
    def put(data: bytes) -> bool:
        tally.begin(data)
        verdict = judge(data)
        tally.end(verdict)
        gc.collect()  # errors hold the frames that they came through: their memory is not the next file's
        if tally.done % _TRIM == 0:
            _give_back()
        if verdict.failure:
            keep_failure(folder, tally.done, data, verdict.failure)
        return tally.done < files

    return put


def _give_back() -> None:
    """To the system, what the C library keeps of memory that was freed: over hours it would add up."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def keep_failure(folder: Path, number: int, data: bytes, what: str) -> None:
    """The file, and beside it what went wrong."""
    (folder / f"{number}.dsc").write_bytes(data)
    (folder / f"{number}.txt").write_text(what)
