"""Analysis and synthesis transforms between the signal folded to nside / 4 and latents at nside / 16."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers import GDN, ChebConv, fold_children, unfold_children
from deepsphere_codec.layers.blocks import ResidualBlock, sphere_conv
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.pyramid import LATENT_DEPTH, WORK_DEPTH, Pyramid
from deepsphere_codec.models.quality import Quality, QualityBank, at_depth

FOLDED = 3 * 4**WORK_DEPTH
"""Channels of a three-channel signal that is folded to nside / 4."""


def fold(x: Float[Tensor, "batch npix 3"], pyramid: Pyramid) -> Float[Tensor, "batch work 48"]:
    """Fold the children of two levels into channels, from nside to nside / 4.

    Args:
        x: Signal, [batch, npix, 3].
        pyramid: Operators of the grid and its parents.
    Returns:
        Folded signal, [batch, npix / 16, 48].
    """
    return fold_children(fold_children(x, pyramid.side(0)), pyramid.side(1))


def unfold(x: Float[Tensor, "batch work c"], pyramid: Pyramid) -> Float[Tensor, "batch npix c16"]:
    """Unfold channels into the children of two levels, the inverse of `fold`.

    Args:
        x: Folded signal, [batch, npix / 16, 16 c].
        pyramid: Operators of the grid and its parents.
    Returns:
        Signal, [batch, npix, c].
    """
    return unfold_children(unfold_children(x, pyramid.side(2)), pyramid.side(1))


class Down(nn.Module):
    """Downsampling by two: children folded into channels, then a channel mix.

    Each parent receives its four children as separate channels, so the layer is sensitive to direction.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        pyramid: Operators of the grid and its parents.
        depth: Depth of the input's resolution.
    """

    def __init__(self, in_channels: int, out_channels: int, pyramid: Pyramid, depth: int) -> None:
        super().__init__()
        self.side = pyramid.side(depth)
        self.mix = ChebConv(4 * in_channels, out_channels, 1, pyramid.at[depth + 1].laplacian)

    def forward(self, x: Float[Tensor, "batch npix c"]) -> Float[Tensor, "batch parents o"]:
        """Downsample a signal, [batch, npix, in_channels], to [batch, npix / 4, out_channels]."""
        return self.mix(fold_children(x, self.side))


class Up(nn.Module):
    """Upsampling by two: a channel mix, then channels unfolded into children.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        pyramid: Operators of the grid and its parents.
        depth: Depth of the input's resolution.
    """

    def __init__(self, in_channels: int, out_channels: int, pyramid: Pyramid, depth: int) -> None:
        super().__init__()
        self.side = pyramid.side(depth)
        self.mix = ChebConv(in_channels, 4 * out_channels, 1, pyramid.at[depth].laplacian)

    def forward(self, x: Float[Tensor, "batch npix c"]) -> Float[Tensor, "batch children o"]:
        """Upsample a signal, [batch, npix, in_channels], to [batch, 4 npix, out_channels]."""
        return unfold_children(self.mix(x), self.side)


class BlockAnalysis(nn.Module):
    """Linear transform of blocks of nodes (all descendants of a node at nside / 16), initially a cosine transform.

    It is the linear path in parallel with a transform's layers: training starts from the quality of a block transform
    codec.

    Args:
        basis: Orthonormal columns, [inputs, outputs], see `cosine_basis`. The first inputs / 16 channels of the signal
            at nside / 4 are transformed.
        latents: Channels of the output; those beyond the basis' outputs are initially zero.
        pyramid: Operators of the grid and its parents.
    """

    def __init__(self, basis: Float[Tensor, "i o"], latents: int, pyramid: Pyramid) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.mix = ChebConv(basis.shape[0], latents, 1, pyramid.at[LATENT_DEPTH].laplacian, bias=False)
        self.mix.weight.data.zero_()
        self.mix.weight.data[:, : basis.shape[1]] = basis

    def forward(self, x: Float[Tensor, "batch work c"]) -> Float[Tensor, "batch latent m"]:
        """Transform a signal, [batch, npix / 16, c] at nside / 4, to latents, [batch, npix / 256, latents]."""
        x = x[..., : self.mix.weight.shape[0] // 16]
        return self.mix(fold_children(fold_children(x, self.pyramid.side(WORK_DEPTH)), self.pyramid.side(3)))


class BlockSynthesis(nn.Module):
    """Linear transform of latents to blocks of nodes, initially the transpose of `BlockAnalysis`.

    Args:
        basis: Orthonormal columns, [inputs, outputs], see `cosine_basis`.
        latents: Channels of the latents.
        pyramid: Operators of the grid and its parents.
    """

    def __init__(self, basis: Float[Tensor, "i o"], latents: int, pyramid: Pyramid) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.mix = ChebConv(latents, basis.shape[0], 1, pyramid.at[LATENT_DEPTH].laplacian, bias=False)
        self.mix.weight.data.zero_()
        self.mix.weight.data[: basis.shape[1]] = basis.t()

    def forward(self, y_hat: Float[Tensor, "batch latent m"]) -> Float[Tensor, "batch work c"]:
        """Transform latents, [batch, npix / 256, latents], to a signal, [batch, npix / 16, inputs / 16]."""
        return unfold_children(unfold_children(self.mix(y_hat), self.pyramid.side(LATENT_DEPTH)), self.pyramid.side(3))


def cosine_basis(planes: tuple[float, ...], levels: int, count: int) -> Float[Tensor, "i o"]:
    """Compute the cosine transform of square blocks, sorted by energy, for signals folded `levels` times.

    Args:
        planes: Energy of each plane of the signal, relative to the others.
        levels: Number of levels; blocks are 2^levels nodes wide.
        count: Number of basis functions to keep, of all planes together.
    Returns:
        Orthonormal columns, [inputs, count]; rows in the order of `fold_children` applied `levels` times to [batch,
        npix, planes].
    Source: discrete cosine transform II; energies of a picture whose spectrum falls with the square of the frequency.
    """
    size = 1 << levels
    steps = torch.arange(size, dtype=torch.float64)
    waves = torch.cos(torch.pi / size * (steps[None, :] + 0.5) * steps[:, None]) * (2 / size) ** 0.5
    waves[0] /= 2**0.5
    energy = 1 / (1 + steps[:, None].square() + steps[None, :].square())
    ranked = torch.stack([weight * energy for weight in planes]).flatten().argsort(descending=True, stable=True)
    columns = []
    for place in ranked[:count].tolist():
        plane, frequency = divmod(place, size * size)
        block = torch.zeros(1, size * size, len(planes), dtype=torch.float64)
        block[0, :, plane] = (waves[frequency // size][:, None] * waves[frequency % size][None, :]).flatten()
        for level in range(levels):
            block = fold_children(block, size >> level)
        columns.append(block.flatten())
    return torch.stack(columns, 1).float()


PLANE_ENERGIES = (1.0, 0.08, 0.08)
"""Relative energies of Y, Cb and Cr in the training films times their weights in the loss.

They determine how the latents are divided among the planes."""


class Features(NamedTuple):
    """Features of the prediction at the resolutions below nside / 4, as inputs of the residual's transforms.

    Attributes:
        middle: Features at nside / 8.
        latent: Features at nside / 16.
    """

    middle: Float[Tensor, "batch middle c"]
    latent: Float[Tensor, "batch latent m"]


class ContextFeatures(nn.Module):
    """Network for features of a picture at nside / 8 and nside / 16.

    Args:
        latents: Channels at nside / 16.
        widths: Channels at nside / 4 and nside / 8.
        config: Sizes and options.
        pyramid: Operators of the grid and its parents.
    """

    def __init__(self, latents: int, widths: tuple[int, int], config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        at, (wide, middle) = pyramid.at, widths
        self.stem = sphere_conv(config.stem, FOLDED, wide, at[WORK_DEPTH], config.cheb_order)
        self.to_middle = Down(wide, middle, pyramid, WORK_DEPTH)
        self.to_latent = Down(middle, latents, pyramid, WORK_DEPTH + 1)

    def forward(self, x: Float[Tensor, "batch work 48"]) -> Features:
        """Compute the features of a picture folded to nside / 4, [batch, npix / 16, 48]."""
        middle = F.leaky_relu(self.to_middle(F.leaky_relu(self.stem(x), 0.1)), 0.1)
        return Features(middle, F.leaky_relu(self.to_latent(middle), 0.1))


def _see(channels: int, pyramid: Pyramid, depth: int) -> ChebConv:
    """Channel mix of features; its weights are initially zero, so that it adds nothing before training."""
    mix = ChebConv(channels, channels, 1, pyramid.at[depth].laplacian, bias=False)
    nn.init.zeros_(mix.weight)
    return mix


class Analysis(nn.Module):
    """Analysis transform `g_a`, from a signal at nside / 4 to latents at nside / 16.

    Args:
        in_channels: Channels at nside / 4: first the signal to be coded, then what it is conditioned on.
        latents: Channels of y.
        widths: Channels at nside / 4 and nside / 8.
        basis: Initial linear transform of the signal to be coded, [inputs, outputs], see `BlockAnalysis`.
        config: Sizes and options.
        pyramid: Operators of the grid and its parents.
        sees: Whether `forward` receives features of the prediction.
    """

    def __init__(
        self,
        in_channels: int,
        latents: int,
        widths: tuple[int, int],
        basis: Float[Tensor, "i o"],
        config: ModelConfig,
        pyramid: Pyramid,
        sees: bool = False,
    ) -> None:
        super().__init__()
        at, (wide, middle) = pyramid.at, widths
        self.straight = BlockAnalysis(basis, latents, pyramid)
        self.layers = nn.Sequential(
            sphere_conv(config.stem, in_channels, wide, at[WORK_DEPTH], config.cheb_order),
            ResidualBlock(wide, at[WORK_DEPTH], config.kinds, config.cheb_order),
            GDN(wide),
            Down(wide, middle, pyramid, WORK_DEPTH),
            ResidualBlock(middle, at[WORK_DEPTH + 1], config.kinds, config.cheb_order),
            ResidualBlock(middle, at[WORK_DEPTH + 1], config.kinds, config.cheb_order),
            GDN(middle),
            Down(middle, latents, pyramid, WORK_DEPTH + 1),
        )
        nn.init.zeros_(self.layers[-1].mix.weight)  # type: ignore[arg-type, union-attr]
        if sees:
            self.see_middle = _see(middle, pyramid, WORK_DEPTH + 1)

    def forward(
        self, x: Float[Tensor, "batch work c"], features: Features | None = None
    ) -> Float[Tensor, "batch latent m"]:
        """Compute latents.

        Args:
            x: Signal at nside / 4, [batch, npix / 16, in_channels].
            features: Features of the prediction, if `sees`.
        Returns:
            Latents, [batch, npix / 256, latents].
        """
        y = self.layers[:4](x)
        if features is not None:
            y = y + self.see_middle(features.middle)
        return self.straight(x) + self.layers[4:](y)


class Synthesis(nn.Module):
    """Synthesis transform `g_s`, from latents at nside / 16 to a signal at nside / 4.

    The result of the linear path is also an input of the last layers (`finish`), which reduce blocking artefacts like a
    loop filter.

    Args:
        latents: Channels of y_hat.
        context_channels: Channels at nside / 4 of additional information that the decoder has (the prediction); 0 for
            none.
        widths: Channels at nside / 4 and nside / 8.
        basis: Transpose of the initial linear transform, [inputs, outputs], see `BlockSynthesis`.
        config: Sizes and options.
        pyramid: Operators of the grid and its parents.
        sees: Whether `forward` receives features of the prediction.
    """

    def __init__(
        self,
        latents: int,
        context_channels: int,
        widths: tuple[int, int],
        basis: Float[Tensor, "i o"],
        config: ModelConfig,
        pyramid: Pyramid,
        sees: bool = False,
    ) -> None:
        super().__init__()
        at, (wide, middle) = pyramid.at, widths
        self.pyramid = pyramid
        out_channels = basis.shape[0] // 16
        self.straight = BlockSynthesis(basis, latents, pyramid)
        self.rise = nn.Sequential(
            ResidualBlock(latents, at[LATENT_DEPTH], config.kinds, config.cheb_order),
            Up(latents, middle, pyramid, LATENT_DEPTH),
            GDN(middle, inverse=True),
            ResidualBlock(middle, at[WORK_DEPTH + 1], config.kinds, config.cheb_order),
            ResidualBlock(middle, at[WORK_DEPTH + 1], config.kinds, config.cheb_order),
            Up(middle, wide, pyramid, WORK_DEPTH + 1),
            GDN(wide, inverse=True),
        )
        self.context = ChebConv(out_channels + context_channels, wide, 1, at[WORK_DEPTH].laplacian)
        self.strength = QualityBank(wide)
        self.finish = nn.Sequential(
            ResidualBlock(wide, at[WORK_DEPTH], config.kinds, config.cheb_order),
            sphere_conv(config.stem, wide, out_channels, at[WORK_DEPTH], config.cheb_order),
        )
        nn.init.zeros_(self.finish[-1].weight)  # type: ignore[arg-type]
        if sees:
            self.see_latent = _see(latents, pyramid, LATENT_DEPTH)
            self.see_middle = _see(middle, pyramid, WORK_DEPTH + 1)

    def forward(
        self,
        y_hat: Float[Tensor, "batch latent m"],
        quality: Quality,
        context: Float[Tensor, "batch work c"] | None = None,
        features: Features | None = None,
    ) -> Float[Tensor, "batch work o"]:
        """Compute the signal.

        Args:
            y_hat: Decoded latents, [batch, npix / 256, latents].
            quality: Quality of each picture, [batch], or of its blocks, [batch, blocks].
            context: Additional information, [batch, npix / 16, context_channels]; None for none.
            features: Features of the prediction, if `sees`.
        Returns:
            Signal at nside / 4, [batch, npix / 16, inputs / 16].
        """
        straight = self.straight(y_hat)
        seen = straight if context is None else torch.cat([straight, context], -1)
        if features is None:
            rising = self.rise(y_hat)
        else:
            rising = self.rise[:2](y_hat + self.see_latent(features.latent))
            rising = self.rise[2:](rising + self.see_middle(features.middle))
        rising = rising + self.context(seen)
        return straight + self.finish(rising * at_depth(self.strength(quality), self.pyramid, WORK_DEPTH))
