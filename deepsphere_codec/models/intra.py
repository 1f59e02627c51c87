"""Codec for I-frames: transforms, quality bank and hyperprior."""

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

_MID = 0.5  # signals lie in [0, 1]; the networks' inputs are centred on zero


class Picture(NamedTuple):
    """Decoded I-frame.

    Attributes:
        x_hat: Reconstruction.
        fine: Decoded latents times FINE, integers.
    """

    x_hat: Float[Tensor, "batch npix 3"]
    fine: Float[Tensor, "batch latent m"]


class IntraCodec(nn.Module):
    """Codec for pictures that are coded without reference to others.

    Args:
        config: Sizes and options.
        pyramid: Operators of the grid and its parents.
    """

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
        """Reconstruct pictures and estimate their rate, for training.

        Args:
            x: Pictures, [batch, npix, 3].
            quality: Quality of each picture, [batch], or of its blocks, [batch, blocks].
            straight: Estimate the rate of the rounded latents, see `Hyperprior.forward`.
        Returns:
            Decoded pictures, and the estimated rate.
        """
        decoded, rate = self.latents(self.analyse(x), quality, None, straight)
        return self._picture(decoded, quality), rate

    def analyse(self, x: Float[Tensor, "batch npix 3"]) -> Float[Tensor, "batch latent m"]:
        """Compute latents before rounding, [batch, latent, intra_latents], from pictures, [batch, npix, 3]."""
        return self.g_a(fold(x - _MID, self.pyramid))

    def synthesise(self, y_hat: Tensor, quality: Quality) -> Float[Tensor, "batch npix 3"]:
        """Reconstruct pictures from decoded latents.

        Args:
            y_hat: Decoded latents, [batch, latent, intra_latents].
            quality: Quality of each picture, [batch], or of its blocks, [batch, blocks].
        Returns:
            Reconstruction, [batch, npix, 3].
        """
        return unfold(self.g_s(y_hat, quality), self.pyramid) + _MID

    def write(self, x: Tensor, quality: Quality, writer: SymbolWriter) -> Picture:
        """Code a picture.

        Args:
            x: Picture, [1, npix, 3].
            quality: Quality of the picture, [1, 1], or of its blocks, [1, blocks].
            writer: Writer that receives the symbols.
        Returns:
            The picture as the decoder will have it.
        """
        return self._picture(self.latents.write(self.analyse(x), quality, writer), quality)

    def read(self, reader: SymbolReader, quality: Quality) -> Picture:
        """Decode a picture.

        Args:
            reader: Reader of the symbols.
            quality: Quality of the picture, [1, 1], or of its blocks, [1, blocks].
        Returns:
            The decoded picture.
        Raises:
            DamagedStream: the coder cannot have written these symbols.
        """
        return self._picture(self.latents.read(reader, quality), quality)

    def _picture(self, decoded: Decoded, quality: Quality) -> Picture:
        return Picture(self.synthesise(decoded.y_hat, quality), decoded.fine)
