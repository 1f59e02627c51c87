"""Sampling a signal where a tangent field points to: motion compensation on the sphere."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.sphere import HealpixGrid

STENCIL_DEPTH = 2
"""Nodes that the cubic stencil reaches beyond a face."""
_PIECE = 1 << 15


class Warp(nn.Module):
    """`warp(x_ref, v)(p) = x_ref(exp_p(v(p)))` with a cubic kernel on the faces, differentiable in both arguments.

    A zero vector returns the node's value bit for bit. Where the stencil reaches beyond a three-face corner, the
    missing nodes take the value of the corner node. On a patch, points outside are moved to its border.

    Args:
        grid: The sphere, or a patch of it.
    """

    centers: Tensor
    home: Tensor
    home_face: Tensor
    drift: Tensor
    halo: Tensor
    origin: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.nside, self.npix = grid.nside, grid.npix
        self.whole = isinstance(grid, HealpixGrid)
        self.side = grid.side
        buffers = {
            "halo": torch.from_numpy(_stencil_table(grid)),
            "centers": torch.empty(grid.npix, 3),
            "home": torch.empty(grid.npix, 2),
            "home_face": torch.empty(grid.npix, dtype=torch.int32),
            "drift": torch.empty(grid.npix, 2),
            "origin": torch.zeros(2),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)
        self.place(grid)

    def place(self, grid: Grid) -> None:
        """Move to another patch of the same size (or set the whole sphere once)."""
        self.grid = grid
        face, x, y = grid.face_xy
        if not isinstance(grid, HealpixGrid):
            self.origin.copy_(torch.tensor([grid.x0, grid.y0]))
        self.centers.copy_(torch.from_numpy(grid.centers))
        self.home.copy_(torch.from_numpy(np.stack([x, y], 1)))
        self.home_face.copy_(torch.from_numpy(face))
        # Rounding of the way to the sphere and back; taken off again, so that a short step is exact.
        self.drift.copy_(dir_to_face_position(self.centers, self.nside)[1] - self.home)

    def forward(
        self, x: Float[Tensor, "batch npix c"], v: Float[Tensor, "batch npix 3"]
    ) -> Float[Tensor, "batch npix c"]:
        batch, npix, channels = x.shape
        shift = torch.arange(batch, device=x.device, dtype=torch.int32)[:, None, None] * npix
        flat = x.reshape(batch * npix, channels)
        learning = torch.is_grad_enabled() and (x.requires_grad or v.requires_grad)
        # In pieces that stay in the cache; with gradients in one, since all of it is kept for the way back.
        size = npix if learning else min(npix, _PIECE)
        pieces = [self._sample(flat, v[:, i : i + size], shift, slice(i, i + size)) for i in range(0, npix, size)]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1)

    def _sample(self, flat: Tensor, v: Tensor, shift: Tensor, nodes: slice) -> Float[Tensor, "batch nodes c"]:
        face, position = self.positions(v, nodes)
        corner, weight = cubic_stencil(position)
        rows = (self._stencil(face, corner.int()) + shift).view(-1, 16)
        y = F.embedding_bag(rows, flat, per_sample_weights=weight.view(-1, 16).to(flat.dtype), mode="sum")
        return y.view(*v.shape[:2], flat.shape[1])

    def positions(
        self, v: Float[Tensor, "batch nodes 3"], nodes: slice = slice(None)
    ) -> tuple[Tensor, Float[Tensor, "batch nodes 2"]]:
        """Face [batch, nodes] and continuous position in it, in nodes, of exp_p(v(p)) for the nodes p."""
        home, home_face = self.home[nodes].to(v.dtype), self.home_face[nodes]
        face, position = dir_to_face_position(exp_map(self.centers[nodes].to(v.dtype), v), self.nside)
        near = (face == home_face)[..., None]
        if v.dtype == self.drift.dtype:
            position = torch.where(near, position - self.drift[nodes], position)
        # No step is no step to the last bit; in a form that keeps the gradient with respect to v.
        still = (v == 0).all(-1, keepdim=True)
        position = torch.where(still, home + (position - position.detach()), position)
        face = torch.where(still[..., 0], home_face, face)
        if not self.whole:
            position = torch.where(near | still, position, home) - self.origin
            position = position.clamp(0, self.side - 1)
        return face, position

    def _stencil(self, face: Tensor, corner: Tensor) -> Tensor:
        """Index of the 16 nodes around each position, [batch, nodes, 16], y outer and x inner."""
        width = self.side + 2 * STENCIL_DEPTH
        taps = torch.arange(-1, 3, device=corner.device, dtype=torch.int32)
        around = (taps[:, None] * width + taps[None, :]).flatten()
        # Positions reach half a node over the face's border, or a rounding error more.
        corner = corner.clamp(-1, self.side - 1) + STENCIL_DEPTH
        first = corner[..., 1] * width + corner[..., 0]
        if self.whole:
            first = first + face * (width * width)
        cells = first[..., None] + around
        return self.halo.index_select(0, cells.flatten()).view(cells.shape)


def warp(x: Float[Tensor, "batch npix c"], v: Float[Tensor, "batch npix 3"], grid: Grid) -> Tensor:
    """One-off `Warp(grid)(x, v)`; keep a `Warp` where it is done more than once.

    Args:
        x: Signal.
        v: Tangent vectors at the nodes, radians, Cartesian components.
    """
    return Warp(grid)(x, v)


def exp_map(p: Float[Tensor, "*batch npix 3"], v: Float[Tensor, "*batch npix 3"]) -> Float[Tensor, "*batch npix 3"]:
    """The point reached from p along the geodesic that leaves with v, |v| radians far; p itself for v = 0."""
    angle = v.square().sum(-1, keepdim=True).clamp_min(1e-20).sqrt()
    return torch.cos(angle) * p + (torch.sin(angle) / angle) * v


def dir_to_face_position(q: Float[Tensor, "*batch npix 3"], nside: int) -> tuple[Tensor, Tensor]:
    """Torch twin of `sphere.dir_to_face_xy`: face, and position [..., 2] in nodes, differentiable but at the poles."""
    x, y, z = q.unbind(-1)
    sin_theta = (x.square() + y.square()).clamp_min(1e-20).sqrt()
    lon = torch.atan2(y, x) * (2 / math.pi)  # quarter turns
    lon = torch.where(lon < 0, lon + 4, lon)
    # Distance from the pole, 1 at the border of the cap, free of cancellation.
    r = sin_theta * (3 / (1 + z.abs())).sqrt()
    belt = z.abs() * 1.5 <= 1
    down, up = 0.5 + lon + 0.75 * z, 0.5 + lon - 0.75 * z  # along increasing x, and decreasing y
    fx, fy = down.floor(), up.floor()
    face_belt = torch.where(fx == fy, fy.remainder(4) + 4, torch.where(fy < fx, fy.remainder(4), fx.remainder(4) + 8))
    quarter = lon.floor().clamp(0, 3)
    t = lon - quarter
    north = z > 0
    face_cap = torch.where(north, quarter, quarter + 8)
    u_cap = torch.where(north, 1 - (1 - t) * r, t * r)
    v_cap = torch.where(north, 1 - t * r, (1 - t) * r)
    u = torch.where(belt, down - fx, u_cap)
    w = torch.where(belt, 1 - (up - fy), v_cap)
    face = torch.where(belt, face_belt, face_cap).int()
    return face, torch.stack([u, w], -1) * nside - 0.5


def cubic_stencil(
    position: Float[Tensor, "*shape 2"],
) -> tuple[Float[Tensor, "*shape 2"], Float[Tensor, "*shape 16"]]:
    """The node below each position, and the weights of the 4×4 nodes around (offsets -1 … 2), y outer and x inner."""
    corner = position.detach().floor()
    wx, wy = _cubic(position[..., 0] - corner[..., 0]), _cubic(position[..., 1] - corner[..., 1])
    return corner, (wy[..., :, None] * wx[..., None, :]).flatten(-2)


def _cubic(t: Tensor) -> Float[Tensor, "*shape 4"]:
    """Weights of the nodes at -1, 0, 1, 2 for a point at t in [0, 1): Keys' kernel with a = -1/2; (0, 1, 0, 0) at 0."""
    t2, t3 = t * t, t * t * t
    return torch.stack(
        [-0.5 * t + t2 - 0.5 * t3, 1 - 2.5 * t2 + 1.5 * t3, 0.5 * t + 2 * t2 - 1.5 * t3, -0.5 * t2 + 0.5 * t3], -1
    )


def _stencil_table(grid: Grid) -> np.ndarray:
    """Node index of each cell of the padded faces, flat; the missing ones take the corner node of their face."""
    side = grid.side
    inner = np.clip(np.arange(-STENCIL_DEPTH, side + STENCIL_DEPTH), 0, side - 1)
    own = inner[:, None] * side + inner[None, :]
    if not isinstance(grid, HealpixGrid):
        return own.reshape(-1).astype(np.int32)
    table = own[None] + np.arange(12)[:, None, None] * side * side
    halo = grid.halo(STENCIL_DEPTH) if side >= STENCIL_DEPTH else np.full_like(table, -1)
    return np.where(halo >= 0, halo, table).reshape(-1).astype(np.int32)
