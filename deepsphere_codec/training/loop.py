"""The training loop: step s is a pure function of the settings, the weights after step s - 1, and s."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam
from torch.utils.data import DataLoader

from deepsphere_codec.data.patches import PatchDataset
from deepsphere_codec.errors import CodecError
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.training.adopt import begin_from
from deepsphere_codec.training.checkpoint import load_checkpoint, save_checkpoint
from deepsphere_codec.training.loss import Loss, inter_loss, intra_loss, motion_loss
from deepsphere_codec.training.settings import TrainSettings

WARP_WEIGHT = 0.1  # as DVC's first stages
LOG_EVERY = 20


class Trainer:
    """One run.

    Args:
        settings: Of the run.
        folder: Where its checkpoint and log go.
        films: Prepared films.
        device: To train on.
        workers: Processes that make samples; 0 makes them in this one.
    """

    def __init__(
        self, settings: TrainSettings, folder: Path, films: Path, device: torch.device, workers: int = 1
    ) -> None:
        self.settings, self.folder, self.device, self.workers = settings, folder, device, workers
        schedule = settings.train
        self.dataset = PatchDataset(films, settings.data, schedule.batch, schedule.relocate, schedule.seed)
        torch.manual_seed(schedule.seed)
        self.block = self.dataset.block(0)
        self.model = SphereDVC(settings.model, self.block).to(device)
        self.optimizer = Adam(self._trained(), lr=schedule.rate)
        self.step = 0
        for start, only in ((schedule.start, ""), (schedule.start_intra, "intra.")):
            if start:
                begin_from(Path(start), self.model, only)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, to the same numbers as if the run had not been interrupted."""
        self.step = int(load_checkpoint(path, self.model, self.optimizer)["step"])

    def run(self, until: float = math.inf, on_step: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Train to the last step, or to the time `until` (as `time.monotonic` counts), and save.

        Raises:
            CodecError: the loss is no longer a number; the last checkpoint stays.
        """
        saved = time.monotonic()
        for x, quality in self._batches():
            entry = self._one(x, quality)
            self.step += 1
            if self.step % LOG_EVERY == 0 or self.step == self.settings.train.steps:
                self._log(entry)
                if on_step:
                    on_step(entry)
            if time.monotonic() - saved > 60 * self.settings.train.checkpoint_minutes:
                self.save()
                saved = time.monotonic()
            if time.monotonic() > until:
                break
        self.save()

    def save(self) -> None:
        """Write the checkpoint."""
        state = {"step": self.step, "settings": self.settings.to_dict()}
        save_checkpoint(self.checkpoint, self.model, self.optimizer, state)

    def _trained(self) -> list[torch.nn.Parameter]:
        part = self.settings.train.part
        codecs: dict[str, list[torch.nn.Module]] = {"intra": [self.model.intra], "inter": [self.model.inter]}
        codecs |= {"all": codecs["intra"] + codecs["inter"], "motion": [self.model.inter.estimator]}
        trained = [p for module in codecs[part] for p in module.parameters()]
        for p in self.model.parameters():
            p.requires_grad_(False)
        for p in trained:
            p.requires_grad_(True)
        return trained

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        schedule = self.settings.train
        order = range(self.step * schedule.batch, schedule.steps * schedule.batch)
        yield from DataLoader(
            self.dataset,
            batch_size=schedule.batch,
            sampler=order,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
        )

    def _one(self, x: Tensor, quality: Tensor) -> dict[str, Any]:
        started = time.monotonic()
        schedule = self.settings.train
        torch.manual_seed(schedule.seed * 1_000_003 + self.step)
        self._relocate()
        rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._loss(x.to(self.device), quality.float().to(self.device))
        if not math.isfinite(loss.total.item()):
            raise CodecError(f"the loss is {loss.total.item()} at step {self.step}: go on from {self.checkpoint}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for p in self._parameters() if p.grad is not None], schedule.clip)
        self.optimizer.step()
        return {
            "step": self.step + 1,
            "loss": float(loss.total.detach()),
            "bits_per_node": loss.bits,
            "bits_motion": loss.bits_motion,
            "psnr-y": -10 * math.log10(loss.mse_y),
            "gradient": float(norm),
            "rate": rate,
            "seconds": time.monotonic() - started,
        }

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _loss(self, x: Tensor, quality: Tensor) -> Loss:
        schedule = self.settings.train
        with torch.autocast(self.device.type, torch.bfloat16, enabled=schedule.precision == "bfloat16"):
            if schedule.part == "motion":
                return motion_loss(self.model, x)
            if schedule.part == "intra":
                return intra_loss(self.model, x, quality)
            warp_weight = WARP_WEIGHT if self.step < schedule.warp_steps else 0.0
            with_intra = schedule.part == "all"
            return inter_loss(self.model, x, quality, schedule.chain, warp_weight, with_intra, schedule.skipped)

    def _relocate(self) -> None:
        block = self.dataset.block(self.step)
        if block != self.block:
            self.block = block
            self.model.pyramid.place(block)
            self.model.inter.estimator.place()

    def _learning_rate(self) -> float:
        s = self.settings.train
        if self.step < s.warmup:
            return s.rate * (self.step + 1) / s.warmup
        done = (self.step - s.warmup) / max(1, s.steps - s.warmup)
        return s.rate_last + (s.rate - s.rate_last) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def _log(self, entry: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "log.jsonl", "a") as file:
            file.write(json.dumps({k: round(v, 6) for k, v in entry.items()}) + "\n")
