"""Weighted graphs of the sphere (stored in files) and of an ERP picture."""

from deepsphere_codec.graph.laplacian import SphereGraph, compute_graph
from deepsphere_codec.graph.plane import PlaneGraph, plane_graph
from deepsphere_codec.graph.store import build_graph, load_graph

__all__ = ["PlaneGraph", "SphereGraph", "build_graph", "compute_graph", "load_graph", "plane_graph"]
