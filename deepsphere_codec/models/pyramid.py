"""Grids and operators of all resolutions that a network works at, for the sphere, an ERP picture, or a patch of one."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.graph import PlaneGraph, SphereGraph, build_graph, plane_graph
from deepsphere_codec.layers import RescaledLaplacian, Warp
from deepsphere_codec.layers.blocks import Resolution
from deepsphere_codec.layers.operators import rescaled_laplacian
from deepsphere_codec.layers.padding import Grid, Padding, PlaneGrid, make_padding
from deepsphere_codec.models.latitude import Latitude
from deepsphere_codec.sphere import ErpPatch
from deepsphere_codec.sphere.patch import PatchGrid

WORK_DEPTH = 2
"""Depth of the networks' finest resolution: children two levels down are folded into channels, which costs least."""
LATENT_DEPTH, COARSEST_DEPTH = 4, 6
_LAYER_DEPTHS = range(WORK_DEPTH, COARSEST_DEPTH + 1)
_LATITUDE_DEPTHS = 0, LATENT_DEPTH, COARSEST_DEPTH

Patch = PatchGrid | ErpPatch
Graph = SphereGraph | PlaneGraph


class Pyramid(nn.Module):
    """Operators, paddings and frames of a grid and its parents, shared by all layers of a network.

    Depth d is the resolution nside / 2^d.

    Args:
        grid: Grid of the signal. On the sphere nside (and a patch's origin and side) is a multiple of 64; of an ERP
            picture the height and half of the width are.
        neighbors: Number of neighbours k of a node in the graphs.
    Attributes:
        grids: Grid of each depth, 0 to 6.
        graph_fingerprints: Checksums of the graphs of depths 2 to 6.
    Raises:
        ValueError: the grid has no parents down to nside / 64.
    """

    def __init__(self, grid: Grid, neighbors: int = 8) -> None:
        super().__init__()
        self.neighbors = neighbors
        self.grids = _ancestors(grid)
        graphs = {depth: _graph(self.grids[depth], neighbors) for depth in _LAYER_DEPTHS}
        self.graph_fingerprints = [graph.fingerprint for graph in graphs.values()]
        self.laplacians = nn.ModuleDict(
            {str(depth): RescaledLaplacian(_restrict(graph, self.grids[depth])) for depth, graph in graphs.items()}
        )
        self.paddings = nn.ModuleDict({str(d): make_padding(self.grids[d]) for d in range(COARSEST_DEPTH + 1)})
        self.warps = nn.ModuleDict({str(d): Warp(self.grids[d]) for d in range(LATENT_DEPTH + 1)})
        planes = {depth: grid for depth, grid in enumerate(self.grids) if isinstance(grid, PlaneGrid)}
        self.latitudes = nn.ModuleDict({str(d): Latitude(planes[d]) for d in _LATITUDE_DEPTHS if d in planes})
        for depth in range(WORK_DEPTH + 1):
            self.register_buffer(f"frame_{depth}", _frame(self.grids[depth]), persistent=False)

    @property
    def at(self) -> dict[int, Resolution]:
        """Operators of the depths at which layers work (2 to 6), by depth."""
        return {d: Resolution(self.side(d), self.laplacian(d), self.padding(d)) for d in _LAYER_DEPTHS}

    def laplacian(self, depth: int) -> RescaledLaplacian:
        """Return the rescaled Laplacian of one depth (2 to 6)."""
        return cast(RescaledLaplacian, self.laplacians[str(depth)])

    def padding(self, depth: int) -> Padding:
        """Return the padding of one depth (0 to 6)."""
        return cast(Padding, self.paddings[str(depth)])

    def warp(self, depth: int) -> Warp:
        """Return the warp of one depth (0 to 4)."""
        return cast(Warp, self.warps[str(depth)])

    def latitude(self, depth: int) -> Latitude:
        """Return the latitude of a plane's rows at one depth (0, 4 or 6)."""
        return cast(Latitude, self.latitudes[str(depth)])

    def side(self, depth: int) -> int:
        """Return the number of nodes along a row of a face, of the patch, or of the picture, at one depth."""
        return self.grids[depth].side

    def frame(self, depth: int) -> Float[Tensor, "npix 2 3"]:
        """Return the tangent basis (e_x, e_y) of each node, [npix, 2, 3], at one depth (0 to 2)."""
        return getattr(self, f"frame_{depth}")

    def place(self, patch: Patch) -> None:
        """Move a patch to another part of the sphere or picture; its size, and hence all shapes, stay the same."""
        self.grids = _ancestors(patch)
        for depth in _LAYER_DEPTHS:
            graph = _restrict(_graph(self.grids[depth], self.neighbors), self.grids[depth])
            index, weight = rescaled_laplacian(graph)
            self.laplacian(depth).index.copy_(index)  # the order of 20 neighbours, sorted by index, varies
            self.laplacian(depth).set_weight(weight.float())
        for depth in range(WORK_DEPTH + 1):
            self.frame(depth).copy_(_frame(self.grids[depth]))
        for depth in range(LATENT_DEPTH + 1):
            self.warp(depth).place(self.grids[depth])
        for name in self.latitudes:
            self.latitude(int(name)).place(cast(ErpPatch, self.grids[int(name)]))


def _ancestors(grid: Grid) -> list[Grid]:
    grids = [grid]
    try:
        for _ in range(COARSEST_DEPTH):
            grids.append(grids[-1].parent())
    except ValueError as error:
        raise ValueError(f"{grid}: expected a multiple of {1 << COARSEST_DEPTH}; {error}") from error
    return grids


def _frame(grid: Grid) -> Float[Tensor, "npix 2 3"]:
    return torch.from_numpy(np.stack(grid.frame, 1)).float()


def _graph(grid: Grid, neighbors: int) -> Graph:
    """Graph of a plane, or of the whole sphere that a grid belongs to."""
    return plane_graph(grid) if isinstance(grid, PlaneGrid) else build_graph(grid.nside, neighbors)


def _restrict(graph: Graph, grid: Grid) -> Graph:
    """Restrict a graph to a patch; edges across its border get weight 0 (no flux through the border)."""
    if not (isinstance(grid, PatchGrid) and isinstance(graph, SphereGraph)):
        return graph
    local = np.full(12 * graph.nside**2, -1, np.int64)
    local[grid.nodes] = np.arange(grid.npix)
    neighbors = local[graph.neighbors[grid.nodes]]
    inside = neighbors >= 0
    own = np.arange(grid.npix)[:, None]
    weights = np.where(inside, graph.weights[grid.nodes], 0).astype(np.float32)
    return replace(graph, neighbors=np.where(inside, neighbors, own).astype(np.int32), weights=weights)
