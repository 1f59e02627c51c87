"""Camera rotation from one frame to the next: three numbers for the whole sphere."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.layers import mean_pool
from deepsphere_codec.layers.fields import chart_steps, dual_steps
from deepsphere_codec.layers.padding import PlaneGrid
from deepsphere_codec.layers.warp import Warp
from deepsphere_codec.models.pyramid import LATENT_DEPTH, Pyramid
from deepsphere_codec.motion import kernels
from deepsphere_codec.sphere.rotation import rotation_from_vector, vector_from_rotation

ROTATION_STEP = 2.0**-14
"""Unit of the coded rotation vector, radians: 1/65 of a node's width at nside 256."""
_UNITS = struct.Struct("<3h")
ROTATION_BYTES = _UNITS.size
LARGEST_TURN = torch.pi / 2
"""Largest rotation, radians: a larger one is taken for a new scene. With motion added it stays below half a circle."""
_GAIN = 0.95  # factor by which a rotation must lower the robust error to be coded
_GLANCE = 3  # depth at which a rotation must lower the error before finer ones are tried: most cameras stand still
_NOISE = 2 / 255  # differences below this are taken for noise


class RotationEstimator(nn.Module):
    """Robust direct alignment on the coarse resolutions: Gauss–Newton, with low weights for independently moving parts.

    A small additional rotation w of the rotated reference changes it at a node p by `w · (p × g)`, with its gradient g
    at p.

    Weights are those of Geman and McClure. With Cauchy's, their square root, a third of the sphere moving by 3° biased
    a rotation of 0.3° by 0.017°, instead of 0.005°.

    Args:
        pyramid: Operators of the grid and its parents.
    Source: Baker and Matthews, IJCV 2004 (compositional form); weights: Geman and McClure, 1987.
    """

    iterations = {4: 4, 3: 3, 2: 3, 1: 2}

    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__()
        self.pyramid = pyramid
        for depth in self.iterations:
            self.register_buffer(f"turns_{depth}", _turns(pyramid, depth), persistent=False)

    @torch.no_grad()
    def forward(self, luma: Float[Tensor, "one npix 1"], luma_ref: Float[Tensor, "one npix 1"]) -> Int[Tensor, " 3"]:
        """Estimate the rotation R with x(p) = x_ref(R p).

        Args:
            luma: Luma of the picture, [1, npix, 1].
            luma_ref: Luma of the reference, [1, npix, 1].
        Returns:
            Rotation vector in units of ROTATION_STEP, [3]; zeros if no rotation lowers the error enough.
        """
        stack, stack_ref = self._stack(luma), self._stack(luma_ref)
        rotation = torch.eye(3, dtype=torch.float64)
        for depth, iterations in self.iterations.items():
            if depth == _GLANCE - 1 and not self._pays(stack[_GLANCE], stack_ref[_GLANCE], rotation, _GLANCE):
                return torch.zeros(3, dtype=torch.int64)
            for _ in range(iterations):
                warped = self._turned(stack_ref[depth], rotation, depth)
                step = self._step(stack[depth], warped, depth)
                rotation = rotation @ rotation_from_vector(step)
        units = (vector_from_rotation(rotation) / ROTATION_STEP).round()
        last = min(self.iterations)
        pays = self._pays(stack[last], stack_ref[last], rotation_of(units), last)
        return units.long() if pays else torch.zeros(3, dtype=torch.int64)

    def field(self, units: Int[Tensor, " 3"], share: float = 1.0) -> Float[Tensor, "npix 3"]:
        """Compute the displacement of every node by a coded rotation.

        Args:
            units: Rotation vector in units of ROTATION_STEP, [3].
            share: Factor of the rotation, to continue it at constant speed.
        Returns:
            Tangent vectors, [npix, 3], radians.
        """
        return rotation_field(self.pyramid.warp(0).centers, rotation_of(units.double() * share))

    def _stack(self, luma: Float[Tensor, "one npix 1"]) -> dict[int, Float[Tensor, "one npix 1"]]:
        """Means over parents of depths 1 to 4, by depth."""
        stack = {}
        for depth in range(1, LATENT_DEPTH + 1):
            luma = mean_pool(luma, self.pyramid.side(depth - 1))
            stack[depth] = luma
        return stack

    def _pays(self, x: Tensor, x_ref: Tensor, rotation: Float[Tensor, "3 3"], depth: int) -> bool:
        """Check that a rotation lowers the error, compared with none and with the opposite one.

        The opposite rotation is compared too because interpolation between nodes smooths noise, which alone lowers the
        error by a tenth.
        """
        others = [_robust(x, x_ref), _robust(x, self._turned(x_ref, rotation.t(), depth))]
        found = _robust(x, self._turned(x_ref, rotation, depth))
        return found < _GAIN * min(others) and float(vector_from_rotation(rotation).norm()) < LARGEST_TURN

    def _turned(self, x: Tensor, rotation: Float[Tensor, "3 3"], depth: int) -> Tensor:
        return turned(x, rotation, self.pyramid.warp(depth))

    def _step(self, x: Tensor, warped: Tensor, depth: int) -> Float[Tensor, " 3"]:
        padding = self.pyramid.padding(depth)
        padded = padding(warped)
        gx = padding.flatten((padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2)
        gy = padding.flatten((padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2)
        turns = getattr(self, f"turns_{depth}")
        rows = (gx[0] * turns[:, 0] + gy[0] * turns[:, 1]).double()
        error = (x - warped)[0].double()
        spread = 1.48 * error.abs().median() + _NOISE
        weight = 1 / (1 + (error / spread).square()).square()
        normal = (weight * rows).t() @ rows
        ridge = torch.eye(3, dtype=normal.dtype, device=normal.device) * (_NOISE**2 + 1e-6 * normal.trace())
        return torch.linalg.solve(normal + ridge, (weight * rows).t() @ error)[:, 0].cpu()


class NoRotation(nn.Module):
    """Replacement for `RotationEstimator` on a plane, where three numbers do not describe a turning camera."""

    def forward(self, luma: Tensor, luma_ref: Tensor) -> Int[Tensor, " 3"]:
        """Return zeros: no rotation.

        Args:
            luma: Luma of the picture, ignored.
            luma_ref: Luma of the reference, ignored.
        Returns:
            Zeros, [3].
        """
        return torch.zeros(3, dtype=torch.int64)

    def field(self, units: Int[Tensor, " 3"], share: float = 1.0) -> Float[Tensor, "npix 3"]:
        """Refuse a rotation in a stream, which no planar encoder has written.

        Args:
            units: Rotation vector, ignored.
            share: Factor of the rotation, ignored.
        Raises:
            DamagedStream: always.
        """
        raise DamagedStream("a P-frame turns the camera; the pictures of a planar codec do not turn")


def rotation_of(units: Tensor) -> Float[Tensor, "3 3"]:
    """Convert a rotation vector in units of ROTATION_STEP, [3], to a matrix, [3, 3], float64."""
    return rotation_from_vector(units.double() * ROTATION_STEP)


def rotation_field(p: Float[Tensor, "npix 3"], rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "npix 3"]:
    """Compute tangent vectors that lead from each node p to R p, for rotations of less than half a circle.

    Sums are written out term by term, so that no library changes their order.

    Args:
        p: Unit vectors of the nodes, [npix, 3].
        rotation: Matrix R, [3, 3].
    Returns:
        Tangent vectors, [npix, 3], radians.
    """
    x, y, z = p.unbind(-1)
    change = rotation - torch.eye(3, dtype=rotation.dtype)
    moved = [row[0] * x + row[1] * y + row[2] * z for row in change.tolist()]  # R p - p
    along = moved[0] * x + moved[1] * y + moved[2] * z  # cos(angle) - 1
    side = torch.stack([moved[i] - along * axis for i, axis in enumerate((x, y, z))], -1)
    sine = (side[:, 0].square() + side[:, 1].square() + side[:, 2].square()).clamp_min(1e-30).sqrt()
    return side * (torch.atan2(sine, 1 + along) / sine)[:, None]


@torch.no_grad()
def turned(x: Float[Tensor, "1 npix 1"], rotation: Float[Tensor, "3 3"], warp: Warp) -> Float[Tensor, "1 npix 1"]:
    """Rotate a signal on the whole sphere: sample x(R p) at every node p.

    Only the encoder uses this, so its rounding need not be reproducible.

    Args:
        x: Signal, [1, npix, 1].
        rotation: Matrix R, [3, 3], float64.
        warp: Warp at the signal's resolution.
    Returns:
        Rotated signal, [1, npix, 1].
    """
    planes = x.flatten()[warp.halo.to(x.device)].view(warp.images, warp.rows + 4, -1).cpu().numpy()
    shape = warp.images, warp.rows, warp.columns
    centers, out = warp.centers.cpu().numpy().reshape(*shape, 3), np.empty(shape, np.float32)
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        list(pool.map(lambda f: kernels.turn_face(f, planes, centers, rotation.numpy(), out), range(warp.images)))
    return torch.from_numpy(out).view_as(x).to(x.device)


def write_rotation(units: Int[Tensor, " 3"]) -> bytes:
    """Convert a rotation vector in units of ROTATION_STEP, [3], to six bytes."""
    return _UNITS.pack(*units.tolist())


def read_rotation(payload: bytes) -> Int[Tensor, " 3"]:
    """Read a rotation vector in units of ROTATION_STEP, [3], from the first six bytes of a payload.

    Raises:
        DamagedStream: too few bytes, or a rotation of half a circle or more.
    """
    if len(payload) < ROTATION_BYTES:
        raise DamagedStream("a P-frame ends within its rotation")
    units = torch.tensor(_UNITS.unpack_from(payload))
    angle = float(units.double().norm()) * ROTATION_STEP
    if angle >= torch.pi:
        raise DamagedStream(f"a P-frame turns the camera by {angle:.2f} radians; less than half a circle is possible")
    return units


def _robust(x: Tensor, warped: Tensor) -> float:
    """Mean absolute error, in which outliers count no more than 8 grey levels."""
    return float((x - warped).abs().clamp_max(8 / 255).mean())


def _turns(pyramid: Pyramid, depth: int) -> Float[Tensor, "npix 2 3"]:
    """Products p × d with the dual d of each chart step: they convert gradients per node to gradients per radian."""
    grid = pyramid.grids[depth]
    assert not isinstance(grid, PlaneGrid), "a plane does not turn"
    duals = dual_steps(chart_steps(grid).double())
    centers = torch.from_numpy(grid.centers).double()
    return torch.linalg.cross(centers[:, None].expand_as(duals), duals).float()
