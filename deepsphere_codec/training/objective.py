"""Parts of a model that a stage may train, and what a step minimises, as a module for distributed training."""

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
    """A part of a model.

    Attributes:
        codecs: Those of its codecs whose weights move.
        loss: What is minimised, of a batch and its trees of motion.
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
"""Parts by their names in a schedule."""


class Objective(nn.Module):
    """The loss of the part that a stage trains.

    Args:
        model: Whose weights move.
        schedule: Of the stage.
    """

    def __init__(self, model: SphereDVC, schedule: Schedule) -> None:
        super().__init__()
        self.model, self.schedule = model, schedule

    def forward(self, batch: PatchBatch, trees: BatchTrees | None = None) -> Loss:
        """Loss of a batch, with its motion where that is kept; the model moves to the batch's patch."""
        s, device = self.schedule, batch.x.device.type
        self.model.place(batch.patch)
        with torch.autocast(device, torch.bfloat16, enabled=in_bfloat16(s.precision, device)):
            measure = Measure(make_distortion(s.distortion, batch.patch.inner(s.margin)), s.margin)
            return PARTS[s.part].loss(self.model, batch, s, measure, trees)
