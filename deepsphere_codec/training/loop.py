"""Training loop; step s is a pure function of the settings, the weights after step s - 1, and s."""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from deepsphere_codec.data.sampling import Film, describe_films
from deepsphere_codec.errors import CodecError
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.training.checkpoint import load_checkpoint, save_checkpoint
from deepsphere_codec.training.parallel import World

if TYPE_CHECKING:  # its imports for figures and video are not needed on a machine that only trains
    from deepsphere_codec.training.validation import Validator

LOG_EVERY = 20
Samples = TypeVar("Samples")


class Pace(Protocol):
    """Schedule of a stage as the loop uses it; `Schedule` explains the fields."""

    @property
    def steps(self) -> int:
        """Number of steps."""
        ...

    @property
    def batch(self) -> int:
        """Number of samples in a batch."""
        ...

    @property
    def rate(self) -> float:
        """Highest learning rate."""
        ...

    @property
    def rate_last(self) -> float:
        """Learning rate at the end."""
        ...

    @property
    def warmup(self) -> int:
        """Number of steps in which the learning rate rises."""
        ...

    @property
    def fall(self) -> str:
        """Shape of the learning rate's decrease."""
        ...

    @property
    def ema(self) -> float:
        """Decay of the running mean of the weights."""
        ...

    @property
    def clip(self) -> float:
        """Largest norm of the gradient."""
        ...

    @property
    def checkpoint_minutes(self) -> float:
        """Minutes between checkpoints."""
        ...


class StageSettings(Protocol):
    """Settings of a stage as the loop uses them, whatever the model; `TrainSettings` explains the fields."""

    @property
    def name(self) -> str:
        """Name of the run."""
        ...

    @property
    def films(self) -> str:
        """Folder of the films."""
        ...

    @property
    def film_frames(self) -> int:
        """Frames kept of each film."""
        ...

    @property
    def train(self) -> Pace:
        """Schedule of the stage."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Convert to a dictionary of JSON types, for the checkpoint."""
        ...


class Loop(ABC, Generic[Samples]):
    """Training loop of one stage, independent of the model: steps, log and checkpoints.

    Args:
        settings: Settings of the stage.
        folder: Folder of the checkpoint and the log.
        model: Model to train.
        optimizer: Optimiser. Groups with a "relative_rate" have the schedule's learning rate times it, and their
            gradients are clipped; other groups keep their own learning rate.
        device: Device to train on.
        workers: Number of processes that load samples; 0 loads them in this process.
        world: Processes that train together.
    """

    settings: StageSettings
    model: nn.Module

    def __init__(
        self,
        settings: StageSettings,
        folder: Path,
        model: nn.Module,
        optimizer: Optimizer,
        device: torch.device,
        workers: int,
        world: World,
    ) -> None:
        self.settings, self.folder, self.model, self.optimizer = settings, folder, model, optimizer
        self.device, self.workers, self.world = device, workers, world
        self.average = _running_mean(model, settings.train.ema)
        self.films: Sequence[Film] = ()
        """Films of the training data, which the checkpoint describes."""
        self.step = 0
        self.cpu_seconds = 0.0
        """CPU time of this process for all steps so far, with the samples loaded in it and without validations."""
        self.board: Any = None
        """TensorBoard writer that receives the log, or None."""

    @abstractmethod
    def _steps(self) -> Iterator[Samples]:
        """Iterate over the samples of each remaining step."""

    @abstractmethod
    def _gradients(self, samples: Samples) -> dict[str, float]:
        """Compute the gradients of a step; returns values to log, with the key "loss"."""

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint."""
        return self.folder / "checkpoint.safetensors"

    def resume(self, path: Path) -> None:
        """Resume from a checkpoint, with the same results as without the interruption."""
        state = load_checkpoint(path, self.model, self.optimizer, average=self.average)
        self.step, self.cpu_seconds = int(state["step"]), state.get("cpu_seconds", 0.0)

    def run(
        self,
        until: float = math.inf,
        on_step: Callable[[dict[str, Any]], None] | None = None,
        validator: Validator | None = None,
    ) -> None:
        """Train to the last step or until a given time, and save a checkpoint.

        Args:
            until: Time at which to stop, seconds, on the clock of `time.monotonic`.
            on_step: Function that receives the log entry every LOG_EVERY steps.
            validator: Called before the first step, when it is due, and at the end, with the running mean of the
                weights if there is one; None for none.
        Raises:
            CodecError: the loss is not finite; the last checkpoint stays.
        """
        if validator and self.world.first and self.step == 0:
            self.validate(validator)  # for comparison with later ones
        saved = asked = time.monotonic()
        worked = time.process_time()
        pace: list[tuple[float, float]] = []  # of the steps since the last log entry, which reports means
        for samples in self._steps():
            entry = self._one(samples, waited=time.monotonic() - asked)
            self.step += 1
            self.cpu_seconds += time.process_time() - worked
            pace.append((entry["seconds"], entry["waited"]))
            if self.step % LOG_EVERY == 0 or self.step == self.settings.train.steps:
                entry["seconds"], entry["waited"] = (sum(each) / len(pace) for each in zip(*pace, strict=True))
                pace.clear()
                self._log(entry)
                if on_step:
                    on_step(entry)
            if time.monotonic() - saved > 60 * self.settings.train.checkpoint_minutes:
                self.save()
                saved = time.monotonic()
            if self.step == self.settings.train.steps or self.world.agreed(time.monotonic() > until):
                break  # the validation at the end follows
            if validator and self.world.first and validator.due(time.monotonic()):
                self.save()  # beforehand, since a validation may fail, for example on a full disk
                saved = time.monotonic()
                self.validate(validator)
            asked, worked = time.monotonic(), time.process_time()
        self.save()
        if validator and self.world.first:
            self.validate(validator)

    def validate(self, validator: Validator) -> dict[str, Any]:
        """Code films with the current model; training is not affected.

        Args:
            validator: Codes the films and writes the results.
        Returns:
            Results, see `Validator`.
        """
        model = self.model if self.average is None else self.average.module
        assert isinstance(model, SphereDVC), "the planar baseline codes no films while it is trained"
        entry = validator(model, self.step)
        self._show("validation", entry)
        return entry

    def save(self) -> None:
        """Write the checkpoint."""
        if self.world.first:
            footage = describe_films(self.films)
            state = {"step": self.step, "cpu_seconds": self.cpu_seconds, "footage": footage}
            state["settings"] = self.settings.to_dict()
            save_checkpoint(self.checkpoint, self.model, self.optimizer, state, self.average)

    def _batches(
        self, dataset: Dataset, firsts: Iterable[int], collate: Callable[[list[Any]], Any] | None = None
    ) -> Iterator[Any]:
        """Load batches of the schedule's size.

        Args:
            dataset: Data set that makes the samples.
            firsts: Index of each batch's first sample.
            collate: Combines samples to a batch; None for PyTorch's default.
        """
        batch = self.settings.train.batch
        batches = (range(first, first + batch) for first in firsts)  # a generator, since there may be many
        loader = DataLoader(
            dataset,
            batch_sampler=batches,  # type: ignore[arg-type]
            collate_fn=collate,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
        )
        return iter(loader)

    def _one(self, samples: Samples, waited: float = 0.0) -> dict[str, Any]:
        started = time.monotonic()
        schedule = self.settings.train
        rate = learning_rate(schedule, self.step)
        learning = [group for group in self.optimizer.param_groups if "relative_rate" in group]
        for group in learning:
            group["lr"] = rate * group["relative_rate"]
        self.optimizer.zero_grad(set_to_none=True)
        told = self._gradients(samples)
        if not math.isfinite(told["loss"]):
            raise CodecError(f"the loss is {told['loss']} at step {self.step}: go on from {self.checkpoint}")
        clipped = [p for group in learning for p in group["params"] if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(clipped, schedule.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return {
            "step": self.step + 1,
            **told,
            "gradient": float(norm),
            "rate": rate,
            "seconds": time.monotonic() - started,
            "waited": waited,
        }

    def _log(self, entry: dict[str, Any]) -> None:
        if self.world.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(self.folder / "log.jsonl", "a") as file:
                file.write(json.dumps({k: round(v, 6) for k, v in entry.items()}) + "\n")
            self._show("train", entry)

    def _show(self, group: str, entry: dict[str, Any]) -> None:
        if self.board is not None:
            from deepsphere_codec.training.validation import log

            log(self.board, group, entry, self.step)


def learning_rate(schedule: Pace, step: int) -> float:
    """Compute the learning rate of a step: it rises during the warm-up and then falls as the schedule says.

    Args:
        schedule: Schedule of the stage.
        step: Step, counted from 0.
    Returns:
        The learning rate.
    """
    if step < schedule.warmup:
        return schedule.rate * (step + 1) / schedule.warmup
    done = min(1.0, (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup))
    if schedule.fall == "step":
        drops = (done >= 0.6) + (done >= 0.85)
        return schedule.rate * (schedule.rate_last / schedule.rate) ** (drops / 2)
    return schedule.rate_last + (schedule.rate - schedule.rate_last) * 0.5 * (1 + math.cos(math.pi * done))


def _running_mean(model: nn.Module, memory: float) -> AveragedModel | None:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(memory)) if memory else None
