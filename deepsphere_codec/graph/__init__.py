"""The weighted graphs of the sphere: made through PyGSP, kept in files."""

from deepsphere_codec.graph.laplacian import SphereGraph, compute_graph
from deepsphere_codec.graph.store import build_graph, load_graph

__all__ = ["SphereGraph", "build_graph", "compute_graph", "load_graph"]
