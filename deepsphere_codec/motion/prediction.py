"""Prediction by a tree of motion: each node is looked up in one or two decoded pictures."""

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
"""Binomial filters of each blur level: a Gaussian of 0, 0.7 and 1.4 nodes."""
OVERLAP = (1 / 4, 1 / 16)
"""Weight of the fields of the block next in x, and in y, in the outer and in the inner rows of a block of 4 nodes."""


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


class TreePrediction(nn.Module):
    """Looks nodes up where the leaves' vectors lead: `x(p) = x_ref(exp_p(a s_x + b s_y + t(p)))`.

    s_x and s_y are the steps from p to the next node in x and in y, t(p) the camera's rotation, if any. Next to another
    leaf a node's prediction is a mean: with its own leaf's fields, and with those of the blocks of 4 nodes that lie
    nearest to it in x and in y, so that no edges stand where leaves meet.

    Args:
        warp: Of the grid.
        padding: Of the grid, one node deep.
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
        """Follow the warp to another patch."""
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
            references: The first, and the second where there is one.
            turns: Tangent vectors of the camera's rotation towards each reference, radians; none where it does not
                turn.
            overlap: Whether neighbours count; False shows each leaf by itself.
        Raises:
            DamagedStream: a vector that counts leads half way round the sphere or further.
        """
        levels = int(motion.fields[..., BLUR].max()) + 1
        layers = [torch.cat(blur_levels(x_ref, self.padding, levels), 1) for x_ref in references]
        own = self._looked_up(layers, self._at_nodes(motion.fields), turns)
        if not overlap:
            return own
        x, (around, differs) = own, self._around(motion.fields)
        for side, weight in ((self.side_x, self.weight_x), (self.side_y, self.weight_y)):
            nodes = differs[:, self.block, side].any(0).nonzero()[:, 0]
            if len(nodes):
                other = self._looked_up(layers, around[:, self.block[nodes], side[nodes]], turns, nodes)
                x = x.index_copy(1, nodes, pick(x, nodes) + weight[nodes, None] * (other - pick(own, nodes)))
        return x

    def _around(
        self, fields: Int[Tensor, "batch blocks 6"]
    ) -> tuple[Int[Tensor, "batch blocks 4 6"], Bool[Tensor, "batch blocks 4"]]:
        """Fields of the blocks to the W, E, S and N of each block, and whether they predict otherwise than its own."""
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
        """Nodes predicted with these fields; all of them where none are named."""
        mode, blur = fields[..., MODE], fields[..., BLUR]
        looked: list[Tensor] = []
        for which, layer in enumerate(layers):
            column, other = (A1, FIRST) if which else (A0, SECOND)
            used = mode != other
            vectors = fields[..., column : column + 2] * used[..., None]  # the others may lead out of all bounds
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
        """Nodes in one reference, at their blur levels; those that stay where they are, and others, as they are."""
        still = layers[:, : self.warp.npix] if nodes is None else pick(layers, nodes)
        moves = used if turn is not None else (vectors != 0).any(-1) | (blur > 0)
        some = moves.any(0).nonzero()[:, 0]
        if not len(some):
            return still
        where = some if nodes is None else nodes[some]
        v = combine(vectors[:, some].to(layers.dtype) * STEP, self.steps[where])
        if turn is not None:
            v = v + turn[where]
        if nodes is None:
            _check(v)
        return still.index_copy(1, some, self.warp(layers, v, blur[:, some], where))

    def _at_nodes(self, blocks: Int[Tensor, "batch blocks c"]) -> Int[Tensor, "batch npix c"]:
        images, rows, columns = self.warp.images, self.warp.rows, self.warp.columns
        size = WIDTHS[LAST]
        shaped = blocks.view(len(blocks), images, rows // size, 1, columns // size, 1, -1)
        return shaped.expand(-1, -1, -1, size, -1, size, -1).reshape(len(blocks), -1, blocks.shape[-1])


def blur_levels(
    x: Float[Tensor, "batch npix c"], padding: Padding, count: int = len(BLUR_PASSES)
) -> list[Float[Tensor, "batch npix c"]]:
    """A signal at the first `count` blur levels, sharp first."""
    levels, passes = [x], 0
    for wanted in BLUR_PASSES[1:count]:
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


def _check(v: Float[Tensor, "*batch n 3"]) -> None:
    """Raise DamagedStream unless every vector is shorter than half a circle."""
    longest = float(v.square().sum(-1).max()) if len(v) else 0.0
    if not longest < torch.pi**2:
        raise DamagedStream(
            f"a frame's motion leads {longest**0.5:.3g} radians away; less than half a circle is possible"
        )
