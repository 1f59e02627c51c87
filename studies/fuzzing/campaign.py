"""Fuzzing run: workers one after the other until all files are done, and its results."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from deepsphere_codec.errors import UsageError
from studies.fuzzing.judge import MIB
from studies.fuzzing.tally import Tally
from studies.fuzzing.work import TALLY, WORKPLACE, keep_failure

ENGINES = ("atheris", "random")
WORKER = [sys.executable, "-m", "studies.fuzzing.worker"]
_START = 300.0  # seconds within which a worker must begin
_PATIENCE = 10  # multiple of the seconds per file, in real time, after which a worker counts as hanging
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")

OnProgress = Callable[[int, int], None]


class Settings(NamedTuple):
    """Settings of a run.

    Attributes:
        files: Number of files to decode.
        seconds_each: Limit of processor time per file.
        seed: Seed of the changes.
        engine: "atheris" or "random".
        keep: Folder for files that failed.
    """

    files: int
    seconds_each: float
    seed: int
    engine: str
    keep: Path


def run_campaign(settings: Settings, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Decode the given number of files.

    Args:
        settings: Settings of the run.
        on_progress: Called with (files done, files in all).
    Returns:
        Results in JSON types.
    Raises:
        UsageError: the engine is not installed, a number is not positive, or a worker does not start.
    """
    _check(settings)
    settings.keep.mkdir(parents=True, exist_ok=True)
    for old in (*settings.keep.glob("*.dsc"), *settings.keep.glob("*.txt"), settings.keep / TALLY):
        old.unlink(missing_ok=True)
    tally, start, coverage = Tally(settings.keep / TALLY), time.monotonic(), (0, 0, 0)
    lost = 0
    while tally.done < settings.files:
        before = tally.done
        coverage = max(coverage, _worker(settings, tally, lost, on_progress))
        if tally.done < settings.files:
            lost += 1
            if tally.done == before:
                raise UsageError(f"the worker does not start; {settings.keep / 'worker.log'} says why")
    return _figures(settings, tally, time.monotonic() - start, coverage)


def _check(settings: Settings) -> None:
    if settings.engine not in ENGINES:
        raise UsageError(f"engine is {settings.engine!r}, expected {' or '.join(ENGINES)}")
    if settings.engine == "atheris" and find_spec("atheris") is None:
        raise UsageError(
            "atheris is not installed: pip install 'deepsphere-codec[fuzz]' (it has wheels for Linux), "
            "or use --engine random"
        )
    for name in ("files", "seconds_each"):
        if (value := getattr(settings, name)) <= 0:
            raise UsageError(f"--{name.replace('_', '-')} is {value}: must be greater than 0")


def _worker(settings: Settings, tally: Tally, lost: int, on_progress: OnProgress | None) -> tuple[int, int, int]:
    """Run one worker until it is done or lost; returns edges, features and files of its corpus."""
    numbers = [settings.files, settings.seconds_each, settings.seed + lost]
    command = [*WORKER, str(settings.keep), *map(str, numbers), settings.engine]
    shutil.rmtree(settings.keep / WORKPLACE, ignore_errors=True)
    log = settings.keep / "worker.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
        try:
            hangs = _watch(process, settings, tally, on_progress)
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(settings.keep / WORKPLACE, ignore_errors=True)
    tally.read()
    if tally.begun > tally.done:
        why = "it does not come back" if hangs else f"it ends the process with {process.returncode}"
        keep_failure(settings.keep, tally.begun, tally.lost(), f"{why}\n{log.read_text()[-4000:]}")
    found = _COVERAGE.findall(log.read_text())
    return max((tuple(map(int, each)) for each in found), default=(0, 0, 0))  # type: ignore[return-value]


def _watch(process: subprocess.Popen, settings: Settings, tally: Tally, on_progress: OnProgress | None) -> bool:
    """Wait until the worker ends or hangs; returns whether it hangs."""
    seen, since = tally.begun, time.monotonic()
    patience = _START
    while True:
        try:
            process.wait(0.2)
            return False
        except subprocess.TimeoutExpired:
            tally.read()
        if tally.begun != seen:
            seen, since, patience = tally.begun, time.monotonic(), _PATIENCE * settings.seconds_each
            if on_progress:
                on_progress(tally.done, settings.files)
        elif time.monotonic() - since > patience:
            return True


def _figures(settings: Settings, tally: Tally, seconds: float, coverage: tuple[int, int, int]) -> dict[str, Any]:
    edges, features, corpus = coverage
    guided = {"edges": edges, "features": features, "corpus": corpus} if settings.engine == "atheris" else None
    return {
        "engine": settings.engine,
        "seed": settings.seed,
        "files": tally.done,
        "seconds": round(seconds, 1),
        "endings": tally.endings,
        "failures": tally.failures,
        "limits": {
            "seconds_each": settings.seconds_each,
            "memory_mib": round(tally.room / MIB, 1),
        },
        "slowest_seconds": round(tally.slowest, 3),
        "peak_memory_mib": round(tally.peak / MIB, 1),
        "coverage": guided,
    }
