"""Processor time of a training step, measured of all variants in turn: what else the machine does slows all alike.

Equal time is then a number of steps, so a run comes to the same numbers wherever it is repeated with these costs.
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
    """Return the steps that take so many seconds, rounded down to where the running mean of the weights is updated."""
    return max(1, int(seconds / cost) // LOG_EVERY) * LOG_EVERY


def step_costs(args: argparse.Namespace, jobs: Sequence[Job], known: Mapping[str, Costs]) -> dict[str, Costs]:
    """Return the seconds a step by part and variant, kept in a file beside the runs.

    Args:
        args: Options of `read_arguments`.
        jobs: Jobs of the variants whose step is measured where it is not known.
        known: Costs that are known from elsewhere; those in the file come before them.
    """
    path = args.runs / "seconds-per-step.json"
    kept = read_json(path) if path.exists() else {}
    costs = {part: {**known.get(part, {}), **kept.get(part, {})} for part in args.parts}
    for part, own in costs.items():
        unknown = {job.variant.name: job for job in jobs if job.part == part and job.variant.name not in own}
        if unknown:
            # Beside the anchor again, so that a slower machine slows down none in comparison.
            first = next(iter(unknown.values()))
            anchor = first._replace(variant=first.study.anchor)
            beside = seconds_per_step(list(({anchor.variant.name: anchor} | unknown).values()))
            factor = own.get(anchor.variant.name, beside[anchor.variant.name]) / beside[anchor.variant.name]
            own |= {name: round(cost * factor, 4) for name, cost in beside.items() if name not in own}
    write_json(path, kept | costs)
    return costs


def seconds_per_step(jobs: Sequence[Job]) -> Costs:
    """Measure the processor time of a step, samples included: the median of turns that the jobs take, after the first.

    Samples and trees that are kept are made before that: the choice whose turn comes first would pay for all others.

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
    """Return the folder of the samples that a trainer keeps."""
    return trainer.dataset.folder if isinstance(trainer.dataset, StoredSamples) else None


def _time_of_turn(trainer: Trainer) -> float:
    schedule, before = trainer.settings.train, trainer.cpu_seconds
    trainer.settings = replace(trainer.settings, train=replace(schedule, steps=trainer.step + _TURN_STEPS))
    trainer.run()
    return (trainer.cpu_seconds - before) / _TURN_STEPS
