"""A step on a patch is a step on the whole sphere, away from the patch's border."""

from __future__ import annotations

import pytest
import torch

from deepsphere_codec.models import ModelConfig, References, SphereDVC
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.motion.tree import still_tree
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid

NSIDE = 512
REACH = 160
"""Nodes: side information (a node of it stands for 64) sees as far; what it says, a little farther still."""


@pytest.fixture(scope="module")
def config(narrow) -> ModelConfig:
    return ModelConfig(**narrow)


def lively(network: SphereDVC, weights: dict[str, torch.Tensor] | None = None) -> SphereDVC:
    """Layers that start at zero would hide what they see."""
    generator = torch.Generator().manual_seed(3)
    for name, p in network.named_parameters():
        if weights is not None:
            p.data.copy_(weights[name])
        elif p.dim() > 1 and not p.any():
            p.data.copy_(0.002 * torch.randn(p.shape, generator=generator))
    return network.eval()


@pytest.mark.slow
def test_the_same_pictures_and_bits_inside(config):
    """An I-frame and a P-frame after the same reference, coded as in training, on the sphere and on one face of it.

    Nothing moves, since a warp's rounding (2e-6 radians) tips a latent over here and there.
    """
    torch.manual_seed(1)
    patch, sphere = PatchGrid(NSIDE, 4, 0, 0, NSIDE), HealpixGrid.cached(NSIDE)
    small = lively(SphereDVC(config, patch))
    whole = lively(SphereDVC(config, sphere), dict(small.named_parameters()))
    nodes, d = torch.from_numpy(patch.nodes), torch.from_numpy(sphere.centers)
    x = torch.stack([0.5 + 0.3 * torch.sin(30 * d + k) for k in range(2)]).float()
    quality = torch.tensor([4.0])
    with torch.no_grad():
        found = {}
        for name, network, film in (("sphere", whole, x), ("patch", small, x[:, nodes])):
            picture, rate = network.intra(film[:1], quality, straight=True)
            known = References(network.inter.begin(film[:1], torch.zeros_like(picture.fine)))
            still = Motion.of([still_tree(network.inter.blocks)])
            out = network.inter(film[1:], known, still, quality, straight=True)
            found[name] = (picture.x_hat, out.x_hat, rate.latents[..., None], out.rate.latents[..., None])
    for on_sphere, on_patch in zip(found["sphere"], found["patch"], strict=True):
        side = round(on_patch.shape[1] ** 0.5)
        a = on_sphere.view(12, side, side, -1)[4]
        difference = (a - on_patch.view(side, side, -1)).abs()
        edge = REACH * side // NSIDE
        inner = difference[edge : side - edge, edge : side - edge]
        assert inner.numel() and inner.max() < 1e-5 * max(1.0, float(a.abs().max()))
        assert difference.max() > 100 * max(float(inner.max()), 1e-7), "the border is seen, or this would prove nothing"
