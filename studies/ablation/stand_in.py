"""I-frames without trained weights that are the same for all P-frame codecs under comparison."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.entropy.hyperprior import FINE, Rate
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.intra import Picture
from deepsphere_codec.models.pyramid import LATENT_DEPTH, Pyramid
from deepsphere_codec.models.quality import Quality, QualityBank, at_depth
from deepsphere_codec.models.transforms import (
    PLANE_ENERGIES,
    BlockAnalysis,
    BlockSynthesis,
    cosine_basis,
    fold,
    unfold,
)

_MID = 0.5
_START, _GROWTH = 2.0, 2**0.5  # gain at quality 1 and ratio from one quality to the next, as in the untrained codec


class BlockIntra(nn.Module):
    """Replacement of `IntraCodec`: a cosine transform of blocks of 16×16 nodes, rounded to steps of 1 / gain.

    It behaves like an untrained I-frame codec: its coarse steps blur, its blocks leave edges. Nothing in it is learned
    or random, and it has no convolutions. It counts no bits.

    Args:
        config: Configuration, which gives the number of latents.
        pyramid: Pyramid of the network whose I-frames are replaced.
    """

    def __init__(self, config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        basis = cosine_basis(PLANE_ENERGIES, LATENT_DEPTH, config.intra_latents)
        self.pyramid = pyramid
        self.analysis = BlockAnalysis(basis, config.intra_latents, pyramid)
        self.synthesis = BlockSynthesis(basis, config.intra_latents, pyramid)
        self.gain = QualityBank(1, _START, _GROWTH)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "batch npix 3"], quality: Quality) -> tuple[Picture, Rate]:
        """Code a picture; see `IntraCodec.forward`.

        Args:
            x: Signal, [batch, npix, 3].
            quality: Quality, 1 … 8.
        Returns:
            Reconstruction, and a rate of zero.
        """
        gain = at_depth(self.gain(quality), self.pyramid, LATENT_DEPTH)
        symbols = (self.analysis(fold(x - _MID, self.pyramid)) * gain).round()
        x_hat = unfold(self.synthesis(symbols / gain), self.pyramid) + _MID
        return Picture(x_hat, FINE * symbols), Rate(x.new_zeros(len(x), 1), x.new_zeros(len(x), 1))
