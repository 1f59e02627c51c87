"""Processor time of a training step, measured for all variants in turns, so that other load affects all alike.

Equal time is then a number of steps, so that a run with these costs has the same results wherever it is repeated.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deepsphere_codec.data.stored import StoredSamples
from deepsphere_codec.evaluation.json_file import read_json, write_json
from deepsphere_codec.training.loop import LOG_EVERY
from deepsphere_codec.training.trainer import Trainer
from studies.ablation.runs import Job, make_trainer

_TURNS, _TURN_STEPS = 9, 4
Costs = dict[str, float]


def steps_after(seconds: float, cost: float) -> int:
    """Convert seconds to training steps, rounded down to a step at which the running mean of the weights is updated.

    Args:
        seconds: Processor time.
        cost: Seconds per step.
    Returns:
        Number of steps.
    """
    return max(1, int(seconds / cost) // LOG_EVERY) * LOG_EVERY


def step_costs(args: argparse.Namespace, jobs: Sequence[Job], known: Mapping[str, Costs]) -> dict[str, Costs]:
    """Measure the seconds per step by part and variant, or read them from a file beside the runs.

    Args:
        args: Options of `read_arguments`.
        jobs: Jobs of the variants whose steps are measured if their cost is unknown.
        known: Costs from elsewhere; those in the file take precedence.
    Returns:
        Seconds per step by part and variant.
    """
    path = args.runs / "seconds-per-step.json"
    kept = read_json(path) if path.exists() else {}
    costs = {part: {**known.get(part, {}), **kept.get(part, {})} for part in args.parts}
    for part, own in costs.items():
        unknown = {job.variant.name: job for job in jobs if job.part == part and job.variant.name not in own}
        if unknown:
            # Measured together with the anchor again, so that a change of the machine's speed affects both.
            first = next(iter(unknown.values()))
            anchor = first._replace(variant=first.study.anchor)
            beside = seconds_per_step(list(({anchor.variant.name: anchor} | unknown).values()))
            factor = own.get(anchor.variant.name, beside[anchor.variant.name]) / beside[anchor.variant.name]
            own |= {name: round(cost * factor, 4) for name, cost in beside.items() if name not in own}
    write_json(path, kept | costs)
    return costs


def seconds_per_step(jobs: Sequence[Job]) -> Costs:
    """Measure the processor time of a step including samples: the median over the jobs' turns, without the first.

    Stored samples and trees are made beforehand; otherwise the first variant would include their cost.

    Args:
        jobs: Jobs to measure.
    Returns:
        Seconds by the name of the job's variant.
    """
    trainers = [make_trainer(job) for job in jobs]
    for job in {_samples_of(trainer): job for trainer, job in zip(trainers, jobs, strict=True)}.values():
        first = make_trainer(job)
        for _ in range(_TURNS):
            _time_of_turn(first)
    times: list[list[float]] = [[] for _ in jobs]
    for _ in range(_TURNS):
        for trainer, own in zip(trainers, times, strict=True):
            own.append(_time_of_turn(trainer))
    for trainer in trainers:
        shutil.rmtree(trainer.folder)
    return {job.variant.name: round(statistics.median(own[1:]), 4) for job, own in zip(jobs, times, strict=True)}


def _samples_of(trainer: Trainer) -> Path | None:
    """Folder of a trainer's stored samples."""
    return trainer.dataset.folder if isinstance(trainer.dataset, StoredSamples) else None


def _time_of_turn(trainer: Trainer) -> float:
    schedule, before = trainer.settings.train, trainer.cpu_seconds
    trainer.settings = replace(trainer.settings, train=replace(schedule, steps=trainer.step + _TURN_STEPS))
    trainer.run()
    return (trainer.cpu_seconds - before) / _TURN_STEPS
