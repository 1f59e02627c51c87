"""The mean-scale hyperprior on the sphere, whose parameters every machine computes alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Int8, Int32
from torch import Tensor, nn

from deepsphere_codec.entropy.backend import GaussianConditional
from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter, Tables, bits_of
from deepsphere_codec.entropy.exact import ACTIVATION_LIMIT, ExactConv, round_straight, with_gradient_of
from deepsphere_codec.layers import ChebConv, fold_children, unfold_children, unpool
from deepsphere_codec.layers.blocks import Resolution
from deepsphere_codec.layers.padding import Padding
from deepsphere_codec.layers.pick import pick

LEVELS = 64
SCALE_MIN, SCALE_MAX = 0.04, 64.0
_LOG_STEP = math.log(SCALE_MAX / SCALE_MIN) / (LEVELS - 1)
SKIP_LEVEL = math.floor(math.log(0.12 / SCALE_MIN) / _LOG_STEP)
"""Latents of a level up to this one (scale ≤ 0.12: one in 30,000 is not the mean) are not coded at all."""
FINE = 16
"""Means, and hence decoded latents, are multiples of 1 / FINE; networks of integers see them times FINE."""
MEAN_LIMIT = 64 * FINE - 1
SLICES = (1 / 16, 3 / 16, 1 / 4, 1 / 2)
"""Shares of the channels of y, coded one slice after the other: few of much energy first."""
EMBEDDED = 64
"""Channels that tell of the decoded latents of a slice."""
_HYPER_WIDTH = 64
_WHOLE_LIMIT = 2**20  # float32 holds its multiples of 1 / FINE; no honest latent comes near


Coding = Callable[[Int32[Tensor, "n c"], Int32[Tensor, "n c"], Int[Tensor, " n"]], Int[Tensor, "n c"]]
"""Level and mean of some nodes' latents (on the CPU), and which nodes these are → their symbols."""
Put = Callable[[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, " n"]], None]
"""Takes symbols that are coded, their rows of the scale table, and their nodes."""


class Rate(NamedTuple):
    """Estimated bits, summed over channels."""

    latents: Float[Tensor, "batch npix"]
    hyper: Float[Tensor, "batch coarse"]

    @property
    def bits(self) -> Float[Tensor, ""]:
        """Of all of the batch."""
        return self.latents.sum() + self.hyper.sum()


class Parameters(NamedTuple):
    """Whole numbers of each latent's distribution: row of the scale table, and FINE times the mean."""

    level: Tensor
    mean: Tensor


def digits(fine: Tensor) -> Tensor:
    """Decoded latents times FINE as numbers of 8 bits: precisely where they are small, and rounded to whole latents.

    Args:
        fine: Whole numbers, [batch, nodes, c]; int32, or floating-point ones in training.
    Returns:
        [batch, nodes, 2 c], int8 for int32.
    """
    near = fine.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
    if fine.dtype == torch.int32:
        far = ((fine + FINE // 2) >> 4).clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        return torch.cat([near, far], -1).to(torch.int8)
    latents = fine / FINE
    far = (latents + 0.5).floor().clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
    return torch.cat([near, with_gradient_of(far, latents)], -1)


class Steps(NamedTuple):
    """Groups of nodes that are coded one after the other.

    Attributes:
        nodes: Numbers of the nodes of each group; together all nodes.
        order: Where each node is in the groups, one behind the other.
        wide: The number of groups, the first ones, whose nodes look at neighbours one parent away.
    """

    nodes: tuple[Int[Tensor, " n"], ...]
    order: Int[Tensor, " nodes"]
    wide: int = 0

    @classmethod
    def of(cls, groups: Sequence[Bool[Tensor, " nodes"]], wide: int = 0) -> Steps:
        """Steps of groups that are given as flags of the nodes."""
        nodes = tuple(group.nonzero()[:, 0] for group in groups)
        return cls(nodes, torch.cat(nodes).argsort(), wide)

    def whole(self, values: Sequence[Float[Tensor, "batch n c"]]) -> Float[Tensor, "batch nodes c"]:
        """Put values of the groups together; zeros for groups that have none yet."""
        missing = sum(len(nodes) for nodes in self.nodes[len(values) :])
        nothing = values[0].new_zeros(len(values[0]), missing, values[0].shape[2])
        return pick(torch.cat([*values, nothing], 1), self.order)


class SliceParameters(nn.Module):
    """Level and mean of some channels: from what is known, the channels decoded before them, and the nodes beside.

    Nodes are decoded in steps, say one half of a checkerboard and then the other; what tells of those that are decoded
    is known to the nodes after them.

    Args:
        channels: Channels of the slice.
        before: Channels that tell of the slices before it.
        known: Channels of what is known before any latent is.
        hidden: Width.
        padding: Of the nodes' resolution.
        wide_padding: Of their parents' resolution, for steps whose nodes look at neighbours one parent away; None where
            there are no such steps.
    """

    def __init__(
        self,
        channels: int,
        before: int,
        known: int,
        hidden: int,
        padding: Padding,
        wide_padding: Padding | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.wide = None if wide_padding is None else ExactConv(EMBEDDED, hidden, wide_padding, gain=1.4, bias=4.0)
        self.embed = ExactConv(2 * channels, EMBEDDED, gain=0.7, bias=8.0)
        self.around = ExactConv(before + EMBEDDED, hidden, padding, gain=1.4, bias=4.0)
        self.join = ExactConv(known + hidden, hidden, gain=1.4, bias=4.0)
        self.level = ExactConv(hidden, channels, limit=LEVELS - 1, gain=0.3, bias=20.0)
        self.mean = ExactConv(hidden, channels, limit=MEAN_LIMIT, low=-MEAN_LIMIT, gain=0.02)

    def forward(
        self,
        known: Tensor,
        seen: Tensor,
        where: Int[Tensor, " n"] | None = None,
        among: Int[Tensor, " parents"] | None = None,
    ) -> Parameters:
        """Parameters at some nodes, or at all.

        Args:
            known: [batch, nodes, known].
            seen: What tells of decoded latents, [batch, nodes, before + EMBEDDED]; zeros of those that are not yet.
            where: Numbers of these nodes, increasing; None for all.
            among: Numbers of the nodes that neighbours are looked for among, the first child of each parent; None for
                all nodes.
        """
        if among is None:
            around = self.around(seen, where)
        else:
            assert self.wide is not None and where is not None
            around = self.wide(seen[:, among], torch.searchsorted(among, where))
        a = self.join(torch.cat([known if where is None else known[:, where], around], -1))
        return Parameters(self.level(a), self.mean(a))

    def trained(
        self,
        y: Float[Tensor, "batch nodes c"],
        known: Tensor,
        seen: Sequence[Tensor],
        steps: Steps,
        last: bool,
        among: Int[Tensor, " parents"],
    ) -> tuple[Parameters, Tensor, Tensor]:
        """Training: parameters and decoded latents of all nodes, and what tells of them.

        The same as `forward` for one step after the other. Sums over channels that several know are computed once.

        Args:
            seen: What tells of the slices before this one.
            last: Whether nothing comes after this slice: of its last step nothing is told then.
            among: Numbers of the nodes that wide steps look for neighbours among.
        """
        before, added = len(seen) * EMBEDDED, 0
        own = self.join.total(known)
        around = self.around.total(torch.cat([*seen], -1)) if seen else y.new_zeros(1, y.shape[1], 1)
        parameters: list[Parameters] = []
        decoded: list[Tensor] = []
        told: list[Tensor] = []
        for number, where in enumerate(steps.nodes):
            if number < steps.wide:
                assert self.wide is not None
                near = self.wide.total(pick(steps.whole(told), among)) if told else y.new_zeros(1, len(among), 1)
                beside = self.wide.activated(pick(near, torch.searchsorted(among, where)))
            else:
                if told:
                    news = [torch.zeros_like(each) for each in told[:added]] + told[added:]
                    around, added = around + self.around.total(steps.whole(news), before), len(told)
                beside = self.around.activated(pick(around, where))
            a = self.join.activated(pick(own, where) + self.join.total(beside, known.shape[-1]))
            parameters.append(Parameters(self.level(a), self.mean(a)))
            decoded.append(_rounded(pick(y, where), parameters[-1].mean))
            if not (last and number == len(steps.nodes) - 1):
                told.append(self.embed(digits(FINE * decoded[-1].detach())))
        level, mean = (steps.whole(values) for values in zip(*parameters, strict=True))
        return Parameters(level, mean), steps.whole(decoded), steps.whole(told)


class Hyperprior(nn.Module):
    """Codes latents y with Gaussians whose means and scales come from what the decoder knows already.

    That is: a context, from frames before and from the motion; side information z, two levels coarser; the slices of
    channels decoded before; and, for the second half of the nodes (a checkerboard), the first half. z itself is coded
    the same way, knowing the context. `h_a` is a float network and runs in the encoder only; from context, z and
    latents to means and scales everything is integers (architecture.md, decision 7).

    Args:
        channels: Channels of y.
        hyper_channels: Channels of z.
        hidden: Width of the networks.
        context_channels: Channels of the context.
        fine, middle, coarse: Resolutions of y, between, and of z.
        shares: Of the slices in the channels of y.
        lead_steps: Steps of the first slice: 2; 3, with every fourth node first and the rest of its half after that; or
            5, where these come in three steps in turn, which look at neighbours one parent away.
    Source: Minnen et al., NeurIPS 2018; checkerboard of He et al., CVPR 2021; slices of He et al. (ELIC), CVPR 2022;
        several steps: Li et al. (DCVC-DC), CVPR 2023; integer networks after Ballé et
        al., ICLR 2019.
    """

    anchors: Tensor
    early: Tensor
    first_children: Tensor
    hyper_anchors: Tensor

    def __init__(
        self,
        channels: int,
        hyper_channels: int,
        hidden: int,
        context_channels: int,
        fine: Resolution,
        middle: Resolution,
        coarse: Resolution,
        shares: Sequence[float] = SLICES,
        lead_steps: int = 2,
    ) -> None:
        super().__init__()
        self.channels, self.hyper_channels, self.lead_steps = channels, hyper_channels, lead_steps
        self.sizes = slice_sizes(channels, shares)
        self.sides = fine.side, middle.side, coarse.side
        self.nodes = coarse.laplacian.npix
        self.h_a = nn.ModuleList(
            [
                ChebConv(channels, hidden, 2, fine.laplacian),
                ChebConv(4 * hidden, hidden, 2, middle.laplacian),
                ChebConv(4 * hidden, hyper_channels, 1, coarse.laplacian),
            ]
        )
        self.recall = ExactConv(context_channels, hidden, gain=0.7, bias=8.0)
        width = min(hidden, _HYPER_WIDTH)
        self.up = nn.ModuleList(
            [
                ExactConv(4 * hidden, width, gain=1.4, bias=4.0),
                ExactConv(4 * width, width, gain=1.4, bias=4.0),
            ]
        )
        self.hyper = SliceParameters(hyper_channels, 0, width, width, coarse.padding)
        self.h_s = nn.ModuleList(
            [
                ExactConv(2 * hyper_channels, 4 * hidden, gain=1.0, bias=12.0),
                ExactConv(hidden, hidden, middle.padding, gain=1.4, bias=4.0),
                ExactConv(hidden, 4 * hidden, gain=1.4, bias=4.0),
                ExactConv(hidden, hidden, fine.padding, gain=1.4, bias=4.0),
            ]
        )
        self.slices = nn.ModuleList(
            [
                SliceParameters(
                    count,
                    number * EMBEDDED,
                    2 * hidden,
                    hidden,
                    fine.padding,
                    middle.padding if number == 0 and lead_steps == 5 else None,
                )
                for number, count in enumerate(self.sizes)
            ]
        )
        self.conditional = GaussianConditional(None, scale_bound=SCALE_MIN)
        self.register_buffer("anchors", _checkerboard(fine), persistent=False)
        self.register_buffer("early", _even_rows(fine), persistent=False)
        self.register_buffer("first_children", (self.anchors & self.early).nonzero()[:, 0], persistent=False)
        self.register_buffer("hyper_anchors", _checkerboard(coarse), persistent=False)
        self.register_buffer("scale_cdf", torch.zeros(0, 0, dtype=torch.int32))
        self.register_buffer("scale_length", torch.zeros(0, dtype=torch.int32))
        self.register_buffer("scale_offset", torch.zeros(0, dtype=torch.int32))

    def hyper_latents(self, y: Float[Tensor, "batch npix m"]) -> Float[Tensor, "batch coarse c"]:
        """z before rounding."""
        h = F.leaky_relu(self.h_a[0](y.abs()), 0.1)
        h = F.leaky_relu(self.h_a[1](fold_children(h, self.sides[0])), 0.1)
        return self.h_a[2](fold_children(h, self.sides[1]))

    def above(self, recalled: Tensor) -> Tensor:
        """Features of the context at the nodes of z, known before z is."""
        a = self.up[0](fold_children(recalled, self.sides[0]))
        return self.up[1](fold_children(a, self.sides[1]))

    def known(self, recalled: Tensor, fine: Tensor) -> Tensor:
        """Features known before any of y is, from the context and from FINE times the decoded z."""
        a = unfold_children(self.h_s[0](digits(fine)), self.sides[2])
        a = self.h_s[3](unfold_children(self.h_s[2](self.h_s[1](a)), self.sides[1]))
        return torch.cat([a, recalled], -1)

    def forward(
        self, y: Float[Tensor, "batch npix m"], context: Float[Tensor, "batch npix r"], straight: bool = False
    ) -> tuple[Tensor, Rate]:
        """Training: decoded latents with straight-through gradients, and the estimated rate.

        Args:
            context: Whole numbers of 8 bits.
            straight: Rate of the rounded latents, which is what will be written, instead of noisy ones. Not to train
                with: its gradient vanishes at zero and the rate runs away (0.5 to 1.8 bits a node in 6000 steps).
        """
        recalled = self.recall(context)
        z = self.hyper_latents(y)
        z_hat, hyper_bits, _ = self._estimated(self.hyper, z, self.above(recalled), [], straight)
        known = self.known(recalled, FINE * z_hat)
        seen: list[Tensor] = []
        decoded, bits = [], []
        for part, values in zip(self.slices, y.split(self.sizes, -1), strict=True):
            assert isinstance(part, SliceParameters)
            y_hat, spent, told = self._estimated(part, values, known, seen, straight)
            seen.append(told)
            decoded.append(y_hat)
            bits.append(spent)
        return torch.cat(decoded, -1), Rate(torch.stack(bits).sum(0), hyper_bits)

    def _estimated(
        self,
        part: SliceParameters,
        y: Float[Tensor, "batch nodes c"],
        known: Tensor,
        seen: Sequence[Tensor],
        straight: bool,
    ) -> tuple[Tensor, Float[Tensor, "batch nodes"], Tensor]:
        """One slice in training: its decoded latents, their bits, and what tells of them."""
        steps, last = Steps.of(self.groups(part), self._wide_steps(part)), self._is_last(part)
        (level, mean), y_hat, told = part.trained(y, known, seen, steps, last, self.first_children)
        scale = SCALE_MIN * torch.exp(_LOG_STEP * level)
        if straight:
            _, likelihood = self.conditional(y_hat, scale, mean / FINE, training=False)
        else:
            _, likelihood = self.conditional(y, scale, mean / FINE)
        return y_hat, -likelihood.log2().sum(-1), told

    @torch.no_grad()
    def write(
        self,
        y: Float[Tensor, "1 npix m"],
        writer: SymbolWriter,
        context: Int8[Tensor, "1 npix r"],
        coded: Bool[Tensor, " coarse"] | None = None,
    ) -> Float[Tensor, "1 npix m"]:
        """Code y; returns the y_hat that the decoder will have.

        Args:
            coded: The nodes of z below which y is coded, elsewhere it is zero; None for all.
        """
        tables = self._tables()

        def put(symbols: Tensor, rows: Tensor, where: Tensor) -> None:
            writer.write(symbols.long(), rows.long(), tables)

        slices = y.split(self.sizes, -1)
        return self.coded([encoding(part, put) for part in (self.hyper_latents(y), *slices)], context, coded).to(y)

    @torch.no_grad()
    def estimate(
        self, y: Float[Tensor, "1 npix m"], context: Int8[Tensor, "1 npix r"]
    ) -> tuple[Float[Tensor, "1 npix m"], Rate]:
        """Return what `write` would if all of y was coded, and the bits that its symbols take."""
        tables = self._tables()
        rate = Rate(torch.zeros(1, len(self.anchors)), torch.zeros(1, self.nodes))

        def put_into(bits: Float[Tensor, "1 nodes"]) -> Put:
            def put(symbols: Tensor, rows: Tensor, where: Tensor) -> None:
                bits[0].index_add_(0, where, bits_of(symbols.long(), rows.long(), tables).float())

            return put

        codings = [encoding(self.hyper_latents(y), put_into(rate.hyper))]
        codings += [encoding(part, put_into(rate.latents)) for part in y.split(self.sizes, -1)]
        return self.coded(codings, context).to(y), Rate(*(bits.to(y) for bits in rate))

    @torch.no_grad()
    def read(
        self,
        reader: SymbolReader,
        like: Tensor,
        context: Int8[Tensor, "1 npix r"],
        coded: Bool[Tensor, " coarse"] | None = None,
    ) -> Float[Tensor, "1 npix m"]:
        """Decode y_hat; `like` gives its device and type."""
        reader.expect(self.most_symbols)
        return self.coded([self.decoding(reader)] * (1 + len(self.slices)), context, coded).to(like)

    def decoding(self, reader: SymbolReader) -> Coding:
        """Make a coding that reads symbols."""
        tables = self._tables()

        def decode(level: Tensor, mean: Tensor, where: Tensor) -> Tensor:
            coded = level > SKIP_LEVEL
            symbols = torch.zeros_like(level)
            found = reader.read(level[coded].long(), tables)
            symbols[coded] = found.clamp(-_WHOLE_LIMIT, _WHOLE_LIMIT).int()
            return symbols

        return decode

    @torch.no_grad()
    def coded(
        self,
        codings: Sequence[Coding],
        context: Int8[Tensor, "1 npix r"],
        coded: Bool[Tensor, " coarse"] | None = None,
    ) -> Float[Tensor, "1 npix m"]:
        """Have all symbols coded; returns the decoded latents, float64.

        Args:
            codings: What codes those of z, then those of each slice of y.
            coded: As in `write`.
        """
        device = self.anchors.device
        coded = torch.ones(self.nodes, dtype=torch.bool) if coded is None else coded
        recalled = self.recall(context.to(device))
        coarse = coded.to(device)
        fine, _ = self._in_steps(self.hyper, self.above(recalled), [], coarse, codings[0])
        known, kept = self.known(recalled, fine), self.below(coarse)
        seen: list[Tensor] = []
        decoded: list[Tensor] = []
        for part, code in zip(self.slices, codings[1:], strict=True):
            assert isinstance(part, SliceParameters)
            fine, told = self._in_steps(part, known, seen, kept, code)
            seen.append(told)
            decoded.append(fine)
        return torch.cat(decoded, -1).double() / FINE

    def _in_steps(
        self,
        part: SliceParameters,
        known: Int8[Tensor, "1 nodes k"],
        seen: Sequence[Int8[Tensor, "1 nodes e"]],
        kept: Bool[Tensor, " nodes"],
        code: Coding,
    ) -> tuple[Int32[Tensor, "1 nodes c"], Int8[Tensor, "1 nodes e"]]:
        """Have the symbols of a slice coded, step by step; its decoded latents, and what tells of them.

        Of the last step nothing is told where nothing comes after it.
        """
        nodes, groups = known.shape[1], self.groups(part)
        fine = torch.zeros(1, nodes, part.channels, dtype=torch.int32, device=known.device)
        told = torch.zeros(1, nodes, EMBEDDED, dtype=torch.int8, device=known.device)
        for number, group in enumerate(groups):
            where = (group & kept).nonzero()[:, 0]
            if len(where):
                among = self.first_children if number < self._wide_steps(part) else None
                parameters = part(known, torch.cat([*seen, told], -1), where, among)
                level, mean = (values[0].int().cpu() for values in parameters)
                fine[0, where] = (FINE * code(level, mean, where.cpu()) + mean).to(fine.device)
            if number < len(groups) - 1 or not self._is_last(part):
                told = torch.where(group[:, None], part.embed(digits(fine)), told)
        return fine, told

    def groups(self, part: SliceParameters) -> tuple[Bool[Tensor, " nodes"], ...]:
        """Flags of the nodes of each step of a part: of `hyper`, or of a slice."""
        anchors = self.hyper_anchors if part is self.hyper else self.anchors
        if self.lead_steps == 2 or part is not self.slices[0]:
            return anchors, ~anchors
        first, rest = anchors & self.early, (anchors & ~self.early, ~anchors)
        if self.lead_steps == 3:
            return first, *rest
        return *(self._among_first(group) for group in _three_groups(self.sides[1], len(self.first_children))), *rest

    def _among_first(self, group: Bool[Tensor, " parents"]) -> Bool[Tensor, " nodes"]:
        """Flags of parents, for the first child of each, among flags of all nodes."""
        flags = torch.zeros_like(self.anchors)
        flags[self.first_children] = group.to(flags.device)
        return flags

    def _wide_steps(self, part: SliceParameters) -> int:
        return 3 if self.lead_steps == 5 and part is self.slices[0] else 0

    def _is_last(self, part: SliceParameters) -> bool:
        """Whether nothing learns of its latents."""
        return part is self.hyper or part is self.slices[-1]

    @property
    def most_symbols(self) -> int:
        """Largest number of symbols of one picture, its hyper-latents included."""
        return self.nodes * self.hyper_channels + len(self.anchors) * self.channels

    def below(self, coarse: Bool[Tensor, " coarse"]) -> Bool[Tensor, " npix"]:
        """Flags of nodes of z, for the nodes of y below them."""
        _, middle, top = self.sides
        return unpool(unpool(coarse[None, :, None], top), middle)[0, :, 0]

    def _tables(self) -> Tables:
        tables = Tables(self.scale_cdf, self.scale_length, self.scale_offset)  # type: ignore[arg-type]
        assert tables.cdf.numel(), "the tables are not built: call build_tables() after training"
        return tables

    def check_tables(self) -> None:
        """Raise ValueError unless the tables are such as `build_tables` makes: the coder would trust any."""
        Tables(self.scale_cdf, self.scale_length, self.scale_offset).check("scale", LEVELS)  # type: ignore[arg-type]

    @torch.no_grad()
    def build_tables(self) -> None:
        """Freeze the distributions into integer tables, once, after training; they are saved with the weights."""
        self.conditional.update_scale_table([SCALE_MIN * math.exp(_LOG_STEP * i) for i in range(LEVELS)], force=True)
        self.scale_cdf = self.conditional.quantized_cdf.int().clone()
        self.scale_length = self.conditional.cdf_length.int().clone()
        self.scale_offset = self.conditional.offset.int().clone()


def encoding(latents: Float[Tensor, "1 nodes c"], put: Put) -> Coding:
    """Make a coding that has symbols put somewhere: each the nearest to its latent.

    Preferring cheaper ones gained nothing (12 % fewer bits for 0.4 dB, which lies on the curve).
    """
    values = latents[0].double().cpu()

    def code(level: Tensor, mean: Tensor, where: Tensor) -> Tensor:
        coded = level > SKIP_LEVEL
        symbols = torch.zeros_like(level)
        exact = (values[where] - mean / FINE)[coded].round().clamp(-_WHOLE_LIMIT, _WHOLE_LIMIT)
        symbols[coded] = exact.int()
        put(symbols[coded], level[coded], where[:, None].expand_as(level)[coded])
        return symbols

    return code


def slice_sizes(channels: int, shares: Sequence[float] = SLICES) -> list[int]:
    """Channels of each slice; of few channels some slices have none, and are left out."""
    ends = [round(channels * sum(shares[: number + 1])) for number in range(len(shares))]
    return [last - first for first, last in zip([0, *ends], ends, strict=False) if last > first]


def _rounded(y: Tensor, mean: Tensor) -> Tensor:
    """y to the nearest whole step from its mean (given times FINE), with y's gradient."""
    shift = mean.detach() / FINE
    return round_straight(y - shift) + shift


def _checkerboard(at: Resolution) -> Bool[Tensor, " npix"]:
    """Every other node of each face, as on a chessboard."""
    index = torch.arange(at.laplacian.npix)
    return (index % at.side + index // at.side) % 2 == 0


def _three_groups(side: int, nodes: int) -> tuple[Bool[Tensor, " nodes"], ...]:
    """Every fourth node, those diagonal to four of them, and the others."""
    index = torch.arange(nodes)
    row, column = index // side % 2 == 0, index % side % 2 == 0
    return row & column, ~row & ~column, row ^ column


def _even_rows(at: Resolution) -> Bool[Tensor, " npix"]:
    """Every other row of each face."""
    return torch.arange(at.laplacian.npix) // at.side % 2 == 0
