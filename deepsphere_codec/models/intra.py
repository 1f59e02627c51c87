"""I-frames: transform, quality bank, hyperprior."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.hyperprior import Rate
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.latent_codec import LatentCodec
from deepsphere_codec.models.pyramid import LATENT_DEPTH, Pyramid
from deepsphere_codec.models.transforms import FOLDED, Analysis, Synthesis, fold, unfold

_MID = 0.5  # signals lie in [0, 1]; networks like them around zero


class IntraCodec(nn.Module):
    """Codes a frame on its own."""

    def __init__(self, config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        widths = config.work_channels, config.middle_channels
        self.pyramid = pyramid
        self.channels = config.intra_latents
        self.g_a = Analysis(FOLDED, config.intra_latents, widths, config, pyramid)
        self.g_s = Synthesis(config.intra_latents, FOLDED, 0, widths, config, pyramid)
        self.latents = LatentCodec(config.intra_latents, config, pyramid)

    def forward(
        self, x: Float[Tensor, "batch npix 3"], quality: Float[Tensor, " batch"], straight: bool = False
    ) -> tuple[Float[Tensor, "batch npix 3"], Rate]:
        """Training: reconstruction and estimated rate."""
        y_hat, rate = self.latents(self.analyse(x), quality, straight)
        return self.synthesise(y_hat, quality), rate

    def analyse(self, x: Float[Tensor, "batch npix 3"]) -> Float[Tensor, "batch latent m"]:
        return self.g_a(fold(x - _MID, self.pyramid))

    def synthesise(self, y_hat: Tensor, quality: Tensor) -> Float[Tensor, "batch npix 3"]:
        return unfold(self.g_s(y_hat, quality), self.pyramid) + _MID

    def write(self, x: Tensor, quality: Tensor, writer: SymbolWriter) -> Tensor:
        """Code a frame; returns the decoder's reconstruction."""
        return self.synthesise(self.latents.write(self.analyse(x), quality, writer), quality)

    def read(self, reader: SymbolReader, quality: Tensor) -> Tensor:
        """Decode a frame."""
        like = torch.empty(1, self.latent_nodes, self.channels, device=quality.device)
        return self.synthesise(self.latents.read(reader, like, quality), quality)

    @property
    def latent_nodes(self) -> int:
        return self.pyramid.at[LATENT_DEPTH].laplacian.npix
