"""What is counted, against what is reckoned by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from deepsphere_codec.entropy.exact import ExactConv
from deepsphere_codec.graph import build_graph
from deepsphere_codec.layers import GDN, ChebConv, DirectionalConv, FacePadding, HybridConv, RescaledLaplacian
from deepsphere_codec.models import ModelConfig, SphereDVC
from deepsphere_codec.models.macs import Counter, complexity
from deepsphere_codec.sphere import HealpixGrid

NODES = 12 * 4**2
LAPLACIAN, PADDING = RescaledLaplacian(build_graph(4)), FacePadding(HealpixGrid(4))


@pytest.mark.parametrize(
    "layer, of_a_node",
    [
        (DirectionalConv(6, 5, PADDING), 9 * 6 * 5),
        (ChebConv(6, 5, 1, LAPLACIAN), 6 * 5),
        (ChebConv(6, 5, 3, LAPLACIAN), 3 * 6 * 5 + 2 * 9 * 6),
        (ChebConv(6, 2, 3, LAPLACIAN), 3 * 6 * 2 + 2 * 9 * 2),  # the channels are mixed first, where they become fewer
        (HybridConv(6, 5, 2, LAPLACIAN, PADDING), 4 * 6 * 5 + 9 * 6),
        (ExactConv(6, 5), 6 * 5),
        (ExactConv(6, 5, PADDING), 9 * 6 * 5),
        (GDN(6), 6 * 6),
    ],
    ids=["directional", "mix", "chebyshev", "clenshaw", "hybrid", "exact mix", "exact", "gdn"],
)
def test_of_one_layer(layer, of_a_node):
    with Counter(torch.nn.Sequential(layer)) as counter:
        layer(torch.rand(2, NODES, 6))
    layer(torch.rand(2, NODES, 6))  # not counted: it is closed
    assert counter.total() == 2 * NODES * of_a_node


def test_of_the_i_frames_of_a_model(tiny):
    """Layer by layer from the sizes of the configuration, at the nodes to a pixel of each resolution."""
    work, latent, middle_z, coarse = 1.5 / 16, 1.5 / 256, 1.5 / 1024, 1.5 / 4096
    half = 1.5 / 64
    w, m, y, z, h = 16, 16, 24, 8, 8  # work, middle, latents, hyper, hidden
    straight = latent * 768 * y
    analysis = straight + work * (9 * 48 * w + 2 * 9 * w * w + w * w)
    analysis += half * (4 * w * m + 4 * 9 * m * m + m * m) + latent * 4 * m * y
    hyper_analysis = latent * (2 * y * h + 9 * h) + middle_z * (2 * 4 * h * h + 9 * h) + coarse * 4 * h * z
    hyper_synthesis = coarse * z * 4 * h + middle_z * (9 * h * h + h * 4 * h) + latent * 9 * h * h
    parameters = 2 * latent * (9 * y * h + 2 * h * 2 * h + 2 * 2 * h * y)
    synthesis = straight + latent * (2 * 9 * y * y + y * 4 * m) + half * (m * m + 4 * 9 * m * m + m * 4 * w)
    synthesis += work * (w * w + 48 * w + 2 * 9 * w * w + 9 * w * 48)
    found = complexity(tiny).macs
    assert found.intra_decoder == pytest.approx(hyper_synthesis + parameters + synthesis, rel=1e-9)
    assert found.intra == pytest.approx(found.intra_decoder + analysis + hyper_analysis, rel=1e-9)


def test_the_twin_has_as_many_parameters_and_a_third_less_to_do(tiny):
    """There are 1.5 nodes to a pixel; at each of them the same is done."""
    sphere, twin = complexity(tiny), complexity(replace(tiny, geometry="erp"))
    assert (
        sphere.parameters
        == twin.parameters
        == sum(p.numel() for p in SphereDVC(tiny, HealpixGrid.cached(64)).parameters())
    )
    assert [a / b for a, b in zip(sphere.macs, twin.macs, strict=True)] == pytest.approx([1.5] * 4)


def test_a_line_tells_of_it():
    words = complexity(ModelConfig(work_channels=16, middle_channels=16)).in_words()
    assert "M parameters; thousands of multiply-accumulates to a pixel: I-frame" in words and "(decoder" in words


def test_counting_leaves_the_random_numbers_alone(tiny):
    before = torch.get_rng_state()
    complexity(tiny)
    assert torch.equal(torch.get_rng_state(), before)
