"""Trains CompressAI's ScaleSpaceFlow; like `Trainer`, step s is a pure function of settings, weights, and s."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from deepsphere_codec.baselines.ssf2020.network import FlowUnit, PlanarFlow
from deepsphere_codec.data.planar import PlanarDataset, PlanarSample
from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.training import loop
from deepsphere_codec.training.checkpoint import load_checkpoint, save_checkpoint
from deepsphere_codec.training.parallel import World
from deepsphere_codec.training.ssf2020_loss import SsfObjective
from deepsphere_codec.training.ssf2020_settings import SsfSettings


class SsfTrainer:
    """One rate of the baseline; its arguments, checkpoints and log are those of `Trainer`.

    Raises:
        UsageError: several processes, which it cannot use, or no prepared film.
    """

    def __init__(
        self,
        settings: SsfSettings,
        folder: Path,
        films: Path,
        device: torch.device,
        workers: int = 1,
        world: World | None = None,
    ) -> None:
        self.settings, self.folder, self.device, self.workers = settings, folder, device, workers
        self.world = world or World()
        if self.world.size > 1:
            raise UsageError(f"{settings.kind} is trained by one process, not by {self.world.size}")
        schedule = settings.train
        self.dataset = PlanarDataset(films, settings.data, schedule.seed)
        torch.manual_seed(schedule.seed)
        self.network = network_of(settings).to(device).train()
        if schedule.start:
            load_checkpoint(Path(schedule.start), self.network)
        self.optimizer = Adam(_groups(self.network), lr=schedule.rate)
        self.average = _running_mean(self.network, schedule.ema)
        self.objective = SsfObjective(self.network, schedule.quality, schedule.precision)
        self.step = 0
        self.board: Any = None
        """A TensorBoard writer that is shown what is logged, or None."""

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, to the same numbers as if the run had not been interrupted."""
        state = load_checkpoint(path, self.network, self.optimizer, average=self.average)
        self.step = int(state["step"])

    def run(self, until: float = math.inf, on_step: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Train to the last step, or to the time `until` (as `time.monotonic` counts), and save.

        Args:
            on_step: Given what is logged, every LOG_EVERY steps.
        Raises:
            CodecError: the loss is no longer a number; the last checkpoint stays.
        """
        schedule = self.settings.train
        saved = asked = time.monotonic()
        for sample in self._samples():
            entry = self._one(sample, waited=time.monotonic() - asked)
            self.step += 1
            if self.step % loop.LOG_EVERY == 0 or self.step == schedule.steps:
                self._log(entry)
                if on_step:
                    on_step(entry)
            if time.monotonic() - saved > 60 * schedule.checkpoint_minutes:
                self.save()
                saved = time.monotonic()
            if time.monotonic() > until:
                break
            asked = time.monotonic()
        self.save()

    def save(self) -> None:
        """Write the checkpoint."""
        state = {"step": self.step, "settings": self.settings.to_dict()}
        save_checkpoint(self.checkpoint, self.network, self.optimizer, state, self.average)

    def _samples(self) -> Iterator[PlanarSample]:
        schedule = self.settings.train
        firsts = (step * schedule.batch for step in range(self.step, schedule.steps))
        batches = (range(first, first + schedule.batch) for first in firsts)
        loader = DataLoader(
            self.dataset,
            batch_sampler=batches,  # type: ignore[arg-type]
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
        )
        yield from loader

    def _one(self, sample: PlanarSample, waited: float = 0.0) -> dict[str, Any]:
        started, schedule = time.monotonic(), self.settings.train
        torch.manual_seed(schedule.seed * 1_000_003 + self.step)
        transforms, quantiles = self.optimizer.param_groups
        transforms["lr"] = rate = loop.learning_rate(schedule.rates, self.step)
        quantiles["lr"] = schedule.aux_rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.objective(sample._replace(x=sample.x.to(self.device), weights=sample.weights.to(self.device)))
        total = float(loss.total.detach())
        if not math.isfinite(total):
            raise CodecError(f"the loss is {total} at step {self.step}: go on from {self.checkpoint}")
        (loss.total + loss.aux).backward()  # of one, the quantiles have no gradient, of the other, nothing else has
        norm = nn.utils.clip_grad_norm_([p for p in transforms["params"] if p.grad is not None], schedule.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return {
            "step": self.step + 1,
            "loss": total,
            "bits_per_pixel": loss.bits,
            "bits_motion": loss.bits_motion,
            "psnr-y": -10 * math.log10(loss.mse_y),
            "aux": float(loss.aux.detach()),
            "gradient": float(norm),
            "rate": rate,
            "seconds": time.monotonic() - started,
            "waited": waited,
        }

    def _log(self, entry: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "log.jsonl", "a") as file:
            file.write(json.dumps({k: round(v, 6) for k, v in entry.items()}) + "\n")
        if self.board is not None:
            from deepsphere_codec.training.validation import log

            log(self.board, "train", entry, self.step)


def network_of(settings: SsfSettings) -> PlanarFlow:
    """As it is trained, and as it will code: its flow counts in the pixels of these patches."""
    return PlanarFlow(FlowUnit(settings.data.columns, settings.data.rows))


def _groups(network: PlanarFlow) -> list[dict[str, Any]]:
    """Transforms and entropy models, and the quantiles, which have a loss and a rate of their own."""
    named = list(network.named_parameters())
    return [
        {"params": [p for name, p in named if not name.endswith(".quantiles")]},
        {"params": [p for name, p in named if name.endswith(".quantiles")]},
    ]


def _running_mean(network: nn.Module, memory: float) -> AveragedModel | None:
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(memory)) if memory else None
