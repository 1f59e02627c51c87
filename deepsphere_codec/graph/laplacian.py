"""The graph of the sphere: its neighbours, their weights, and the largest eigenvalue of its Laplacian."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, eigsh
from scipy.spatial import cKDTree

from deepsphere_codec.errors import UsageError
from deepsphere_codec.runtime.extras import optional_imports
from deepsphere_codec.sphere.grid import HealpixGrid

if TYPE_CHECKING:
    from torch_geometric.data import Data

FORMAT_VERSION = 1
"""Version of the graph and of its file; to be raised with any change to how either is made."""

Progress = Callable[[int, int], None]
"""Called with (done, total); the unit is a percentage point of the expected time."""

# Width σ of the Gaussian: DeepSphere's table (PyGSP's SphereHealpix) where it has an entry, else `rule / nside`.
_WIDTH_RULES = {8: 0.79, 20: 1.00, 40: 1.36}
_WIDTH_TABLE = {
    8: {32: 0.02500, 64: 0.01228, 128: 0.00614, 256: 0.00307, 512: 0.00154, 1024: 0.00077},
    20: {32: 0.03185, 64: 0.01564, 128: 0.00782, 256: 0.00391, 512: 0.00196, 1024: 0.00098},
    40: {32: 0.042432, 64: 0.021354, 128: 0.010595, 256: 0.005551},
}
# The Lanczos value is accurate to six digits and never above the true one. A margin of 1e-3 and rounding up to four
# digits turn it into an upper bound that is the same on every machine.
_LMAX_MARGIN = 1e-3
_LMAX_DIGITS = 4
# Relative. Nodes that a symmetry of the grid maps to each other are equally far up to rounding: either all of them are
# neighbours, or none.
_TIE_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class SphereGraph:
    """A weighted graph on the HEALPix nodes of one resolution, in face-major order.

    Attributes:
        nside: HEALPix resolution; the graph has 12 nside² nodes.
        k: Nominal number of neighbours, 8, 20 or 40. The table may have a few more columns (see `compute_graph`).
        width: σ of the Gaussian, a chord length on the unit sphere.
        lmax: Upper bound of the combinatorial Laplacian's spectrum, 0.1 to 0.2 % above its largest eigenvalue.
        neighbors: [npix, columns], int32; a missing neighbour is the node itself, with weight 0.
        weights: [npix, columns], float32; the adjacency matrix, exactly symmetric.
    """

    nside: int
    k: int
    width: float
    lmax: float
    neighbors: Int[ndarray, "npix columns"]
    weights: Float[ndarray, "npix columns"]

    @property
    def npix(self) -> int:
        """Number of nodes, 12 nside²."""
        return 12 * self.nside**2

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over version, nside, k, width, lmax and the neighbour table: the same on every machine.

        The weights are not included: they follow from the rest, and exp() may differ in the last bit between machines.
        """
        head = json.dumps([FORMAT_VERSION, self.nside, self.k, float(self.width).hex(), float(self.lmax).hex()])
        table = np.ascontiguousarray(self.neighbors, dtype="<i4")
        return hashlib.sha256(head.encode() + table.tobytes()).hexdigest()

    def adjacency(self) -> sparse.csr_matrix:
        """Build the adjacency matrix, sparse [npix, npix], float64, without stored zeros."""
        rows = np.repeat(np.arange(self.npix), self.neighbors.shape[1])
        cells = (self.weights.ravel().astype(np.float64), (rows, self.neighbors.ravel()))
        matrix = sparse.coo_matrix(cells, shape=(self.npix, self.npix)).tocsr()
        matrix.eliminate_zeros()
        return matrix

    def laplacian(self) -> sparse.csr_matrix:
        """Build the combinatorial Laplacian D - A, sparse [npix, npix], float64."""
        return combinatorial_laplacian(self.adjacency())

    def to_pyg(self) -> Data:
        """The graph for PyTorch Geometric, each link once in either direction.

        Returns:
            `edge_index` int64 [2, links], `edge_weight` float32 [links], `pos` float32 [npix, 3] on the unit sphere.
        Raises:
            UsageError: torch-geometric is not installed.
        """
        with optional_imports():
            from torch_geometric.data import Data
        import torch

        links = self.adjacency().tocoo()
        return Data(
            edge_index=torch.from_numpy(np.stack([links.col, links.row]).astype(np.int64)),
            edge_weight=torch.from_numpy(links.data.astype(np.float32)),
            pos=torch.from_numpy(HealpixGrid.cached(self.nside).centers.astype(np.float32)),
        )


def combinatorial_laplacian(adjacency: sparse.csr_matrix) -> sparse.csr_matrix:
    """The combinatorial Laplacian D - A of a symmetric adjacency matrix, [npix, npix], float64."""
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    return (sparse.diags(degree) - adjacency).tocsr()


def kernel_width(nside: int, k: int) -> float:
    """Return σ of the Gaussian that turns distances into weights.

    The value comes from DeepSphere's table; where the table has no entry it is 0.79 / nside (k = 8), 1.00 / nside (20)
    or 1.36 / nside (40).

    Args:
        nside: HEALPix resolution, any integer >= 1.
        k: Number of neighbours, 8, 20 or 40.
    Returns:
        σ, a chord length on the unit sphere.
    Raises:
        UsageError: k is not 8, 20 or 40, or nside < 1.
    """
    if k not in _WIDTH_RULES:
        raise UsageError(f"a graph has 8, 20 or 40 neighbours, got {k}: choose one of these")
    if nside < 1:
        raise UsageError(f"nside must be at least 1, got {nside}")
    return _WIDTH_TABLE[k].get(nside, _WIDTH_RULES[k] / nside)


def compute_graph(
    nside: int,
    k: int = 8,
    *,
    laplacian: Callable[[sparse.csr_matrix], sparse.csr_matrix] = combinatorial_laplacian,
    on_progress: Progress | None = None,
) -> SphereGraph:
    """Compute a graph in float64, without reading any file.

    Weights are A_ij = exp(-ln 2 |x_i - x_j|² / σ²), where |.| is the chord length. k = 8 links the HEALPix neighbours,
    in their order SW, W, NW, N, NE, E, SE, S. k = 20 and 40 link each node to its k nearest nodes, ties included, and
    also to the nodes that have it among their k nearest (W = max(W, Wᵀ)), so the table has a few more columns;
    neighbours are then in ascending order.

    Args:
        nside: HEALPix resolution, any integer >= 1.
        k: 8, 20 or 40.
        laplacian: Makes D - A of the adjacency matrix, for `lmax`; the graphs that come with the package take PyGSP's.
        on_progress: Told (done, 100) as the work goes on.
    Returns:
        The graph; its weights are exactly symmetric.
    Raises:
        UsageError: k or nside out of range.
    Source: Defferrard et al., ICLR 2020; Perraudin et al., Astronomy and Computing 27, 2019.
    """
    report = on_progress or _silent
    width = kernel_width(nside, k)
    report(0, 100)
    grid = HealpixGrid(nside)
    neighbors = _grid_neighbors(grid) if k == 8 else _nearest_neighbors(grid.centers, k)
    report(20, 100)
    weights = _gaussian_weights(grid.centers, neighbors, width)
    report(30, 100)
    graph = SphereGraph(nside, k, width, math.inf, neighbors, weights)
    lmax = round_up(largest_eigenvalue(laplacian(graph.adjacency()), report) * (1 + _LMAX_MARGIN))
    report(100, 100)
    return SphereGraph(nside, k, width, lmax, neighbors, weights)


def largest_eigenvalue(laplacian: sparse.csr_matrix, report: Progress | None = None) -> float:
    """Compute the largest eigenvalue of a Laplacian with the Lanczos method.

    The start vector is fixed and the relative error is below 1e-6. (PyGSP's own `estimate_lmax` starts from a random
    vector and stops at 5e-3, so its result varies from call to call.)

    Args:
        laplacian: Symmetric Laplacian, sparse [npix, npix], float64.
        report: Called with (percentage, 100), from 30 to 99, during the computation.
    Returns:
        The eigenvalue.
    """
    size = laplacian.shape[0]
    expected_products = 100 + size // 4000  # an estimate, for the progress bar only
    products = 0

    def multiply(x: Float[ndarray, " npix"]) -> Float[ndarray, " npix"]:
        nonlocal products
        products += 1
        if report is not None:
            report(30 + min(69, 70 * products // expected_products), 100)
        return laplacian @ x

    start = np.cos(1.7 * np.arange(size))  # has no symmetry of the grid, so it is orthogonal to no eigenvector
    operator = LinearOperator(laplacian.shape, matvec=multiply, dtype=np.float64)
    return float(eigsh(operator, k=1, tol=1e-6, v0=start, ncv=min(20, size), return_eigenvectors=False)[0])


def round_up(value: float, digits: int = _LMAX_DIGITS) -> float:
    """Round up to a number of significant digits.

    Args:
        value: Number, > 0.
        digits: Significant digits, >= 1.
    Returns:
        The smallest number of `digits` significant digits that is not below `value`.
    """
    step = digits - 1 - math.floor(math.log10(value))
    return math.ceil(value * 10**step) / 10**step if step >= 0 else float(math.ceil(value / 10**-step) * 10**-step)


def _grid_neighbors(grid: HealpixGrid) -> Int[ndarray, "npix 8"]:
    itself = np.arange(grid.npix)[:, None]
    return np.where(grid.neighbors < 0, itself, grid.neighbors).astype(np.int32)


def _nearest_neighbors(centers: Float[ndarray, "npix 3"], k: int) -> Int[ndarray, "npix columns"]:
    """Indices of the k nearest nodes, ties of the k-th included, made mutual, in ascending order."""
    npix = len(centers)
    k = min(k, npix - 1)
    distances, candidates = cKDTree(centers).query(centers, k=min(npix, k + 9))  # the node itself, and up to eight ties
    linked = distances <= distances[:, k : k + 1] * (1 + _TIE_TOLERANCE)
    assert npix <= k + 9 or not linked[:, -1].any(), "more ties than expected"
    linked &= candidates != np.arange(npix)[:, None]
    rows, slots = np.nonzero(linked)
    links = sparse.coo_matrix((np.ones(len(rows), np.int8), (rows, candidates[rows, slots])), shape=(npix, npix))
    return _table((links + links.T).tocsr())


def _table(links: sparse.csr_matrix) -> Int[ndarray, "npix columns"]:
    """Column indices of each row's entries as a dense table, padded with the row's own index."""
    links.sort_indices()
    counts = np.diff(links.indptr)
    table = np.repeat(np.arange(links.shape[0], dtype=np.int32)[:, None], counts.max(), axis=1)
    table[np.arange(counts.max()) < counts[:, None]] = links.indices
    return table


def _gaussian_weights(
    centers: Float[ndarray, "npix 3"], neighbors: Int[ndarray, "npix columns"], width: float
) -> Float[ndarray, "npix columns"]:
    """Gaussian weights of the neighbours, computed column by column to save memory.

    They are exactly symmetric, because (a - b)² and (b - a)² are equal in floating point.
    """
    weights = np.zeros(neighbors.shape, np.float32)
    itself = np.arange(len(centers))
    for column, index in enumerate(neighbors.T):
        squared = ((centers - centers[index]) ** 2).sum(axis=1)
        weights[:, column] = np.where(index == itself, 0.0, np.exp(-math.log(2) * squared / width**2))
    return weights


def _silent(done: int, total: int) -> None:
    pass
