"""I-frames: transform, quality bank, hyperprior."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.hyperprior import Rate
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.latent_codec import Decoded, LatentCodec
from deepsphere_codec.models.pyramid import LATENT_DEPTH, Pyramid
from deepsphere_codec.models.quality import Quality
from deepsphere_codec.models.transforms import (
    FOLDED,
    PLANE_ENERGIES,
    Analysis,
    Synthesis,
    cosine_basis,
    fold,
    unfold,
)

_MID = 0.5  # signals lie in [0, 1]; networks like them around zero


class Picture(NamedTuple):
    """A decoded I-frame, and its latents as whole numbers."""

    x_hat: Float[Tensor, "batch npix 3"]
    fine: Float[Tensor, "batch latent m"]


class IntraCodec(nn.Module):
    """Codes a frame on its own."""

    def __init__(self, config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        widths = config.work_channels, config.middle_channels
        self.pyramid = pyramid
        basis = cosine_basis(PLANE_ENERGIES, LATENT_DEPTH, config.intra_latents)
        self.g_a = Analysis(FOLDED, config.intra_latents, widths, basis, config, pyramid)
        self.g_s = Synthesis(config.intra_latents, 0, widths, basis, config, pyramid)
        self.latents = LatentCodec(config.intra_latents, 0, config, pyramid)

    def forward(
        self, x: Float[Tensor, "batch npix 3"], quality: Quality, straight: bool = False
    ) -> tuple[Picture, Rate]:
        """Training: reconstruction and estimated rate."""
        decoded, rate = self.latents(self.analyse(x), quality, None, straight)
        return self._picture(decoded, quality), rate

    def analyse(self, x: Float[Tensor, "batch npix 3"]) -> Float[Tensor, "batch latent m"]:
        return self.g_a(fold(x - _MID, self.pyramid))

    def synthesise(self, y_hat: Tensor, quality: Quality) -> Float[Tensor, "batch npix 3"]:
        return unfold(self.g_s(y_hat, quality), self.pyramid) + _MID

    def write(self, x: Tensor, quality: Quality, writer: SymbolWriter) -> Picture:
        """Code a frame; what the decoder will have."""
        return self._picture(self.latents.write(self.analyse(x), quality, writer), quality)

    def read(self, reader: SymbolReader, quality: Quality) -> Picture:
        """Decode a frame."""
        return self._picture(self.latents.read(reader, quality), quality)

    def _picture(self, decoded: Decoded, quality: Quality) -> Picture:
        return Picture(self.synthesise(decoded.y_hat, quality), decoded.fine)
