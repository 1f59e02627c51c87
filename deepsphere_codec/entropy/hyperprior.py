"""The scale hyperprior on the sphere, with entropy parameters that every machine computes alike."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from deepsphere_codec.entropy.backend import EntropyBottleneck, GaussianConditional
from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter, Tables
from deepsphere_codec.entropy.exact import ExactConv, round_straight
from deepsphere_codec.layers import ChebConv, fold_children, unfold_children
from deepsphere_codec.layers.blocks import Resolution

LEVELS = 64
SCALE_MIN, SCALE_MAX = 0.04, 64.0
_LOG_STEP = math.log(SCALE_MAX / SCALE_MIN) / (LEVELS - 1)
SKIP_LEVEL = math.floor(math.log(0.12 / SCALE_MIN) / _LOG_STEP)
"""Latents of a level up to this one (scale ≤ 0.12: one in 30,000 is not zero) are not coded at all."""
HYPER_LIMIT = 63


class Rate(NamedTuple):
    """Estimated bits of a batch, summed over all of it."""

    latents: Tensor
    hyper: Tensor


class ScaleHyperprior(nn.Module):
    """Codes latents y with a zero-mean Gaussian whose scale comes from side information z, two levels coarser.

    `h_a` is a float network and runs in the encoder only; `h_s` is made of integers from z to the row of the scale
    table (architecture.md, decision 7).

    Args:
        channels: Channels of y.
        hyper_channels: Channels of z.
        hidden: Width of both networks.
        fine, middle, coarse: Resolutions of y, between, and of z.
    Source: Ballé et al., ICLR 2018; integer networks after Ballé et al., ICLR 2019.
    """

    def __init__(
        self,
        channels: int,
        hyper_channels: int,
        hidden: int,
        fine: Resolution,
        middle: Resolution,
        coarse: Resolution,
    ) -> None:
        super().__init__()
        self.sides = fine.side, middle.side, coarse.side
        self.nodes = coarse.laplacian.npix
        self.h_a = nn.ModuleList(
            [
                ChebConv(channels, hidden, 2, fine.laplacian),
                ChebConv(4 * hidden, hidden, 2, middle.laplacian),
                ChebConv(4 * hidden, hyper_channels, 1, coarse.laplacian),
            ]
        )
        self.h_s = nn.ModuleList(
            [
                ExactConv(hyper_channels, 4 * hidden, gain=12.0, bias=12.0),
                ExactConv(hidden, hidden, middle.padding, gain=1.4, bias=4.0),
                ExactConv(hidden, 4 * hidden, gain=1.4, bias=4.0),
                ExactConv(hidden, channels, fine.padding, LEVELS - 1, gain=0.3, bias=20.0),
            ]
        )
        self.prior = EntropyBottleneck(hyper_channels, init_scale=4)
        self.conditional = GaussianConditional(None, scale_bound=SCALE_MIN)
        for name in ("z", "y"):
            self.register_buffer(f"{name}_cdf", torch.zeros(0, 0, dtype=torch.int32))
            self.register_buffer(f"{name}_length", torch.zeros(0, dtype=torch.int32))
            self.register_buffer(f"{name}_offset", torch.zeros(0, dtype=torch.int32))

    def hyper_latents(self, y: Float[Tensor, "batch npix m"]) -> Float[Tensor, "batch coarse c"]:
        """z before rounding."""
        h = F.leaky_relu(self.h_a[0](y.abs()), 0.1)
        h = F.leaky_relu(self.h_a[1](fold_children(h, self.sides[0])), 0.1)
        return self.h_a[2](fold_children(h, self.sides[1]))

    def levels(self, z_hat: Float[Tensor, "batch coarse c"]) -> Float[Tensor, "batch npix m"]:
        """Row of the scale table for every latent, whole numbers; exact for float64 whole numbers."""
        a = z_hat.clamp(-HYPER_LIMIT, HYPER_LIMIT)
        a = unfold_children(self.h_s[0](a), self.sides[2])
        a = unfold_children(self.h_s[2](self.h_s[1](a)), self.sides[1])
        return self.h_s[3](a)

    def forward(self, y: Float[Tensor, "batch npix m"], straight: bool = False) -> tuple[Tensor, Rate]:
        """Training: rounded latents with straight-through gradients, and the estimated rate.

        Args:
            straight: Rate of the rounded latents, which is what will be written, instead of noisy ones. Not to train
                with: its gradient vanishes at zero and the rate runs away (0.5 to 1.8 bits a node in 6000 steps).
        """
        z = self.hyper_latents(y)
        _, p_z = self.prior(z.permute(0, 2, 1))
        level = self.levels(round_straight(z))
        scale = SCALE_MIN * torch.exp(_LOG_STEP * level)
        y_hat = round_straight(y)
        if straight:
            _, p_y = self.conditional(y_hat, scale, training=False)
        else:
            _, p_y = self.conditional(y, scale)
        return y_hat, Rate(-p_y.log2().sum(), -p_z.log2().sum())

    @torch.no_grad()
    def write(self, y: Float[Tensor, "1 npix m"], writer: SymbolWriter) -> Float[Tensor, "1 npix m"]:
        """Code y; returns the y_hat that the decoder will have."""
        z_hat = self.hyper_latents(y).round().clamp(-HYPER_LIMIT, HYPER_LIMIT)
        writer.write(z_hat.flatten().long(), self._hyper_rows(), self._tables("z"))
        coded, rows = self._rows(z_hat)
        symbols = y.detach().round().flatten()[coded].long()
        writer.write(symbols, rows, self._tables("y"))
        return self._scatter(symbols, coded, y)

    @torch.no_grad()
    def read(self, reader: SymbolReader, like: Float[Tensor, "1 npix m"]) -> Float[Tensor, "1 npix m"]:
        """Decode y_hat; `like` gives its shape and type."""
        rows = self._hyper_rows()
        z_hat = reader.read(rows, self._tables("z")).view(1, self.nodes, -1)
        coded, rows = self._rows(z_hat)
        return self._scatter(reader.read(rows, self._tables("y")), coded, like)

    def _hyper_rows(self) -> Int[Tensor, " n"]:
        channels = self.prior.channels
        return torch.arange(channels).repeat(self.nodes)

    def _rows(self, z_hat: Tensor) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
        """Which latents are coded, and by which row of the table."""
        device = next(self.h_s.parameters()).device
        level = self.levels(z_hat.to(device, torch.float64)).long().flatten().cpu()
        coded = (level > SKIP_LEVEL).nonzero().flatten()
        return coded, level[coded]

    @staticmethod
    def _scatter(symbols: Tensor, coded: Tensor, like: Tensor) -> Tensor:
        y_hat = torch.zeros(like.numel(), dtype=like.dtype)
        y_hat[coded.cpu()] = symbols.to(like.dtype).cpu()
        return y_hat.view(like.shape).to(like.device)

    def _tables(self, name: str) -> Tables:
        tables = Tables(*(getattr(self, f"{name}_{part}") for part in ("cdf", "length", "offset")))
        assert tables.cdf.numel(), "the tables are not built: call build_tables() after training"
        return tables

    @torch.no_grad()
    def build_tables(self) -> None:
        """Freeze the distributions into integer tables, once, after training; they are saved with the weights."""
        self.prior.update(force=True, update_quantiles=True)
        # z is rounded to whole numbers without a median: sample the density there.
        self.prior.quantiles[:, 0, 1] = self.prior.quantiles[:, 0, 1].round()
        self.prior.update(force=True)
        median = self.prior.quantiles[:, 0, 1].int()
        self.conditional.update_scale_table([SCALE_MIN * math.exp(_LOG_STEP * i) for i in range(LEVELS)], force=True)
        found = {
            "z": (self.prior.quantized_cdf, self.prior.cdf_length, self.prior.offset + median),
            "y": (self.conditional.quantized_cdf, self.conditional.cdf_length, self.conditional.offset),
        }
        for name, parts in found.items():
            for part, value in zip(("cdf", "length", "offset"), parts, strict=True):
                setattr(self, f"{name}_{part}", value.int().clone())
