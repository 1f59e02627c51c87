"""The resolutions that one network works at: the whole sphere, or a patch of it for training."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.graph import SphereGraph, build_graph
from deepsphere_codec.layers import FacePadding, RescaledLaplacian, Warp
from deepsphere_codec.layers.blocks import Resolution
from deepsphere_codec.layers.operators import rescaled_laplacian
from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid

WORK_DEPTH = 2
"""Networks start two levels below the signal, children folded into channels: wide and low costs least."""
LATENT_DEPTH, COARSEST_DEPTH = 4, 6
_LAYER_DEPTHS = range(WORK_DEPTH, COARSEST_DEPTH + 1)


class Pyramid(nn.Module):
    """Operators, paddings and frames of a grid and its parents, shared by every layer of a network.

    Args:
        grid: Where the signal lives; nside (and a patch's origin and side) divisible by 64.
        neighbors: k of the graphs.
    Attributes:
        at: depth → `Resolution`, for the depths that layers work at (2 to 6).
    """

    def __init__(self, grid: Grid, neighbors: int = 8) -> None:
        super().__init__()
        self.neighbors = neighbors
        self.grids = _ancestors(grid)
        graphs = {depth: build_graph(grid.nside >> depth, neighbors) for depth in _LAYER_DEPTHS}
        self.graph_fingerprints = [graph.fingerprint for graph in graphs.values()]
        self.laplacians = nn.ModuleDict(
            {str(depth): RescaledLaplacian(_restrict(graph, self.grids[depth])) for depth, graph in graphs.items()}
        )
        self.paddings = nn.ModuleDict({str(d): FacePadding(self.grids[d], 1) for d in range(COARSEST_DEPTH + 1)})
        self.warps = nn.ModuleDict({str(d): Warp(self.grids[d]) for d in range(LATENT_DEPTH + 1)})
        for depth in range(WORK_DEPTH + 1):
            self.register_buffer(f"frame_{depth}", _frame(self.grids[depth]), persistent=False)

    @property
    def at(self) -> dict[int, Resolution]:
        """What layers need, by depth."""
        return {d: Resolution(self.side(d), self.laplacian(d), self.padding(d)) for d in _LAYER_DEPTHS}

    def laplacian(self, depth: int) -> RescaledLaplacian:
        """The operator of one resolution (depths 2 to 6)."""
        return cast(RescaledLaplacian, self.laplacians[str(depth)])

    def padding(self, depth: int) -> FacePadding:
        """The padding of one resolution."""
        return cast(FacePadding, self.paddings[str(depth)])

    def warp(self, depth: int) -> Warp:
        """The warp of one resolution (depths 0 to 4)."""
        return cast(Warp, self.warps[str(depth)])

    def side(self, depth: int) -> int:
        """Nodes along a face (or along the patch)."""
        return self.grids[depth].side

    def frame(self, depth: int) -> Float[Tensor, "npix 2 3"]:
        """Tangent basis (e_x, e_y) of each node (depths 0 to 2)."""
        return getattr(self, f"frame_{depth}")

    def place(self, patch: PatchGrid) -> None:
        """Move a patch of the same size to another part of the sphere: weights and frames change, shapes do not."""
        self.grids = _ancestors(patch)
        for depth in _LAYER_DEPTHS:
            graph = _restrict(build_graph(self.grids[depth].nside, self.neighbors), self.grids[depth])
            index, weight = rescaled_laplacian(graph)
            self.laplacian(depth).index.copy_(index)  # of 20 neighbours, sorted by number, the order changes
            self.laplacian(depth).set_weight(weight.float())
        for depth in range(WORK_DEPTH + 1):
            self.frame(depth).copy_(_frame(self.grids[depth]))
        for depth in range(LATENT_DEPTH + 1):
            self.warp(depth).place(self.grids[depth])


def _ancestors(grid: Grid) -> list[Grid]:
    multiple = 1 << COARSEST_DEPTH
    if grid.nside % multiple or grid.side % multiple:
        raise ValueError(f"nside is {grid.nside} (side {grid.side}): expected a multiple of {multiple}")
    grids = [grid]
    for _ in range(COARSEST_DEPTH):
        last = grids[-1]
        grids.append(HealpixGrid.cached(last.nside // 2) if isinstance(last, HealpixGrid) else last.parent())
    return grids


def _frame(grid: Grid) -> Float[Tensor, "npix 2 3"]:
    return torch.from_numpy(np.stack(grid.frame, 1)).float()


def _restrict(graph: SphereGraph, grid: Grid) -> SphereGraph:
    """The graph cut out along the patch's border: an edge that leaves counts nothing (no flux through the border)."""
    if isinstance(grid, HealpixGrid):
        return graph
    local = np.full(12 * graph.nside**2, -1, np.int64)
    local[grid.nodes] = np.arange(grid.npix)
    neighbors = local[graph.neighbors[grid.nodes]]
    inside = neighbors >= 0
    own = np.arange(grid.npix)[:, None]
    weights = np.where(inside, graph.weights[grid.nodes], 0).astype(np.float32)
    return replace(graph, neighbors=np.where(inside, neighbors, own).astype(np.int32), weights=weights)
