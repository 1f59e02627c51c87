"""Latents and their scales: what is coded is y times the gain, and what comes back is divided by it."""

from __future__ import annotations

import pytest
import torch

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.exact import ACTIVATION_LIMIT
from deepsphere_codec.entropy.hyperprior import FINE
from deepsphere_codec.models.latent_codec import LatentCodec

CHANNELS, MEMORY, NODES = 6, 4, 12 * 4**2
QUALITY = torch.tensor([3.5])


@pytest.fixture
def codec(tiny, pyramid) -> LatentCodec:
    """Gains 1, 1.4, 2 … and no latent skipped."""
    module = LatentCodec(CHANNELS, MEMORY, tiny, pyramid, start=1.0).eval().requires_grad_(False)
    for part in module.hyperprior.slices:
        part.level.weight.zero_()
        part.level.bias.fill_(32)
    module.hyperprior.build_tables()
    return module


@pytest.fixture
def memory() -> torch.Tensor:
    return torch.randint(-ACTIVATION_LIMIT, ACTIVATION_LIMIT + 1, (1, NODES, MEMORY)).double()


def test_written_read_and_trained_alike(codec, memory):
    y = 3 * torch.randn(1, NODES, CHANNELS)
    writer = SymbolWriter()
    written = codec.write(y, QUALITY, writer, memory)
    read = codec.read(SymbolReader(writer.finish()), QUALITY, memory)
    seen, _ = codec(y, QUALITY, memory, straight=True)
    for other in (read, seen):
        assert all(torch.equal(a, b) for a, b in zip(written, other, strict=True))
    assert torch.equal(written.fine, written.fine.round()) and written.fine.any()


@pytest.mark.parametrize("quality", [1.0, 3.5, 8.0])
def test_steps_are_as_fine_as_the_gain_says(codec, memory, quality):
    """To begin with √2 finer from one quality to the next, since lmbda doubles."""
    y, asked = 3 * torch.randn(1, NODES, CHANNELS), torch.tensor([quality])
    decoded = codec.write(y, asked, SymbolWriter(), memory)
    step = 2 ** (-(quality - 1) / 2)
    error = (decoded.y_hat - y).abs()
    assert error.max() <= 0.501 * step and error.mean() > 0.2 * step
    assert torch.allclose(decoded.y_hat, decoded.fine / FINE * step, atol=1e-5)


def test_an_estimate_is_what_is_written_and_its_bits(codec, memory):
    y, writer = 3 * torch.randn(1, NODES, CHANNELS), SymbolWriter()
    written = codec.write(y, QUALITY, writer, memory)
    estimated, rate = codec.estimate(y, QUALITY, memory)
    assert all(torch.equal(a, b) for a, b in zip(written, estimated, strict=True))
    assert 8 * len(writer.finish()) == pytest.approx(float(rate.bits), rel=0.01, abs=64)


def test_quality_is_told_in_eighths(codec, memory):
    """Behind the memory, alike at all nodes, and to the nearest; each picture of a batch has its own."""
    context = codec.context(torch.tensor([3.0, 4.7]), torch.cat([memory, memory]), NODES)
    assert context.shape == (2, NODES, MEMORY + 1) and torch.equal(context[:, :, :MEMORY], memory.expand(2, -1, -1))
    assert (context[0, :, MEMORY] == 24).all() and (context[1, :, MEMORY] == 38).all()
    assert codec.context(torch.tensor([1e30]), memory, NODES)[..., MEMORY].unique().tolist() == [ACTIVATION_LIMIT]


def test_a_map_of_quality_is_told_block_by_block(codec, memory):
    """Blocks of nside / 64, here the faces, 16 nodes each."""
    blocks = torch.arange(12.0) / 4 + 1
    told = codec.context(blocks[None], memory, NODES)[0, :, MEMORY]
    assert torch.equal(told.view(12, 16), (8 * blocks).double()[:, None].expand(-1, 16))


def test_nothing_is_zeros_on_all_nodes(codec):
    nothing = codec.nothing(torch.tensor([3.0, 4.0]))
    for part in nothing:
        assert part.shape == (2, NODES, CHANNELS) and not part.any()


def test_low_precision_around_it_changes_nothing(codec, memory):
    """Whole numbers need all their digits."""
    y = 3 * torch.randn(1, NODES, CHANNELS)
    plain, rate = codec(y, QUALITY, memory, straight=True)
    with torch.autocast("cpu", torch.bfloat16):
        lowered, lowered_rate = codec(y, QUALITY, memory, straight=True)
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert all(torch.equal(a, b) for a, b in zip(plain, lowered, strict=True))
    assert torch.equal(rate.latents, lowered_rate.latents) and torch.equal(rate.hyper, lowered_rate.hyper)


def test_what_is_remembered_carries_no_gradient(codec, memory):
    y = torch.randn(1, NODES, CHANNELS, requires_grad=True)
    decoded, _ = codec(y, QUALITY, memory)
    assert decoded.y_hat.requires_grad and not decoded.fine.requires_grad
