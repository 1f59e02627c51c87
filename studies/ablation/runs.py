"""One codec with each of several choices, trained alike and measured after as many steps and after as much time."""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.errors import UsageError
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.runtime.atomic import atomic_output
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.settings import TrainSettings, load_settings
from deepsphere_codec.training.trainer import Trainer
from studies.ablation.held_out import held_out, measure
from studies.ablation.jobs import run_all
from studies.ablation.stand_in import BlockIntra
from studies.ablation.tables import PARTS

QUALITIES = (1.0, 3.0, 5.0, 7.0)
_MEMORY = 0.9  # of the average of the weights: of each LOG_EVERY = 20 steps, hence about 200 steps
_NO_END = 10**9  # steps


class Variant(NamedTuple):
    """One choice.

    Attributes:
        changes: Of the settings, as `load_settings` takes them.
        parts: Where it is another choice than the anchor.
    """

    name: str
    changes: tuple[str, ...] = ()
    parts: tuple[str, ...] = PARTS


class Budget(NamedTuple):
    """A run is measured after so many steps, and after so many seconds of the processor's time unless they are None."""

    steps: int
    seconds: float | None = None


class Job(NamedTuple):
    """One run.

    Attributes:
        config: TOML file that all variants share.
        films, clips: Prepared films to train on, and to measure on.
        folder: Where its result goes.
        anchor: What the variant is compared with: where they have the same weights, they begin alike.
        frames: Of a sample that P-frames are measured on; the first is the I-frame.
        decays: Whether the rate of learning falls to a hundredth over the steps of the budget; else it stays, since a
            run may be measured at two moments.
    """

    config: Path
    films: Path
    clips: Path
    folder: Path
    variant: Variant
    part: str
    seed: int
    budget: Budget
    anchor: Variant
    frames: int = 2
    decays: bool = False

    @property
    def name(self) -> str:
        slug = re.sub("[^a-z0-9]+", "-", self.variant.name.lower())
        return f"{self.part}-{slug}-{self.seed}"

    @property
    def result(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def settings(self) -> TrainSettings:
        """Settings of the run, from the file and the variant's changes."""
        given = load_settings(self.config, [*self.variant.changes, f"train.part='{self.part}'", f"name='{self.name}'"])
        last = given.train.rate * (0.01 if self.decays else 1)
        schedule = replace(given.train, seed=self.seed, steps=self.budget.steps, rate_last=last)
        frames = 1 if self.part == "intra" else given.data.frames
        return replace(given, train=schedule, data=replace(given.data, frames=frames))

    @property
    def origin(self) -> TrainSettings:
        """The anchor's settings."""
        return self._replace(variant=self.anchor).settings

    @property
    def heading(self) -> dict[str, Any]:
        """What the result begins with; a result of other settings is not this job's."""
        told = {"budget": self.budget._asdict(), "qualities": QUALITIES, "frames": self.frames}
        settings = {**self.settings.to_dict(), **told}
        settings = json.loads(json.dumps(settings))  # as it is when it is read back
        return {"variant": self.variant.name, "part": self.part, "seed": self.seed, "settings": settings}


def finished(job: Job) -> dict[str, Any] | None:
    """The result of a job that ran before.

    Raises:
        UsageError: it ran with other settings.
    """
    if not job.result.exists():
        return None
    found = json.loads(job.result.read_text(encoding="utf-8"))
    if any(found.get(key) != value for key, value in job.heading.items()):
        raise UsageError(f"{job.result} was made with other settings; remove it, or keep runs in another folder")
    return found


def run_job(job: Job) -> dict[str, Any]:
    """Train, measure, and write the result.

    Returns:
        {"variant", "part", "seed", "settings", "equal_steps"}, and "equal_time" where the budget has seconds; each of
        them is {"steps", "seconds", "points": [`Measured`]}.
    """
    run = Run(job)
    steps, seconds = job.budget
    found = {}
    run.train(steps, math.inf if seconds is None else seconds)
    if run.trainer.step < steps:
        found["equal_time"] = run.measured()
        run.train(steps, math.inf)
    found["equal_steps"] = run.measured()
    if seconds is not None and "equal_time" not in found:
        run.train(_NO_END, seconds)
        found["equal_time"] = run.measured()
    result = job.heading | found
    with atomic_output(job.result, force=True) as place:
        place.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    run.trainer.checkpoint.unlink()
    return result


def run_jobs(jobs: Sequence[Job], at_once: int) -> Iterator[dict[str, Any]]:
    """Results as they come, as of `run_all`; jobs that ran before are not run again.

    Raises:
        UsageError: a job ran before with other settings.
        CodecError: a process was killed.
    """
    before = {job.name: finished(job) for job in jobs}
    yield from (result for result in before.values() if result)
    todo = [job for job in jobs if not before[job.name]]
    yield from run_all(run_job, todo, at_once)


class Run:
    """A network in training, the mean of its weights, and the time spent on it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        shutil.rmtree(job.folder / job.name, ignore_errors=True)  # of a run that did not come to its end
        self.trainer = Trainer(job.settings, job.folder / job.name, job.films, torch.device("cpu"), workers=0)
        model = self.trainer.model
        data, block = job.origin.data, model.pyramid.grids[0]
        assert isinstance(data, PatchSettings) and isinstance(block, PatchGrid), "variants are of the sphere"
        _begin_alike(model, job, block)
        if job.part == "inter":
            model.intra = BlockIntra(model.config, model.pyramid)  # type: ignore[assignment]
        frames = 1 if job.part == "intra" else job.frames
        self.samples = held_out(job.clips, replace(data, frames=frames))
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(_MEMORY))
        self.seconds = 0.0

    def train(self, steps: int, seconds: float) -> None:
        """Until so many steps, or so many seconds of the processor's time, have been spent in all."""
        trainer = self.trainer
        trainer.settings = replace(trainer.settings, train=replace(trainer.settings.train, steps=steps))
        while trainer.step < steps and seconds - self.seconds > self.seconds / max(1, trainer.step):
            # By the clock no more is spent than passes: where others use the processor as well, it goes on.
            before = time.process_time()
            trainer.run(time.monotonic() + seconds - self.seconds, lambda _: self._remember())
            self.seconds += time.process_time() - before

    def measured(self) -> dict[str, Any]:
        """Of the mean of the weights."""
        points = measure(self.mean, self.job.part, self.samples, QUALITIES)
        return {
            "steps": self.trainer.step,
            "seconds": round(self.seconds, 1),
            "points": [point._asdict() for point in points],
        }

    @property
    def mean(self) -> SphereDVC:
        """The codec with the running mean of its weights; with its weights as they are before there is a mean."""
        if not self.average.n_averaged:
            self._remember()
        model = self.average.module
        assert isinstance(model, SphereDVC)
        return model

    def _remember(self) -> None:
        self.average.update_parameters(self.trainer.model)


@torch.no_grad()
def _begin_alike(model: SphereDVC, job: Job, block: PatchGrid) -> None:
    """All weights that the anchor has as well begin as the anchor's: luck must not tell variants apart."""
    settings = job.origin
    torch.manual_seed(settings.train.seed)
    anchor = dict(SphereDVC(settings.model, block).named_parameters())
    for name, p in model.named_parameters():
        if name in anchor and anchor[name].shape == p.shape:
            p.copy_(anchor[name])
