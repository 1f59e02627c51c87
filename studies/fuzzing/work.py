"""Work of the worker process after its imports."""

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
"""Names in the folder: working files of the worker, and its counters."""
_TRIM = 100  # files between releases of freed memory
MEMORY_FACTOR = 2
"""Memory limit of a file as a multiple of that of the largest undamaged film, apart from interpreter and models."""


def work(folder: Path, files: int, seconds: float, seed: int, engine: str) -> None:
    """Decode files until the folder's tally reaches the given number; failures are written to the folder.

    Args:
        folder: Folder with the tally.
        files: Number of files.
        seconds: Limit of processor time per file.
        seed: Seed of the changes.
        engine: "atheris" or "random".
    """
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
    """Memory for an undamaged film of the largest size, bytes."""
    verdict = Judge(decode, 100)(largest_seed(models))
    assert not verdict.failure, verdict.failure
    return peak_memory()


def _putting(judge: Judge, tally: Tally, files: int, folder: Path) -> Put:
    def put(data: bytes) -> bool:
        tally.begin(data)
        verdict = judge(data)
        tally.end(verdict)
        gc.collect()  # exceptions keep stack frames alive, whose memory must not count for the next file
        if tally.done % _TRIM == 0:
            _give_back()
        if verdict.failure:
            keep_failure(folder, tally.done, data, verdict.failure)
        return tally.done < files

    return put


def _give_back() -> None:
    """Return freed memory from the C library to the system; over hours it would accumulate."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def keep_failure(folder: Path, number: int, data: bytes, what: str) -> None:
    """Write a failed file, and a text with its cause.

    Args:
        folder: Folder to write to.
        number: Number of the failure.
        data: File.
        what: Cause.
    """
    (folder / f"{number}.dsc").write_bytes(data)
    (folder / f"{number}.txt").write_text(what)
