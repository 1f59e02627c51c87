"""Latents and their scales: what is coded is y times the gain, and what comes back is divided by it."""

from __future__ import annotations

import pytest
import torch

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.hyperprior import FINE
from deepsphere_codec.models.latent_codec import LatentCodec

CHANNELS, MEMORY, NODES = 6, 4, 12 * 4**2
QUALITY = torch.tensor([3.5])


@pytest.fixture
def codec(tiny, pyramid) -> LatentCodec:
    """Gains 1, 1.4, 2 … and no latent skipped."""
    module = LatentCodec(CHANNELS, MEMORY, tiny, pyramid, start=1.0).eval().requires_grad_(False)
    module.hyperprior.level.weight.zero_()
    module.hyperprior.level.bias.fill_(32)
    module.hyperprior.build_tables()
    return module


@pytest.fixture
def memory() -> torch.Tensor:
    return torch.randint(-255, 256, (1, NODES, MEMORY)).double()


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
