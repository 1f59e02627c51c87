"""Every parameter of the entropy coder is a whole number that any machine, library or order of sums makes the same."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.exact import ACTIVATION_LIMIT, ExactConv
from deepsphere_codec.entropy.hyperprior import HYPER_LIMIT, Hyperprior, Parameters
from deepsphere_codec.layers import unfold_children
from deepsphere_codec.models import ModelConfig
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.grid import NEIGHBOR_STEPS

NPIX, CHANNELS, HYPER_CHANNELS, HIDDEN, MEMORY = 12 * 16**2, 8, 6, 8, 12


@pytest.fixture
def hyperprior(make_hyperprior) -> Hyperprior:
    """With a memory, and weights as after training: not multiples of 2^-10, levels over the whole range."""
    module = make_hyperprior(MEMORY)
    for conv in layers(module):
        conv.weight *= 1.37
        conv.bias += torch.randn_like(conv.bias)
    return module


def layers(module: Hyperprior) -> list[ExactConv]:
    return [conv for conv in module.modules() if isinstance(conv, ExactConv)]


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Side information, memory, and FINE times the latents known so far: some of them out of their ranges."""
    z_hat = (torch.randn(1, 12 * 4**2, HYPER_CHANNELS) * 20).round()
    memory = (torch.randn(1, NPIX, MEMORY) * 60).round().clamp(-255, 255)
    fine = (torch.randn(1, NPIX, CHANNELS) * 100).round()
    assert z_hat.abs().max() > HYPER_LIMIT and fine.abs().max() > 255
    return z_hat.double(), memory.double(), fine.double()


def parameters(module: Hyperprior, inputs: tuple[torch.Tensor, ...]) -> Parameters:
    z_hat, memory, fine = inputs
    return module.parameters_of(module.known(z_hat, memory), fine)


def equal(a: Parameters, b: Parameters) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def by_integers(conv: ExactConv, x: np.ndarray, nside: int) -> np.ndarray:
    """One layer in int64, weights in units of 2^-10."""
    weight, bias = (np.rint(p.double().numpy() * 1024).astype(np.int64) for p in (conv.weight, conv.bias))
    total = x @ weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2].T + bias
    if conv.padding is not None:
        for (dx, dy), neighbor in zip(NEIGHBOR_STEPS, HealpixGrid(nside).neighbors.T, strict=True):
            there = (neighbor >= 0)[:, None]
            total = total + np.where(there, x[np.maximum(neighbor, 0)], 0) @ weight[:, :, 1 + dy, 1 + dx].T
    return np.clip((total + 512) >> 10, conv.low, conv.limit)


def unfold(x: np.ndarray, side: int) -> np.ndarray:
    return unfold_children(torch.from_numpy(x)[None], side)[0].numpy()


def test_parameters_equal_integer_arithmetic(hyperprior, inputs):
    z, memory, fine = (part[0].long().numpy() for part in inputs)
    one, two, three, four = hyperprior.h_s
    a = unfold(by_integers(one, z.clip(-HYPER_LIMIT, HYPER_LIMIT), 4), 4)
    a = by_integers(four, unfold(by_integers(three, by_integers(two, a, 8), 8), 8), 16)
    remembered, beside = (
        by_integers(hyperprior.recall, memory, 16),
        by_integers(hyperprior.beside, fine.clip(-255, 255), 16),
    )
    a = by_integers(hyperprior.join, np.concatenate([a, remembered, beside], -1), 16)
    level, mean = parameters(hyperprior, inputs)
    assert (level[0].numpy() == by_integers(hyperprior.level, a, 16)).all() and level.unique().numel() > 30
    assert (mean[0].numpy() == by_integers(hyperprior.mean, a, 16)).all() and mean.unique().numel() > 30


def permute(conv: ExactConv, into: torch.Tensor, out: torch.Tensor) -> None:
    conv.weight.copy_(conv.weight[out][:, into])
    conv.bias.copy_(conv.bias[out])


def test_the_order_of_all_channels_changes_nothing(hyperprior, inputs):
    """Inputs and hidden channels shuffled through all layers: every sum runs in another order, nothing else differs."""
    other = copy.deepcopy(hyperprior)
    z_order, memory_order, fine_order = (torch.randperm(n) for n in (HYPER_CHANNELS, MEMORY, CHANNELS))
    one, two, three, four, recall, beside = (torch.randperm(HIDDEN) for _ in range(6))
    joined = torch.randperm(2 * HIDDEN)
    families = torch.arange(4)[:, None] * HIDDEN  # channels that become a node's four children
    permute(other.h_s[0], z_order, (families + one).flatten())
    permute(other.h_s[1], one, two)
    permute(other.h_s[2], two, (families + three).flatten())
    permute(other.h_s[3], three, four)
    permute(other.recall, memory_order, recall)
    permute(other.beside, fine_order, beside)
    permute(other.join, torch.cat([four, HIDDEN + recall, 2 * HIDDEN + beside]), joined)
    for last in (other.level, other.mean):
        permute(last, joined, torch.arange(CHANNELS))
    assert not any(torch.equal(a.weight, b.weight) for a, b in zip(layers(hyperprior), layers(other), strict=True))
    shuffled = tuple(part[..., order] for part, order in zip(inputs, (z_order, memory_order, fine_order), strict=True))
    assert equal(parameters(hyperprior, inputs), parameters(other, shuffled))


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_change_neither_parameters_nor_bytes(hyperprior, inputs, threads, on_threads):
    assert equal(parameters(hyperprior, inputs), on_threads(threads, lambda: parameters(hyperprior, inputs)))
    y, memory = torch.randn(1, NPIX, CHANNELS) * 3, inputs[1]

    def write() -> tuple[bytes, torch.Tensor]:
        writer = SymbolWriter()
        y_hat = hyperprior.write(y, writer, memory)
        return writer.finish(), y_hat

    payload, y_hat = write()
    assert on_threads(threads, write)[0] == payload
    assert torch.equal(on_threads(threads, lambda: hyperprior.read(SymbolReader(payload), y, memory)), y_hat)


def test_the_library_below_changes_nothing(hyperprior, inputs):
    expected = parameters(hyperprior, inputs)
    with torch.backends.mkldnn.flags(enabled=False):
        assert equal(parameters(hyperprior, inputs), expected)


def test_training_sees_the_same_parameters(hyperprior, inputs):
    """In float32; up to a transform that the library may take for nine taps."""
    for exact, seen in zip(
        parameters(hyperprior, inputs), parameters(hyperprior, tuple(part.float() for part in inputs)), strict=True
    ):
        assert seen.dtype == torch.float32
        assert (seen == exact).double().mean() > 0.999 and (seen - exact).abs().max() <= 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_reads_what_a_cpu_wrote(hyperprior, inputs):
    expected, y, memory = parameters(hyperprior, inputs), torch.randn(1, NPIX, CHANNELS) * 3, inputs[1]
    writer = SymbolWriter()
    y_hat = hyperprior.write(y, writer, memory)
    there = copy.deepcopy(hyperprior).cuda()
    found = parameters(there, tuple(part.cuda() for part in inputs))
    assert all(torch.equal(a.cpu(), b) for a, b in zip(found, expected, strict=True))
    decoded = there.read(SymbolReader(writer.finish()), y.cuda(), memory.cuda())
    assert decoded.is_cuda and torch.equal(decoded.cpu(), y_hat)


def largest_sum(conv: ExactConv, limit: int) -> int:
    """That a layer can come to, in units of 2^-10, in Python's integers: all weights at ±32, all inputs at a limit."""
    return conv.weight[0].numel() * 32 * 1024 * limit + 32 * 1024 + 512


def test_no_sum_of_the_released_sizes_leaves_what_float64_counts(resolutions):
    config = ModelConfig()
    sizes = {
        config.intra_latents: 0,
        config.residual_latents: 2 * config.residual_latents + config.intra_latents,
    }
    largest = 0
    for channels, memory in sizes.items():
        module = Hyperprior(channels, config.hyper_channels, config.hyper_hidden, memory, *resolutions)
        largest = max(largest, *(largest_sum(conv, ACTIVATION_LIMIT) for conv in layers(module)))
    assert 2**31 < largest < 2**53, "more than int32 would hold"
