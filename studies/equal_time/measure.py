"""Variants of a codec that train for the same processor time, and the loss that each of them reaches on the way.

What a step costs is measured first, of all variants in turn: whatever else the machine does slows all of them alike. A
moment is then a number of steps, so a run comes to the same numbers wherever it is repeated with these costs.
"""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from deepsphere_codec.data.stored import StoredSamples
from deepsphere_codec.entropy.hyperprior import Rate
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.json_file import write_json
from deepsphere_codec.models.config import QUALITIES
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.quality import PLANE_WEIGHTS, intra_quality
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.training.distortion import squared_error
from deepsphere_codec.training.loop import LOG_EVERY
from deepsphere_codec.training.loss import lmbda
from deepsphere_codec.training.order import anchors_of
from deepsphere_codec.training.stored_trees import motion_lmbda
from deepsphere_codec.training.trainer import Trainer
from studies.ablation.held_out import HeldOut
from studies.ablation.runs import Job, Run, finished

LOSS_QUALITIES = (2.0, 4.0, 6.0)
_TURNS, _TURN_STEPS = 9, 4


class Moment(NamedTuple):
    """Progress of one run at one moment.

    Attributes:
        steps: Steps so far.
        seconds: Processor time that this run spent on them, samples included; other load on the machine stretches it.
        loss: Mean loss of held-out frames at LOSS_QUALITIES, with the running mean of the weights.
        losses: The loss at each of these qualities.
    """

    steps: int
    seconds: float
    loss: float
    losses: list[float]


def seconds_per_step(jobs: Sequence[Job]) -> dict[str, float]:
    """Measure the processor time of a step, samples included: the median of turns that the jobs take, after the first.

    Samples and trees that are kept are made before that: the choice whose turn comes first would pay for all others.

    Returns:
        Seconds by the name of the job's variant.
    """
    trainers = [_trainer(job) for job in jobs]
    for job in {_samples_of(trainer): job for trainer, job in zip(trainers, jobs, strict=True)}.values():
        first = _trainer(job)
        for _ in range(_TURNS):
            _time_of_turn(first)
    times: list[list[float]] = [[] for _ in jobs]
    for _ in range(_TURNS):
        for trainer, own in zip(trainers, times, strict=True):
            own.append(_time_of_turn(trainer))
    for trainer in trainers:
        shutil.rmtree(trainer.folder)
    return {job.variant.name: round(statistics.median(own[1:]), 4) for job, own in zip(jobs, times, strict=True)}


def _trainer(job: Job) -> Trainer:
    return Trainer(job.settings, job.folder / job.name, job.films, torch.device("cpu"), workers=0)


def _samples_of(trainer: Trainer) -> Path | None:
    """The folder of the samples that a trainer keeps."""
    return trainer.dataset.folder if isinstance(trainer.dataset, StoredSamples) else None


def _time_of_turn(trainer: Trainer) -> float:
    schedule, before = trainer.settings.train, trainer.cpu_seconds
    trainer.settings = replace(trainer.settings, train=replace(schedule, steps=trainer.step + _TURN_STEPS))
    trainer.run()
    return (trainer.cpu_seconds - before) / _TURN_STEPS


def steps_after(seconds: float, per_step: float) -> int:
    """Steps that take so many seconds, rounded down to where the running mean of the weights is brought up to date."""
    return max(1, int(seconds / per_step) // LOG_EVERY) * LOG_EVERY


def measured_run(job: Job, moments: Sequence[int]) -> dict[str, Any] | None:
    """Read the result of `train_to`, also where it was broken off; None if there is none yet.

    Args:
        job: The run.
        moments: Numbers of steps that it is measured at, rising.
    Raises:
        UsageError: it ran with other settings, or was measured at other moments.
    """
    result = finished(job)
    if result and [each["steps"] for each in result["moments"]] != list(moments[: len(result["moments"])]):
        raise UsageError(f"{job.result} was measured at other moments; remove it, or keep runs in another folder")
    return result


def train_to(job: Job, moments: Sequence[int]) -> dict[str, Any]:
    """Train one variant, measure it at each moment, and write the result so far to `job.result`.

    Args:
        job: The run.
        moments: Numbers of steps, rising.
    Returns:
        {"variant", "part", "seed", "settings", "moments": [`Moment` as a dict], "points": [`Measured` as a dict]}; the
        points are those of the last moment, none before it.
    """
    run, result = Run(job), job.heading | {"moments": [], "points": []}
    for steps in moments:
        result["moments"].append(_moment(run, steps)._asdict())
        if steps == moments[-1]:
            result["points"] = run.measured()["points"]
        write_json(job.result, result)
    run.trainer.checkpoint.unlink()
    return result


@torch.no_grad()
def held_out_losses(
    model: SphereDVC, samples: Sequence[HeldOut], qualities: Sequence[float], part: str = "intra"
) -> list[float]:
    """Compute the loss of I-frames, or of P-frames behind them, on held-out patches at each quality.

    loss = bits per node + lmbda · 255² · squared error (Y, Cb and Cr weighted 6 : 1 : 1). The rate is that of rounded
    latents, so the result does not depend on random numbers; the bits of the motion do not count.

    Args:
        model: The codec; it is left in evaluation mode, placed on the last sample's patch.
        samples: Patches of films that the codec is not trained on; of I-frames the first frames are used.
        qualities: Trade-offs, 1 … 8.
        part: "intra" or "inter".
    Returns:
        One loss for each quality, averaged over films, places and frames.
    """
    model.eval()
    losses: dict[float, list[float]] = {quality: [] for quality in qualities}
    for sample in samples:
        model.pyramid.place(sample.block)
        model.inter.place()
        for quality in qualities:
            asked = sample.x.new_full((len(sample.x),), quality)
            for x, x_hat, rate in _frames(model, part, sample.x, asked):
                error = squared_error(x, x_hat).mean(0) @ x.new_tensor(PLANE_WEIGHTS)
                bits = rate.bits / (x.shape[0] * x.shape[1])
                losses[quality].append(float(bits + lmbda(asked)[0] * error))
    return [math.fsum(each) / len(each) for each in losses.values()]


def _frames(
    model: SphereDVC, part: str, x: Float[Tensor, "films frames npix 3"], asked: Float[Tensor, " films"]
) -> Iterator[tuple[Tensor, Tensor, Rate]]:
    """Source, decoded picture and rate of each frame that counts."""
    if part == "intra":
        picture, rate = model.intra(x[:, 0], asked, straight=True)
        yield x[:, 0], picture.x_hat, rate
        return
    picture, _ = model.intra(x[:, 0], intra_quality(asked, model.config).clamp_max(QUALITIES))
    states = [model.inter.begin(*picture)]
    for frame in range(1, x.shape[1]):
        references = anchors_of(states)
        motion = Motion.of(model.inter.find_motion(x[:, frame], references, motion_lmbda(asked)))
        out = model.inter(x[:, frame], references, motion, asked, straight=True)
        yield x[:, frame], out.x_hat, out.rate
        states.append(references.after(out.x_hat, out.fine))


def _moment(run: Run, steps: int) -> Moment:
    run.train(steps, math.inf)
    losses = held_out_losses(run.mean, run.samples, LOSS_QUALITIES, run.job.part)
    loss = math.fsum(losses) / len(losses)
    return Moment(run.trainer.step, round(run.seconds, 1), round(loss, 4), [round(each, 4) for each in losses])
