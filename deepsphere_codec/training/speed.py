"""Measurement of the duration of a training step at real size, and of the share spent waiting for samples."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from deepsphere_codec.data.generated import generate_films
from deepsphere_codec.data.patches import PatchDataset, PatchSettings
from deepsphere_codec.runtime.quick import quick_bfloat16
from deepsphere_codec.training.loop import LOG_EVERY
from deepsphere_codec.training.schedule import Precision, Schedule
from deepsphere_codec.training.settings import TrainSettings
from deepsphere_codec.training.trainer import Trainer

BATCH, FRAMES = 2, 3
SAMPLES = 20


def training_speed(
    *, device: str = "cpu", rounds: int = 3, workers: int = 1, data: PatchSettings | None = None
) -> list[dict[str, Any]]:
    """Time P-frame steps of the default model on patches of generated films, alternating between the precisions.

    A step trains on BATCH chains of FRAMES - 1 P-frames. Its time includes the optimiser and the wait for samples.

    Args:
        device: Device to train on, "cpu" or "cuda".
        rounds: Number of rounds of LOG_EVERY steps each, after a warm-up round.
        workers: Number of processes that load samples.
        data: Settings of the patches; None for the defaults. Its `frames` is replaced by FRAMES.
    Returns:
        For each precision {"precision", "step_seconds", "waited", "sample_seconds"}: medians of the rounds' means, the
        wait as a share of the step, and seconds to load a sample on one thread.
    """
    data = replace(data or PatchSettings(), frames=FRAMES)
    with tempfile.TemporaryDirectory(prefix="deepsphere-") as folder:
        films = Path(folder, "films")
        generate_films(films, films=4, frames=FRAMES + 1, width=4 * data.nside)
        runs = {
            each: _TimedTraining(each, data, films, Path(folder, each), device, workers) for each in precisions(device)
        }
        for turn in range(rounds + 1):
            for run in runs.values():
                run.go_on(keep=turn > 0)
        sample_seconds = round(_sample_seconds(films, data), 4)
    return [{"precision": name, **run.medians(), "sample_seconds": sample_seconds} for name, run in runs.items()]


def precisions(device: str) -> list[Precision]:
    """Return the precisions worth training with on a device: bfloat16 only where it is fast."""
    return ["float32", "bfloat16"] if quick_bfloat16(device) else ["float32"]


class _TimedTraining:
    """Training that continues for LOG_EVERY steps at a time."""

    def __init__(self, precision: Precision, data: PatchSettings, films: Path, folder: Path, device: str, workers: int):
        schedule = Schedule("inter", LOG_EVERY, BATCH, chain=FRAMES - 1, precision=precision)
        settings = TrainSettings(precision, data=data, train=schedule)
        self.trainer = Trainer(settings, folder, films, torch.device(device), workers)
        self.paces: list[tuple[float, float]] = []

    def go_on(self, keep: bool) -> None:
        trainer = self.trainer
        steps = trainer.step + LOG_EVERY
        trainer.settings = replace(trainer.settings, train=replace(trainer.settings.train, steps=steps))
        entries: list[dict[str, Any]] = []
        trainer.run(on_step=entries.append)
        if keep:
            self.paces += [(entry["seconds"], entry["waited"]) for entry in entries]

    def medians(self) -> dict[str, float]:
        steps = [seconds + waited for seconds, waited in self.paces]
        shares = [waited / (seconds + waited) for seconds, waited in self.paces]
        return {"step_seconds": round(statistics.median(steps), 3), "waited": round(statistics.median(shares), 3)}


def _sample_seconds(films: Path, data: PatchSettings) -> float:
    """Median time to load a sample, over SAMPLES samples."""
    dataset, times = PatchDataset(films, data, BATCH, relocate=SAMPLES, seed=1), []
    for index in range(SAMPLES + 1):
        start = time.perf_counter()
        dataset[index]
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
