"""The sparse product: every back end against a dense matrix, gradients, batches, types."""

from __future__ import annotations

import pytest
import torch

from deepsphere_codec.graph import build_graph
from deepsphere_codec.layers import RescaledLaplacian


def dense(graph) -> torch.Tensor:
    laplacian = torch.from_numpy(graph.laplacian().toarray())
    return 2 / graph.lmax * laplacian - torch.eye(graph.npix, dtype=torch.float64)


@pytest.mark.parametrize(("nside", "k"), [(1, 8), (2, 8), (8, 8), (8, 20)])
@pytest.mark.parametrize("batch", [1, 3])
def test_equals_the_dense_matrix(nside, k, batch, backend):
    graph = build_graph(nside, k)
    x = torch.randn(batch, graph.npix, 5, dtype=torch.float64)
    expected = dense(graph) @ x
    product = RescaledLaplacian(graph, backend)
    assert (product.double()(x) - expected).abs().max() < 1e-13
    assert (product.float()(x.float()) - expected).abs().max() < 2e-6


def test_a_double_module_has_double_precision_even_by_way_of_single():
    graph = build_graph(4)
    product = RescaledLaplacian(graph).float().double()
    x = torch.randn(1, graph.npix, 2, dtype=torch.float64)
    assert (product(x) - dense(graph) @ x).abs().max() < 1e-13


def test_spectrum_lies_within_minus_one_and_one(backend):
    graph = build_graph(4)
    product = RescaledLaplacian(graph, backend).double()
    matrix = product(torch.eye(graph.npix, dtype=torch.float64)[None])[0]
    eigenvalues = torch.linalg.eigvalsh(matrix)
    assert eigenvalues[0] == pytest.approx(-1, abs=1e-12)
    assert 0.99 < eigenvalues[-1] < 1


def test_gradient_is_the_same_product(backend):
    product = RescaledLaplacian(build_graph(1), backend).double()
    x = torch.randn(2, 12, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(product, x)
    assert torch.autograd.gradgradcheck(product, x)


def test_a_gradient_that_is_not_contiguous(backend):
    product = RescaledLaplacian(build_graph(2), backend)
    x = torch.randn(1, 48, 4, requires_grad=True)
    (product(x).transpose(1, 2) * torch.randn(1, 4, 48)).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_batch_sizes_may_alternate(backend):
    product = RescaledLaplacian(build_graph(2), backend)
    x = torch.randn(3, 48, 4)
    for batch in (3, 1, 2, 3):
        single = torch.cat([product(x[i : i + 1]) for i in range(batch)])
        assert torch.allclose(product(x[:batch]), single, atol=1e-6)


def test_the_graph_is_not_in_the_state_dict():
    assert RescaledLaplacian(build_graph(1)).state_dict() == {}


def test_number_of_threads_changes_no_bit(backend):
    product = RescaledLaplacian(build_graph(16), backend)
    x = torch.randn(1, 3072, 16)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = product(x)
        torch.set_num_threads(2)
        assert torch.equal(product(x), one)
    finally:
        torch.set_num_threads(threads)


def test_an_unknown_back_end_is_refused():
    with pytest.raises(ValueError, match="'sparse' is unknown: expected auto, bag"):
        RescaledLaplacian(build_graph(1), "sparse")
