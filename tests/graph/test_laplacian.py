"""The graph: weights, symmetries, spectrum, largest eigenvalue, fingerprint."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from pygsp.graphs import Graph
from scipy import sparse

from deepsphere_codec.errors import UsageError
from deepsphere_codec.graph import compute_graph, oracle
from deepsphere_codec.graph.laplacian import kernel_width, round_up
from deepsphere_codec.graph.oracle import healpy_neighbors, make_graph
from deepsphere_codec.sphere import HealpixGrid


@pytest.mark.parametrize(("nside", "k"), [(1, 8), (2, 8), (3, 8), (6, 8), (16, 8), (1, 20), (2, 20), (6, 20), (8, 40)])
def test_adjacency_is_symmetric_to_the_last_bit(nside, k):
    adjacency = compute_graph(nside, k).adjacency()
    assert (adjacency != adjacency.T).nnz == 0
    assert adjacency.diagonal().max() == 0


def test_weights_follow_deepspheres_formula():
    graph, grid = compute_graph(32), HealpixGrid(32)
    assert graph.width == 0.025
    node, slot = 5000, 6
    chord = np.linalg.norm(grid.centers[node] - grid.centers[grid.neighbors[node, slot]])
    assert graph.neighbors[node, slot] == grid.neighbors[node, slot]
    assert graph.weights[node, slot] == pytest.approx(0.5 ** (chord**2 / 0.025**2), rel=1e-6)


@pytest.mark.parametrize(("nside", "missing"), [(1, 24), (2, 24), (8, 24)])
def test_a_missing_neighbour_is_the_node_itself_with_weight_zero(nside, missing):
    graph = compute_graph(nside)
    itself = graph.neighbors == np.arange(graph.npix)[:, None]
    assert itself.sum() == missing
    assert np.array_equal(graph.weights == 0, itself)


def test_no_link_is_there_twice():
    for nside, k in ((1, 8), (2, 8), (3, 20)):
        graph = compute_graph(nside, k)
        assert graph.adjacency().nnz == np.count_nonzero(graph.weights)


@pytest.mark.parametrize("k", [20, 40])
def test_the_k_nearest_are_neighbours(k):
    graph, centers = compute_graph(6, k), HealpixGrid(6).centers
    chords = np.linalg.norm(centers[:, None] - centers[None], axis=2)
    nearest = chords <= np.sort(chords, axis=1)[:, k : k + 1] * (1 + 1e-9)
    np.fill_diagonal(nearest, False)
    assert np.array_equal(graph.adjacency().toarray() > 0, nearest | nearest.T)
    assert k <= graph.neighbors.shape[1] <= k + 6


@pytest.mark.parametrize(("nside", "k"), [(6, 8), (8, 8), (16, 8), (8, 20), (6, 40)])
def test_yaw_and_mirrors_leave_the_graph_unchanged(nside, k, symmetry):
    adjacency, image = compute_graph(nside, k).adjacency(), symmetry(nside)
    assert abs(adjacency[image][:, image] - adjacency).max() < 1e-7


@pytest.mark.parametrize(("k", "spread", "apart"), [(8, 0.08, 2.5), (20, 0.03, 8)])
def test_eigenvalues_fall_in_groups_of_2l_plus_1(k, spread, apart):
    """Up to degree 7: a group is narrow against its mean, and against the gap to the next."""
    eigenvalues = np.linalg.eigvalsh(compute_graph(8, k).laplacian().toarray())
    groups = [eigenvalues[degree**2 : (degree + 1) ** 2] for degree in range(8)]
    assert abs(groups[0][0]) < 1e-12
    assert max(np.ptp(group) / group.mean() for group in groups[1:]) < spread
    for group, following in zip(groups[:-1], groups[1:], strict=True):
        assert following[0] - group[-1] > apart * max(np.ptp(group), np.ptp(following))


def test_low_degrees_follow_the_laplacian_of_the_sphere():
    """The continuous eigenvalues are l (l + 1); the graph's are a multiple of them, 5 % short at l = 5."""
    eigenvalues = np.linalg.eigvalsh(compute_graph(8).laplacian().toarray())
    ratios = [eigenvalues[degree**2 : (degree + 1) ** 2].mean() / (degree * (degree + 1)) for degree in range(1, 6)]
    assert max(ratios) / min(ratios) < 1.05


@pytest.mark.parametrize(("nside", "k"), [(1, 8), (2, 8), (8, 8), (8, 20), (6, 40)])
def test_lmax_bounds_the_spectrum_closely(nside, k):
    graph = compute_graph(nside, k)
    largest = np.linalg.eigvalsh(graph.laplacian().toarray())[-1]
    assert largest < graph.lmax < 1.002 * largest


def test_laplacian_is_pygsps():
    graph = compute_graph(8)
    oracle = Graph(graph.adjacency())
    assert abs(graph.laplacian() - oracle.L).max() < 1e-14
    oracle.estimate_lmax()
    assert graph.lmax == pytest.approx(oracle.lmax, rel=0.011)  # PyGSP adds 1 %


@pytest.mark.parametrize(("nside", "k"), [(1, 8), (3, 8), (12, 8), (30, 8), (48, 8), (8, 20), (6, 40)])
def test_a_graph_made_without_pygsp_is_the_one_made_through_it(nside, k):
    assert make_graph(nside, k).fingerprint == compute_graph(nside, k).fingerprint


def test_neighbours_that_are_not_healpys_are_noticed(monkeypatch):
    monkeypatch.setattr(oracle, "healpy_neighbors", lambda nside: healpy_neighbors(nside)[:, ::-1])
    with pytest.raises(AssertionError, match="healpy"):
        make_graph(2)


@pytest.mark.parametrize("missing", ["pygsp", "healpy"])
def test_what_makes_graphs_for_the_package_is_asked_for_in_one_line(missing, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert compute_graph(2).nside == 2
    with pytest.raises(UsageError, match=rf'^{missing} is not installed: pip install "deepsphere-codec\[graphs\]"$'):
        make_graph(2)


def test_a_graph_goes_to_pytorch_geometric():
    graph = compute_graph(3)
    data = graph.to_pyg()
    data.validate()
    assert data.num_nodes == graph.npix and data.is_undirected()
    found = sparse.coo_matrix((data.edge_weight.double(), data.edge_index), shape=(graph.npix, graph.npix))
    assert abs(found - graph.adjacency()).max() == 0
    assert np.allclose(data.pos, HealpixGrid(3).centers, atol=1e-7)


def test_pytorch_geometric_is_asked_for_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_geometric.data", None)
    with pytest.raises(UsageError, match=r'^torch_geometric is not installed: pip install "deepsphere-codec\[pyg\]"$'):
        compute_graph(2).to_pyg()


def test_a_graph_is_made_the_same_each_time():
    first, second = compute_graph(12), compute_graph(12)
    assert (first.lmax, first.fingerprint) == (second.lmax, second.fingerprint)
    assert np.array_equal(first.weights, second.weights)


def test_fingerprint_covers_all_but_the_weights():
    graph = compute_graph(2)
    others = [
        dataclasses.replace(graph, width=0.4),
        dataclasses.replace(graph, lmax=2.5),
        dataclasses.replace(graph, k=20),
        dataclasses.replace(graph, neighbors=graph.neighbors[:, ::-1]),
    ]
    assert len({graph.fingerprint, *(other.fingerprint for other in others)}) == 5
    assert dataclasses.replace(graph, weights=graph.weights * 2).fingerprint == graph.fingerprint


def test_fingerprint_stays():
    """It is in every coded film: a new value is a new version."""
    assert compute_graph(16).fingerprint == "ca69158ff2b70992b969d0607dfabbb8ee04593f47ae7526548a1a774f1e6dcf"
    assert compute_graph(12).fingerprint.startswith("e75500db")


@pytest.mark.parametrize(
    ("value", "expected"), [(2.4734, 2.474), (2.474, 2.474), (0.00123401, 0.001235), (98765, 98770)]
)
def test_round_up(value, expected):
    assert round_up(value) == expected


def test_widths():
    assert kernel_width(64, 8) == 0.01228
    assert kernel_width(64, 20) == 0.01564
    assert kernel_width(128, 20) == 0.00782
    assert kernel_width(48, 8) == 0.79 / 48
    assert kernel_width(16, 20) == 1 / 16


@pytest.mark.parametrize(("nside", "k", "said"), [(8, 9, "8, 20 or 40"), (0, 8, "at least 1")])
def test_wrong_parameters_are_refused(nside, k, said):
    with pytest.raises(UsageError, match=said):
        compute_graph(nside, k)


def test_progress_rises_to_the_end():
    seen: list[int] = []
    compute_graph(16, on_progress=lambda done, total: seen.append(done) or seen.append(total - 100))
    done = seen[::2]
    assert done == sorted(done) and done[0] == 0 and done[-1] == 100
    assert len(set(done)) > 5 and set(seen[1::2]) == {0}
