"""Latents with their quality bank and hyperprior: the part that turns a picture's content into symbols."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.hyperprior import Rate, ScaleHyperprior
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.pyramid import COARSEST_DEPTH, LATENT_DEPTH, Pyramid
from deepsphere_codec.models.quality import QualityBank


class LatentCodec(nn.Module):
    """Scales y by the bank of the quality, rounds, codes, and scales back.

    Args:
        channels: Of y.
        start: Gain at quality 1 to begin with; a step in quality doubles lmbda, so the gain grows by √2.
    """

    def __init__(self, channels: int, config: ModelConfig, pyramid: Pyramid, start: float = 1.0) -> None:
        super().__init__()
        at = pyramid.at
        self.gain = QualityBank(channels, start, 2**0.5)
        self.inverse_gain = QualityBank(channels, 1 / start, 2**-0.5)
        self.hyperprior = ScaleHyperprior(
            channels,
            config.hyper_channels,
            config.hyper_hidden,
            at[LATENT_DEPTH],
            at[LATENT_DEPTH + 1],
            at[COARSEST_DEPTH],
        )

    def forward(
        self, y: Float[Tensor, "batch latent m"], quality: Float[Tensor, " batch"], straight: bool = False
    ) -> tuple[Float[Tensor, "batch latent m"], Rate]:
        """Training: y_hat, with gradients, and the estimated rate."""
        y_hat, rate = self.hyperprior(y * self.gain(quality), straight)
        return y_hat * self.inverse_gain(quality), rate

    def write(self, y: Tensor, quality: Tensor, writer: SymbolWriter) -> Tensor:
        """Code y; the y_hat that the decoder will have."""
        return self.hyperprior.write(y * self.gain(quality), writer) * self.inverse_gain(quality)

    def read(self, reader: SymbolReader, like: Tensor, quality: Tensor) -> Tensor:
        """Decode y_hat, shaped like `like`."""
        return self.hyperprior.read(reader, like) * self.inverse_gain(quality)
