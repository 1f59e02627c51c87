"""What is counted, against what is reckoned by hand, and what torch counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deepsphere_codec.entropy.exact import ExactConv, integer_product
from deepsphere_codec.graph import build_graph
from deepsphere_codec.layers import GDN, ChebConv, DirectionalConv, FacePadding, HybridConv, RescaledLaplacian
from deepsphere_codec.layers.separable import SeparableChebConv
from deepsphere_codec.models import ModelConfig, SphereDVC
from deepsphere_codec.models.geometry import nside_multiple, whole_grid
from deepsphere_codec.models.macs import Counter, complexity, write_p_frame
from deepsphere_codec.sphere import HealpixGrid

pytestmark = pytest.mark.filterwarnings("ignore:TF32 acceleration")  # which torch says as oneDNN is switched

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
        (SeparableChebConv(6, 5, 3, LAPLACIAN), 6 * 5 + 6 * (3 + 2 * 9)),
        (ExactConv(6, 5), 6 * 5),
        (ExactConv(6, 5, PADDING), 9 * 6 * 5),
        (GDN(6), 6 * 6),
    ],
    ids=["directional", "mix", "chebyshev", "clenshaw", "hybrid", "separable", "exact mix", "exact", "gdn"],
)
def test_of_one_layer(layer, of_a_node):
    with Counter(torch.nn.Sequential(layer)) as counter:
        layer(torch.rand(2, NODES, 6))
    layer(torch.rand(2, NODES, 6))  # not counted: it is closed
    assert counter.total() == 2 * NODES * of_a_node


@contextmanager
def torchs_own() -> Iterator[FlopCounterMode]:
    """Counts two for a multiplication with addition, sums over neighbours included; what oneDNN does, it overlooks."""
    aten = torch.ops.aten
    ours = {aten._embedding_bag: flops_of_sums, aten._embedding_bag_forward_only: flops_of_sums}
    ours[aten._int_mm] = lambda a, b, *more, **out: 2 * a[0] * a[1] * b[1]
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        with FlopCounterMode(display=False, custom_mapping=ours) as counter:
            yield counter


def flops_of_sums(weight, indices, *args, out_shape=None, **kwargs):
    return 2 * prod(indices) * weight[-1]


def test_planar_convolutions_are_what_torch_counts():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2),
        nn.Conv2d(8, 6, (1, 3), groups=2, bias=False),
        nn.ConvTranspose2d(6, 4, 5, stride=2, padding=2, output_padding=1),
        nn.ConvTranspose2d(4, 4, 3, groups=4),
    )
    with Counter(network) as counter, torchs_own() as flops:
        network(torch.rand(2, 3, 24, 32))
    assert 2 * counter.total() == flops.get_total_flops()
    assert counter.counts["0"] == 2 * 12 * 16 * 8 * 3 * 25 and counter.counts["2"] == 2 * 12 * 14 * 6 * 4 * 25


@pytest.mark.parametrize("geometry", ["erp", "healpix"])
def test_of_a_model_it_is_what_torch_counts_in_its_layers(tiny, geometry):
    """All products of matrices, convolutions and sums over neighbours; nothing moves, so none of these is a warp."""
    aten, config = torch.ops.aten, replace(tiny, geometry=geometry)
    nside = nside_multiple(geometry)
    network = SphereDVC(config, whole_grid(geometry, nside)).eval()
    network.build_tables()
    integer_product("cpu")  # it tries products when it is first asked for
    x = torch.rand(1, network.pyramid.grids[0].npix, 3)
    with torchs_own() as intra:
        state = network.encode_intra(x, 4.0).state
    with torchs_own() as inter:
        write_p_frame(network, x, state)
    for flops, found in zip((intra, inter), complexity(config).macs[:2], strict=True):
        parts = flops.get_flop_counts()
        products = aten.convolution, aten.mm, aten.addmm, aten._int_mm, aten._embedding_bag_forward_only
        expected = sum(parts["Global"][op] for op in products if op in parts["Global"])
        assert found * 8 * nside**2 == pytest.approx(expected / 2, rel=1e-12)


def test_of_the_i_frames_of_a_model(tiny):
    """Layer by layer from the sizes of the configuration, at the nodes to a pixel of each resolution."""
    work, latent, middle_z, coarse = 1.5 / 16, 1.5 / 256, 1.5 / 1024, 1.5 / 4096
    half = 1.5 / 64
    w, m, y, z, h, e = 16, 16, 24, 8, 8, 64  # work, middle, latents, hyper, hidden, embedded
    straight = latent * 768 * y
    analysis = straight + work * (9 * 48 * w + 2 * 9 * w * w + w * w)
    analysis += half * (4 * w * m + 4 * 9 * m * m + m * m) + latent * 4 * m * y
    hyper_analysis = latent * (2 * y * h + 9 * h) + middle_z * (2 * 4 * h * h + 9 * h) + coarse * 4 * h * z
    context = latent * h + middle_z * 4 * h * h + coarse * 4 * h * h
    hyper_synthesis = coarse * 2 * z * 4 * h + middle_z * (9 * h * h + h * 4 * h) + latent * 9 * h * h

    def of_slice(channels: int, before: int, known: int, told: int = 2) -> int:
        """Decoded latents are told of at all nodes, once for each half; once in all where nothing comes after them."""
        return told * (2 * channels * e) + 9 * (before + e) * h + (known + h) * h + 2 * h * channels

    sizes = (2, 4, 6, 12)
    parameters = coarse * of_slice(z, 0, h, told=1)
    parameters += latent * sum(of_slice(size, i * e, 2 * h, 1 + (size != 12)) for i, size in enumerate(sizes))
    synthesis = straight + latent * (2 * 9 * y * y + y * 4 * m) + half * (m * m + 4 * 9 * m * m + m * 4 * w)
    synthesis += work * (w * w + 48 * w + 2 * 9 * w * w + 9 * w * 48)
    found = complexity(tiny).macs
    assert found.intra_decoder == pytest.approx(context + hyper_synthesis + parameters + synthesis, rel=1e-9)
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
