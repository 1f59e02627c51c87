"""The training loop: step s is a pure function of the settings, the weights after step s - 1, and s."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from deepsphere_codec.data.patches import PatchDataset
from deepsphere_codec.data.planar import PlanarPatches, PlanarSettings
from deepsphere_codec.errors import CodecError
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.training.adopt import begin_from
from deepsphere_codec.training.checkpoint import load_checkpoint, save_checkpoint
from deepsphere_codec.training.loss import Loss
from deepsphere_codec.training.objective import Objective
from deepsphere_codec.training.parallel import World
from deepsphere_codec.training.settings import Schedule, TrainSettings

if TYPE_CHECKING:  # it draws and opens films, which a machine that only trains need not be able to
    from deepsphere_codec.training.validation import Validator

LOG_EVERY = 20


class Trainer:
    """One stage of a run.

    A step learns from `shares` times `batch` samples. Each share has its own random numbers, so that it does not matter
    whether one process takes one share after the other or several processes take one each.

    Args:
        settings: Of the stage.
        folder: Where its checkpoint and log go.
        films: Prepared films.
        device: To train on.
        workers: Processes that make samples; 0 makes them in this one.
        world: The processes that train together.
    """

    def __init__(
        self,
        settings: TrainSettings,
        folder: Path,
        films: Path,
        device: torch.device,
        workers: int = 1,
        world: World | None = None,
    ) -> None:
        self.settings, self.folder, self.device, self.workers = settings, folder, device, workers
        self.world = world or World()
        schedule = settings.train
        self.shares = self.world.shares(schedule.shares)
        samples = schedule.batch * schedule.shares
        self.dataset = _dataset(films, settings, samples)
        torch.manual_seed(schedule.seed)
        self.block = self.dataset.block(0)
        self.model = SphereDVC(settings.model, self.block).to(device)
        for start, only in ((schedule.start, ""), (schedule.start_intra, "intra.")):
            if start:
                begin_from(Path(start), self.model, only)
        self.optimizer = Adam(self._trained(), lr=schedule.rate)
        self.average = _running_mean(self.model, schedule.ema)
        self.objective: nn.Module = Objective(self.model, schedule)
        if self.world.size > 1:  # frames that are repeated leave weights without a gradient, hence "unused"
            self.objective = DistributedDataParallel(
                self.objective, broadcast_buffers=False, find_unused_parameters=True
            )
        self.step = 0
        self.board: Any = None
        """A TensorBoard writer that is shown what is logged, or None."""

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, to the same numbers as if the run had not been interrupted."""
        state = load_checkpoint(path, self.model, self.optimizer, average=self.average)
        self.step = int(state["step"])

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
        pace: list[tuple[float, float]] = []  # of the steps since the last line: what is logged is their mean
        for samples in self._steps():
            entry = self._one(samples, waited=time.monotonic() - asked)
            self.step += 1
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
            asked = time.monotonic()
        self.save()
        if validator and self.world.first:
            self.validate(validator)

    def validate(self, validator: Validator) -> dict[str, Any]:
        """Have the model, as it is now, code films; nothing of the training changes."""
        model = self.model if self.average is None else self.average.module
        assert isinstance(model, SphereDVC)
        entry = validator(model, self.step)
        self._show("validation", entry)
        return entry

    def _show(self, group: str, entry: dict[str, Any]) -> None:
        if self.board is not None:
            from deepsphere_codec.training.validation import log

            log(self.board, group, entry, self.step)

    def save(self) -> None:
        """Write the checkpoint."""
        if self.world.first:
            state = {"step": self.step, "settings": self.settings.to_dict()}
            save_checkpoint(self.checkpoint, self.model, self.optimizer, state, self.average)

    def _trained(self) -> list[nn.Parameter]:
        part = self.settings.train.part
        intra, inter = self.model.intra, self.model.inter
        field: list[nn.Module] = [inter.motion_a, inter.motion_s, inter.motion_latents]
        codecs: dict[str, list[nn.Module]] = {
            "intra": [intra],
            "motion": [inter.estimator],
            "field": field,
            "prediction": [*field, inter.compensation],
            "inter": [inter],
            "all": [intra, inter],
        }
        trained = [p for module in codecs[part] for p in module.parameters()]
        for p in self.model.parameters():
            p.requires_grad_(False)
        for p in trained:
            p.requires_grad_(True)
        return trained

    def _steps(self) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Of each step that is left, this process's shares: samples [batch, frames, npix, 3] and qualities [batch]."""
        schedule = self.settings.train
        steps = range(self.step, schedule.steps)
        firsts = ((step * schedule.shares + share) * schedule.batch for step in steps for share in self.shares)
        batches = (range(first, first + schedule.batch) for first in firsts)  # as they are needed: there may be many
        loader = DataLoader(
            self.dataset,
            batch_sampler=batches,  # type: ignore[arg-type]
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
        )
        every = iter(loader)
        for _ in steps:
            yield [next(every) for _ in self.shares]

    def _one(self, samples: list[tuple[Tensor, Tensor]], waited: float = 0.0) -> dict[str, Any]:
        started = time.monotonic()
        schedule = self.settings.train
        self._relocate()
        rate = learning_rate(schedule, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._gradients(samples)
        norm = nn.utils.clip_grad_norm_([p for p in self._parameters() if p.grad is not None], schedule.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return {
            "step": self.step + 1,
            **loss,
            "gradient": float(norm),
            "rate": rate,
            "seconds": time.monotonic() - started,
            "waited": waited,
        }

    def _gradients(self, samples: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Of the mean loss of all shares of all processes; returns what is to be told of it.

        Raises:
            CodecError: the loss is no number.
        """
        schedule, told = self.settings.train, torch.zeros(4, dtype=torch.float64)
        for share, (x, quality) in zip(self.shares, samples, strict=True):
            torch.manual_seed((schedule.seed * 1_000_003 + self.step) * schedule.shares + share)
            last = share == self.shares[-1]
            with nullcontext() if last or self.world.size == 1 else self.objective.no_sync():  # type: ignore[operator]
                loss = self.objective(x.to(self.device), quality.float().to(self.device), self.step)
                (loss.total / len(self.shares)).backward()
            told += _numbers(loss) / len(self.shares)
        total, bits, bits_motion, mse_y = self.world.mean(told.to(self.device)).tolist()
        if not math.isfinite(total):
            raise CodecError(f"the loss is {total} at step {self.step}: go on from {self.checkpoint}")
        psnr = -10 * math.log10(mse_y)
        return {"loss": total, "bits_per_node": bits, "bits_motion": bits_motion, "psnr-y": psnr}

    def _parameters(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _relocate(self) -> None:
        block = self.dataset.block(self.step)
        if block != self.block:
            self.block = block
            self.model.pyramid.place(block)
            self.model.inter.estimator.place()

    def _log(self, entry: dict[str, Any]) -> None:
        if self.world.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(self.folder / "log.jsonl", "a") as file:
                file.write(json.dumps({k: round(v, 6) for k, v in entry.items()}) + "\n")
            self._show("train", entry)


def learning_rate(schedule: Schedule, step: int) -> float:
    """Of a step, counted from 0: it rises over the warm-up, then falls as the schedule says."""
    if step < schedule.warmup:
        return schedule.rate * (step + 1) / schedule.warmup
    done = min(1.0, (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup))
    if schedule.fall == "step":
        drops = (done >= 0.6) + (done >= 0.85)
        return schedule.rate * (schedule.rate_last / schedule.rate) ** (drops / 2)
    return schedule.rate_last + (schedule.rate - schedule.rate_last) * 0.5 * (1 + math.cos(math.pi * done))


def _dataset(films: Path, settings: TrainSettings, samples: int) -> PatchDataset | PlanarPatches:
    """What is drawn for the geometry of the model."""
    data, schedule = settings.data, settings.train
    if isinstance(data, PlanarSettings):
        return PlanarPatches(films, data, samples, schedule.relocate, schedule.seed)
    return PatchDataset(films, data, samples, schedule.relocate, schedule.seed)


def _numbers(loss: Loss) -> Tensor:
    return torch.tensor([float(loss.total.detach()), loss.bits, loss.bits_motion, loss.mse_y], dtype=torch.float64)


def _running_mean(model: nn.Module, memory: float) -> AveragedModel | None:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(memory)) if memory else None
