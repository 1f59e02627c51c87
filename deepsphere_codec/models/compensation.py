"""Mending a prediction by a network that sees what the motion leaves uncertain."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers.blocks import ResidualBlock, sphere_conv
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.pyramid import WORK_DEPTH, Pyramid
from deepsphere_codec.models.transforms import FOLDED, fold
from deepsphere_codec.motion.prediction import Motion, Predicted
from deepsphere_codec.motion.tree import BLUR, BLURS, LAST, MODE

_MID = 0.5
_TREE_CHANNELS = 3 + 2


class Prediction(NamedTuple):
    """Prediction of a picture, all that is known of it before its residual.

    Attributes:
        x_warp: The references, moved.
        folded: The prediction, around zero, folded to nside / 4.
    """

    x_warp: Float[Tensor, "batch npix 3"]
    folded: Float[Tensor, "batch work c"]


class Compensation(nn.Module):
    """Mends the prediction, from it, from the difference of the two references and from the tree; starts as the
    identity."""

    def __init__(self, config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        at, wide = pyramid.at[WORK_DEPTH], config.work_channels
        self.pyramid = pyramid
        self.layers = nn.Sequential(
            sphere_conv(config.stem, 2 * FOLDED + _TREE_CHANNELS, wide, at, config.cheb_order),
            ResidualBlock(wide, at, config.kinds, config.cheb_order),
            sphere_conv(config.stem, wide, FOLDED, at, config.cheb_order),
        )
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]

    def forward(self, predicted: Predicted, motion: Motion) -> Prediction:
        """The prediction of a picture."""
        moved = fold(predicted.x - _MID, self.pyramid)
        difference = fold(predicted.difference, self.pyramid)
        seen = torch.cat([moved, difference, tree_features(motion).to(moved.dtype)], -1)
        return Prediction(predicted.x, moved + self.layers(seen))


class Unmended(nn.Module):
    """In place of `Compensation`: the prediction as it is."""

    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__()
        self.pyramid = pyramid

    def forward(self, predicted: Predicted, motion: Motion) -> Prediction:
        """The prediction of a picture."""
        return Prediction(predicted.x, fold(predicted.x - _MID, self.pyramid))


def tree_features(motion: Motion) -> Float[Tensor, "batch work 5"]:
    """Mode (one of three), blur and level of the leaf that each block belongs to, between 0 and 1."""
    mode = F.one_hot(motion.fields[..., MODE], 3).float()
    scales = torch.stack([motion.fields[..., BLUR] / max(1, BLURS - 1), motion.level / LAST], -1)
    return torch.cat([mode, scales.float()], -1)
