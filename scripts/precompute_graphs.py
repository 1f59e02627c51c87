#!/usr/bin/env python3
"""Make the graphs of the sphere through PyGSP, check them against healpy, and write one file per resolution.

    scripts/precompute_graphs.py --nside 8 16 32 64 128 256

Those in graphs/ come with the package; others are made on first use and kept in the user's cache, so this is needed
only to make a file anew (--rebuild) or to have the large ones at hand beforehand. Needs the extra [graphs].
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tqdm import tqdm

from deepsphere_codec.evaluation.script import run
from deepsphere_codec.graph import SphereGraph
from deepsphere_codec.graph.oracle import make_graph
from deepsphere_codec.graph.store import file_name, read_graph, write_graph

GRAPHS = Path(__file__).resolve().parents[1] / "graphs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--nside", type=int, nargs="+", required=True, metavar="N", help="resolutions, 12 N² nodes each"
    )
    parser.add_argument("--neighbors", type=int, default=8, choices=(8, 20, 40), help="of each node (default: 8)")
    parser.add_argument("--out", type=Path, default=GRAPHS, metavar="FOLDER", help="default: graphs/ of this checkout")
    parser.add_argument("--rebuild", action="store_true", help="make a file anew although it is there, or damaged")
    arguments = parser.parse_args()
    for nside in arguments.nside:
        start = time.perf_counter()
        path = arguments.out / file_name(nside, arguments.neighbors)
        graph = prepare(path, nside, arguments.neighbors, arguments.rebuild)
        seconds = time.perf_counter() - start
        print(f"{path}  lmax {graph.lmax}  {path.stat().st_size} bytes  {seconds:.1f} s  {graph.fingerprint}")


def prepare(path: Path, nside: int, neighbors: int, rebuild: bool) -> SphereGraph:
    """Read and check a graph's file if it exists, or make it with a progress bar on standard error.

    Args:
        path: File.
        nside: Resolution.
        neighbors: Number of neighbours of a node.
        rebuild: Whether to make an existing file again.
    Returns:
        Graph.
    """
    if path.exists() and not rebuild:
        return read_graph(path, nside, neighbors)
    with tqdm(total=100, desc=f"nside {nside}", unit="%", leave=False) as bar:
        graph = make_graph(nside, neighbors, on_progress=lambda done, _: bar.update(done - bar.n))
    write_graph(graph, path)
    return graph


if __name__ == "__main__":
    sys.exit(run(main, "precompute_graphs", "the graphs made so far are kept, run it again to go on"))
