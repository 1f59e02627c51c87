"""What a step minimises, as a module: distributed training wants one thing to call."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.pyramid import Patch
from deepsphere_codec.runtime.quick import in_bfloat16
from deepsphere_codec.training.distortion import make_distortion
from deepsphere_codec.training.loss import Loss, Measure, inter_loss, intra_loss
from deepsphere_codec.training.schedule import Schedule
from deepsphere_codec.training.stored_trees import BatchTrees


class Objective(nn.Module):
    """The loss of the part that a stage trains.

    Args:
        model: Whose weights move.
        schedule: Of the stage.
    """

    def __init__(self, model: SphereDVC, schedule: Schedule) -> None:
        super().__init__()
        self.model, self.schedule = model, schedule

    @property
    def inner(self) -> Patch:
        """What counts of the patch that the model is at."""
        patch, edge = self.model.pyramid.grids[0], self.schedule.margin
        assert isinstance(patch, Patch)
        return patch.inner(edge)

    def forward(self, x: Tensor, quality: Tensor, trees: BatchTrees | None = None) -> Loss:
        """Loss of samples [batch, frames, npix, 3] at qualities [batch], with their motion where it is kept."""
        s = self.schedule
        with torch.autocast(x.device.type, torch.bfloat16, enabled=in_bfloat16(s.precision, x.device.type)):
            measure = Measure(make_distortion(s.distortion, self.inner), s.margin)
            if s.part == "intra":
                return intra_loss(self.model, x, quality, s.maps, measure)
            return inter_loss(self.model, x, quality, s.chain, s.part == "all", s.skipped, s.maps, measure, trees)
