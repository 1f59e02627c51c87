"""The hyperprior: what is written is what is read, costs what training counts, and knows only what the decoder does."""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest
import torch

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter, Tables
from deepsphere_codec.entropy.exact import ExactConv
from deepsphere_codec.entropy.hyperprior import (
    FINE,
    LEVELS,
    MEAN_LIMIT,
    SCALE_MAX,
    SCALE_MIN,
    SKIP_LEVEL,
    Coding,
    Hyperprior,
    Parameters,
    encoding,
    slice_sizes,
)
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.sphere import HealpixGrid

NSIDE, CHANNELS, HYPER_CHANNELS, HIDDEN = 16, 8, 6, 8
NPIX, NODES = 12 * NSIDE**2, 12 * (NSIDE // 4) ** 2
SIZES = slice_sizes(CHANNELS)


def write(
    module: Hyperprior, y: torch.Tensor, context: torch.Tensor, coded: torch.Tensor | None = None
) -> tuple[bytes, torch.Tensor]:
    writer = SymbolWriter()
    y_hat = module.write(y, writer, context, coded)
    return writer.finish(), y_hat


def read(module: Hyperprior, payload: bytes, context: torch.Tensor, coded: torch.Tensor | None = None) -> torch.Tensor:
    return module.read(SymbolReader(payload), torch.empty(1), context, coded)


def fix_hyper_latents(module: Hyperprior, z: list[float]) -> torch.Tensor:
    """Side information that does not depend on y: [1, nodes, 6]."""
    module.h_a[-1].weight.zero_()
    module.h_a[-1].bias.copy_(torch.tensor(z))
    return torch.tensor(z).expand(1, NODES, -1)


def set_parameters(module: Hyperprior, level: float | list[float], mean: float | list[float] = 0.0) -> None:
    """Levels and FINE times the means of y, the same at every node."""
    levels, means = (torch.as_tensor(value).expand(CHANNELS).split(SIZES) for value in (level, mean))
    for part, *values in zip(module.slices, levels, means, strict=True):
        for layer, value in zip((part.level, part.mean), values, strict=True):
            layer.weight.zero_()
            layer.bias.copy_(value)


def raise_levels(module: Hyperprior) -> None:
    """So that nothing is skipped."""
    for part in (module.hyper, *module.slices):
        part.level.weight.mul_(0.5)
        part.level.bias.add_(20)


def scale_of(level: torch.Tensor) -> torch.Tensor:
    return SCALE_MIN * (SCALE_MAX / SCALE_MIN) ** (level / (LEVELS - 1))


def draw(module: Hyperprior, z: torch.Tensor, context: torch.Tensor) -> tuple[torch.Tensor, Parameters]:
    """Latents distributed as their parameters say, each after what comes before it is known; and the parameters."""
    y = torch.zeros(1, NPIX, CHANNELS)
    used = Parameters(torch.zeros_like(y), torch.zeros_like(y))

    def drawing(of_slice: slice) -> Coding:
        def code(level: torch.Tensor, mean: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
            offset = scale_of(level) * torch.randn(level.shape)
            y[0, where, of_slice] = mean / FINE + offset
            used.level[0, where, of_slice], used.mean[0, where, of_slice] = level.float(), mean.float()
            return torch.where(level > SKIP_LEVEL, offset.round(), 0).int()

        return code

    ends = [sum(SIZES[: number + 1]) for number in range(len(SIZES))]
    slices = [drawing(slice(end - size, end)) for end, size in zip(ends, SIZES, strict=True)]
    module.coded([encoding(z, lambda *_: None), *slices], context)
    return y, used


class Recorder:
    """Stands where a SymbolWriter stands, and keeps what each of its calls is given."""

    def __init__(self) -> None:
        self.symbols: list[torch.Tensor] = []
        self.rows: list[torch.Tensor] = []

    def write(self, symbols: torch.Tensor, rows: torch.Tensor, tables: Tables) -> None:
        self.symbols.append(symbols)
        self.rows.append(rows)


@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 3.0, 1000.0, 1e9])
@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_written_is_what_is_read(hyperprior, context, scale, seed):
    torch.manual_seed(seed)
    for conv in (module for module in hyperprior.modules() if isinstance(module, ExactConv)):
        conv.weight.mul_(1 + 0.5 * torch.randn_like(conv.weight))
        conv.bias.add_(torch.randn_like(conv.bias))
    y = torch.randn(1, NPIX, CHANNELS) * scale
    payload, y_hat = write(hyperprior, y, context)
    assert torch.equal(read(hyperprior, payload, context), y_hat)
    assert torch.equal(FINE * y_hat, (FINE * y_hat).round()), "whole sixteenths"
    if scale < 1e6:
        near = (y_hat - y).abs() <= 0.5 + 1e-6 * y.abs()
        assert near.double().mean() > 0.5, "what is coded is y, to the nearest step; where it is skipped, the mean"


def test_two_of_them_share_a_payload(hyperprior, context):
    y = [torch.randn(1, NPIX, CHANNELS) * scale for scale in (3.0, 0.5)]
    writer = SymbolWriter()
    y_hat = [hyperprior.write(part, writer, context) for part in y]
    reader = SymbolReader(writer.finish())
    reader.expect(2 * hyperprior.most_symbols)
    assert all(torch.equal(hyperprior.read(reader, torch.empty(1), context), coded) for coded in y_hat)


def test_latents_are_as_many_symbols_as_a_reader_makes_ready_for(hyperprior, context):
    raise_levels(hyperprior)
    recorder = Recorder()
    hyperprior.write(torch.randn(1, NPIX, CHANNELS), recorder, context)
    assert sum(map(len, recorder.symbols)) == hyperprior.most_symbols == NODES * HYPER_CHANNELS + NPIX * CHANNELS


def test_latents_are_rounded_around_their_means(hyperprior, context):
    """Also where a mean is no whole number: steps of one from there."""
    means = [0.0, 3, -3, 8, 100, -MEAN_LIMIT, MEAN_LIMIT, 7]
    set_parameters(hyperprior, 45, means)
    mean = torch.tensor(means) / FINE
    y = 4 * torch.randn(1, NPIX, CHANNELS)
    _, y_hat = write(hyperprior, y, context)
    assert torch.equal(y_hat - mean, (y_hat - mean).round()) and (y_hat - y).abs().max() <= 0.5 + 1e-5
    assert torch.equal(hyperprior(y, context.float(), straight=True)[0], y_hat), "training sees the same"


# Nodes that are not coded


def above() -> np.ndarray:
    """The node of side information that each node lies below."""
    return HealpixGrid.cached(NSIDE // 2).parents[HealpixGrid.cached(NSIDE).parents]


@pytest.fixture
def coded() -> torch.Tensor:
    """Of side information's nodes: a whole face, some here and there, and none on the last three faces."""
    flags = torch.rand(NODES) < 0.4
    flags[:16] = True
    flags[-48:] = False
    return flags


@pytest.mark.parametrize("scale", [0.0, 3.0, 1e9])
def test_where_nothing_is_coded_all_is_zero(hyperprior, context, coded, scale):
    y = torch.randn(1, NPIX, CHANNELS) * scale
    payload, y_hat = write(hyperprior, y, context, coded)
    below = hyperprior.below(coded)
    assert torch.equal(read(hyperprior, payload, context, coded), y_hat)
    assert not y_hat[0, ~below].any() and (y_hat[0, below] != 0).double().mean() > 0.5
    assert len(payload) < 0.7 * len(write(hyperprior, y, context)[0])


def test_what_is_not_coded_is_no_matter(hyperprior, context, coded):
    fix_hyper_latents(hyperprior, [0.0] * HYPER_CHANNELS)
    y, below = torch.randn(1, NPIX, CHANNELS) * 3, hyperprior.below(coded)[:, None]
    payload, _ = write(hyperprior, y, context, coded)
    assert write(hyperprior, torch.where(below, y, 100.0), context, coded)[0] == payload


def test_all_or_nothing_may_be_coded(hyperprior, context):
    y = torch.randn(1, NPIX, CHANNELS) * 3
    everything, nothing = torch.ones(NODES, dtype=torch.bool), torch.zeros(NODES, dtype=torch.bool)
    payload, y_hat = write(hyperprior, y, context)
    assert write(hyperprior, y, context, everything)[0] == payload
    assert torch.equal(read(hyperprior, payload, context, everything), y_hat)
    payload, y_hat = write(hyperprior, y, context, nothing)
    assert payload == b"" and not y_hat.any()
    assert torch.equal(read(hyperprior, payload, context, nothing), y_hat)


def test_nodes_below_one_of_side_information_are_its_sixteen_descendants(hyperprior):
    flags = torch.zeros(NODES, dtype=torch.bool)
    flags[37] = True
    assert hyperprior.below(flags).tolist() == (above() == 37).tolist()


# Bits


@pytest.mark.parametrize("z", [[0.0] * 6, [0.0, 2.0, -3.0, 5.0, -2.0, 4.0]])
def test_estimated_bits_are_real_ones(hyperprior, context, z):
    """Latents distributed as means and levels say: what training counts is what the file holds, within a percent."""
    hyperprior.hyper.level.bias.fill_(40)
    for part in hyperprior.slices:
        part.level.weight.mul_(3)
        part.mean.weight.mul_(3)
    y, used = draw(hyperprior, fix_hyper_latents(hyperprior, z), context)
    assert used.level.unique().numel() > 40 and used.mean.std() > FINE, "many scales at once, and means that matter"
    payload, y_hat = write(hyperprior, y, context)
    skipped = used.level <= SKIP_LEVEL
    assert torch.equal(y_hat[skipped], used.mean[skipped] / FINE)
    assert (y_hat - y).abs().max() <= 0.5 + 1e-4
    seen, rate = hyperprior(y, context.float(), straight=True)
    assert (seen == y_hat).double().mean() > 0.999  # at scales up to 0.12 a one in 30,000 is dropped
    assert len(payload) * 8 == pytest.approx(float(rate.bits), rel=0.01)
    _, likelihood = hyperprior.conditional(y_hat, scale_of(used.level), used.mean / FINE, training=False)
    wide = used.level > 30
    entropy = (scale_of(used.level).log2() + 0.5 * math.log2(2 * math.pi * math.e))[wide].sum()
    assert float(-likelihood.log2()[wide].sum()) == pytest.approx(float(entropy), rel=0.02), "a Gaussian's"


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0, 1e4])
def test_an_estimate_without_training_is_what_is_written(hyperprior, context, scale):
    """Where latents are nothing like what their parameters say as well."""
    y = torch.randn(1, NPIX, CHANNELS) * scale
    payload, y_hat = write(hyperprior, y, context)
    seen, rate = hyperprior.estimate(y, context)
    assert torch.equal(seen, y_hat) and seen.dtype == rate.bits.dtype == y.dtype
    assert rate.latents.shape == (1, NPIX) and rate.hyper.shape == (1, NODES)
    assert all(torch.isfinite(bits).all() and (bits >= 0).all() for bits in rate) and rate.bits > 0
    assert len(payload) * 8 == pytest.approx(float(rate.bits), rel=0.001, abs=80)


def test_estimated_bits_are_those_of_their_node(hyperprior, context):
    """Latents out of range cost more, where they are and beside."""
    raise_levels(hyperprior)
    fix_hyper_latents(hyperprior, [0.0] * HYPER_CHANNELS)
    y, node = torch.zeros(1, NPIX, CHANNELS), (5 * NSIDE + 6) * NSIDE + 9
    before = hyperprior.estimate(y, context)[1]
    y[0, node, -1] = 1e5  # the last that is coded: nothing comes after it
    assert not hyperprior.anchors[node]
    after = hyperprior.estimate(y, context)[1]
    assert torch.equal(after.hyper, before.hyper)
    assert (after.latents - before.latents)[0].nonzero().flatten().tolist() == [node]
    assert after.latents[0, node] > before.latents[0, node] + 16


def test_training_decodes_and_counts_what_is_written_where_nothing_is_skipped(hyperprior, context):
    raise_levels(hyperprior)
    y = torch.randn(1, NPIX, CHANNELS) * 3
    recorder = Recorder()
    hyperprior.write(y, recorder, context)
    assert min(int(rows.min()) for rows in recorder.rows) > SKIP_LEVEL
    seen, rate = hyperprior(y, context.float(), straight=True)
    y_hat, real = hyperprior.estimate(y, context)
    assert torch.equal(seen, y_hat)
    assert float(rate.hyper.sum()) == pytest.approx(float(real.hyper.sum()), rel=0.01)
    close = torch.isclose(rate.latents, real.latents, rtol=0.01, atol=0.1)
    assert close.double().mean() > 0.9, "but where a latent lies beyond its table's row"
    assert float(rate.latents.sum()) == pytest.approx(float(real.latents.sum()), rel=0.01)


def test_training_on_several_is_training_on_each(hyperprior, context):
    y = torch.randn(2, NPIX, CHANNELS)
    contexts = torch.cat([context, context.flip(1)]).float()
    seen, rate = hyperprior(y, contexts, straight=True)
    for number in range(2):
        alone, each = hyperprior(y[number : number + 1], contexts[number : number + 1], straight=True)
        assert torch.equal(seen[number], alone[0])
        assert all(torch.allclose(a[number], b[0]) for a, b in zip(rate, each, strict=True))


def test_means_that_fit_save_bits(hyperprior, context):
    """The same latents, far from zero: known where they lie, or not."""
    fix_hyper_latents(hyperprior, [0.0] * HYPER_CHANNELS)
    y = torch.randn(1, NPIX, CHANNELS) + 20
    sizes = []
    for mean in (20.0 * FINE, 0.0):
        set_parameters(hyperprior, 45, mean)
        payload, y_hat = write(hyperprior, y, context)
        assert (y_hat - y).abs().max() <= 0.5 + 1e-5
        sizes.append(len(payload))
    assert sizes[0] < 0.6 * sizes[1]


def test_rounding_noise_costs_about_what_rounding_does(hyperprior, context):
    set_parameters(hyperprior, 40, 3.0)
    y = 3 / FINE + torch.randn(1, NPIX, CHANNELS) * scale_of(torch.tensor(40.0))
    hyperprior.train()
    noisy, straight = (float(hyperprior(y, context.float(), straight=flag)[1].latents.sum()) for flag in (False, True))
    assert noisy == pytest.approx(straight, rel=0.02)


def test_skipped_levels_cost_nothing_and_decode_to_the_mean(hyperprior, context):
    fix_hyper_latents(hyperprior, [0.0] * HYPER_CHANNELS)
    y, mean = torch.randn(1, NPIX, CHANNELS) * 50, [0.0, 5, -5, 16, 33, 0, -700, 1]
    set_parameters(hyperprior, SKIP_LEVEL, mean)
    payload, y_hat = write(hyperprior, y, context)
    nothing, _ = write(hyperprior, torch.zeros_like(y), context)
    assert payload == nothing, "side information alone"
    assert not hyperprior.estimate(y, context)[1].latents.any()
    assert torch.equal(y_hat, (torch.tensor(mean) / FINE).expand_as(y))
    assert torch.equal(read(hyperprior, payload, context), y_hat)
    set_parameters(hyperprior, SKIP_LEVEL + 1, mean)
    payload, y_hat = write(hyperprior, y, context)
    assert len(payload) > 20 * len(nothing) and (y_hat - y).abs().max() <= 0.5 + 1e-5


def test_mixed_levels_code_some_and_skip_others(hyperprior, context):
    """Channels on each side of the limit: a skipped one is the mean for the encoder as well."""
    fix_hyper_latents(hyperprior, [0.0] * HYPER_CHANNELS)
    level = [0.0, 30, 5, SKIP_LEVEL, SKIP_LEVEL + 1, 31, 0, 63]
    set_parameters(hyperprior, level, 3.0)
    y = torch.randn(1, NPIX, CHANNELS) * 2
    payload, y_hat = write(hyperprior, y, context)
    coded = torch.tensor(level) > SKIP_LEVEL
    assert torch.equal(y_hat, (y - 3 / FINE).round() * coded + 3 / FINE)
    assert torch.equal(read(hyperprior, payload, context), y_hat)


def test_levels_that_are_skipped_are_those_of_a_scale_up_to_012():
    scales = [SCALE_MIN * (SCALE_MAX / SCALE_MIN) ** (level / (LEVELS - 1)) for level in range(LEVELS)]
    assert scales[SKIP_LEVEL] <= 0.12 < scales[SKIP_LEVEL + 1]
    assert math.erfc(0.5 / scales[SKIP_LEVEL] / math.sqrt(2)) < 1 / 20000, "so seldom is one of them not zero"


def test_nothing_costs_little(hyperprior, context):
    set_parameters(hyperprior, SKIP_LEVEL + 1)
    y = torch.zeros(1, NPIX, CHANNELS)
    payload, _ = write(hyperprior, y, context)
    _, rate = hyperprior.estimate(y, context)
    assert 8 * len(payload) - float(rate.hyper.sum()) < 0.01 * NPIX * CHANNELS


# What is known when


def test_every_other_node_of_each_face_is_an_anchor(hyperprior):
    for anchors, nside in ((hyperprior.anchors, NSIDE), (hyperprior.hyper_anchors, NSIDE // 4)):
        _, x, y = HealpixGrid.cached(nside).face_xy
        assert anchors.tolist() == ((x + y) % 2 == 0).tolist()
        assert int(anchors.sum()) * 2 == len(anchors) == 12 * nside**2


def neighbors_of(node: int) -> tuple[set[int], set[int]]:
    """Neighbours along x and y, and all eight."""
    all_of_them = HealpixGrid.cached(NSIDE).neighbors[node].tolist()
    return set(all_of_them[0::2]), set(all_of_them)


@pytest.fixture
def symbols() -> list[torch.Tensor]:
    """Parameters of z, and of each slice of y."""
    sizes = [(NODES, HYPER_CHANNELS), *((NPIX, size) for size in SIZES)]
    return [(3 * torch.randn(size)).round().int() for size in sizes]


def changed_nodes(before: Parameters, after: Parameters, half: torch.Tensor) -> set[int]:
    changed = torch.stack([(a != b).any(-1) for a, b in zip(before, after, strict=True)]).any(0)
    return set(half.nonzero()[changed].flatten().tolist())


def test_an_anchor_is_seen_by_its_neighbours_and_by_no_other_anchor(hyperprior, context, symbols, record):
    """The four beside it all notice; then, in the next slice, all around it, and itself."""
    node, anchors = (5 * NSIDE + 6) * NSIDE + 8, hyperprior.anchors
    assert anchors[node]
    beside, around = neighbors_of(node)
    before = record(hyperprior, context, symbols)
    symbols[1][node] = 20 - symbols[1][node]
    after = record(hyperprior, context, symbols)
    assert all(torch.equal(a, b) for step in range(3) for a, b in zip(before[step], after[step], strict=True))
    assert changed_nodes(before[3], after[3], ~anchors) == beside
    next_slice = changed_nodes(before[4], after[4], anchors)
    assert node in next_slice and around - beside <= next_slice
    assert not anchors[list(beside)].any()


@pytest.mark.parametrize("step", range(8))
def test_parameters_depend_on_nothing_that_is_decoded_later(hyperprior, context, symbols, record, step):
    """Symbols of one half of z or of a slice change, as far as can be: what lies behind notices, and nothing else."""
    anchors = hyperprior.hyper_anchors if step < 2 else hyperprior.anchors
    before = record(hyperprior, context, symbols)
    symbols[step // 2] += 20 * (anchors == (step % 2 == 0))[:, None]
    after = record(hyperprior, context, symbols)
    assert len(before) == len(after) == 8
    for number, (a, b) in enumerate(zip(before, after, strict=True)):
        same = (a.level == b.level) & (a.mean == b.mean)
        assert same.all() if number <= step else same.double().mean() < 0.9


@pytest.mark.parametrize("kept", range(len(SIZES)))
@pytest.mark.parametrize("half", [True, False])
def test_what_lies_before_decodes_alike_whatever_comes_after(hyperprior, context, kept, half):
    """The decoder has not read what lies behind: a payload of something else there gives the same before."""
    fix_hyper_latents(hyperprior, [1.0, 2.0, -3.0, 5.0, -8.0, 20.0])
    y, first = torch.randn(1, NPIX, CHANNELS) * 3, sum(SIZES[:kept])
    later = torch.zeros(NPIX, CHANNELS, dtype=torch.bool)
    later[:, first + half * SIZES[kept] :] = True  # all of the slice, or its second half alone
    later[:, first : first + SIZES[kept]] |= ~hyperprior.anchors[:, None]
    decoded = [
        read(hyperprior, write(hyperprior, v, context)[0], context)[0] for v in (y, torch.where(later, 7 - y, y))
    ]
    assert torch.equal(decoded[0][~later], decoded[1][~later])
    assert (decoded[0] != decoded[1])[later].double().mean() > 0.5


def test_context_changes_the_first_parameters_where_it_lies(hyperprior, context, symbols, record):
    """Without side information, which is told it as well, that is one node of the first slice's anchors."""
    hyperprior.hyper.mean.weight.zero_()
    node = 708
    assert hyperprior.anchors[node]
    before = record(hyperprior, context, symbols)
    context[0, node] = torch.where(context[0, node] > 0, -127, 127)
    after = record(hyperprior, context, symbols)
    assert changed_nodes(before[0], after[0], hyperprior.hyper_anchors) <= {int(above()[node])}
    assert changed_nodes(before[2], after[2], hyperprior.anchors) == {node}
    assert len(changed_nodes(before[7], after[7], ~hyperprior.anchors)) > 4, "the last know of those before"


def test_side_information_is_told_the_context(hyperprior, context, symbols, record):
    before, after = record(hyperprior, context, symbols), record(hyperprior, -context, symbols)
    for step in (0, 1):
        assert (before[step].mean != after[step].mean).double().mean() > 0.3


def test_a_context_that_fits_saves_bits_and_another_one_does_not_decode(make_hyperprior):
    """One that tells the scale of each node: weights that hand it through to the level."""
    hyperprior = make_hyperprior(1)
    fix_hyper_latents(hyperprior, [0.0] * HYPER_CHANNELS)
    for layer in (hyperprior.recall, *(layer for part in hyperprior.slices for layer in (part.join, part.level))):
        layer.weight.zero_()
        layer.bias.zero_()
    set_parameters(hyperprior, 0)
    hyperprior.recall.weight[0] = 1  # its channels come after those of h_s
    for part in hyperprior.slices:
        part.join.weight[0, HIDDEN] = 1
        part.level.weight[:, 0] = 1
    level = torch.where(torch.arange(NPIX) % 3 == 0, 50, 14)[None, :, None]
    y = torch.randn(1, NPIX, CHANNELS) * scale_of(level)
    context, flat = level.to(torch.int8), torch.full_like(level, 26).to(torch.int8)
    payload, y_hat = write(hyperprior, y, context)
    assert torch.equal(read(hyperprior, payload, context), y_hat)
    assert len(payload) < 0.9 * len(write(hyperprior, y, flat)[0])
    assert not torch.equal(read(hyperprior, payload, flat), y_hat)


# Training, tables, the rest


@pytest.mark.parametrize("z", [1e3, -1e3, 1e7, -1e7])
def test_side_information_far_out_of_range_comes_through(hyperprior, context, z):
    fix_hyper_latents(hyperprior, [z] * HYPER_CHANNELS)
    payload, y_hat = write(hyperprior, torch.randn(1, NPIX, CHANNELS), context)
    assert torch.equal(read(hyperprior, payload, context), y_hat)


def test_the_decoder_needs_no_float_network(hyperprior, context):
    """Decision 7: symbols follow from the payload, the tables and the integer networks alone."""
    payload, y_hat = write(hyperprior, torch.randn(1, NPIX, CHANNELS) * 3, context)
    other = copy.deepcopy(hyperprior)
    integers = {id(p) for conv in other.modules() if isinstance(conv, ExactConv) for p in conv.parameters()}
    floats = [p for p in other.parameters() if id(p) not in integers]
    assert len(floats) == len(list(other.h_a.parameters()))
    for p in floats:
        p.fill_(math.nan)
    assert torch.equal(read(other, payload, context), y_hat)


def damaged(payload: bytes, count: int) -> list[bytes]:
    """Cut, with bits turned, with bytes of something else, and noise from the start."""
    dice, found = random.Random(1), []
    for number in range(count):
        data = bytearray(payload)
        place = dice.randrange(len(data))
        if number % 4 == 0:
            del data[place:]
        elif number % 4 == 1:
            data[place] ^= 1 << dice.randrange(8)
        elif number % 4 == 2:
            data[place : place + 16] = dice.randbytes(16)
        else:
            data = bytearray(dice.randbytes(dice.randrange(len(data))))
        found.append(bytes(data))
    return [*found, b"", bytes(1000), b"\xff" * 1000]


def test_damaged_payloads_decode_to_something_or_are_refused(hyperprior, context):
    payload, y_hat = write(hyperprior, torch.randn(1, NPIX, CHANNELS) * 3, context)
    decoded = refused = 0
    for data in damaged(payload, 40):
        try:
            found = read(hyperprior, data, context)
            decoded += 1
            assert found.shape == y_hat.shape and torch.isfinite(found).all() and found.abs().max() < 2**21
        except DamagedStream:
            refused += 1
    assert decoded > 10 and refused >= 3


def test_tables_do_not_depend_on_what_was_built_before(make_hyperprior):
    hyperprior = make_hyperprior(1)
    names = [f"scale_{part}" for part in Tables._fields]
    before = [hyperprior.get_buffer(name).clone() for name in names]
    hyperprior.build_tables()
    assert all(torch.equal(hyperprior.get_buffer(name), b) for name, b in zip(names, before, strict=True))
    assert set(names) <= set(hyperprior.state_dict())


def damage(tables: dict[str, torch.Tensor], how: str) -> None:
    if how == "type":
        tables["cdf"] = tables["cdf"].long()
    elif how == "rows":
        tables.update({name: value[:-1] for name, value in tables.items()})
    elif how == "one row less":
        tables["offset"] = tables["offset"][:-1]
    elif how == "length":
        tables["length"][3] = tables["cdf"].shape[1] + 1
    elif how == "short":
        tables["length"][3] = 2
    elif how == "order":
        tables["cdf"][40, [1, 2]] = tables["cdf"][40, [2, 1]]
    elif how == "impossible symbol":
        tables["cdf"][40, 2] = tables["cdf"][40, 1]
    elif how == "start":
        tables["cdf"][40, 0] = 1
    elif how == "sum":
        tables["cdf"][40, tables["length"][40] - 1] += 1
    else:
        tables.update({name: value.new_zeros([0] * value.ndim) for name, value in tables.items()})


DAMAGES = "type,rows,one row less,length,short,order,impossible symbol,start,sum,none".split(",")


@pytest.mark.parametrize("how", DAMAGES)
def test_tables_that_the_coder_cannot_trust_are_refused(make_hyperprior, how):
    hyperprior = make_hyperprior(1)
    hyperprior.check_tables()
    tables = {part: hyperprior.get_buffer(f"scale_{part}").clone() for part in Tables._fields}
    damage(tables, how)
    for part, value in tables.items():
        setattr(hyperprior, f"scale_{part}", value)
    with pytest.raises(ValueError, match="the table scale"):
        hyperprior.check_tables()


@pytest.mark.parametrize("straight", [False, True])
def test_rates_are_finite_and_positive(hyperprior, context, straight):
    for scale in (0.0, 2.0, 1e6):
        _, rate = hyperprior(torch.randn(1, NPIX, CHANNELS) * scale, context.float(), straight=straight)
        for bits, shape in zip(rate, ((1, NPIX), (1, NODES)), strict=True):
            assert bits.shape == shape and torch.isfinite(bits).all() and (bits > 0).all()


def test_training_reaches_every_network(hyperprior, context):
    hyperprior.train().requires_grad_(True)
    y = (torch.randn(1, NPIX, CHANNELS) * 2).requires_grad_()
    y_hat, rate = hyperprior(y, context.float())
    assert (y_hat - y).abs().max() <= 0.5 + 1e-5
    rate.bits.backward()
    for name, p in hyperprior.named_parameters():
        assert p.grad is not None and torch.isfinite(p.grad).all() and p.grad.any(), name
    assert torch.isfinite(y.grad).all() and y.grad.any()


def test_decoded_latents_have_the_gradient_of_the_identity(hyperprior, context):
    y = torch.randn(1, NPIX, CHANNELS).requires_grad_()
    hyperprior(y, context.float())[0].sum().backward()
    assert torch.equal(y.grad, torch.ones_like(y))


def test_it_is_refused_without_tables(make_hyperprior):
    hyperprior = make_hyperprior(1)
    hyperprior.scale_cdf = torch.zeros(0, 0, dtype=torch.int32)
    y, context = torch.zeros(1, NPIX, CHANNELS), torch.zeros(1, NPIX, 1, dtype=torch.int8)
    for call in (
        lambda: write(hyperprior, y, context),
        lambda: read(hyperprior, bytes(8), context),
        lambda: hyperprior.estimate(y, context),
    ):
        with pytest.raises(AssertionError, match="build_tables"):
            call()
