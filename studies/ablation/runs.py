"""Parallel jobs of one thread each: variants are trained alike and measured at given steps; finished runs are kept."""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.data.prepare import prepare_films
from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.evaluation.json_file import read_json, write_json
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.settings import TrainSettings, load_settings
from deepsphere_codec.training.trainer import Trainer
from studies.ablation.held_out import held_out, losses, measure
from studies.ablation.stand_in import BlockIntra
from studies.ablation.study import Json, Study, Variant, as_changes

_MEMORY = 0.9  # decay of the mean of the weights per LOG_EVERY = 20 steps, hence about 200 steps

Task = TypeVar("Task")
Result = TypeVar("Result")


class KeptJob(Protocol):
    """Job whose result is stored in a file that begins with its heading."""

    @property
    def result(self) -> Path: ...

    @property
    def heading(self) -> Json: ...


AnyJob = TypeVar("AnyJob", bound=KeptJob)


class Job(NamedTuple):
    """One training.

    Attributes:
        study: Settings that all variants share.
        films: Folder with prepared films to train on.
        clips: Folder with prepared films to measure on.
        folder: Folder of the result.
        variant: Variant to train.
        part: Part of the codec to train.
        seed: Seed of the training.
        steps: Numbers of steps after which the run is measured, increasing.
    """

    study: Study
    films: Path
    clips: Path
    folder: Path
    variant: Variant
    part: str
    seed: int
    steps: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the run, of its folder and its result."""
        return f"{self.part}-{slug(self.variant.name)}-{self.seed}"

    @property
    def result(self) -> Path:
        """File of the result."""
        return self.folder / f"{self.name}.json"

    @property
    def changes(self) -> list[str]:
        """Settings of the part, then those of the variant, in the format of `load_settings`."""
        return as_changes(self.study.parts[self.part].get("settings", {})) + as_changes(self.variant.changes)

    @property
    def settings(self) -> TrainSettings:
        """Settings of the run."""
        own = [*as_changes(self.study.settings), *self.changes, f"train.part='{self.part}'", f"name='{self.name}'"]
        given = load_settings(Path(os.devnull), own)
        last = given.train.rate * (0.01 if self.study.rate_falls else 1)
        schedule = replace(given.train, seed=self.seed, steps=self.steps[-1], rate_last=last)
        frames = 1 if self.part == "intra" else given.data.frames
        return replace(given, train=schedule, data=replace(given.data, frames=frames))

    @property
    def origin(self) -> TrainSettings:
        """The anchor's settings."""
        return self._replace(variant=self.study.anchor).settings

    @property
    def heading(self) -> Json:
        """Beginning of the result; a result with other settings does not belong to this job."""
        budget = {"steps": self.steps[-1], "seconds": None}
        measured = {"budget": budget, "qualities": self.study.qualities, "frames": self.study.frames}
        settings = json.loads(json.dumps({**self.settings.to_dict(), **measured}))  # the same types as when read back
        return {"variant": self.variant.name, "part": self.part, "seed": self.seed, "settings": settings}


def slug(name: str) -> str:
    """Convert a variant's name to a file name."""
    return re.sub("[^a-z0-9]+", "-", name.lower())


def kept_result(job: KeptJob) -> Json | None:
    """Read the stored result of a job; None if there is none.

    Raises:
        UsageError: it ran with other settings, or was measured at other steps.
    """
    if not job.result.exists():
        return None
    found = read_json(job.result)
    steps = getattr(job, "steps", ())
    moments = [moment["steps"] for moment in found.get("moments", [])]
    if any(found.get(key) != value for key, value in job.heading.items()) or moments != list(steps[: len(moments)]):
        raise UsageError(f"{job.result} was made with other settings; remove it, or keep runs in another folder")
    return found


def list_jobs(study: Study, args: argparse.Namespace, steps: Callable[[str, str], Sequence[int]]) -> list[Job]:
    """List the jobs of a study, one seed after the other, so that the first seed is complete early.

    Args:
        study: Study.
        args: Options of `read_arguments`.
        steps: Function from a part and the name of a variant to the numbers of steps after which a run is measured.
    Returns:
        Jobs.
    """
    places = args.prepared, args.prepared_test, args.runs
    return [
        Job(study, *places, variant, part, seed, tuple(sorted({*steps(part, variant.name)})))
        for seed in study.seeds
        for part in args.parts
        for variant in study.variants
        if part in variant.parts
    ]


def prepare(study: Study, args: argparse.Namespace) -> None:
    """Prepare missing films, and set up this process for trainings: one thread, ended by SIGTERM.

    Args:
        study: Study, which names the films.
        args: Options of `read_arguments`.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    torch.set_num_threads(1)
    films = [(args.clips, args.prepared_test, study.films.test_frames)]
    if not args.finished:
        films.append((Path(study.films.train), args.prepared, study.films.train_frames))
    for folder, prepared, frames in films:
        if not any(prepared.glob("*.npy")):
            for line in prepare_films(folder, prepared, frames=frames):
                sys.stderr.write(f"left out: {line}\n")


def finish(args: argparse.Namespace, jobs: Sequence[AnyJob], run: Callable[[AnyJob], Json]) -> list[Json]:
    """Return the results of all jobs after running the unfinished ones; with --finished, stored results only.

    Args:
        args: Options of `read_arguments`.
        jobs: Jobs.
        run: Function that runs a job and returns its result.
    Returns:
        Results.
    Raises:
        UsageError: a job ran before with other settings.
        CodecError: a process was killed.
    """
    kept = [result for job in jobs if (result := kept_result(job))]
    return kept if args.finished else with_bar(run, jobs, args.jobs, "run")


def with_bar(run: Callable[[Task], Result], tasks: Sequence[Task], at_once: int, unit: str) -> list[Result]:
    """Run tasks in parallel and show the number of finished ones on standard error.

    Args:
        run: Function that runs a task.
        tasks: Tasks.
        at_once: Number of parallel tasks.
        unit: Name of a task in the progress bar.
    Returns:
        Results.
    Raises:
        CodecError: a process was killed.
    """
    return list(tqdm(run_all(run, tasks, at_once), total=len(tasks), unit=unit, disable=None))


def run_all(run: Callable[[Task], Result], tasks: Sequence[Task], at_once: int) -> Iterator[Result]:
    """Run tasks, in parallel processes of one thread each if there are several at once.

    Args:
        run: Function that runs a task.
        tasks: Tasks.
        at_once: Number of parallel tasks.
    Returns:
        Iterator over the results in order of completion.
    Raises:
        CodecError: a process was killed.
    """
    if at_once <= 1:
        yield from map(run, tasks)
        return
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(at_once, multiprocessing.get_context("spawn"), _begin_process) as pool:
        try:
            for future in as_completed([pool.submit(run, task) for task in tasks]):
                yield future.result()
        except BaseException as error:  # also for interrupts: running tasks might take minutes
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise CodecError("a run was killed; finished runs are kept, start again") from error
            raise


def _begin_process() -> None:
    """Set one thread; interrupts are handled by the parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)


def run_job(job: Job) -> Json:
    """Train and measure unless the result exists, and write the partial result after each measurement.

    Args:
        job: Training.
    Returns:
        {"variant", "part", "seed", "settings", "moments": [moment], "points": [`Measured` as a dict]}. A moment has
        "steps" and "seconds", and "loss" and "losses" if the study has qualities for them, otherwise "points". The
        points of the last moment are those of the run, which has none before.
    """
    kept = kept_result(job)
    if kept and len(kept["moments"]) == len(job.steps):
        return kept
    run, result = Run(job), job.heading | {"moments": [], "points": []}
    for steps in job.steps:
        run.train(steps)
        moment: Json = {"steps": steps, "seconds": round(run.trainer.cpu_seconds, 1)}
        points = [] if job.study.loss_qualities and steps != job.steps[-1] else run.points()
        moment |= run.losses() if job.study.loss_qualities else {"points": points}
        result["moments"].append(moment)
        result["points"] = points if steps == job.steps[-1] else []
        write_json(job.result, result)
    run.trainer.checkpoint.unlink()
    sys.stderr.write(f"{job.name}: {moment['seconds']:.0f} s\n")
    return result


def make_trainer(job: Job) -> Trainer:
    """Make the trainer of a job, in a folder beside its result."""
    return Trainer(job.settings, job.folder / job.name, job.films, torch.device("cpu"), workers=0)


class Run:
    """Network in training, and the running mean of its weights."""

    def __init__(self, job: Job) -> None:
        self.job = job
        shutil.rmtree(job.folder / job.name, ignore_errors=True)  # left by an interrupted run
        self.trainer = make_trainer(job)
        model = self.trainer.model
        data, block = job.origin.data, model.pyramid.grids[0]
        assert isinstance(data, PatchSettings) and isinstance(block, PatchGrid), "variants are of the sphere"
        _begin_alike(model, job, block)
        if job.part == "inter":
            model.intra = BlockIntra(model.config, model.pyramid)  # type: ignore[assignment]
        frames = 1 if job.part == "intra" else job.study.frames
        self.samples = held_out(job.clips, replace(data, frames=frames))
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(_MEMORY))

    def train(self, steps: int) -> None:
        """Train until this number of steps, at which the learning rate ends."""
        trainer = self.trainer
        trainer.settings = replace(trainer.settings, train=replace(trainer.settings.train, steps=steps))
        trainer.run(on_step=lambda _: self._remember())

    def points(self) -> list[Json]:
        """Measure rate and distortion, with the running mean of the weights."""
        return [point._asdict() for point in measure(self.mean, self.job.part, self.samples, self.job.study.qualities)]

    def losses(self) -> Json:
        """Measure the loss of held-out patches, with the running mean of the weights."""
        found = losses(self.mean, self.job.part, self.samples, self.job.study.loss_qualities)
        return {"loss": round(math.fsum(found) / len(found), 4), "losses": [round(each, 4) for each in found]}

    @property
    def mean(self) -> SphereDVC:
        """Codec with the running mean of its weights, or its current weights before there is a mean."""
        if not self.average.n_averaged:
            self._remember()
        model = self.average.module
        assert isinstance(model, SphereDVC)
        return model

    def _remember(self) -> None:
        self.average.update_parameters(self.trainer.model)


@torch.no_grad()
def _begin_alike(model: SphereDVC, job: Job, block: PatchGrid) -> None:
    """Copy all weights that the anchor has too from the anchor, so that variants do not differ by chance."""
    settings = job.origin
    torch.manual_seed(settings.train.seed)
    anchor = dict(SphereDVC(settings.model, block).named_parameters())
    for name, p in model.named_parameters():
        if name in anchor and anchor[name].shape == p.shape:
            p.copy_(anchor[name])
