"""Training of the package's own models: the samples and the loss of their steps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deepsphere_codec.data.patches import PatchBatch, PatchDataset
from deepsphere_codec.data.planar import PlanarPatches, PlanarSettings
from deepsphere_codec.data.stored import StoredSamples
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.training.adopt import begin_from
from deepsphere_codec.training.loop import Loop
from deepsphere_codec.training.loss import Loss
from deepsphere_codec.training.objective import PARTS, Objective, Part
from deepsphere_codec.training.optimizer import make_optimizer
from deepsphere_codec.training.parallel import World
from deepsphere_codec.training.settings import TrainSettings
from deepsphere_codec.training.stored_trees import BatchTrees, StoredTrees


class Trainer(Loop[list[PatchBatch]]):
    """Training of one stage of a run.

    A step trains on `shares` times `batch` samples. Each share has its own random numbers, so the result does not
    depend on whether one process computes the shares in turn or several processes compute them in parallel.

    Args:
        settings: Settings of the stage.
        folder: Folder of the checkpoint and the log.
        films: Folder of prepared films.
        device: Device to train on.
        workers: Number of processes that load samples; 0 loads them in this process.
        world: Processes that train together; None for this one alone.
    Raises:
        UsageError: there are no films to train on, a checkpoint to start from cannot be used, or the processes cannot
            divide the shares evenly.
    """

    settings: TrainSettings
    model: SphereDVC

    def __init__(
        self,
        settings: TrainSettings,
        folder: Path,
        films: Path,
        device: torch.device,
        workers: int = 1,
        world: World | None = None,
    ) -> None:
        world, schedule = world or World(), settings.train
        self.shares = world.shares(schedule.shares)
        self.dataset = _dataset(films, settings, schedule.batch * schedule.shares)
        torch.manual_seed(schedule.seed)
        model = SphereDVC(settings.model, self.dataset.block(0)).to(device)
        part = PARTS[schedule.part]
        for start, only in ((schedule.start, ""), (schedule.start_intra, "intra.")):
            if start:
                begin_from(Path(start), model, only)
        optimizer = make_optimizer(model, _trained(model, part), schedule)
        super().__init__(settings, folder, model, optimizer, device, workers, world)
        self.films = self.dataset.films
        self.objective: nn.Module = Objective(model, schedule)
        stored = self.dataset if isinstance(self.dataset, StoredSamples) and "inter" in part.codecs else None
        self.trees = StoredTrees(stored.folder, model.inter, schedule.batch) if stored else None
        if world.size > 1:  # repeated frames leave weights without gradients, hence find_unused_parameters
            self.objective = DistributedDataParallel(
                self.objective, broadcast_buffers=False, find_unused_parameters=True
            )

    def _steps(self) -> Iterator[list[PatchBatch]]:
        """Iterate over this process's shares of each remaining step."""
        schedule = self.settings.train
        steps = range(self.step, schedule.steps)
        firsts = ((step * schedule.shares + share) * schedule.batch for step in steps for share in self.shares)
        every = self._batches(self.dataset, firsts, PatchBatch.of)
        for _ in steps:
            yield [next(every) for _ in self.shares]

    def _gradients(self, samples: list[PatchBatch]) -> dict[str, float]:
        """Compute gradients of the mean loss over all shares of all processes."""
        schedule, told = self.settings.train, torch.zeros(3, dtype=torch.float64)
        for share, batch in zip(self.shares, samples, strict=True):
            torch.manual_seed((schedule.seed * 1_000_003 + self.step) * schedule.shares + share)
            last = share == self.shares[-1]
            with nullcontext() if last or self.world.size == 1 else self.objective.no_sync():  # type: ignore[operator]
                loss = self.objective(batch.to(self.device), self._trees(share))
                (loss.total / len(self.shares)).backward()
            told += _numbers(loss) / len(self.shares)
        total, bits, mse_y = self.world.mean(told.to(self.device)).tolist()
        return {"loss": total, "bits_per_node": bits, "psnr-y": -10 * math.log10(mse_y)}

    def _trees(self, share: int) -> BatchTrees | None:
        """Stored motion trees of a share of the step; None if none are stored."""
        if self.trees is None:
            return None
        assert isinstance(self.dataset, StoredSamples)
        return self.trees.of((self.step % self.dataset.period) * self.settings.train.shares + share)


def _trained(model: SphereDVC, part: Part) -> list[nn.Parameter]:
    """Weights of a part; gradients of all other weights are switched off."""
    trained = [p for name in part.codecs for p in model.get_submodule(name).parameters()]
    for p in model.parameters():
        p.requires_grad_(False)
    for p in trained:
        p.requires_grad_(True)
    return trained


def _dataset(films: Path, settings: TrainSettings, samples: int) -> PatchDataset | PlanarPatches | StoredSamples:
    """Create the data set for the model's geometry; it stores its samples if the schedule says so."""
    data, schedule = settings.data, settings.train
    drawn: PatchDataset | PlanarPatches
    if isinstance(data, PlanarSettings):
        drawn = PlanarPatches(films, data, samples, schedule.relocate, schedule.seed)
    else:
        drawn = PatchDataset(films, data, samples, schedule.relocate, schedule.seed)
    return StoredSamples(drawn, schedule.kept, films / "samples") if schedule.kept else drawn


def _numbers(loss: Loss) -> Tensor:
    return torch.tensor([float(loss.total.detach()), loss.bits, loss.mse_y], dtype=torch.float64)
