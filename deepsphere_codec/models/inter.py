"""P-frames, DVC's way: the camera's rotation, motion, compensation, residual."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.hyperprior import Rate
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.models.compensation import Compensation, Prediction
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.estimator import MotionEstimator
from deepsphere_codec.models.fields import to_frame, to_nodes
from deepsphere_codec.models.latent_codec import Decoded, LatentCodec
from deepsphere_codec.models.memory import LatentMemory, State
from deepsphere_codec.models.motion import MotionAnalysis, MotionSynthesis
from deepsphere_codec.models.pyramid import LATENT_DEPTH, WORK_DEPTH, Pyramid
from deepsphere_codec.models.rotation import NoRotation, RotationEstimator, rotation_of
from deepsphere_codec.models.ssf import ScaleSpace
from deepsphere_codec.models.transforms import FOLDED, PLANE_ENERGIES, Analysis, Synthesis, cosine_basis, fold, unfold

_MID = 0.5

FAMILIES: dict[str, type[Compensation] | type[ScaleSpace]] = {"dvc": Compensation, "ssf": ScaleSpace}
"""How a frame is predicted from the one before and the motion."""


class InterOutput(NamedTuple):
    """What training looks at."""

    x_hat: Float[Tensor, "batch npix 3"]
    x_warp: Float[Tensor, "batch npix 3"]
    x_pred: Float[Tensor, "batch npix 3"]
    rate_motion: Rate
    rate_residual: Rate
    state: State


class InterCodec(nn.Module):
    """Codes a frame from the decoded one before it."""

    def __init__(self, config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        widths = config.work_channels, config.middle_channels
        basis = cosine_basis(PLANE_ENERGIES, LATENT_DEPTH, config.residual_latents)
        self.pyramid = pyramid
        self.config = config
        self.rotation = RotationEstimator(pyramid) if config.geometry == "healpix" else NoRotation()
        self.estimator = MotionEstimator(pyramid, config.motion_channels // 2)
        self.motion_a = MotionAnalysis(config, pyramid)
        self.motion_s = MotionSynthesis(2 + FAMILIES[config.family].extra, config, pyramid)
        self.motion_latents = LatentCodec(config.motion_latents, 2 * config.motion_latents, config, pyramid, 0.5)
        self.compensation = FAMILIES[config.family](config, pyramid)
        self.g_a = Analysis(2 * FOLDED, config.residual_latents, widths, basis, config, pyramid)
        self.g_s = Synthesis(config.residual_latents, FOLDED, widths, basis, config, pyramid)
        memory = 2 * config.residual_latents + config.intra_latents
        self.residual_latents = LatentCodec(config.residual_latents, memory, config, pyramid)

    def begin(self, x_hat: Float[Tensor, "batch npix 3"], fine: Float[Tensor, "batch latent i"]) -> State:
        """What is remembered after an I-frame: its picture, and its latents as whole numbers."""
        config = self.config

        motion, residual = (LatentMemory.empty(fine, n) for n in (config.motion_latents, config.residual_latents))
        return State.begin(x_hat, fine, motion, residual)

    def forward(self, x: Tensor, state: State, quality: Float[Tensor, " batch"], straight: bool = False) -> InterOutput:
        """Training: reconstruction, its way there, and estimated rates."""
        motion, pred, rate_motion = self.forward_motion(x, state, quality, straight)
        y = self.analyse_residual(x, pred.folded)
        residual, rate_residual = self.residual_latents(y, quality, state.for_residual, straight)
        x_hat = self.reconstruct(residual.y_hat, pred.folded, quality)
        after = state.after(x_hat, motion.fine, residual.fine)
        return InterOutput(x_hat, pred.x_warp, self.picture(pred), rate_motion, rate_residual, after)

    def forward_motion(
        self, x: Tensor, state: State, quality: Float[Tensor, " batch"], straight: bool = False
    ) -> tuple[Decoded, Prediction, Rate]:
        """Training, up to the prediction."""
        y = self.analyse_motion(x, state.x_hat)
        motion, rate = self.motion_latents(y, quality, state.motion.both, straight)
        return motion, self.predict(motion.y_hat, state.x_hat), rate

    def picture(self, pred: Prediction) -> Float[Tensor, "batch npix 3"]:
        """The prediction at every node."""
        return unfold(pred.folded, self.pyramid) + _MID

    def estimate_rotation(self, x: Tensor, x_ref: Tensor) -> Tensor:
        """Units of ROTATION_STEP, [3]."""
        stacks = (self.estimator.stack(signal[..., :1]) for signal in (x, x_ref))
        return self.rotation(*stacks)

    def analyse_motion(self, x: Tensor, x_ref: Tensor, turn: Tensor | None = None) -> Float[Tensor, "batch latent m"]:
        """Latents of what moves besides the camera, before rounding."""
        luma, luma_ref = x[..., :1], x_ref[..., :1]
        with torch.no_grad():
            rotation = None if turn is None else rotation_of(turn)
            v = self.estimator(self.estimator.stack(luma), self.estimator.stack(luma_ref), rotation)
            field = to_frame(v, self.pyramid)
            luma_warp = self.pyramid.warp(0)(luma_ref, self.field_at_nodes(field, turn))
        return self.motion_a(field, luma, luma_warp, luma_ref)

    def field_at_nodes(
        self, field: Float[Tensor, "batch work 2"], turn: Tensor | None
    ) -> Float[Tensor, "batch npix 3"]:
        """Radians at every node: the coded field, and the camera's turn where there is one.

        Raises:
            DamagedStream: a turn, on a plane.
        """
        v = to_nodes(field, self.pyramid)
        return v if turn is None else v + self.rotation.field(turn)

    def predict(
        self, y_hat: Float[Tensor, "batch latent m"] | None, x_ref: Tensor, turn: Tensor | None = None
    ) -> Prediction:
        """From the motion's latents (None where nothing moves but the camera) and the reference.

        Raises:
            DamagedStream: a vector is no number, or as long as half a circle.
        """
        if y_hat is None:
            motion = x_ref.new_zeros(x_ref.shape[0], self.pyramid.grids[WORK_DEPTH].npix, 2 + self.compensation.extra)
        else:
            motion = self.motion_s(y_hat)
        v = self.field_at_nodes(motion[..., :2], turn)
        if not torch.is_grad_enabled():
            _check_field(v)
        return self.compensation(x_ref, v, motion[..., 2:])

    def analyse_residual(self, x: Tensor, f_pred: Tensor) -> Float[Tensor, "batch latent m"]:
        return self.g_a(torch.cat([fold(x - _MID, self.pyramid) - f_pred, f_pred], -1))

    def reconstruct(self, y_hat: Tensor, f_pred: Tensor, quality: Tensor) -> Float[Tensor, "batch npix 3"]:
        return unfold(f_pred + self.g_s(y_hat, quality, f_pred), self.pyramid) + _MID

    def write_motion(
        self, x: Tensor, state: State, turn: Tensor | None, quality: Tensor, writer: SymbolWriter
    ) -> Decoded:
        """Code the motion; what the decoder will have."""
        y = self.analyse_motion(x, state.x_hat, turn)
        return self.motion_latents.write(y, quality, writer, state.motion.both)

    def write_residual(
        self, x: Tensor, state: State, pred: Prediction, quality: Tensor, writer: SymbolWriter
    ) -> tuple[Tensor, Decoded]:
        """Code the rest; the decoder's reconstruction, and the latents."""
        y = self.analyse_residual(x, pred.folded)
        residual = self.residual_latents.write(y, quality, writer, state.for_residual)
        return self.reconstruct(residual.y_hat, pred.folded, quality), residual

    def read_motion(self, reader: SymbolReader, state: State, quality: Tensor) -> Decoded:
        return self.motion_latents.read(reader, quality, state.motion.both)

    def read_residual(
        self, reader: SymbolReader, state: State, pred: Prediction, quality: Tensor
    ) -> tuple[Tensor, Decoded]:
        residual = self.residual_latents.read(reader, quality, state.for_residual)
        return self.reconstruct(residual.y_hat, pred.folded, quality), residual


def _check_field(v: Tensor) -> None:
    """Raise DamagedStream unless every vector is a number of less than half a circle."""
    longest = float(v.square().sum(-1).max())
    if not longest < torch.pi**2:
        raise DamagedStream(
            f"a P-frame moves a point by {longest**0.5:.3g} radians; less than half a circle is possible"
        )
