"""The graph of an ERP picture treated as a plane: each pixel is linked to its eight neighbours with equal weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from deepsphere_codec.sphere import ErpGrid, ErpPatch
from deepsphere_codec.sphere.grid import NEIGHBOR_STEPS

FORMAT_VERSION = 1
_BESIDE, _ACROSS = 1 / 2, 1 / 4  # exp(-ln 2 d²) at d = 1 and √2: the sphere's Gaussian, as wide as a pixel
_LMAX = 4.0  # the spectrum is 4 - (1 + cos u)(1 + cos v), u and v being frequencies along rows and columns


@dataclass(frozen=True, eq=False)
class PlaneGraph:
    """A weighted graph on the pixels, row by row; the counterpart of `SphereGraph`.

    Attributes:
        neighbors: [npix, 8], int32, in the order of `NEIGHBOR_STEPS`; a missing neighbour is the node itself.
        weights: [npix, 8], float32; symmetric, 0 where a neighbour is missing.
        lmax: Upper bound of the combinatorial Laplacian's spectrum.
    """

    neighbors: Int[ndarray, "npix 8"]
    weights: Float[ndarray, "npix 8"]
    lmax: float = _LMAX

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over version, lmax and both tables, whose values are exact."""
        digest = hashlib.sha256(json.dumps([FORMAT_VERSION, "plane", self.lmax]).encode())
        digest.update(np.ascontiguousarray(self.neighbors, dtype="<i4").tobytes())
        digest.update(np.ascontiguousarray(self.weights, dtype="<f4").tobytes())
        return digest.hexdigest()


def plane_graph(grid: ErpGrid | ErpPatch) -> PlaneGraph:
    """Build the graph of an ERP picture, which wraps at the seam and over the poles, or of a patch, which does not."""
    _, rows, columns = grid.shape
    if isinstance(grid, ErpGrid):
        padded = grid.halo(1)[0]
    else:
        padded = np.pad(np.arange(grid.npix).reshape(rows, columns), 1, constant_values=-1)
    around = np.stack([padded[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns] for dx, dy in NEIGHBOR_STEPS], -1)
    around = around.reshape(-1, 8)
    weights = np.array([_ACROSS if dx and dy else _BESIDE for dx, dy in NEIGHBOR_STEPS])
    itself = np.arange(grid.npix)[:, None]
    neighbors = np.where(around < 0, itself, around).astype(np.int32)
    return PlaneGraph(neighbors, np.where(around < 0, 0, weights).astype(np.float32))
