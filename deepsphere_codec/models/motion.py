"""Motion on the sphere: estimated by the encoder, coded as latents, a tangent field in radians everywhere between."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers import ChebConv, DirectionalConv, FacePadding, mean_pool
from deepsphere_codec.layers.blocks import ResidualBlock
from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.pyramid import LATENT_DEPTH, WORK_DEPTH, Pyramid
from deepsphere_codec.models.transforms import Down, Up, fold
from deepsphere_codec.sphere import face_xy_to_dir

MOTION_SCALE = 0.004
"""Radians to a unit of the networks' numbers: about one node at nside 256. Radians do not depend on resolution."""

_DIRECTIONAL = ("directional", "directional")  # a radial filter cannot tell left from right
_LUMA_CHANNELS = 4**WORK_DEPTH


def upsample_field(v: Float[Tensor, "batch npix 3"], padding: FacePadding, factor: int) -> Float[Tensor, "batch n 3"]:
    """Cartesian components, bilinear over the padded faces: smooth across faces, whatever their frames.

    Written out, because `torch.nn.functional.interpolate` rounds differently with one thread and with many.
    """
    images = _with_corners(padding(v), padding).permute(0, 2, 3, 1)
    for axis in (1, 2):
        side = images.shape[axis] - 2
        children = []
        for i in range(factor):
            offset = (i + 0.5) / factor - 0.5  # from the parent's centre, in parents
            first, mix = (0, 1 + offset) if offset < 0 else (1, offset)
            children.append(torch.lerp(images.narrow(axis, first, side), images.narrow(axis, first + 1, side), mix))
        images = torch.stack(children, axis + 1).flatten(axis, axis + 1)
    return images.reshape(v.shape[0], -1, v.shape[2])


def _with_corners(images: Float[Tensor, "images c side side"], padding: FacePadding) -> Tensor:
    """Where three faces meet there is no diagonal node: the mean of the two beside it, so that motion does not fade."""
    if not padding.whole:
        return images
    by_face = images.unflatten(0, (-1, 12))
    polar, belt = ((0, -1), (-1, 0)), ((0, 0), (-1, -1))  # (y, x) of the missing ones
    inward = {0: 1, -1: -2}
    for faces, corners in ((slice(0, 4), polar), (slice(4, 8), belt), (slice(8, 12), polar)):
        for y, x in corners:
            beside = by_face[:, faces, :, y, inward[x]] + by_face[:, faces, :, inward[y], x]
            by_face[:, faces, :, y, x] = beside / 2
    return images


class MotionEstimator(nn.Module):
    """Coarse-to-fine Lucas–Kanade on the HEALPix pyramid, for the encoder; nothing is learned.

    At each resolution the reference is warped by what is known, and the remaining step solves
    `Σ g gᵀ step = Σ g (x - warped)` in a window of 5×5 nodes. Where that does not predict better than no motion, the
    vector is zero.

    Source: Lucas and Kanade, IJCAI 1981; Bouguet's pyramid, 2001.
    """

    iterations = {4: 2, 3: 2, 2: 2, 1: 1}
    damping = (1.5 / 255) ** 2  # gradients below the coding noise carry no motion
    limit = 1.0  # nodes a step; the gradient is not trusted further

    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__()
        self.pyramid = pyramid
        for depth in self.iterations:
            self.register_buffer(f"steps_{depth}", _chart_steps(pyramid.grids[depth]), persistent=False)

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "batch npix 1"], x_ref: Tensor) -> Float[Tensor, "batch work 3"]:
        """Field at nside / 4, radians, from the luma of source and reference."""
        stack, stack_ref = self._stack(x), self._stack(x_ref)
        v = torch.zeros_like(stack[LATENT_DEPTH]).repeat(1, 1, 3)
        for depth, iterations in self.iterations.items():
            if depth < LATENT_DEPTH:
                v = upsample_field(v, self.pyramid.padding(depth + 1), 2)
            for _ in range(iterations):
                v = v + self._step(stack[depth], self.pyramid.warp(depth)(stack_ref[depth], v), depth)
        v = v * self._worthwhile(stack[1], stack_ref[1], v)
        return mean_pool(v, self.pyramid.side(1))

    def place(self) -> None:
        """Follow the pyramid to another patch."""
        for depth in self.iterations:
            getattr(self, f"steps_{depth}").copy_(_chart_steps(self.pyramid.grids[depth]))

    def _stack(self, x: Tensor) -> dict[int, Tensor]:
        stack = {}
        for depth in range(1, LATENT_DEPTH + 1):
            x = mean_pool(x, self.pyramid.side(depth - 1))
            stack[depth] = x
        return stack

    def _step(self, x: Tensor, warped: Tensor, depth: int) -> Float[Tensor, "batch npix 3"]:
        padding = self.pyramid.padding(depth)
        padded = padding(warped)
        gx = padding.flatten((padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2)
        gy = padding.flatten((padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2)
        difference = x - warped
        products = torch.cat([gx * gx, gx * gy, gy * gy, gx * difference, gy * difference], -1)
        xx, xy, yy, xd, yd = self._window(products, padding).unbind(-1)
        xx, yy = xx + self.damping, yy + self.damping
        determinant = xx * yy - xy * xy
        step = torch.stack([yy * xd - xy * yd, xx * yd - xy * xd], -1) / determinant[..., None]
        step = step * (self.limit / step.norm(dim=-1, keepdim=True).clamp_min(self.limit))
        return _combine(step, getattr(self, f"steps_{depth}"))

    def _worthwhile(self, x: Tensor, x_ref: Tensor, v: Tensor) -> Float[Tensor, "batch npix 1"]:
        padding = self.pyramid.padding(1)
        errors = torch.cat([(x - self.pyramid.warp(1)(x_ref, v)).square(), (x - x_ref).square()], -1)
        moving, still = self._window(errors, padding).split(1, -1)
        return (moving < 0.9 * still).to(v.dtype)

    @staticmethod
    def _window(signal: Tensor, padding: FacePadding) -> Tensor:
        for _ in range(2):
            signal = padding.flatten(F.avg_pool2d(padding(signal), 3, stride=1))
        return signal


class MotionAnalysis(nn.Module):
    """Field and pictures → `y_motion` at nside / 16; the pictures tell where the field matters."""

    def __init__(self, config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        at, width = pyramid.at, config.motion_channels
        self.pyramid = pyramid
        self.layers = nn.Sequential(
            DirectionalConv(2 + 3 * _LUMA_CHANNELS, width, at[WORK_DEPTH].padding),
            ResidualBlock(width, at[WORK_DEPTH], _DIRECTIONAL),
            Down(width, width, pyramid, WORK_DEPTH),
            ResidualBlock(width, at[WORK_DEPTH + 1], _DIRECTIONAL),
            Down(width, config.motion_latents, pyramid, WORK_DEPTH + 1),
        )

    def forward(
        self, field: Float[Tensor, "batch work 2"], x: Tensor, x_warp: Tensor, x_ref: Tensor
    ) -> Float[Tensor, "batch latent m"]:
        """Field in units of MOTION_SCALE; luma [B, npix, 1] of source, warped reference and reference."""
        lumas = torch.cat([x, x - x_warp, x - x_ref], -1)
        return self.layers(torch.cat([field, fold(lumas, self.pyramid)], -1))


class MotionSynthesis(nn.Module):
    """`y_motion` → field at nside / 4; starts at zero motion."""

    def __init__(self, config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        at, width = pyramid.at, config.motion_channels
        self.layers = nn.Sequential(
            ChebConv(config.motion_latents, width, 1, at[LATENT_DEPTH].laplacian),
            ResidualBlock(width, at[LATENT_DEPTH], _DIRECTIONAL),
            Up(width, width, pyramid, LATENT_DEPTH),
            ResidualBlock(width, at[WORK_DEPTH + 1], _DIRECTIONAL),
            Up(width, width // 2, pyramid, WORK_DEPTH + 1),
            DirectionalConv(width // 2, 2, at[WORK_DEPTH].padding),
        )
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]

    def forward(self, y_hat: Float[Tensor, "batch latent m"]) -> Float[Tensor, "batch work 2"]:
        """In units of MOTION_SCALE, face frame."""
        return self.layers(y_hat)


def to_frame(v: Float[Tensor, "batch work 3"], pyramid: Pyramid) -> Float[Tensor, "batch work 2"]:
    """Cartesian radians → units of MOTION_SCALE in the face frame."""
    return _components(v, pyramid.frame(WORK_DEPTH)) / MOTION_SCALE


def to_nodes(field: Float[Tensor, "batch work 2"], pyramid: Pyramid) -> Float[Tensor, "batch npix 3"]:
    """Units of MOTION_SCALE in the face frame at nside / 4 → tangent vectors in radians at every node."""
    v = _combine(field * MOTION_SCALE, pyramid.frame(WORK_DEPTH))
    v = upsample_field(v, pyramid.padding(WORK_DEPTH), 1 << WORK_DEPTH)
    return _combine(_components(v, pyramid.frame(0)), pyramid.frame(0))


# Written out rather than as matrix products: sums of two or three terms in an order that no library may change.


def _components(v: Float[Tensor, "batch npix 3"], frame: Float[Tensor, "npix 2 3"]) -> Float[Tensor, "batch npix 2"]:
    products = v[:, :, None, :] * frame
    return products[..., 0] + products[..., 1] + products[..., 2]


def _combine(field: Float[Tensor, "batch npix 2"], frame: Float[Tensor, "npix 2 3"]) -> Float[Tensor, "batch npix 3"]:
    return field[..., :1] * frame[:, 0] + field[..., 1:] * frame[:, 1]


def _chart_steps(grid: Grid) -> Float[Tensor, "npix 2 3"]:
    """Tangent vectors of one step in x and one in y, by central differences."""
    face, x, y = grid.face_xy
    steps = []
    for dx, dy in ((0.5, 0.0), (0.0, 0.5)):
        ahead = face_xy_to_dir(face, x + dx, y + dy, grid.nside)
        behind = face_xy_to_dir(face, x - dx, y - dy, grid.nside)
        steps.append(ahead - behind)
    return torch.from_numpy(np.stack(steps, 1)).float()
