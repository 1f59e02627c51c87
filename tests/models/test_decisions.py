"""Decisions of the P- and B-frame encoder: parts are omitted unless they lower rate + lmbda · distortion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from deepsphere_codec.entropy.hyperprior import Rate
from deepsphere_codec.models import CodedPicture, References
from deepsphere_codec.models.dvc import MOTION_SHARE
from deepsphere_codec.models.inter import Seen
from deepsphere_codec.models.latent_codec import Decoded
from deepsphere_codec.models.payload import Payload
from deepsphere_codec.models.quality import lmbda_of

QUALITY = 7.0
NEVER = float("inf")


@pytest.fixture
def choose(lively, films, monkeypatch) -> Callable[..., CodedPicture]:
    """Encodes as if the pictures to choose from had these errors, in bits: moved, repeated, with a residual, second."""
    states = [lively.encode_intra(x, QUALITY).state for x in films["both"]]
    monkeypatch.setattr(lively, "_worth_coding", lambda *_: np.ones(lively.inter.blocks.shape(0), bool))

    def encode(*errors: float) -> CodedPicture:
        left = iter(errors)
        monkeypatch.setattr(lively, "_error", lambda *_: next(left))
        references = References(*states, (-1, 1)) if len(errors) == 4 else References(states[0])
        coded = lively.encode_inter(films["new"][1], references, QUALITY, 0)
        assert not list(left)
        return coded

    return encode


def test_motion_and_residual_are_coded_where_they_pay(choose):
    """Rate + lmbda · distortion decides: half a bit more or less than what balances tips it."""
    moved, mended = len(choose(0, NEVER, NEVER).payload), len(choose(NEVER, NEVER, 0).payload)
    assert 1 < moved < moved + 20 < mended
    for errors, more, fewer in (
        (lambda e: (0, e, NEVER), moved, 1),
        (lambda e: (NEVER, e, 0), mended, 1),
        (lambda e: (e, NEVER, 0), mended, moved),
    ):
        found = [len(choose(*errors(8 * (more - fewer) + half)).payload) for half in (0.5, -0.5)]
        assert found == [more, fewer]


def test_the_reference_that_is_nearer_to_the_picture_is_repeated(choose):
    first, second = choose(NEVER, 1.0, NEVER, 2.0), choose(NEVER, 2.0, NEVER, 1.0)
    assert Payload.unpack(first.payload) == Payload() and Payload.unpack(second.payload) == Payload(repeats_second=True)
    assert not torch.equal(first.state.x_hat, second.state.x_hat)


def test_errors_count_as_in_the_loss_block_by_block(lively):
    x, x_hat = torch.rand(2, 1, 12 * 64**2, 3)
    squares = (x - x_hat).double().square()[0] @ torch.tensor([6.0, 1, 1]).double() / 8
    asked = torch.linspace(1, 8, 12)[None]
    blocks = [
        float(part.sum()) * lmbda_of(float(q)) * 255**2 for part, q in zip(squares.chunk(12), asked[0], strict=True)
    ]
    assert lively._block_errors(x, x_hat, asked)[0].tolist() == pytest.approx(blocks, rel=1e-4)
    assert lively._error(x, x_hat, asked) == pytest.approx(sum(blocks), rel=1e-4)
    alike = sum(map(float, squares)) * lmbda_of(4.5) * 255**2
    assert lively._error(x, x_hat, torch.tensor([[4.5]])) == pytest.approx(alike, rel=1e-4)


def test_a_block_has_a_residual_where_that_saves_more_than_its_bits(lively, monkeypatch):
    """Sixteen latents of 2 bits and 8 bits of side information for each block."""
    before = torch.full((1, 12), 100.0)
    saved = torch.tensor([[40.5, 39.5, 0, -9, 100, 41, 39, 40.5, 8.5, 32.5, 2.5, 50]])
    rate = Rate(torch.full((1, 192), 2.0), torch.full((1, 12), 8.0))
    monkeypatch.setattr(lively.inter.residual_latents, "estimate", lambda *_: (Decoded(rate, rate), rate))
    monkeypatch.setattr(lively.inter, "reconstruct", lambda *_: "mended")
    monkeypatch.setattr(lively, "_block_errors", lambda x, picture, _: before - saved * (picture == "mended"))
    found = lively._worth_coding(None, None, None, Seen("predicted", None, None), None)
    assert found.reshape(-1).tolist() == (saved[0] > 40).tolist()


def test_motion_is_searched_for_by_the_share_of_its_error_that_stays(lively):
    expected = MOTION_SHARE * 0.75 * 255**2 * lmbda_of(QUALITY)
    assert lively.motion_lmbda(QUALITY) == pytest.approx(expected)
    quality_map = np.arange(-4, 8, dtype=np.int8)
    found = lively.motion_lmbda(QUALITY, quality_map)
    assert found.shape == lively.inter.blocks.shape(0)
    assert found.ravel() == pytest.approx([expected * 2 ** (unit / 4) for unit in quality_map])
