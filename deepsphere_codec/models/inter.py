"""P-frames, DVC's way: motion, compensation, residual."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.hyperprior import Rate
from deepsphere_codec.layers import DirectionalConv
from deepsphere_codec.layers.blocks import ResidualBlock
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.latent_codec import LatentCodec
from deepsphere_codec.models.motion import (
    MotionAnalysis,
    MotionEstimator,
    MotionSynthesis,
    to_frame,
    to_nodes,
)
from deepsphere_codec.models.pyramid import LATENT_DEPTH, WORK_DEPTH, Pyramid
from deepsphere_codec.models.transforms import FOLDED, Analysis, Synthesis, fold, unfold

_MID = 0.5


class InterOutput(NamedTuple):
    """What training looks at."""

    x_hat: Float[Tensor, "batch npix 3"]
    x_warp: Float[Tensor, "batch npix 3"]
    x_pred: Float[Tensor, "batch npix 3"]
    rate_motion: Rate
    rate_residual: Rate


class Compensation(nn.Module):
    """Mends the warped reference where the reference was covered or blurred; starts as the identity."""

    def __init__(self, config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        at, wide = pyramid.at[WORK_DEPTH], config.work_channels
        self.layers = nn.Sequential(
            DirectionalConv(2 * FOLDED, wide, at.padding),
            ResidualBlock(wide, at, config.kinds, config.cheb_order),
            DirectionalConv(wide, FOLDED, at.padding),
        )
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]

    def forward(self, warped: Float[Tensor, "batch work c"], reference: Tensor) -> Float[Tensor, "batch work c"]:
        return warped + self.layers(torch.cat([warped, reference], -1))


class InterCodec(nn.Module):
    """Codes a frame from the decoded one before it."""

    def __init__(self, config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        widths = config.work_channels, config.middle_channels
        self.pyramid = pyramid
        self.config = config
        self.estimator = MotionEstimator(pyramid)
        self.motion_a = MotionAnalysis(config, pyramid)
        self.motion_s = MotionSynthesis(config, pyramid)
        self.motion_latents = LatentCodec(config.motion_latents, config, pyramid)
        self.compensation = Compensation(config, pyramid)
        self.g_a = Analysis(2 * FOLDED, config.residual_latents, widths, config, pyramid)
        self.g_s = Synthesis(config.residual_latents, FOLDED, FOLDED, widths, config, pyramid)
        self.residual_latents = LatentCodec(config.residual_latents, config, pyramid)
        nn.init.zeros_(self.g_s.finish[-1].weight)  # type: ignore[arg-type]

    def forward(
        self, x: Tensor, x_ref: Tensor, quality: Float[Tensor, " batch"], straight: bool = False
    ) -> InterOutput:
        """Training: reconstruction, its way there, and estimated rates."""
        y_hat, rate_motion = self.motion_latents(self.analyse_motion(x, x_ref), quality, straight)
        x_warp, f_pred = self.predict(y_hat, x_ref)
        y_hat, rate_residual = self.residual_latents(self.analyse_residual(x, f_pred), quality, straight)
        x_hat = self.reconstruct(y_hat, f_pred, quality)
        return InterOutput(x_hat, x_warp, unfold(f_pred, self.pyramid) + _MID, rate_motion, rate_residual)

    def analyse_motion(self, x: Tensor, x_ref: Tensor) -> Float[Tensor, "batch latent m"]:
        luma, luma_ref = x[..., :1], x_ref[..., :1]
        field = to_frame(self.estimator(luma, luma_ref), self.pyramid)
        with torch.no_grad():
            luma_warp = self.pyramid.warp(0)(luma_ref, to_nodes(field, self.pyramid))
        return self.motion_a(field, luma, luma_warp, luma_ref)

    def predict(self, y_hat: Tensor, x_ref: Tensor) -> tuple[Float[Tensor, "batch npix 3"], Tensor]:
        """Warped reference, and the prediction folded to nside / 4."""
        v = to_nodes(self.motion_s(y_hat), self.pyramid)
        x_warp = self.pyramid.warp(0)(x_ref, v)
        return x_warp, self.compensation(fold(x_warp - _MID, self.pyramid), fold(x_ref - _MID, self.pyramid))

    def analyse_residual(self, x: Tensor, f_pred: Tensor) -> Float[Tensor, "batch latent m"]:
        return self.g_a(torch.cat([fold(x - _MID, self.pyramid) - f_pred, f_pred], -1))

    def reconstruct(self, y_hat: Tensor, f_pred: Tensor, quality: Tensor) -> Float[Tensor, "batch npix 3"]:
        return unfold(f_pred + self.g_s(y_hat, quality, f_pred), self.pyramid) + _MID

    def write(self, x: Tensor, x_ref: Tensor, quality: Tensor, writer: SymbolWriter) -> Tensor:
        """Code a frame; returns the decoder's reconstruction."""
        y_hat = self.motion_latents.write(self.analyse_motion(x, x_ref), quality, writer)
        _, f_pred = self.predict(y_hat, x_ref)
        y_hat = self.residual_latents.write(self.analyse_residual(x, f_pred), quality, writer)
        return self.reconstruct(y_hat, f_pred, quality)

    def read(self, reader: SymbolReader, x_ref: Tensor, quality: Tensor) -> Tensor:
        """Decode a frame."""
        nodes = self.pyramid.at[LATENT_DEPTH].laplacian.npix
        y_hat = self.motion_latents.read(reader, x_ref.new_empty(1, nodes, self.config.motion_latents), quality)
        _, f_pred = self.predict(y_hat, x_ref)
        y_hat = self.residual_latents.read(reader, x_ref.new_empty(1, nodes, self.config.residual_latents), quality)
        return self.reconstruct(y_hat, f_pred, quality)
