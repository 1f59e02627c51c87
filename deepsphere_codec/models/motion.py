"""The motion's own codec: a tangent field in the face frame, in units of MOTION_SCALE, as latents and back."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers import ChebConv, DirectionalConv
from deepsphere_codec.layers.blocks import ResidualBlock
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.pyramid import LATENT_DEPTH, WORK_DEPTH, Pyramid
from deepsphere_codec.models.transforms import BlockAnalysis, BlockSynthesis, Down, Up, cosine_basis, fold

_DIRECTIONAL = ("directional", "directional")  # a radial filter cannot tell left from right
_LUMA_CHANNELS = 4**WORK_DEPTH


def _basis(config: ModelConfig) -> Float[Tensor, "i o"]:
    """Blocks of 4×4 vectors, which become one node's latents."""
    levels = LATENT_DEPTH - WORK_DEPTH
    return cosine_basis((1.0, 1.0), levels, min(config.motion_latents, 2 * 4**levels))


class MotionAnalysis(nn.Module):
    """Field and pictures → `y_motion` at nside / 16; the pictures tell where the field matters."""

    def __init__(self, config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        at, width = pyramid.at, config.motion_channels
        self.pyramid = pyramid
        self.straight = BlockAnalysis(_basis(config), config.motion_latents, pyramid)
        self.layers = nn.Sequential(
            DirectionalConv(2 + 3 * _LUMA_CHANNELS, width, at[WORK_DEPTH].padding),
            ResidualBlock(width, at[WORK_DEPTH], _DIRECTIONAL),
            Down(width, width, pyramid, WORK_DEPTH),
            ResidualBlock(width, at[WORK_DEPTH + 1], _DIRECTIONAL),
            Down(width, config.motion_latents, pyramid, WORK_DEPTH + 1),
        )
        nn.init.zeros_(self.layers[-1].mix.weight)  # type: ignore[arg-type, union-attr]

    def forward(
        self, field: Float[Tensor, "batch work 2"], x: Tensor, x_warp: Tensor, x_ref: Tensor
    ) -> Float[Tensor, "batch latent m"]:
        """Field in units of MOTION_SCALE; luma [B, npix, 1] of source, warped reference and reference."""
        lumas = torch.cat([x, x - x_warp, x - x_ref], -1)
        return self.straight(field) + self.layers(torch.cat([field, fold(lumas, self.pyramid)], -1))


class MotionSynthesis(nn.Module):
    """`y_motion` → field at nside / 4; starts as a block transform, so that zero latents are zero motion.

    Args:
        channels: That come out: two of the field in the face frame, and what else the prediction asks for.
    """

    def __init__(self, channels: int, config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        at, width = pyramid.at, config.motion_channels
        self.straight = BlockSynthesis(_basis(config), config.motion_latents, pyramid)
        self.layers = nn.Sequential(
            ChebConv(config.motion_latents, width, 1, at[LATENT_DEPTH].laplacian),
            ResidualBlock(width, at[LATENT_DEPTH], _DIRECTIONAL),
            Up(width, width, pyramid, LATENT_DEPTH),
            ResidualBlock(width, at[WORK_DEPTH + 1], _DIRECTIONAL),
            Up(width, width // 2, pyramid, WORK_DEPTH + 1),
            DirectionalConv(width // 2, channels, at[WORK_DEPTH].padding),
        )
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]

    def forward(self, y_hat: Float[Tensor, "batch latent m"]) -> Float[Tensor, "batch work c"]:
        """The field in units of MOTION_SCALE, face frame, then the other channels."""
        other = self.layers(y_hat)
        return torch.cat([self.straight(y_hat) + other[..., :2], other[..., 2:]], -1)
