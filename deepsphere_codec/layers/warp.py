"""Motion compensation on the sphere: sampling a signal at the positions that a tangent field points to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deepsphere_codec.layers.charts import ALL, FaceChart, Nodes, Positions, make_chart
from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.sphere import ErpGrid, HealpixGrid

STENCIL_DEPTH = 2
"""Number of nodes by which the cubic stencil reaches beyond an image."""
_PIECE = 1 << 15


class Warp(nn.Module):
    """Motion compensation `warp(x_ref, v)(p) = x_ref(exp_p(v(p)))`, differentiable in both arguments.

    The kernel is cubic on the faces. A zero vector returns the node's value exactly. If the stencil reaches beyond a
    three-face corner, the missing nodes take the value of the corner node. On a patch, points outside are moved to its
    border. On an ERP picture exp_p(v) is p + v, across the seam and over the poles; see `PlaneChart`.

    Args:
        grid: The sphere or an ERP picture, or a patch of one.
    """

    halo: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.npix, self.side = grid.npix, grid.side
        self.images, self.rows, self.columns = grid.shape
        self.chart = make_chart(grid)
        self.register_buffer("halo", torch.from_numpy(_stencil_table(grid)), persistent=False)
        self.grid = grid

    @property
    def centers(self) -> Float[Tensor, "npix 3"]:
        """Unit vectors of the node centres on the sphere, [npix, 3]."""
        assert isinstance(self.chart, FaceChart), "a plane has no centres: nothing turns on it"
        return self.chart.centers

    @property
    def whole(self) -> bool:
        """True for the whole sphere or picture, False for a patch."""
        return self.chart.whole

    def place(self, grid: Grid) -> None:
        """Move to another patch of the same size (or set the whole sphere once)."""
        self.grid = grid
        self.chart.place(grid)  # type: ignore[arg-type]

    def forward(
        self,
        x: Float[Tensor, "batch rows c"],
        v: Float[Tensor, "batch nodes 3"],
        layer: Int[Tensor, "batch nodes"] | None = None,
        nodes: Int[Tensor, " nodes"] | None = None,
    ) -> Float[Tensor, "batch nodes c"]:
        """Sample a signal, or one of several layers per node.

        Args:
            x: Signal, [batch, layers * npix, c]; its layers follow each other.
            v: Tangent vectors at the nodes, [batch, nodes, 3], radians, in Cartesian components.
            layer: Layer that each node samples, [batch, nodes]; None if there is only one.
            nodes: Indices of the nodes, [nodes]; None for all.
        Returns:
            Sampled values, [batch, nodes, c].
        """
        batch, rows, channels = x.shape
        count = v.shape[1]
        shift = torch.arange(batch, device=x.device, dtype=torch.int32)[:, None, None] * rows
        flat = x.reshape(batch * rows, channels)
        learning = torch.is_grad_enabled() and (x.requires_grad or v.requires_grad)
        # In pieces that fit the CPU's cache; with gradients in one piece, since autograd stores everything anyway.
        size = count if learning else min(count, _PIECE)
        pieces = []
        for i in range(0, count, size):
            some = slice(i, i + size)
            offset = shift if layer is None else shift + layer[:, some, None].int() * self.npix
            pieces.append(self._sample(flat, v[:, some], offset, some if nodes is None else nodes[some]))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1)

    def _sample(self, flat: Tensor, v: Tensor, shift: Tensor, nodes: Nodes) -> Float[Tensor, "batch nodes c"]:
        face, position = self.positions(v, nodes)
        corner, weight = cubic_stencil(position)
        rows = (self._stencil(face, corner.int()) + shift).view(-1, 16)
        y = _weighted_sums(flat, rows, weight.view(-1, 16).to(flat.dtype))
        return y.view(*v.shape[:2], flat.shape[1])

    def positions(self, v: Float[Tensor, "batch nodes 3"], nodes: Nodes = ALL) -> Positions:
        """Compute the face and position of exp_p(v(p)).

        Args:
            v: Tangent vectors at the nodes, [batch, nodes, 3], radians.
            nodes: Indices of the nodes p; all by default.
        Returns:
            Face, [batch, nodes], and continuous position in it, [batch, nodes, 2], in nodes.
        """
        return self.chart.positions(v, nodes)

    def _stencil(self, face: Tensor, corner: Tensor) -> Tensor:
        """Indices of the 16 nodes around each position, [batch, nodes, 16], y outer and x inner."""
        height, width = self.rows + 2 * STENCIL_DEPTH, self.columns + 2 * STENCIL_DEPTH
        taps = torch.arange(-1, 3, device=corner.device, dtype=torch.int32)
        around = (taps[:, None] * width + taps[None, :]).flatten()
        # Positions reach half a node beyond the face's border, plus a rounding error.
        x = corner[..., 0].clamp(-1, self.columns - 1) + STENCIL_DEPTH
        y = corner[..., 1].clamp(-1, self.rows - 1) + STENCIL_DEPTH
        first = y * width + x
        if self.images > 1:
            first = first + face * (height * width)
        cells = first[..., None] + around
        return self.halo.index_select(0, cells.flatten()).view(cells.shape)


def _weighted_sums(
    flat: Float[Tensor, "rows c"], index: Int[Tensor, "n 16"], weight: Float[Tensor, "n 16"]
) -> Float[Tensor, "n c"]:
    """Weighted sums of 16 rows each; on a CPU with a gradient that needs no sorting, if only the rows need one."""
    if flat.requires_grad and torch.is_grad_enabled() and not weight.requires_grad and flat.device.type == "cpu":
        return _RowSums.apply(flat, index, weight)
    return F.embedding_bag(index, flat, per_sample_weights=weight, mode="sum")


class _RowSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, flat: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(index, weight)
        ctx.rows = len(flat)
        return F.embedding_bag(index, flat, per_sample_weights=weight, mode="sum")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        index, weight = ctx.saved_tensors
        shares = (weight * channel[:, None] for channel in grad.unbind(1))
        sums = [torch.bincount(index.flatten(), share.flatten(), ctx.rows) for share in shares]
        return torch.stack(sums, 1).to(grad.dtype), None, None


def warp(x: Float[Tensor, "batch npix c"], v: Float[Tensor, "batch npix 3"], grid: Grid) -> Tensor:
    """Compute `Warp(grid)(x, v)` once; for repeated use, create a `Warp`.

    Args:
        x: Signal, [batch, npix, c].
        v: Tangent vectors at the nodes, [batch, npix, 3], radians, in Cartesian components.
        grid: The sphere or an ERP picture, or a patch of one.
    Returns:
        Sampled signal, [batch, npix, c].
    """
    return Warp(grid)(x, v)


def cubic_stencil(
    position: Float[Tensor, "*shape 2"],
) -> tuple[Float[Tensor, "*shape 2"], Float[Tensor, "*shape 16"]]:
    """Compute the 4×4 cubic stencil around positions, [..., 2].

    Returns:
        Corner, [..., 2]: the position rounded down. Weights, [..., 16], of the nodes at offsets -1 … 2 from the corner,
        y outer and x inner.
    """
    corner = position.detach().floor()
    wx, wy = _cubic(position[..., 0] - corner[..., 0]), _cubic(position[..., 1] - corner[..., 1])
    return corner, (wy[..., :, None] * wx[..., None, :]).flatten(-2)


def _cubic(t: Tensor) -> Float[Tensor, "*shape 4"]:
    """Weights of the nodes at -1, 0, 1, 2 for a point at t in [0, 1): Keys' kernel with a = -1/2, (0, 1, 0, 0) at 0."""
    t2, t3 = t * t, t * t * t
    return torch.stack(
        [-0.5 * t + t2 - 0.5 * t3, 1 - 2.5 * t2 + 1.5 * t3, 0.5 * t + 2 * t2 - 1.5 * t3, -0.5 * t2 + 0.5 * t3], -1
    )


def _stencil_table(grid: Grid) -> np.ndarray:
    """Node index of each cell of the padded images, flat; missing nodes are replaced by the nearest of their image."""
    images, rows, columns = grid.shape
    y, x = (np.clip(np.arange(-STENCIL_DEPTH, n + STENCIL_DEPTH), 0, n - 1) for n in (rows, columns))
    table = (np.arange(images)[:, None, None] * rows + y[:, None]) * columns + x
    if isinstance(grid, HealpixGrid | ErpGrid) and min(rows, columns) >= STENCIL_DEPTH:
        halo = grid.halo(STENCIL_DEPTH)
        table = np.where(halo >= 0, halo, table)
    return table.reshape(-1).astype(np.int32)
