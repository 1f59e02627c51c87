"""Prediction by a tree of motion: each node is looked up in one or two decoded pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.layers.fields import combine
from deepsphere_codec.layers.padding import ErpPadding, Padding
from deepsphere_codec.layers.warp import Warp
from deepsphere_codec.motion.tree import A0, A1, BLUR, FIRST, LAST, MEAN, MODE, SECOND, STEP, WIDTHS, MotionTree

BLUR_PASSES = (0, 1, 4)
"""Binomial filters of each blur level: a Gaussian of 0, 0.7 and 1.4 nodes."""


class Motion(NamedTuple):
    """Trees of a batch, as numbers for the networks' grid.

    Attributes:
        fields: Of the block of 4 nodes that each belongs to, [batch, blocks, 6].
        level: Of its leaf, [batch, blocks].
    """

    fields: Int[Tensor, "batch blocks 6"]
    level: Int[Tensor, "batch blocks"]

    @classmethod
    def of(cls, trees: Sequence[MotionTree], device: torch.device | str = "cpu") -> Motion:
        """Stack the trees of a batch."""
        fields = np.stack([tree.leaves.reshape(-1, 6) for tree in trees])
        level = np.stack([tree.level.reshape(-1) for tree in trees])
        return cls(torch.from_numpy(fields).long().to(device), torch.from_numpy(level).long().to(device))


class Predicted(NamedTuple):
    """Prediction of a batch of trees.

    Attributes:
        x: The prediction.
        difference: First less second reference where their mean is taken, else zero.
    """

    x: Float[Tensor, "batch npix 3"]
    difference: Float[Tensor, "batch npix 3"]


class TreePrediction(nn.Module):
    """Looks nodes up where the leaves' vectors lead: `x(p) = x_ref(exp_p(a s_x + b s_y + t(p)))`.

    s_x and s_y are the steps from p to the next node in x and in y, t(p) the camera's rotation, if any.

    Args:
        warp: Of the grid.
        padding: Of the grid, one node deep.
    """

    steps: Tensor

    def __init__(self, warp: Warp, padding: Padding) -> None:
        super().__init__()
        self.warp, self.padding = warp, padding
        self.register_buffer("steps", torch.empty(warp.npix, 2, 3), persistent=False)
        self.place()

    def place(self) -> None:
        """Follow the warp to another patch."""
        self.steps.copy_(torch.from_numpy(self.warp.grid.steps))

    def forward(
        self,
        references: Sequence[Float[Tensor, "batch npix 3"]],
        motion: Motion,
        turns: Sequence[Float[Tensor, "npix 3"]] = (),
    ) -> Predicted:
        """Predict a picture.

        Args:
            references: The first, and the second where there is one.
            turns: Tangent vectors of the camera's rotation towards each reference, radians; none where it does not
                turn.
        Raises:
            DamagedStream: a vector that counts leads half way round the sphere or further.
        """
        fields = self._at_nodes(motion.fields)
        mode, blur = fields[..., MODE], fields[..., BLUR]
        looked: list[Tensor] = []
        for which, x_ref in enumerate(references):
            column, other = (A1, FIRST) if which else (A0, SECOND)
            used = mode != other
            vectors = fields[..., column : column + 2] * used[..., None]  # the others may lead out of all bounds
            if which == 1 and not used.any():
                looked.append(looked[0])
                continue
            looked.append(self._look_up(x_ref, vectors, blur, turns[which] if turns else None))
        if len(references) == 1:
            return Predicted(looked[0], torch.zeros_like(looked[0]))
        first, second = looked
        both = (mode == MEAN)[..., None]
        alone = torch.where((mode == SECOND)[..., None], second, first)
        return Predicted(
            torch.where(both, (first + second) / 2, alone), torch.where(both, first - second, torch.zeros_like(first))
        )

    def _look_up(
        self,
        x_ref: Float[Tensor, "batch npix 3"],
        vectors: Int[Tensor, "batch npix 2"],
        blur: Int[Tensor, "batch npix"],
        turn: Tensor | None,
    ) -> Float[Tensor, "batch npix 3"]:
        """All nodes, at their blur levels."""
        v = combine(vectors.to(x_ref.dtype) * STEP, self.steps)
        if turn is not None:
            v = v + turn
        _check(v)
        levels = int(blur.max()) + 1
        if levels == 1:
            return self.warp(x_ref, v)
        return self.warp(torch.cat(blur_levels(x_ref, self.padding)[:levels], 1), v, blur)

    def _at_nodes(self, blocks: Int[Tensor, "batch blocks c"]) -> Int[Tensor, "batch npix c"]:
        images, rows, columns = self.warp.images, self.warp.rows, self.warp.columns
        size = WIDTHS[LAST]
        shaped = blocks.view(len(blocks), images, rows // size, 1, columns // size, 1, -1)
        return shaped.expand(-1, -1, -1, size, -1, size, -1).reshape(len(blocks), -1, blocks.shape[-1])


def blur_levels(x: Float[Tensor, "batch npix c"], padding: Padding) -> list[Float[Tensor, "batch npix c"]]:
    """A signal at all blur levels, sharp first."""
    levels, passes = [x], 0
    for wanted in BLUR_PASSES[1:]:
        x = levels[-1]
        for _ in range(wanted - passes):
            x = binomial(x, padding)
        levels.append(x)
        passes = wanted
    return levels


def binomial(x: Float[Tensor, "batch npix c"], padding: Padding) -> Float[Tensor, "batch npix c"]:
    """A mean with weights 1, 2, 1 along x and along y.

    Written out in sums of three, whose order no library may change.
    """
    images = padding(x) if isinstance(padding, ErpPadding) else padding.field(x)
    rows = (images[..., :-2] + 2 * images[..., 1:-1] + images[..., 2:]) / 4
    return padding.flatten((rows[..., :-2, :] + 2 * rows[..., 1:-1, :] + rows[..., 2:, :]) / 4)


def _check(v: Float[Tensor, "n 3"]) -> None:
    """Raise DamagedStream unless every vector is shorter than half a circle."""
    longest = float(v.square().sum(-1).max()) if len(v) else 0.0
    if not longest < torch.pi**2:
        raise DamagedStream(
            f"a frame's motion leads {longest**0.5:.3g} radians away; less than half a circle is possible"
        )
