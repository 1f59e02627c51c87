"""Motion estimation, the encoder's part: coarse to fine over the HEALPix pyramid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers import DirectionalConv, mean_pool
from deepsphere_codec.layers.padding import Padding
from deepsphere_codec.models.fields import chart_steps, combine, components, dual_steps, upsample_field
from deepsphere_codec.models.pyramid import COARSEST_DEPTH, LATENT_DEPTH, WORK_DEPTH, Pyramid
from deepsphere_codec.models.rotation import rotation_field

Stack = dict[int, Float[Tensor, "batch npix 1"]]
"""Luma by depth, means of the nodes below."""

_DAMPING = (1.5 / 255) ** 2  # differences below the coding noise carry no motion
_MISFIT = (4 / 255) ** 2


class MotionEstimator(nn.Module):
    """At each resolution: Lucas–Kanade steps, then a learned update, then on to the next finer one.

    The reference is warped by what is known, and the remaining step solves `Σ g gᵀ step = Σ g (x - warped)` in a
    window of 5×5 nodes; a small network that sees both pictures, that step and a cost volume corrects it. At the end
    the field is drawn to its own means over parents, their parents and so on, the more the less the pictures tell: a
    field that is smooth where nothing is seen costs a third fewer bits and predicts as well.

    Source: Lucas and Kanade, IJCAI 1981; Bouguet's pyramid, 2001; learned update per level: Ranjan and Black, CVPR
    2017.
    """

    iterations = {4: 3, 3: 2, 2: 2, 1: 1}
    limit = 1.0  # nodes a step; the gradient is not trusted further
    pull, ease = 6e-5, 0.25  # of a node's mean over its parent: in squared gradients, and times so much a level up

    def __init__(self, pyramid: Pyramid, width: int) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.updates = nn.ModuleDict({str(d): FieldUpdate(pyramid.padding(d), width) for d in self.iterations})
        for depth in self.iterations:
            steps = chart_steps(pyramid.grids[depth])
            self.register_buffer(f"steps_{depth}", steps, persistent=False)
            self.register_buffer(f"duals_{depth}", dual_steps(steps.double()).float(), persistent=False)

    @torch.no_grad()
    def forward(
        self, stack: Stack, stack_ref: Stack, rotation: Float[Tensor, "3 3"] | None = None
    ) -> Float[Tensor, "batch work 3"]:
        """Field at nside / 4, radians, that remains after the camera's rotation (to be added to its field)."""
        v = self.estimate(stack, stack_ref, rotation)
        warped = self.pyramid.warp(1)(stack_ref[1], v + self._start(1, stack[1], rotation))
        return self._smooth(v, self._confidence(stack[1], warped))

    def estimate(
        self, stack: Stack, stack_ref: Stack, rotation: Float[Tensor, "3 3"] | None = None
    ) -> Float[Tensor, "batch half 3"]:
        """As `forward`, whether it pays or not; with gradients with respect to the learned updates."""
        v = stack[LATENT_DEPTH].new_zeros(*stack[LATENT_DEPTH].shape[:2], 3)
        for depth, iterations in self.iterations.items():
            if depth < LATENT_DEPTH:
                v = upsample_field(v, self.pyramid.padding(depth + 1), 2)
            warp, x, x_ref = self.pyramid.warp(depth), stack[depth], stack_ref[depth]
            start = self._start(depth, x, rotation)
            with torch.no_grad():
                moved = torch.zeros_like(v)
                for _ in range(iterations - 1):
                    moved = moved + self._tangent(self._step(x, warp(x_ref, v + moved + start), depth), depth)
                warped = warp(x_ref, v + moved + start)
                step = self._step(x, warped, depth)
            v = v + moved
            known = components(v, self._of("duals", depth))
            v = v + self._tangent(step + self.updates[str(depth)](x, warped, step, known), depth)
        return v

    def place(self) -> None:
        """Follow the pyramid to another patch."""
        for depth in self.iterations:
            steps = chart_steps(self.pyramid.grids[depth])
            if not torch.equal(steps, self._of("steps", depth).cpu()):  # on a plane they are everywhere alike
                self._of("steps", depth).copy_(steps)
                self._of("duals", depth).copy_(dual_steps(steps.double()).float())

    def stack(self, luma: Float[Tensor, "batch npix 1"]) -> Stack:
        """Means over the HEALPix parents, down to nside / 16."""
        stack = {}
        for depth in range(1, LATENT_DEPTH + 1):
            luma = mean_pool(luma, self.pyramid.side(depth - 1))
            stack[depth] = luma
        return stack

    def _start(self, depth: int, like: Tensor, rotation: Tensor | None) -> Float[Tensor, "batch npix 3"]:
        if rotation is None:
            return like.new_zeros(*like.shape[:2], 3)
        return rotation_field(self.pyramid.warp(depth).centers, rotation).expand(like.shape[0], -1, -1).to(like)

    def _step(self, x: Tensor, warped: Tensor, depth: int) -> Float[Tensor, "batch npix 2"]:
        """Lucas–Kanade's, in nodes along the face's x and y."""
        padding = self.pyramid.padding(depth)
        gx, gy = _gradient(warped, padding)
        difference = x - warped
        products = torch.cat([gx * gx, gx * gy, gy * gy, gx * difference, gy * difference], -1)
        xx, xy, yy, xd, yd = window(products, padding).unbind(-1)
        xx, yy = xx + _DAMPING, yy + _DAMPING
        determinant = xx * yy - xy * xy
        step = torch.stack([yy * xd - xy * yd, xx * yd - xy * xd], -1) / determinant[..., None]
        return step * (self.limit / step.norm(dim=-1, keepdim=True).clamp_min(self.limit))

    def _tangent(self, step: Float[Tensor, "batch npix 2"], depth: int) -> Float[Tensor, "batch npix 3"]:
        return combine(step, self._of("steps", depth))

    def _confidence(self, x: Tensor, warped: Tensor) -> Float[Tensor, "batch half 1"]:
        """Squared gradient along the direction that is seen worst, less where the warped picture does not fit."""
        padding = self.pyramid.padding(1)
        gx, gy = _gradient(warped, padding)
        xx, xy, yy, error = window(torch.cat([gx * gx, gx * gy, gy * gy, (x - warped).square()], -1), padding).unbind(
            -1
        )
        seen = (xx * yy - xy * xy) / (xx + yy + _DAMPING / 32)
        return (seen / (1 + error / _MISFIT))[..., None]

    def _smooth(self, v: Tensor, confidence: Tensor) -> Float[Tensor, "batch work 3"]:
        """Maximum a posteriori, level by level: a vector differs little from its parent's unless it is seen to."""
        weights, sums = [confidence], [confidence * v]
        for depth in range(1, COARSEST_DEPTH):
            side = self.pyramid.side(depth)
            weights.append(mean_pool(weights[-1], side))
            sums.append(mean_pool(sums[-1], side))
        smooth = torch.zeros_like(sums[-1])  # above the coarsest: the camera alone
        for level in range(COARSEST_DEPTH, WORK_DEPTH - 1, -1):
            if level < COARSEST_DEPTH:
                smooth = upsample_field(smooth, self.pyramid.padding(level + 1), 2)
            pull = self.pull * self.ease ** (level - WORK_DEPTH)
            smooth = (sums[level - 1] + pull * smooth) / (weights[level - 1] + pull)
        return smooth

    def _of(self, name: str, depth: int) -> Float[Tensor, "npix 2 3"]:
        return getattr(self, f"{name}_{depth}")


class FieldUpdate(nn.Module):
    """What Lucas–Kanade missed at one resolution, in nodes; starts at zero.

    It sees both pictures, the step, the field so far, and how the difference grows when the warped picture is shifted
    by one node in each of the nine directions (a cost volume).
    """

    def __init__(self, padding: Padding, width: int) -> None:
        super().__init__()
        self.padding = padding
        self.layers = nn.Sequential(
            DirectionalConv(2 + 2 + 2 + 9, width, padding),
            nn.LeakyReLU(0.1),
            DirectionalConv(width, width, padding),
            nn.LeakyReLU(0.1),
            DirectionalConv(width, 2, padding),
        )
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]

    def forward(
        self,
        x: Float[Tensor, "batch npix 1"],
        warped: Float[Tensor, "batch npix 1"],
        step: Float[Tensor, "batch npix 2"],
        known: Float[Tensor, "batch npix 2"],
    ) -> Float[Tensor, "batch npix 2"]:
        seen = [x - 0.5, 8 * (x - warped), step, known, self._costs(x, warped)]
        return self.layers(torch.cat(seen, -1))

    def _costs(self, x: Tensor, warped: Tensor) -> Float[Tensor, "batch npix 9"]:
        """Squared differences in a window, relative to their mean."""
        padded = self.padding(warped)
        rows, columns = padded.shape[2] - 2, padded.shape[3] - 2
        shifted = [padded[:, :, dy : dy + rows, dx : dx + columns] for dy in range(3) for dx in range(3)]
        costs = (x - self.padding.flatten(torch.cat(shifted, 1))).square()
        costs = window(costs, self.padding)
        return costs / (costs.mean(-1, keepdim=True) + _DAMPING) - 1


def window(signal: Float[Tensor, "batch npix c"], padding: Padding) -> Float[Tensor, "batch npix c"]:
    """A smooth mean over 5×5 nodes."""
    for _ in range(2):
        signal = padding.flatten(F.avg_pool2d(padding(signal), 3, stride=1))
    return signal


def _gradient(x: Tensor, padding: Padding) -> tuple[Float[Tensor, "batch npix 1"], Float[Tensor, "batch npix 1"]]:
    """Central differences along the face's x and y, a node apart."""
    padded = padding(x)
    gx = padding.flatten((padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2)
    gy = padding.flatten((padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2)
    return gx, gy
