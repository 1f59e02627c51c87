"""Features of the prediction at every level: nothing to begin with, and known to encoder and decoder alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.memory import References
from deepsphere_codec.models.pyramid import Pyramid
from deepsphere_codec.models.transforms import ContextFeatures
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.motion.tree import still_tree
from deepsphere_codec.sphere import HealpixGrid


@pytest.fixture(scope="module")
def deep(tiny: ModelConfig, make_lively: Callable[..., SphereDVC]) -> SphereDVC:
    return make_lively(replace(tiny, deep_context=True), HealpixGrid.cached(64))


def test_it_begins_as_the_model_without(tiny, pictures):
    torch.manual_seed(0)
    deep = SphereDVC(replace(tiny, deep_context=True), HealpixGrid.cached(64)).inter
    plain = SphereDVC(tiny, HealpixGrid.cached(64)).inter
    plain.load_state_dict(
        {name: p for name, p in deep.state_dict().items() if "see_" not in name and "features." not in name}
    )
    x_ref, x = pictures
    quality = torch.full((1, 1), 4.0)
    with torch.no_grad():
        latents = [codec.analyse_residual(x, codec.see(x_ref)) for codec in (deep, plain)]
        assert torch.equal(*latents)
        assert torch.equal(*(codec.reconstruct(latents[0], codec.see(x_ref), quality) for codec in (deep, plain)))
    assert sum("see_" in name for name in deep.state_dict()) == 3


def test_features_are_those_of_each_resolution(tiny, pyramid: Pyramid):
    features = ContextFeatures(6, (8, 10), tiny, pyramid)
    middle, latent = features(torch.randn(2, pyramid.grids[2].npix, 48))
    assert middle.shape == (2, pyramid.grids[3].npix, 10) and latent.shape == (2, pyramid.grids[4].npix, 6)


@pytest.mark.parametrize("level", ["g_a.see_middle", "g_s.see_middle", "g_s.see_latent"])
def test_each_level_matters(deep, pictures, level):
    x_ref, x = pictures
    codec, quality = deep.inter, torch.full((1, 1), 4.0)
    weight = codec.get_submodule(level).weight
    outcomes = []
    with torch.no_grad():
        kept, y_hat = weight.clone(), codec.analyse_residual(x, codec.see(x_ref))
        for scale in (1.0, 0.0):
            weight.copy_(scale * kept)
            y = codec.analyse_residual(x, codec.see(x_ref))
            outcomes.append((y, codec.reconstruct(y_hat, codec.see(x_ref), quality)))
        weight.copy_(kept)
    changed = [not torch.equal(a, b) for a, b in zip(*outcomes, strict=True)]
    assert changed == [level.startswith("g_a"), level.startswith("g_s")]


def test_the_decoder_comes_to_the_encoders_picture(deep, pictures):
    x_ref, x = pictures
    codec, asked = deep.inter, torch.full((1, 1), 6.0)
    references, motion = References(deep.encode_intra(x_ref, 6.0).state), Motion.of([still_tree(deep.inter.blocks)])
    writer = SymbolWriter()
    with torch.no_grad():
        seen, context = codec.see(codec.predict(references, motion)), codec.context(references, motion)
        x_hat, residual = codec.write_residual(codec.analyse_residual(x, seen), context, seen, asked, writer)
        again = codec.see(codec.predict(references, motion))
        decoded, read = codec.read_residual(SymbolReader(writer.finish()), context, again, asked)
    assert residual.fine.any() and torch.equal(decoded, x_hat) and torch.equal(read.fine, residual.fine)
