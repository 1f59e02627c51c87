"""Analysis and synthesis: from the signal folded to nside / 4 down to latents at nside / 16, and back."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers import GDN, ChebConv, DirectionalConv, fold_children, unfold_children
from deepsphere_codec.layers.blocks import ResidualBlock
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.pyramid import LATENT_DEPTH, WORK_DEPTH, Pyramid
from deepsphere_codec.models.quality import QualityBank

FOLDED = 3 * 4**WORK_DEPTH
"""Channels of a three-channel signal whose children two levels down are channels."""


def fold(x: Float[Tensor, "batch npix 3"], pyramid: Pyramid) -> Float[Tensor, "batch work 48"]:
    """Two generations of children into channels."""
    return fold_children(fold_children(x, pyramid.side(0)), pyramid.side(1))


def unfold(x: Float[Tensor, "batch work c"], pyramid: Pyramid) -> Float[Tensor, "batch npix c16"]:
    """The inverse of `fold`."""
    return unfold_children(unfold_children(x, pyramid.side(2)), pyramid.side(1))


class Down(nn.Module):
    """Children into channels, then a channel mix: each parent sees its four children apart, hence direction."""

    def __init__(self, in_channels: int, out_channels: int, pyramid: Pyramid, depth: int) -> None:
        super().__init__()
        self.side = pyramid.side(depth)
        self.mix = ChebConv(4 * in_channels, out_channels, 1, pyramid.at[depth + 1].laplacian)

    def forward(self, x: Float[Tensor, "batch npix c"]) -> Float[Tensor, "batch parents o"]:
        return self.mix(fold_children(x, self.side))


class Up(nn.Module):
    """A channel mix, then channels to children."""

    def __init__(self, in_channels: int, out_channels: int, pyramid: Pyramid, depth: int) -> None:
        super().__init__()
        self.side = pyramid.side(depth)
        self.mix = ChebConv(in_channels, 4 * out_channels, 1, pyramid.at[depth].laplacian)

    def forward(self, x: Float[Tensor, "batch npix c"]) -> Float[Tensor, "batch children o"]:
        return unfold_children(self.mix(x), self.side)


class Analysis(nn.Module):
    """`g_a`: [B, work, in] at nside / 4 → latents [B, npix / 256, latents].

    Args:
        in_channels: Channels at nside / 4.
        latents: Channels of y.
        widths: Channels at nside / 4 and nside / 8.
    """

    def __init__(
        self, in_channels: int, latents: int, widths: tuple[int, int], config: ModelConfig, pyramid: Pyramid
    ) -> None:
        super().__init__()
        at, (wide, middle) = pyramid.at, widths
        self.layers = nn.Sequential(
            DirectionalConv(in_channels, wide, at[WORK_DEPTH].padding),
            ResidualBlock(wide, at[WORK_DEPTH], config.kinds, config.cheb_order),
            GDN(wide),
            Down(wide, middle, pyramid, WORK_DEPTH),
            ResidualBlock(middle, at[WORK_DEPTH + 1], config.kinds, config.cheb_order),
            ResidualBlock(middle, at[WORK_DEPTH + 1], config.kinds, config.cheb_order),
            GDN(middle),
            Down(middle, latents, pyramid, WORK_DEPTH + 1),
            ResidualBlock(latents, at[LATENT_DEPTH], config.kinds, config.cheb_order),
        )

    def forward(self, x: Float[Tensor, "batch work c"]) -> Float[Tensor, "batch latent m"]:
        return self.layers(x)


class Synthesis(nn.Module):
    """`g_s`: latents → features at nside / 4 → [B, work, out].

    Args:
        latents: Channels of y_hat.
        out_channels: Channels at nside / 4 that come out.
        context_channels: Channels at nside / 4 of something else that the decoder knows (the prediction); 0 for none.
        widths: Channels at nside / 4 and nside / 8.
    """

    def __init__(
        self,
        latents: int,
        out_channels: int,
        context_channels: int,
        widths: tuple[int, int],
        config: ModelConfig,
        pyramid: Pyramid,
    ) -> None:
        super().__init__()
        at, (wide, middle) = pyramid.at, widths
        self.rise = nn.Sequential(
            ResidualBlock(latents, at[LATENT_DEPTH], config.kinds, config.cheb_order),
            Up(latents, middle, pyramid, LATENT_DEPTH),
            GDN(middle, inverse=True),
            ResidualBlock(middle, at[WORK_DEPTH + 1], config.kinds, config.cheb_order),
            ResidualBlock(middle, at[WORK_DEPTH + 1], config.kinds, config.cheb_order),
            Up(middle, wide, pyramid, WORK_DEPTH + 1),
            GDN(wide, inverse=True),
        )
        self.context = ChebConv(context_channels, wide, 1, at[WORK_DEPTH].laplacian) if context_channels else None
        self.strength = QualityBank(wide)
        self.finish = nn.Sequential(
            ResidualBlock(wide, at[WORK_DEPTH], config.kinds, config.cheb_order),
            DirectionalConv(wide, out_channels, at[WORK_DEPTH].padding),
        )

    def forward(
        self,
        y_hat: Float[Tensor, "batch latent m"],
        quality: Float[Tensor, " batch"],
        context: Float[Tensor, "batch work c"] | None = None,
    ) -> Float[Tensor, "batch work o"]:
        features = self.rise(y_hat)
        if self.context is not None:
            assert context is not None
            features = features + self.context(context)
        return self.finish(features * self.strength(quality))
