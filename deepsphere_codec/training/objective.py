"""Parts of a model that a stage may train, and the loss of a step as a module for distributed training."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from deepsphere_codec.data.patches import PatchBatch
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.runtime.quick import in_bfloat16
from deepsphere_codec.training.distortion import make_distortion
from deepsphere_codec.training.loss import Loss, Measure, inter_loss, intra_loss
from deepsphere_codec.training.schedule import Schedule
from deepsphere_codec.training.stored_trees import BatchTrees


class Part(NamedTuple):
    """Part of a model that a stage trains.

    Attributes:
        codecs: Names of the model's submodules whose weights are trained.
        loss: Function that computes the loss from the model, a batch, the schedule, the error's definition, and the
            motion trees.
    """

    codecs: tuple[str, ...]
    loss: Callable[[SphereDVC, PatchBatch, Schedule, Measure, BatchTrees | None], Loss]


def _intra(model: SphereDVC, batch: PatchBatch, s: Schedule, measure: Measure, trees: BatchTrees | None) -> Loss:
    return intra_loss(model, batch.x, batch.quality, s.maps, measure)


def _inter(model: SphereDVC, batch: PatchBatch, s: Schedule, measure: Measure, trees: BatchTrees | None) -> Loss:
    return inter_loss(model, batch.x, batch.quality, s.chain, False, s.skipped, s.maps, measure, trees)


def _all(model: SphereDVC, batch: PatchBatch, s: Schedule, measure: Measure, trees: BatchTrees | None) -> Loss:
    return inter_loss(model, batch.x, batch.quality, s.chain, True, s.skipped, s.maps, measure, trees)


PARTS = {
    "intra": Part(("intra",), _intra),
    "inter": Part(("inter",), _inter),
    "all": Part(("intra", "inter"), _all),
}
"""Parts by `Schedule.part`."""


class Objective(nn.Module):
    """Loss of the part that a stage trains, as a module.

    Args:
        model: Model to train.
        schedule: Schedule of the stage.
    """

    def __init__(self, model: SphereDVC, schedule: Schedule) -> None:
        super().__init__()
        self.model, self.schedule = model, schedule

    def forward(self, batch: PatchBatch, trees: BatchTrees | None = None) -> Loss:
        """Move the model to a batch's patch and compute the batch's loss.

        Args:
            batch: Samples, their quality, and their patch.
            trees: Stored motion trees of the samples; None to search.
        Returns:
            The loss.
        """
        s, device = self.schedule, batch.x.device.type
        self.model.place(batch.patch)
        with torch.autocast(device, torch.bfloat16, enabled=in_bfloat16(s.precision, device)):
            measure = Measure(make_distortion(s.distortion, batch.patch.inner(s.margin)), s.margin)
            return PARTS[s.part].loss(self.model, batch, s, measure, trees)
