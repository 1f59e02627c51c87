"""The mean-scale hyperprior on the sphere, with a memory, and entropy parameters that every machine computes alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from deepsphere_codec.entropy.backend import EntropyBottleneck, GaussianConditional
from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter, Tables
from deepsphere_codec.entropy.exact import ACTIVATION_LIMIT, ExactConv, round_straight
from deepsphere_codec.layers import ChebConv, fold_children, unfold_children, unpool
from deepsphere_codec.layers.blocks import Resolution

LEVELS = 64
SCALE_MIN, SCALE_MAX = 0.04, 64.0
_LOG_STEP = math.log(SCALE_MAX / SCALE_MIN) / (LEVELS - 1)
SKIP_LEVEL = math.floor(math.log(0.12 / SCALE_MIN) / _LOG_STEP)
"""Latents of a level up to this one (scale ≤ 0.12: one in 30,000 is not the mean) are not coded at all."""
HYPER_LIMIT = 63
FINE = 16
"""Means, and hence decoded latents, are multiples of 1 / FINE; networks of integers see them times FINE."""
MEAN_LIMIT = 64 * FINE - 1
_WHOLE_LIMIT = 2**20  # float32 holds its multiples of 1 / FINE; no honest latent comes near


Coding = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Level and mean of some nodes' latents, and which nodes these are → their symbols; all [nodes, m] in float64."""


class Place(Protocol):
    """What tells where nodes lie."""

    level: Tensor


class Rate(NamedTuple):
    """Estimated bits, summed over channels."""

    latents: Float[Tensor, "batch npix"]
    hyper: Float[Tensor, "batch coarse"]

    @property
    def bits(self) -> Float[Tensor, ""]:
        """Of all of the batch."""
        return self.latents.sum() + self.hyper.sum()


class Parameters(NamedTuple):
    """Of each latent's distribution, whole numbers: row of the scale table, and FINE times the mean."""

    level: Float[Tensor, "batch npix m"]
    mean: Float[Tensor, "batch npix m"]


class Hyperprior(nn.Module):
    """Codes latents y with a Gaussian whose mean and scale come from what the decoder knows already.

    That is: side information z, two levels coarser; a memory of latents decoded before (the frame before's); and, for
    the second half of the nodes (a checkerboard), the first half. `h_a` is a float network and runs in the encoder
    only; from z, memory and first half to means and scales everything is integers (architecture.md, decision 7).

    Args:
        channels: Channels of y.
        hyper_channels: Channels of z.
        hidden: Width of all networks.
        memory_channels: Channels of the memory, 0 for none.
        fine, middle, coarse: Resolutions of y, between, and of z.
        places: On a plane, what tells the latitude of y's nodes and of z's, `level` of each in whole numbers: to `h_a`,
            to `h_s` and to the parameters, as in NVC360 (Regensky et al., ICCV 2025). None to tell nothing.
    Source: Minnen et al., NeurIPS 2018; checkerboard of He et al., CVPR 2021; integer networks after Ballé et al.,
        ICLR 2019.
    """

    anchors: Tensor

    def __init__(
        self,
        channels: int,
        hyper_channels: int,
        hidden: int,
        memory_channels: int,
        fine: Resolution,
        middle: Resolution,
        coarse: Resolution,
        places: tuple[Place, Place] | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.places = nn.ModuleList(cast(tuple[nn.Module, ...], places or ()))
        told = 1 if places else 0
        self.sides = fine.side, middle.side, coarse.side
        self.nodes = coarse.laplacian.npix
        self.h_a = nn.ModuleList(
            [
                ChebConv(channels + told, hidden, 2, fine.laplacian),
                ChebConv(4 * hidden, hidden, 2, middle.laplacian),
                ChebConv(4 * hidden, hyper_channels, 1, coarse.laplacian),
            ]
        )
        self.h_s = nn.ModuleList(
            [
                ExactConv(hyper_channels + told, 4 * hidden, gain=12.0, bias=12.0),
                ExactConv(hidden, hidden, middle.padding, gain=1.4, bias=4.0),
                ExactConv(hidden, 4 * hidden, gain=1.4, bias=4.0),
                ExactConv(hidden, hidden, fine.padding, gain=1.4, bias=4.0),
            ]
        )
        self.recall = ExactConv(memory_channels, hidden, gain=0.7, bias=8.0) if memory_channels else None
        self.beside = ExactConv(channels, hidden, fine.padding, gain=0.7, bias=8.0)
        known = hidden * (3 if memory_channels else 2) + told
        self.join = ExactConv(known, 2 * hidden, gain=1.4, bias=4.0)
        self.level = ExactConv(2 * hidden, channels, limit=LEVELS - 1, gain=0.3, bias=20.0)
        self.mean = ExactConv(2 * hidden, channels, limit=MEAN_LIMIT, low=-MEAN_LIMIT, gain=0.02)
        self.prior = EntropyBottleneck(hyper_channels, init_scale=4)
        self.conditional = GaussianConditional(None, scale_bound=SCALE_MIN)
        self.register_buffer("anchors", _checkerboard(fine), persistent=False)
        for name in ("z", "y"):
            self.register_buffer(f"{name}_cdf", torch.zeros(0, 0, dtype=torch.int32))
            self.register_buffer(f"{name}_length", torch.zeros(0, dtype=torch.int32))
            self.register_buffer(f"{name}_offset", torch.zeros(0, dtype=torch.int32))

    def hyper_latents(self, y: Float[Tensor, "batch npix m"]) -> Float[Tensor, "batch coarse c"]:
        """z before rounding."""
        h = F.leaky_relu(self.h_a[0](self._placed(y.abs(), 0)), 0.1)
        h = F.leaky_relu(self.h_a[1](fold_children(h, self.sides[0])), 0.1)
        return self.h_a[2](fold_children(h, self.sides[1]))

    def known(
        self, z_hat: Float[Tensor, "batch coarse c"], memory: Float[Tensor, "batch npix r"] | None
    ) -> Float[Tensor, "batch npix h"]:
        """What is known before any of y is: integers, exact for float64."""
        a = z_hat.clamp(-HYPER_LIMIT, HYPER_LIMIT)
        a = unfold_children(self.h_s[0](self._placed(a, 1)), self.sides[2])
        a = self.h_s[3](unfold_children(self.h_s[2](self.h_s[1](a)), self.sides[1]))
        if self.recall is not None:
            assert memory is not None
            a = torch.cat([a, self.recall(memory.to(a.dtype))], -1)
        return self._placed(a, 0)

    def _placed(self, a: Float[Tensor, "batch n c"], which: int) -> Float[Tensor, "batch n d"]:
        """With the latitude as one channel more, where it is told; 0 for y's nodes, 1 for z's."""
        if not len(self.places):
            return a
        return torch.cat([a, cast(Place, self.places[which]).level.to(a).expand(len(a), -1, -1)], -1)

    def parameters_of(self, known: Float[Tensor, "batch npix h"], fine: Float[Tensor, "batch npix m"]) -> Parameters:
        """Means and scales, given FINE times the latents decoded so far (0 where none is)."""
        a = self.beside(fine.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT))
        a = self.join(torch.cat([known, a], -1))
        return Parameters(self.level(a), self.mean(a))

    def forward(
        self, y: Float[Tensor, "batch npix m"], memory: Tensor | None = None, straight: bool = False
    ) -> tuple[Tensor, Rate]:
        """Training: decoded latents with straight-through gradients, and the estimated rate.

        Args:
            memory: Integers, [B, npix, memory_channels].
            straight: Rate of the rounded latents, which is what will be written, instead of noisy ones. Not to train
                with: its gradient vanishes at zero and the rate runs away (0.5 to 1.8 bits a node in 6000 steps).
        """
        z = self.hyper_latents(y)
        _, p_z = self.prior(z.permute(0, 2, 1))
        known = self.known(round_straight(z), memory)
        first = self.parameters_of(known, torch.zeros_like(y))
        anchors = self.anchors[:, None]
        decoded = self._rounded(y, first.mean).detach() * anchors
        second = self.parameters_of(known, FINE * decoded)
        level, mean = (torch.where(anchors, a, b) for a, b in zip(first, second, strict=True))
        scale, mean = SCALE_MIN * torch.exp(_LOG_STEP * level), mean / FINE
        y_hat = self._rounded(y, FINE * mean)
        if straight:
            _, p_y = self.conditional(y_hat, scale, mean, training=False)
        else:
            _, p_y = self.conditional(y, scale, mean)
        return y_hat, Rate(-p_y.log2().sum(-1), -p_z.log2().sum(1))

    @torch.no_grad()
    def write(
        self,
        y: Float[Tensor, "1 npix m"],
        writer: SymbolWriter,
        memory: Tensor | None = None,
        coded: Bool[Tensor, " coarse"] | None = None,
    ) -> Float[Tensor, "1 npix m"]:
        """Code y; returns the y_hat that the decoder will have.

        Args:
            coded: The nodes of z below which y is coded, elsewhere it is zero; None for all.
        """
        coded = self._all_coded if coded is None else coded
        z_hat = self.hyper_latents(y).round().clamp(-HYPER_LIMIT, HYPER_LIMIT) * coded[:, None].to(y.device)
        writer.write(z_hat[0, coded].flatten().long(), self._hyper_rows(coded), self._tables("z"))
        tables = self._tables("y")

        def code(level: Tensor, mean: Tensor, where: Tensor) -> Tensor:
            coded = level > SKIP_LEVEL
            symbols, rows = torch.zeros_like(level), level[coded].long()
            # The nearest; preferring cheaper ones gained nothing (12 % fewer bits for 0.4 dB, which lies on the curve).
            symbols[coded] = (
                (y[0, where].double().cpu() - mean / FINE)[coded].round().clamp(-_WHOLE_LIMIT, _WHOLE_LIMIT)
            )
            writer.write(symbols[coded].long(), rows, tables)
            return symbols

        return self._in_two_steps(z_hat, memory, code, coded).to(y)

    @torch.no_grad()
    def read(
        self,
        reader: SymbolReader,
        like: Tensor,
        memory: Tensor | None = None,
        coded: Bool[Tensor, " coarse"] | None = None,
    ) -> Float[Tensor, "1 npix m"]:
        """Decode y_hat; `like` gives its device and type."""
        coded = self._all_coded if coded is None else coded
        rows = self._hyper_rows(coded)
        reader.expect(self.most_symbols)
        z_hat = rows.new_zeros(1, self.nodes, self.prior.channels)
        z_hat[0, coded] = reader.read(rows, self._tables("z")).view(-1, self.prior.channels)
        tables = self._tables("y")

        def decode(level: Tensor, mean: Tensor, where: Tensor) -> Tensor:
            coded = level > SKIP_LEVEL
            symbols = torch.zeros_like(level)
            symbols[coded] = reader.read(level[coded].long(), tables).double().clamp(-_WHOLE_LIMIT, _WHOLE_LIMIT)
            return symbols

        return self._in_two_steps(z_hat, memory, decode, coded).to(like)

    def _in_two_steps(
        self, z_hat: Tensor, memory: Tensor | None, code: Coding, coded: Bool[Tensor, " coarse"]
    ) -> Float[Tensor, "1 npix m"]:
        """Have the symbols of both halves coded, in float64 on the CPU; returns the decoded latents."""
        device = self.anchors.device
        known = self.known(z_hat.to(device, torch.float64), None if memory is None else memory.to(device))
        fine = known.new_zeros(1, known.shape[1], self.channels)
        kept = self.below(coded).to(device)
        for where in (self.anchors & kept, ~self.anchors & kept):
            level, mean = (part[0, where].cpu() for part in self.parameters_of(known, fine))
            fine[0, where] = (FINE * code(level, mean, where) + mean).to(device)
        return fine / FINE

    @staticmethod
    def _rounded(y: Tensor, mean: Tensor) -> Tensor:
        """y to the nearest whole step from its mean (given times FINE), with y's gradient."""
        shift = mean.detach() / FINE
        return round_straight(y - shift) + shift

    @property
    def most_symbols(self) -> int:
        """Largest number of symbols of one picture, its hyper-latents included."""
        return self.nodes * self.prior.channels + len(self.anchors) * self.channels

    def below(self, coarse: Bool[Tensor, " coarse"]) -> Bool[Tensor, " npix"]:
        """Flags of nodes of z, for the nodes of y below them."""
        _, middle, top = self.sides
        return unpool(unpool(coarse[None, :, None], top), middle)[0, :, 0]

    @property
    def _all_coded(self) -> Bool[Tensor, " coarse"]:
        return torch.ones(self.nodes, dtype=torch.bool)

    def _hyper_rows(self, coded: Bool[Tensor, " coarse"]) -> Int[Tensor, " n"]:
        return torch.arange(self.prior.channels).repeat(int(coded.sum()))

    def _tables(self, name: str) -> Tables:
        tables = Tables(*(getattr(self, f"{name}_{part}") for part in ("cdf", "length", "offset")))
        assert tables.cdf.numel(), "the tables are not built: call build_tables() after training"
        return tables

    def check_tables(self) -> None:
        """Raise ValueError unless the tables are such as `build_tables` makes: the coder would trust any."""
        for name, rows in (("z", self.prior.channels), ("y", LEVELS)):
            Tables(*(getattr(self, f"{name}_{part}") for part in ("cdf", "length", "offset"))).check(name, rows)

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


def _checkerboard(at: Resolution) -> Bool[Tensor, " npix"]:
    """Every other node of each face, as on a chessboard."""
    index = torch.arange(at.laplacian.npix)
    return (index % at.side + index // at.side) % 2 == 0
