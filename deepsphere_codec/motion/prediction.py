"""Prediction with a motion tree: each node is sampled from one or two decoded pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.layers.fields import combine
from deepsphere_codec.layers.padding import ErpPadding, Padding
from deepsphere_codec.layers.pick import pick
from deepsphere_codec.layers.warp import Warp
from deepsphere_codec.motion.tree import (
    A0,
    A1,
    BLUR,
    FIRST,
    LAST,
    MEAN,
    MODE,
    SECOND,
    STEP,
    WIDTHS,
    BlockGrid,
    MotionTree,
)

BLUR_PASSES = (0, 1, 4)
"""Number of binomial filter passes per blur level: Gaussians with σ of 0, 0.7 and 1.4 nodes."""
OVERLAP = (1 / 4, 1 / 16)
"""Weight of the adjacent block's prediction, in the outer and in the inner rows of a block of 4 nodes."""


class Motion(NamedTuple):
    """Motion trees of a batch as tensors, one entry per block of 4 nodes.

    Attributes:
        fields: Fields of the leaf that each block belongs to, [batch, blocks, 6].
        level: Level of that leaf, [batch, blocks].
    """

    fields: Int[Tensor, "batch blocks 6"]
    level: Int[Tensor, "batch blocks"]

    @classmethod
    def of(cls, trees: Sequence[MotionTree], device: torch.device | str = "cpu") -> Motion:
        """Stack the trees of a batch.

        Args:
            trees: A tree per sample.
            device: Device of the tensors.
        Returns:
            The stacked trees.
        """
        fields = np.stack([tree.leaves.reshape(-1, 6) for tree in trees])
        level = np.stack([tree.level.reshape(-1) for tree in trees])
        return cls(torch.from_numpy(fields).long().to(device), torch.from_numpy(level).long().to(device))


class TreePrediction(nn.Module):
    """Motion compensation with a motion tree: `x(p) = x_ref(exp_p(a s_x + b s_y + t(p)))`.

    s_x and s_y are the steps from p to the next node in x and in y, t(p) the camera's rotation, if any. Near another
    leaf a node's prediction is a weighted mean of the predictions with its own leaf's fields and with those of the
    nearest blocks of 4 nodes in x and in y, which avoids visible edges between leaves.

    Args:
        warp: Warp on the grid.
        padding: Padding of the grid, of depth 1.
    Source: Orchard and Sullivan, "Overlapped block motion compensation", 1994.
    """

    steps: Tensor
    block: Tensor
    side_x: Tensor
    side_y: Tensor
    weight_x: Tensor
    weight_y: Tensor

    def __init__(self, warp: Warp, padding: Padding) -> None:
        super().__init__()
        self.warp, self.padding = warp, padding
        self.register_buffer("steps", torch.empty(warp.npix, 2, 3), persistent=False)
        y, x = (torch.from_numpy(axis.reshape(-1)) for axis in np.indices(warp.grid.shape)[1:])
        size, images = WIDTHS[LAST], torch.arange(warp.npix) // (warp.rows * warp.columns)
        block = (images * warp.rows // size + y // size) * (warp.columns // size) + x // size
        self.register_buffer("block", block, persistent=False)
        for name, place, first in (("x", x % size, 0), ("y", y % size, 2)):
            outer = (place == 0) | (place == size - 1)
            self.register_buffer(f"side_{name}", first + (place >= size // 2).long(), persistent=False)
            self.register_buffer(f"weight_{name}", torch.where(outer, *OVERLAP), persistent=False)
        self.place()

    def place(self) -> None:
        """Update the steps and blocks after the warp was moved to another patch."""
        self.steps.copy_(torch.from_numpy(self.warp.grid.steps))
        self.blocks = BlockGrid(self.warp.grid)

    def forward(
        self,
        references: Sequence[Float[Tensor, "batch npix c"]],
        motion: Motion,
        turns: Sequence[Float[Tensor, "npix 3"]] = (),
        overlap: bool = True,
    ) -> Float[Tensor, "batch npix c"]:
        """Predict a picture.

        Args:
            references: One or two decoded pictures, [batch, npix, 3] each.
            motion: Motion trees.
            turns: Tangent vectors of the camera's rotation towards each reference, [npix, 3] each, radians; empty
                without a rotation.
            overlap: Whether to blend with the predictions of adjacent blocks.
        Returns:
            Prediction, [batch, npix, 3].
        Raises:
            DamagedStream: a vector in use is half a great circle long or longer.
        """
        levels = int(motion.fields[..., BLUR].max()) + 1
        layers = [torch.cat(blur_levels(x_ref, self.padding, levels), 1) for x_ref in references]
        own_prediction = self._looked_up(layers, self._at_nodes(motion.fields), turns)
        if not overlap:
            return own_prediction
        x, (around, differs) = own_prediction, self._around(motion.fields)
        for side, weight in ((self.side_x, self.weight_x), (self.side_y, self.weight_y)):
            nodes = differs[:, self.block, side].any(0).nonzero()[:, 0]
            if len(nodes):
                other = self._looked_up(layers, around[:, self.block[nodes], side[nodes]], turns, nodes)
                x = x.index_copy(1, nodes, pick(x, nodes) + weight[nodes, None] * (other - pick(own_prediction, nodes)))
        return x

    def _around(
        self, fields: Int[Tensor, "batch blocks 6"]
    ) -> tuple[Int[Tensor, "batch blocks 4 6"], Bool[Tensor, "batch blocks 4"]]:
        """Fields of the blocks W, E, S and N of each block, and whether their prediction differs from its own."""
        leaves = fields.cpu().numpy().astype(np.int16).reshape(len(fields), *self.blocks.shape(LAST), -1)
        around = np.stack([self.blocks.around(each, LAST) for each in leaves])
        other = around != leaves[..., None, :]
        differs = other[..., MODE] | other[..., BLUR]
        for column, unused in ((A0, SECOND), (A1, FIRST)):
            differs |= other[..., column : column + 2].any(-1) & (leaves[..., MODE] != unused)[..., None]
        shape = len(fields), -1, 4
        parts = around.reshape(*shape, around.shape[-1]), differs.reshape(shape)
        return torch.from_numpy(parts[0]).long().to(fields.device), torch.from_numpy(parts[1]).to(fields.device)

    def _looked_up(
        self,
        layers: Sequence[Float[Tensor, "batch rows c"]],
        fields: Int[Tensor, "batch nodes 6"],
        turns: Sequence[Float[Tensor, "npix 3"]],
        nodes: Int[Tensor, " nodes"] | None = None,
    ) -> Float[Tensor, "batch nodes c"]:
        """Predict the given nodes (all if None) with the given fields."""
        mode, blur = fields[..., MODE], fields[..., BLUR]
        looked: list[Tensor] = []
        for which, layer in enumerate(layers):
            column, other = (A1, FIRST) if which else (A0, SECOND)
            used = mode != other
            vectors = fields[..., column : column + 2] * used[..., None]  # unused vectors may be out of range
            looked.append(self._look_up(layer, vectors, blur * used, turns[which] if turns else None, used, nodes))
        if len(layers) == 1:
            return looked[0]
        first, second = looked
        alone = torch.where((mode == SECOND)[..., None], second, first)
        return torch.where((mode == MEAN)[..., None], (first + second) / 2, alone)

    def _look_up(
        self,
        layers: Float[Tensor, "batch rows c"],
        vectors: Int[Tensor, "batch nodes 2"],
        blur: Int[Tensor, "batch nodes"],
        turn: Tensor | None,
        used: Bool[Tensor, "batch nodes"],
        nodes: Int[Tensor, " nodes"] | None,
    ) -> Float[Tensor, "batch nodes c"]:
        """Sample nodes from one reference at their blur levels; nodes without motion and blur are copied."""
        still = layers[:, : self.warp.npix] if nodes is None else pick(layers, nodes)
        moves = used if turn is not None else (vectors != 0).any(-1) | (blur > 0)
        some = moves.any(0).nonzero()[:, 0]
        if not len(some):
            return still
        moving = some if nodes is None else nodes[some]
        v = combine(vectors[:, some].to(layers.dtype) * STEP, self.steps[moving])
        if turn is not None:
            v = v + turn[moving]
        if nodes is None:
            _check(v)
        return still.index_copy(1, some, self.warp(layers, v, blur[:, some], moving))

    def _at_nodes(self, blocks: Int[Tensor, "batch blocks c"]) -> Int[Tensor, "batch npix c"]:
        images, rows, columns = self.warp.images, self.warp.rows, self.warp.columns
        size = WIDTHS[LAST]
        shaped = blocks.view(len(blocks), images, rows // size, 1, columns // size, 1, -1)
        return shaped.expand(-1, -1, -1, size, -1, size, -1).reshape(len(blocks), -1, blocks.shape[-1])


def blur_levels(
    x: Float[Tensor, "batch npix c"], padding: Padding, count: int = len(BLUR_PASSES)
) -> list[Float[Tensor, "batch npix c"]]:
    """Blur a signal to the first `count` blur levels.

    Args:
        x: Signal, [batch, npix, c].
        padding: Padding of the grid, of depth 1.
        count: Number of levels.
    Returns:
        The signal at each level, sharp first, [batch, npix, c] each.
    """
    levels, passes = [x], 0
    for total in BLUR_PASSES[1:count]:
        x = levels[-1]
        for _ in range(total - passes):
            x = binomial(x, padding)
        levels.append(x)
        passes = total
    return levels


def binomial(x: Float[Tensor, "batch npix c"], padding: Padding) -> Float[Tensor, "batch npix c"]:
    """Filter a signal with weights 1, 2, 1 along x and along y.

    Written out as sums of three terms, so that no library can change their order.

    Args:
        x: Signal, [batch, npix, c].
        padding: Padding of the grid, of depth 1.
    Returns:
        Filtered signal, [batch, npix, c].
    """
    images = padding(x) if isinstance(padding, ErpPadding) else padding.field(x)
    rows = (images[..., :-2] + 2 * images[..., 1:-1] + images[..., 2:]) / 4
    return padding.flatten((rows[..., :-2, :] + 2 * rows[..., 1:-1, :] + rows[..., 2:, :]) / 4)


def _check(v: Float[Tensor, "*batch n 3"]) -> None:
    """Raise DamagedStream unless every vector is shorter than half a great circle."""
    longest = float(v.square().sum(-1).max()) if len(v) else 0.0
    if not longest < torch.pi**2:
        raise DamagedStream(
            f"a frame's motion leads {longest**0.5:.3g} radians away; less than half a circle is possible"
        )
