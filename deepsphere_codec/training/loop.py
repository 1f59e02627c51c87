"""The training loop: step s is a pure function of the settings, the weights after step s - 1, and s."""

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

if TYPE_CHECKING:  # it draws and opens films, which a machine that only trains need not be able to
    from deepsphere_codec.training.validation import Validator

LOG_EVERY = 20
Samples = TypeVar("Samples")


class Pace(Protocol):
    """Schedule of a stage as the loop needs it; see `Schedule` for what each field means."""

    @property
    def steps(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def rate_last(self) -> float: ...
    @property
    def warmup(self) -> int: ...
    @property
    def fall(self) -> str: ...
    @property
    def ema(self) -> float: ...
    @property
    def clip(self) -> float: ...
    @property
    def checkpoint_minutes(self) -> float: ...


class StageSettings(Protocol):
    """Settings of a stage, whatever it trains; see `TrainSettings` for what each field means."""

    @property
    def name(self) -> str: ...
    @property
    def films(self) -> str: ...
    @property
    def film_frames(self) -> int: ...
    @property
    def train(self) -> Pace: ...

    def to_dict(self) -> dict[str, Any]:
        """Values for the checkpoint, in JSON's types."""
        ...


class Loop(ABC, Generic[Samples]):
    """One stage of a run, whatever it trains: its steps, its log and its checkpoints.

    Args:
        settings: Of the stage.
        folder: Where its checkpoint and log go.
        model: Whose weights move.
        optimizer: Groups of weights that have a "relative_rate" learn at the schedule's rate times it, and their
            gradients are clipped; others keep the rate that they have.
        device: To train on.
        workers: Processes that make samples; 0 makes them in this one.
        world: The processes that train together.
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
        """Those that it learns from, for the checkpoint to tell of."""
        self.step = 0
        self.cpu_seconds = 0.0
        """Of this process, for all steps so far and the samples that it made for them; not of validations."""
        self.board: Any = None
        """A TensorBoard writer that is shown what is logged, or None."""

    @abstractmethod
    def _steps(self) -> Iterator[Samples]:
        """What each step that is left learns from."""

    @abstractmethod
    def _gradients(self, samples: Samples) -> dict[str, float]:
        """Of a step; returns what is to be told of it, "loss" first."""

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, to the same numbers as if the run had not been interrupted."""
        state = load_checkpoint(path, self.model, self.optimizer, average=self.average)
        self.step, self.cpu_seconds = int(state["step"]), state.get("cpu_seconds", 0.0)

    def run(
        self,
        until: float = math.inf,
        on_step: Callable[[dict[str, Any]], None] | None = None,
        validator: Validator | None = None,
    ) -> None:
        """Train to the last step, or to the time `until` (as `time.monotonic` counts), and save.

        Args:
            on_step: Given what is logged, every LOG_EVERY steps.
            validator: Called at the beginning, when it is due, and at the end; with the weights' running mean if there
                is one.
        Raises:
            CodecError: the loss is no longer a number; the last checkpoint stays.
        """
        if validator and self.world.first and self.step == 0:
            self.validate(validator)  # to see from where it comes
        saved = asked = time.monotonic()
        worked = time.process_time()
        pace: list[tuple[float, float]] = []  # of the steps since the last line: what is logged is their mean
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
                break  # before a validation: there is one at the end
            if validator and self.world.first and validator.due(time.monotonic()):
                self.save()  # first: a validation may fail, say on a full disk
                saved = time.monotonic()
                self.validate(validator)
            asked, worked = time.monotonic(), time.process_time()
        self.save()
        if validator and self.world.first:
            self.validate(validator)

    def validate(self, validator: Validator) -> dict[str, Any]:
        """Have the model, as it is now, code films; nothing of the training changes."""
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
        """Batches of as many samples as the schedule says, each beginning at one of `firsts`.

        Args:
            dataset: Makes the samples.
            firsts: Number of each batch's first sample.
            collate: Makes a batch of samples; torch's own unless given.
        """
        batch = self.settings.train.batch
        batches = (range(first, first + batch) for first in firsts)  # as they are needed: there may be many
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
    """Of a step, counted from 0: it rises over the warm-up, then falls as the schedule says."""
    if step < schedule.warmup:
        return schedule.rate * (step + 1) / schedule.warmup
    done = min(1.0, (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup))
    if schedule.fall == "step":
        drops = (done >= 0.6) + (done >= 0.85)
        return schedule.rate * (schedule.rate_last / schedule.rate) ** (drops / 2)
    return schedule.rate_last + (schedule.rate - schedule.rate_last) * 0.5 * (1 + math.cos(math.pi * done))


def _running_mean(model: nn.Module, memory: float) -> AveragedModel | None:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(memory)) if memory else None
