"""Every parameter of the entropy coder is a whole number that any machine, library or order of sums makes the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from deepsphere_codec.entropy import exact
from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.exact import PRODUCTS, ExactConv
from deepsphere_codec.entropy.hyperprior import (
    EMBEDDED,
    FINE,
    LEVELS,
    MEAN_LIMIT,
    Hyperprior,
    Parameters,
    SliceParameters,
    digits,
    slice_sizes,
)
from deepsphere_codec.layers import fold_children, unfold_children
from deepsphere_codec.models import ModelConfig
from deepsphere_codec.sphere import HealpixGrid

NPIX, NODES, CHANNELS, HYPER_CHANNELS, HIDDEN, MEMORY = 12 * 16**2, 12 * 4**2, 8, 6, 8, 12
SIZES = [HYPER_CHANNELS, *slice_sizes(CHANNELS)]


@pytest.fixture
def lead_steps() -> int:
    return 2


@pytest.fixture
def hyperprior(make_hyperprior, lead_steps) -> Hyperprior:
    """With a memory, and weights as after training: levels over the whole range."""
    module = make_hyperprior(MEMORY, lead_steps)
    for conv in layers(module):
        conv.weight *= 1.37
        conv.bias += torch.randn_like(conv.bias)
    return module


def layers(module: Hyperprior) -> list[ExactConv]:
    return [conv for conv in module.modules() if isinstance(conv, ExactConv)]


@pytest.fixture
def symbols() -> list[torch.Tensor]:
    """Latents of side information and slices, some of them far out of range."""
    drawn = [torch.randn(count, size) * 6 for count, size in zip([NODES, *4 * [NPIX]], SIZES, strict=False)]
    return [torch.where(torch.rand(part.shape) < 0.01, 1e5 * part, part).round().int() for part in drawn]


def equal(a: list[Parameters], b: list[Parameters]) -> bool:
    return all(torch.equal(x, y) for one, other in zip(a, b, strict=True) for x, y in zip(one, other, strict=True))


def parts_of(module: Hyperprior) -> list[SliceParameters]:
    return [module.hyper, *module.slices]


@pytest.mark.parametrize("lead_steps", [2, 3, 5])
def test_parameters_equal_integer_arithmetic(hyperprior, context, symbols, by_integers, record, lead_steps):
    """The order of everything told in numpy: z's anchors, its other nodes, each slice's."""
    found = iter(record(hyperprior, context, symbols))

    def layer(conv: ExactConv, x: np.ndarray) -> np.ndarray:
        return by_integers(conv, x, HealpixGrid.cached({192: 4, 768: 8, 3072: 16}[len(x)]).neighbors)

    def fold(x: np.ndarray, side: int, inverse: bool = False) -> np.ndarray:
        return (unfold_children if inverse else fold_children)(torch.from_numpy(x)[None], side)[0].numpy()

    def told_by(fine: np.ndarray) -> np.ndarray:
        return np.concatenate([fine.clip(-127, 127), np.floor(fine / FINE + 0.5).astype(np.int64).clip(-127, 127)], 1)

    def beside(part: SliceParameters, told: np.ndarray, wide: bool) -> np.ndarray:
        if not wide:
            return layer(part.around, told)
        assert part.wide is not None
        found = np.zeros((len(told), part.wide.weight.shape[0]), np.int64)
        found[first] = layer(part.wide, told[first])
        return found

    def in_steps(part: SliceParameters, known, seen, groups, given) -> tuple[np.ndarray, np.ndarray]:
        fine, told = np.zeros(given.shape, np.int64), np.zeros((len(given), EMBEDDED), np.int64)
        for number, half in enumerate(groups):
            around = beside(part, np.concatenate([*seen, told], 1), len(groups) == 5 and number < 3)
            a = layer(part.join, np.concatenate([known, around], 1))
            expected, each = Parameters(layer(part.level, a), layer(part.mean, a)), next(found)
            for x, y in zip(expected, each, strict=True):
                assert (x[half] == y.numpy()).all() and y.unique().numel() > 30
            fine[half] = FINE * given[half] + expected.mean[half]
            told[half] = layer(part.embed, told_by(fine))[half]
        return fine, told

    _, x, y = HealpixGrid.cached(16).face_xy
    anchors, even, coarse = (x + y) % 2 == 0, y % 2 == 0, hyperprior.hyper_anchors.numpy()
    first, quarters = anchors & even, (x % 4 == 0) & (y % 4 == 0) | (x % 4 == 2) & (y % 4 == 2)
    leads = {2: (anchors, ~anchors), 3: (first, anchors & ~even, ~anchors)}
    leads[5] = first & quarters & (x % 4 == 0), first & quarters & (x % 4 == 2), first & ~quarters, *leads[3][1:]
    z, *slices = (part.long().numpy() for part in symbols)
    recalled = layer(hyperprior.recall, context[0].long().numpy())
    above = layer(hyperprior.up[1], fold(layer(hyperprior.up[0], fold(recalled, 16)), 8))
    fine, _ = in_steps(hyperprior.hyper, above, [], (coarse, ~coarse), z)
    one, two, three, four = hyperprior.h_s
    a = layer(three, layer(two, fold(layer(one, told_by(fine)), 4, inverse=True)))
    known = np.concatenate([layer(four, fold(a, 8, inverse=True)), recalled], 1)
    seen, decoded = [], []
    for part, given in zip(hyperprior.slices, slices, strict=True):
        fine, told = in_steps(part, known, seen, (anchors, ~anchors) if seen else leads[lead_steps], given)
        seen.append(told)
        decoded.append(fine)
    assert next(found, None) is None
    y_hat = hyperprior.coded([lambda level, mean, where, part=part: part[where] for part in symbols], context)
    assert (y_hat[0].numpy() * FINE == np.concatenate(decoded, 1)).all()


def test_levels_and_means_are_whole_numbers_in_range(hyperprior, context, symbols, record):
    for level, mean in record(hyperprior, context, symbols):
        assert level.dtype == mean.dtype == torch.int32
        assert level.min() >= 0 and level.max() <= LEVELS - 1
        assert mean.abs().max() <= MEAN_LIMIT and mean.min() < 0 < mean.max()


def permute(conv: ExactConv, into: torch.Tensor, out: torch.Tensor) -> None:
    conv.weight.copy_(conv.weight[out][:, into])
    conv.bias.copy_(conv.bias[out])


def test_the_order_of_all_channels_changes_nothing(hyperprior, context, symbols, record):
    """Inputs and hidden channels shuffled through all layers: every sum runs in another order, nothing else differs."""
    other = copy.deepcopy(hyperprior)
    orders = [torch.randperm(size) for size in SIZES]

    def families(order: torch.Tensor) -> torch.Tensor:
        """Channels that become a node's four children, or were those of its four children."""
        return (torch.arange(4)[:, None] * HIDDEN + order).flatten()

    def both_digits(order: torch.Tensor) -> torch.Tensor:
        return torch.cat([order, len(order) + order])

    def shuffle(part: SliceParameters, order: torch.Tensor, known: torch.Tensor, seen: list[torch.Tensor]) -> None:
        embedded, around, joined = torch.randperm(EMBEDDED), torch.randperm(HIDDEN), torch.randperm(HIDDEN)
        seen.append(len(seen) * EMBEDDED + embedded)
        permute(part.embed, both_digits(order), embedded)
        permute(part.around, torch.cat(seen), around)
        permute(part.join, torch.cat([known, len(known) + around]), joined)
        for last in (part.level, part.mean):
            permute(last, joined, order)

    memory, recall, above, top, one, two, three, four = (torch.randperm(n) for n in (MEMORY, *7 * [HIDDEN]))
    permute(other.recall, memory, recall)
    permute(other.up[0], families(recall), above)
    permute(other.up[1], families(above), top)
    shuffle(other.hyper, orders[0], top, [])
    permute(other.h_s[0], both_digits(orders[0]), families(one))
    permute(other.h_s[1], one, two)
    permute(other.h_s[2], two, families(three))
    permute(other.h_s[3], three, four)
    seen: list[torch.Tensor] = []
    for part, order in zip(other.slices, orders[1:], strict=True):
        shuffle(part, order, torch.cat([four, HIDDEN + recall]), seen)
    assert not any(torch.equal(a.weight, b.weight) for a, b in zip(layers(hyperprior), layers(other), strict=True))
    shuffled = [part[:, order] for part, order in zip(symbols, orders, strict=True)]
    expected = [
        Parameters(*(each[:, orders[number // 2]] for each in step))
        for number, step in enumerate(record(hyperprior, context, symbols))
    ]
    assert equal(record(other, context[..., memory], shuffled), expected)


def write(module: Hyperprior, y: torch.Tensor, context: torch.Tensor) -> tuple[bytes, torch.Tensor]:
    writer = SymbolWriter()
    y_hat = module.write(y, writer, context)
    return writer.finish(), y_hat


def same_everywhere(call: Callable[[], object], on_threads) -> Iterator[object]:
    """Results of a call on some threads, without oneDNN, and by each product."""
    for threads in (2, 4):
        yield on_threads(threads, call)
    with torch.backends.mkldnn.flags(enabled=False):
        yield call()
    for product in PRODUCTS.values():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exact, "integer_product", lambda device, product=product: product)
            yield call()


def test_threads_libraries_and_products_change_no_parameter(hyperprior, context, symbols, record, on_threads):
    expected = record(hyperprior, context, symbols)
    for found in same_everywhere(lambda: record(hyperprior, context, symbols), on_threads):
        assert equal(found, expected)


def test_threads_libraries_and_products_decode_the_same(hyperprior, context, on_threads):
    payload, y_hat = write(hyperprior, torch.randn(1, NPIX, CHANNELS) * 3, context)
    for found in same_everywhere(lambda: hyperprior.read(SymbolReader(payload), y_hat, context), on_threads):
        assert torch.equal(found, y_hat)


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_change_no_byte(hyperprior, context, threads, on_threads):
    y = torch.randn(1, NPIX, CHANNELS) * 3
    assert on_threads(threads, lambda: write(hyperprior, y, context))[0] == write(hyperprior, y, context)[0]


def test_training_sees_the_same_parameters(hyperprior, context, symbols):
    """In float32, of everything that a slice is told; up to a transform that the library may take for nine taps."""
    told, known, seen = (
        torch.randint(-127, 128, (1, NPIX, n)).to(torch.int8) for n in (2 * SIZES[-1], 2 * HIDDEN, 2 * EMBEDDED)
    )
    part = hyperprior.slices[-1]

    def run(dtype: torch.dtype) -> list[torch.Tensor]:
        embedded = part.embed(told.to(dtype))
        fine = (16 * symbols[0][None]).to(torch.int32 if dtype == torch.int8 else dtype)
        recalled = hyperprior.recall(context.to(dtype))
        everything = torch.cat([seen.to(dtype), embedded], -1)
        return [*part(known.to(dtype), everything), hyperprior.known(recalled, fine), hyperprior.above(recalled)]

    for exactly, trained in zip(run(torch.int8), run(torch.float32), strict=True):
        assert trained.dtype == torch.float32
        assert (trained == exactly).double().mean() > 0.999 and (trained - exactly).abs().max() <= 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_reads_what_a_cpu_wrote(hyperprior, context, symbols, record):
    there = copy.deepcopy(hyperprior).cuda()
    assert equal(record(there, context.cuda(), symbols), record(hyperprior, context, symbols))
    payload, y_hat = write(hyperprior, torch.randn(1, NPIX, CHANNELS) * 3, context)
    decoded = there.read(SymbolReader(payload), y_hat.cuda(), context.cuda())
    assert decoded.is_cuda and torch.equal(decoded.cpu(), y_hat)


def test_digits_are_the_latents_times_16_and_themselves():
    fine = torch.tensor([0, 1, 7, 8, 23, 24, 127, 128, 2031, 2023, 2024, 10**6, 2**24 + MEAN_LIMIT])
    fine = torch.cat([fine, -fine])
    expected = [max(-127, min(127, value)) for value in fine.tolist()]
    expected += [max(-127, min(127, (value + 8) // 16)) for value in fine.tolist()]
    found = digits(fine.int().view(1, 1, -1))
    assert found.dtype == torch.int8 and found.flatten().tolist() == expected
    drawn = torch.randint(-3000, 3000, (2, 50, 8))
    assert torch.equal(digits(drawn.float()), digits(drawn.int()).float())


def test_digits_have_gradients_that_pass_straight_through():
    """A sixteenth for the whole latents, wherever they lie; one for the fine ones, where they are held."""
    fine = torch.tensor([[[3.0, -100.0, 500.0, -5000.0]]], requires_grad=True)
    near, far = digits(fine).chunk(2, -1)
    (gradient,) = torch.autograd.grad(far.sum(), fine, retain_graph=True)
    assert gradient.flatten().tolist() == 4 * [1 / FINE]
    (gradient,) = torch.autograd.grad(near.sum(), fine)
    assert gradient.flatten().tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("channels", [1, 2, 8, 24, 192, 256])
def test_slices_are_all_of_the_channels(channels):
    sizes = slice_sizes(channels)
    assert sum(sizes) == channels and min(sizes) > 0 and len(sizes) <= 4
    assert channels < 16 or sizes == sorted(sizes)


def test_slices_of_the_released_sizes(resolutions):
    """And none of its sums leaves 32 bits, which a layer checks when it is made."""
    config = ModelConfig()
    assert slice_sizes(config.intra_latents) == [16, 48, 64, 128]
    assert slice_sizes(config.residual_latents) == [12, 36, 48, 96]
    memory = 2 * config.residual_latents + config.intra_latents
    Hyperprior(config.residual_latents, config.hyper_channels, config.hyper_hidden, memory, *resolutions)
