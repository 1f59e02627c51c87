"""Charts: map a tangent vector at a node to the position it points to, in a face of the sphere or in an ERP picture.

For a vector v at node p a chart returns the image that v points to and the continuous position in it, in nodes. A zero
vector returns the node's own position exactly. On a patch, points outside are moved to its border.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from deepsphere_codec.layers.padding import Grid, PlaneGrid, SphereGrid
from deepsphere_codec.sphere import ErpGrid, HealpixGrid

Positions = tuple[Int[Tensor, "batch nodes"], Float[Tensor, "batch nodes 2"]]
Nodes = slice | Tensor
ALL = slice(None)


class FaceChart(nn.Module):
    """Chart of the sphere: the face and the position in it of `exp_p(v(p))`.

    Args:
        grid: The sphere, or a patch of it.
    """

    centers: Tensor
    home: Tensor
    home_face: Tensor
    drift: Tensor
    origin: Tensor

    def __init__(self, grid: SphereGrid) -> None:
        super().__init__()
        self.nside, self.side = grid.nside, grid.side
        self.whole = isinstance(grid, HealpixGrid)
        buffers = {
            "centers": torch.empty(grid.npix, 3),
            "home": torch.empty(grid.npix, 2),
            "home_face": torch.empty(grid.npix, dtype=torch.int32),
            "drift": torch.empty(grid.npix, 2),
            "origin": torch.zeros(2),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)
        self.place(grid)

    def place(self, grid: SphereGrid) -> None:
        """Move to another patch of the same size (or set the whole sphere once)."""
        face, x, y = grid.face_xy
        if not isinstance(grid, HealpixGrid):
            self.origin.copy_(torch.tensor([grid.x0, grid.y0]))
        self.centers.copy_(torch.from_numpy(grid.centers))
        self.home.copy_(torch.from_numpy(np.stack([x, y], 1)))
        self.home_face.copy_(torch.from_numpy(face))
        # Rounding error of the mapping to the sphere and back; subtracted again, so that a short step is accurate.
        self.drift.copy_(dir_to_face_position(self.centers, self.nside)[1] - self.home)

    def positions(self, v: Float[Tensor, "batch nodes 3"], nodes: Nodes = ALL) -> Positions:
        """Compute the face and position of exp_p(v(p)).

        Args:
            v: Tangent vectors at the nodes, [batch, nodes, 3], radians.
            nodes: Indices of the nodes p; all by default.
        Returns:
            Face, [batch, nodes], and position in it, [batch, nodes, 2], in nodes.
        """
        home, home_face = self.home[nodes].to(v.dtype), self.home_face[nodes]
        face, position = dir_to_face_position(exp_map(self.centers[nodes].to(v.dtype), v), self.nside)
        same_face = (face == home_face)[..., None]
        if v.dtype == self.drift.dtype:
            position = torch.where(same_face, position - self.drift[nodes], position)
        # A zero vector returns the node's position exactly, in a form that keeps the gradient with respect to v.
        still = (v == 0).all(-1, keepdim=True)
        position = torch.where(still, home + (position - position.detach()), position)
        face = torch.where(still[..., 0], home_face, face)
        if not self.whole:
            position = torch.where(same_face | still, position, home) - self.origin
            position = position.clamp(0, self.side - 1)
        return face, position


class PlaneChart(nn.Module):
    """Chart of an ERP picture: `p + v`, where a pixel's step is 2 pi / width radians.

    Columns wrap; a path over a pole continues in the same row, shifted by 180 degrees.

    Args:
        grid: An ERP picture, or a patch of one.
    """

    home: Tensor

    def __init__(self, grid: PlaneGrid) -> None:
        super().__init__()
        self.height, self.width = grid.height, grid.width
        self.whole = isinstance(grid, ErpGrid)
        _, self.rows, self.columns = grid.shape
        y, x = np.indices((self.rows, self.columns)).reshape(2, -1)
        self.register_buffer("home", torch.from_numpy(np.stack([x, y], 1)).float(), persistent=False)

    def place(self, grid: PlaneGrid) -> None:
        """Move to another patch of the same size; nothing to do, since a plane is the same everywhere."""

    def positions(self, v: Float[Tensor, "batch nodes 3"], nodes: Nodes = ALL) -> Positions:
        """Compute the position of p + v(p).

        Args:
            v: Vectors at the nodes, [batch, nodes, 3], radians; the third component is ignored.
            nodes: Indices of the nodes p; all by default.
        Returns:
            Image, always 0, [batch, nodes], and position in it (column, row), [batch, nodes, 2], in nodes.
        """
        x, y = (self.home[nodes].to(v.dtype) + v[..., :2] * (self.width / (2 * math.pi))).unbind(-1)
        if self.whole:
            x, y = self._around(x, y)
        else:
            x, y = x.clamp(0, self.columns - 1), y.clamp(0, self.rows - 1)
        return torch.zeros_like(x, dtype=torch.int32), torch.stack([x, y], -1)

    def _around(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Wrap positions outside the picture back into it."""
        y = _wrapped(y, 2 * self.height)
        over_pole = y >= self.height - 0.5
        y = torch.where(over_pole, 2 * self.height - 1 - y, y)
        return _wrapped(x + over_pole * (self.width // 2), self.width), y


def _wrapped(x: Tensor, period: int) -> Tensor:
    """Wrap x to -0.5 … period - 0.5.

    Written out, because torch's remainder may round differently for the elements left over by the vector registers.
    """
    return x - period * ((x + 0.5) / period).floor()


Chart = FaceChart | PlaneChart


def make_chart(grid: Grid) -> Chart:
    """Create the chart that fits a grid's geometry."""
    return PlaneChart(grid) if isinstance(grid, PlaneGrid) else FaceChart(grid)


def exp_map(p: Float[Tensor, "*#batch npix 3"], v: Float[Tensor, "*#batch npix 3"]) -> Float[Tensor, "*#batch npix 3"]:
    """Exponential map: the point |v| radians from p along the great circle in the direction of v.

    Args:
        p: Unit vectors, [..., npix, 3].
        v: Tangent vectors at p, [..., npix, 3], radians.
    Returns:
        Unit vectors, [..., npix, 3]; p itself for v = 0.
    """
    angle = v.square().sum(-1, keepdim=True).clamp_min(1e-20).sqrt()
    return torch.cos(angle) * p + (torch.sin(angle) / angle) * v


def dir_to_face_position(q: Float[Tensor, "*#batch npix 3"], nside: int) -> tuple[Tensor, Tensor]:
    """Compute the face of each direction and the position in it, as `sphere.dir_to_face_xy` does, in PyTorch.

    Args:
        q: Unit vectors, [..., npix, 3].
        nside: Nodes along a face's edge.
    Returns:
        Face, [..., npix], int32, and position (x, y), [..., npix, 2], in nodes; differentiable except at the poles.
    """
    x, y, z = q.unbind(-1)
    sin_theta = (x.square() + y.square()).clamp_min(1e-20).sqrt()
    lon = torch.atan2(y, x) * (2 / math.pi)  # quarter turns
    lon = torch.where(lon < 0, lon + 4, lon)
    # Distance from the pole, 1 at the border of the polar cap, computed without cancellation.
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
