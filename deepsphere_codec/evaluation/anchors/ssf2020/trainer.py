"""Trains CompressAI's ScaleSpaceFlow: what a step of it learns from, and what it minimises."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.optim import Adam

from deepsphere_codec.data.planar import PlanarDataset, PlanarSample
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.ssf2020.loss import SsfObjective
from deepsphere_codec.evaluation.anchors.ssf2020.network import FlowUnit, PlanarFlow
from deepsphere_codec.evaluation.anchors.ssf2020.settings import SsfSchedule, SsfSettings
from deepsphere_codec.training.checkpoint import load_checkpoint
from deepsphere_codec.training.loop import Loop
from deepsphere_codec.training.parallel import World


class SsfTrainer(Loop[PlanarSample]):
    """One rate of the baseline; its arguments, checkpoints and log are those of `Trainer`.

    Raises:
        UsageError: several processes, which it cannot use, or no prepared film.
    """

    settings: SsfSettings
    model: PlanarFlow

    def __init__(
        self,
        settings: SsfSettings,
        folder: Path,
        films: Path,
        device: torch.device,
        workers: int = 1,
        world: World | None = None,
    ) -> None:
        world, schedule = world or World(), settings.train
        if world.size > 1:
            raise UsageError(f"{settings.kind} is trained by one process, not by {world.size}")
        self.dataset = PlanarDataset(films, settings.data, schedule.seed)
        torch.manual_seed(schedule.seed)
        model = network_of(settings).to(device).train()
        if schedule.start:
            load_checkpoint(Path(schedule.start), model)
        optimizer = Adam(_groups(model, schedule), lr=schedule.rate)
        super().__init__(settings, folder, model, optimizer, device, workers, world)
        self.films = self.dataset.films
        self.objective = SsfObjective(model, schedule.quality, schedule.precision)

    def _steps(self) -> Iterator[PlanarSample]:
        schedule = self.settings.train
        return self._batches(self.dataset, (step * schedule.batch for step in range(self.step, schedule.steps)))

    def _gradients(self, samples: PlanarSample) -> dict[str, float]:
        torch.manual_seed(self.settings.train.seed * 1_000_003 + self.step)
        x, weights = samples.x.to(self.device), samples.weights.to(self.device)
        loss = self.objective(samples._replace(x=x, weights=weights))
        (loss.total + loss.aux).backward()  # of one, the quantiles have no gradient, of the other, nothing else has
        return {
            "loss": float(loss.total.detach()),
            "bits_per_pixel": loss.bits,
            "bits_motion": loss.bits_motion,
            "psnr-y": -10 * math.log10(loss.mse_y),
            "aux": float(loss.aux.detach()),
        }


def network_of(settings: SsfSettings) -> PlanarFlow:
    """As it is trained, and as it will code: its flow counts in the pixels of these patches."""
    return PlanarFlow(FlowUnit(settings.data.columns, settings.data.rows))


def _groups(network: PlanarFlow, schedule: SsfSchedule) -> list[dict[str, Any]]:
    """Transforms and entropy models, and the quantiles, which have a loss and a rate of their own."""
    named = list(network.named_parameters())
    return [
        {"params": [p for name, p in named if not name.endswith(".quantiles")], "relative_rate": 1.0},
        {"params": [p for name, p in named if name.endswith(".quantiles")], "lr": schedule.aux_rate},
    ]
