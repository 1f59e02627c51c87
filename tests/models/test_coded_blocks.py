"""Which blocks have a residual: the flags' bytes, what is not coded, and what the encoder chooses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.models import References
from deepsphere_codec.models.coded_blocks import read_coded, write_coded
from deepsphere_codec.models.quality import inter_quality
from deepsphere_codec.motion.contexts import KINDS, MotionTables
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.motion.search import EFFORTS
from deepsphere_codec.motion.tree import BlockGrid, still_tree
from deepsphere_codec.sphere import ErpGrid, HealpixGrid

QUALITY = 5.0
GRIDS = [HealpixGrid.cached(64), HealpixGrid.cached(256), ErpGrid(128, 256)]


@pytest.fixture(scope="module")
def tables() -> MotionTables:
    made = MotionTables()
    made.build_tables()
    return made


def written(coded: np.ndarray, grid: BlockGrid, tables: MotionTables) -> bytes:
    writer = SymbolWriter()
    write_coded(coded, grid, tables, writer)
    return writer.finish()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_flags_come_back(tables, grid, share):
    blocks = BlockGrid(grid)
    coded = np.random.default_rng(1).random(blocks.shape(0)) < share
    assert np.array_equal(read_coded(SymbolReader(written(coded, blocks, tables)), blocks, tables), coded)


def test_few_blocks_cost_little(tables):
    """192 flags: none set, or all of them, cost less than the 24 bytes of one bit each."""
    blocks = BlockGrid(HealpixGrid.cached(256))
    none, every = (len(written(np.full(blocks.shape(0), flag), blocks, tables)) for flag in (False, True))
    assert none <= 8 and every <= 56
    patch = np.zeros(blocks.shape(0), bool)
    patch[5, 1:3, 1:3] = True
    assert len(written(patch, blocks, tables)) < 16


def test_a_flag_that_is_neither_is_damaged(tables):
    """A symbol beyond its row can be read, and is never written."""
    blocks, writer = BlockGrid(HealpixGrid.cached(64)), SymbolWriter()
    rows = np.full(12, KINDS["coded"].first)
    writer.write(torch.full((12,), 5), torch.from_numpy(rows), tables)
    with pytest.raises(DamagedStream, match="neither has a residual nor has none"):
        read_coded(SymbolReader(writer.finish()), blocks, tables)


@pytest.mark.parametrize("some", [[], [3], [0, 1, 7, 11]], ids=str)
def test_what_is_not_coded_is_zero_and_costs_nothing(lively, films, some):
    """Latents are those of the blocks that are coded; the decoder comes to the same picture, bit for bit."""
    x_ref, x = films["both"]
    state = lively.encode_intra(x_ref, QUALITY).state
    references, quality = References(state), torch.full((1, 1), inter_quality(QUALITY, lively.config, 0))
    coded = np.zeros(lively.inter.blocks.shape(0), bool)
    coded.reshape(-1)[some] = True
    with torch.no_grad():
        motion = Motion.of([still_tree(lively.inter.blocks)])
        seen = lively.inter.see(lively.inter.predict(references, motion))
        context = lively.inter.context(references, motion)
        y, writer = lively.inter.analyse_residual(x, seen), SymbolWriter()
        x_hat, residual = lively.inter.write_residual(y, context, seen, quality, writer, coded)
        payload = writer.finish()
        decoded, read = lively.inter.read_residual(SymbolReader(payload), context, seen, quality)
    assert torch.equal(decoded, x_hat) and torch.equal(read.fine, residual.fine)
    below = lively.inter.residual_latents.hyperprior.below(torch.from_numpy(coded.reshape(-1)))
    assert not residual.fine[0, ~below].any() and (not some or residual.fine[0, below].any())
    assert some or len(payload) <= 8


def test_the_encoder_codes_the_blocks_that_pay(lively, films):
    """One face alone has something new: blocks of others have no residual, but for a fast encoder, which codes all."""
    x_ref, _ = films["still"]
    state = lively.encode_intra(x_ref, QUALITY).state
    x = state.x_hat.clone()
    face = x.view(1, 12, -1, 3)[:, 4]
    face += 0.2 * torch.rand_like(face)
    sizes = {}
    for name in ("fast", "medium"):
        coded = lively.encode_inter(x, References(state), 8.0, 0, None, EFFORTS[name])
        assert torch.equal(lively.decode_inter(coded.payload, References(state), 8.0, 0).x_hat, coded.state.x_hat)
        fine = coded.state.residual.last.view(12, -1)
        sizes[name] = (fine != 0).any(1)
    assert sizes["medium"][4] and sizes["medium"].sum() < sizes["fast"].sum()
