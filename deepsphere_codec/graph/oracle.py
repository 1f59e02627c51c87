"""Graphs made and checked with the field's own packages, PyGSP and healpy (the extra `[graphs]`)."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from deepsphere_codec.graph.laplacian import Progress, SphereGraph, compute_graph
from deepsphere_codec.runtime.extras import optional_imports
from deepsphere_codec.sphere.grid import HealpixGrid


def make_graph(nside: int, k: int = 8, *, on_progress: Progress | None = None) -> SphereGraph:
    """Make a graph through PyGSP, and check its 8 neighbours against healpy's.

    Args:
        nside: HEALPix resolution, any integer >= 1.
        k: 8, 20 or 40 neighbours.
        on_progress: Called with (done, 100) as the work goes on.
    Returns:
        The graph, equal to that of `compute_graph`, which needs neither package.
    Raises:
        UsageError: k or nside out of range; PyGSP or healpy is not installed.
    """
    graph = compute_graph(nside, k, laplacian=pygsp_laplacian, on_progress=on_progress)
    if k == 8:
        assert np.array_equal(graph.neighbors, healpy_neighbors(nside)), "the neighbours are not healpy's"
    return graph


def pygsp_laplacian(adjacency: sparse.csr_matrix) -> sparse.csr_matrix:
    """PyGSP's combinatorial Laplacian of an adjacency matrix, [npix, npix]."""
    with optional_imports():
        from pygsp.graphs import Graph
    return Graph(adjacency).L.tocsr()


def healpy_neighbors(nside: int) -> np.ndarray:
    """Healpy's neighbours in face-major order, [npix, 8]; where one is missing, the node itself."""
    with optional_imports():
        import healpy
    grid = HealpixGrid(nside)
    ring = healpy.get_all_neighbours(nside, grid.to_ring).T
    face_major = np.argsort(grid.to_ring)[ring]
    return np.where(ring < 0, np.arange(grid.npix)[:, None], face_major)
