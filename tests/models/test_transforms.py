"""The straight ways: cosine transforms of blocks, with which training begins at the quality of a block codec."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from support import centers, psnr

from deepsphere_codec.models import References, SphereDVC
from deepsphere_codec.models.pyramid import LATENT_DEPTH, WORK_DEPTH
from deepsphere_codec.models.transforms import (
    FOLDED,
    PLANE_ENERGIES,
    Analysis,
    BlockAnalysis,
    BlockSynthesis,
    Synthesis,
    cosine_basis,
    fold,
    unfold,
)
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.motion.tree import still_tree
from deepsphere_codec.sphere import HealpixGrid

NSIDE, BLOCK = 64, 1 << LATENT_DEPTH
EVERYTHING = 3 * BLOCK**2


@pytest.mark.parametrize(
    "planes, levels, count", [(PLANE_ENERGIES, 4, 256), (PLANE_ENERGIES, 4, 768), ((1.0, 1.0), 2, 32), ((1.0,), 1, 3)]
)
def test_columns_are_orthonormal(planes, levels, count):
    basis = cosine_basis(planes, levels, count).double()
    assert basis.shape == (len(planes) * 4**levels, count)
    assert torch.allclose(basis.t() @ basis, torch.eye(count).double(), atol=1e-6)


def smooth(p: torch.Tensor) -> torch.Tensor:
    """Three planes, waves of up to nine radians of phase to a radian of the sphere."""
    waves = torch.tensor([[6.0, 2, -4], [-3, 7, 2], [2, -5, 8]], dtype=torch.float64)
    return (0.5 + 0.2 * (p @ waves).sin() + 0.1 * (p @ waves.flip(0)).cos()).float()[None]


def block_of(x: torch.Tensor, face: int, row: int, column: int) -> np.ndarray:
    """All descendants of one node at nside / 16, [plane, y, x]."""
    rows, columns = (slice(BLOCK * i, BLOCK * (i + 1)) for i in (row, column))
    return x[0].view(12, NSIDE, NSIDE, 3)[face, rows, columns].permute(2, 0, 1).double().numpy()


def test_latents_are_scipys_cosine_transform_with_the_most_energy_first(pyramid):
    count = 40
    analysis = BlockAnalysis(cosine_basis(PLANE_ENERGIES, LATENT_DEPTH, count), count, pyramid)
    x = torch.rand(1, 12 * NSIDE**2, 3)
    y = analysis(fold(x, pyramid)).detach()[0].view(12, NSIDE // BLOCK, NSIDE // BLOCK, count)
    energy = np.add.outer(np.arange(BLOCK) ** 2, np.arange(BLOCK) ** 2) + 1
    ranks = np.argsort(-np.multiply.outer(PLANE_ENERGIES, 1 / energy).ravel(), kind="stable")[:count]
    for place in ((0, 0, 0), (5, 1, 2), (11, 3, 3)):
        expected = dctn(block_of(x, *place), axes=(1, 2), norm="ortho").ravel()[ranks]
        assert np.abs(y[place].numpy() - expected).max() < 1e-4


def test_a_constant_goes_to_the_first_latent_alone(pyramid):
    analysis = BlockAnalysis(cosine_basis(PLANE_ENERGIES, LATENT_DEPTH, 256), 256, pyramid)
    x = torch.zeros(1, 12 * NSIDE**2, 3)
    x[..., 0] = 0.3
    y = analysis(fold(x, pyramid)).detach()
    assert torch.allclose(y[..., 0], torch.tensor(0.3 * BLOCK), atol=1e-4) and y[..., 1:].abs().max() < 1e-4
    x[..., 0], x[..., 2] = 0.0, 0.3
    others = (analysis(fold(x, pyramid)).detach().abs() > 1e-4)[0].any(0).nonzero().flatten().tolist()
    assert len(others) == 1 and others != [0], "another plane's has a latent of its own"


@pytest.mark.parametrize("spare", [0, 5])
def test_synthesis_undoes_analysis_where_all_functions_are_kept(pyramid, spare):
    basis = cosine_basis(PLANE_ENERGIES, LATENT_DEPTH, EVERYTHING)
    analysis, synthesis = (kind(basis, EVERYTHING + spare, pyramid) for kind in (BlockAnalysis, BlockSynthesis))
    x = fold(torch.randn(2, 12 * NSIDE**2, 3), pyramid)
    with torch.no_grad():
        y = analysis(x)
        assert torch.allclose(y.square().sum(), x.square().sum(), rtol=1e-5), "and energy is kept"
        assert not y[..., EVERYTHING:].any(), "latents beyond the basis start at zero"
        assert (synthesis(y) - x).abs().max() < 1e-4


def test_vectors_likewise(pyramid):
    """The motion's: blocks of 4×4 nodes at nside / 4."""
    basis = cosine_basis((1.0, 1.0), LATENT_DEPTH - WORK_DEPTH, 32)
    analysis, synthesis = (kind(basis, 32, pyramid) for kind in (BlockAnalysis, BlockSynthesis))
    field = torch.randn(2, 12 * (NSIDE >> WORK_DEPTH) ** 2, 2)
    assert (synthesis(analysis(field)) - field).abs().max() < 1e-5


def test_what_is_conditioned_on_does_not_go_the_straight_way(pyramid):
    analysis = BlockAnalysis(cosine_basis(PLANE_ENERGIES, LATENT_DEPTH, 20), 20, pyramid)
    x = torch.randn(1, 12 * 16**2, 2 * FOLDED)
    other = torch.cat([x[..., :FOLDED], torch.randn(1, 12 * 16**2, FOLDED)], -1)
    assert torch.equal(analysis(x), analysis(other)) and torch.equal(analysis(x), analysis(x[..., :FOLDED]))


def test_a_smooth_picture_survives_half_the_functions(pyramid):
    basis = cosine_basis(PLANE_ENERGIES, LATENT_DEPTH, 128)
    analysis, synthesis = (kind(basis, 128, pyramid) for kind in (BlockAnalysis, BlockSynthesis))
    x = smooth(centers(NSIDE))
    with torch.no_grad():
        assert psnr(x - 0.5, unfold(synthesis(analysis(fold(x - 0.5, pyramid))), pyramid)) > 40


def test_fresh_networks_go_the_straight_way_alone(pyramid, tiny):
    """Whatever the other layers start with."""
    basis = cosine_basis(PLANE_ENERGIES, LATENT_DEPTH, 24)
    analysis = Analysis(2 * FOLDED, 24, (8, 8), basis, tiny, pyramid).eval()
    synthesis = Synthesis(24, FOLDED, (8, 8), basis, tiny, pyramid).eval()
    x, quality = torch.randn(1, 12 * 16**2, 2 * FOLDED), torch.tensor([3.0])
    with torch.no_grad():
        y = analysis(x)
        assert torch.equal(y, BlockAnalysis(basis, 24, pyramid)(x))
        straight = BlockSynthesis(basis, 24, pyramid)(y)
        assert torch.equal(synthesis(y, quality, x[..., FOLDED:]), straight)
        synthesis.finish[-1].weight.normal_(std=0.01)
        synthesis.strength.log_gain.normal_()
        different = synthesis(y, quality, x[..., FOLDED:])
        assert not torch.equal(different, straight)
        assert not torch.equal(different, synthesis(y, quality, 1 + x[..., FOLDED:])), "what is known is looked at"
        assert not torch.equal(different, synthesis(y, quality + 3, x[..., FOLDED:])), "and the quality"


def test_a_fresh_codec_reproduces_a_smooth_picture(tiny):
    """Training begins at the quality of a block transform codec: I- and P-frames, at the best quality there is."""
    network = SphereDVC(replace(tiny, intra_latents=128, residual_latents=128), HealpixGrid.cached(NSIDE)).eval()
    x, quality = smooth(centers(NSIDE)), torch.tensor([8.0])
    with torch.no_grad():
        picture, _ = network.intra(x.flip(-1), quality, straight=True)
        assert psnr(x.flip(-1), picture.x_hat) > 35
        references, motion = References(network.inter.begin(*picture)), Motion.of([still_tree(network.inter.blocks)])
        out = network.inter(x, references, motion, quality, straight=True)
        assert psnr(x, out.x_hat) > 35, "though another picture than the one before"
        assert torch.equal(out.x_pred, picture.x_hat), "nothing moves"
