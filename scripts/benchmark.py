#!/usr/bin/env python3
"""Time the sparse product's back ends, whole layers and whole codecs, side by side, on this machine.

    scripts/benchmark.py [--device auto|cpu|cuda] [--threads N] [--quick] [--out results/benchmark.json]

Codecs: a P-frame of 1024×512 in seconds, every released model and CompressAI's planar ssf2020, and the peak of memory;
and the search for a tree of motion and its coding.

Metrics: frames of 1024×512 a second, WS-PSNR and what else is quick, and all of them.

Training: a step of the default model on patches, with what it waits for samples that another process makes meanwhile.

Layers: all cases take turns, round after round, so that a busy machine slows them alike; the figure is the median.
Forward passes only, single precision. Whole layers keep the number of channels; Chebyshev layers have three taps.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from deepsphere_codec.cli.arguments import usable_device
from deepsphere_codec.data.synthetic import synthetic_film
from deepsphere_codec.evaluation.environment import environment
from deepsphere_codec.evaluation.json_file import write_json
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.evaluation.speed import compare_speed, metrics_speed, motion_speed
from deepsphere_codec.graph import SphereGraph, build_graph
from deepsphere_codec.layers import ChebConv, DirectionalConv, RescaledLaplacian
from deepsphere_codec.models import list_models
from deepsphere_codec.runtime.memory import keep_freed_memory
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.training.speed import BATCH, FRAMES, training_speed

Case = Callable[[], object]

SHAPES = ((64, 128), (128, 64))
TAPS = 3
SCATTER, BAG = "L̃x: torch-scatter (scatter)", "L̃x: embedding_bag (bag)"
PYG, OURS = "PyG ChebConv, whole layer", "our ChebConv (bag), whole layer"
GOALS = ((SCATTER, BAG, 10.0), (PYG, OURS, 5.0))
"""Goals at the first shape: the first case takes at least the given multiple of the second case's time."""
METRICS_GOAL = 20
SEARCH_GOAL, CODING_GOAL = 0.3, 0.05
"""Goals in frames per second."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, metavar="N", help="of the CPU (default: torch's own choice)")
    parser.add_argument("--quick", action="store_true", help="three rounds instead of 15, and no compiled case")
    parser.add_argument("--codecs", action="store_true", help="codecs and motion alone; nothing is written")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON, too")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = usable_device(arguments.device)
    film = list(synthetic_film(1024, 512, 9))
    models = [card["name"] for card in list_models()]
    codecs = compare_speed(models, film[:3], device=device, rounds=2 if arguments.quick else 7)
    motion = motion_speed(models[0], film, rounds=2 if arguments.quick else 7)
    print(as_text_of_codecs(codecs), as_text_of_motion(motion), "", sep="\n")
    if arguments.codecs:
        return
    tables = [
        measure(nside, channels, device, 3 if arguments.quick else 15, not arguments.quick)
        for nside, channels in SHAPES
    ]
    print(as_text(tables))
    metrics = metrics_speed(film, rounds=1 if arguments.quick else 5)
    print("", as_text_of_metrics(metrics), sep="\n")
    training = training_speed(device=device, rounds=1 if arguments.quick else 5)
    print("", as_text_of_training(training), sep="\n")
    if arguments.out:
        write(
            arguments.out,
            device,
            shapes=tables,
            ratios=ratios(tables[0]),
            codecs=codecs,
            motion=[motion],
            metrics=metrics,
            training=training,
        )


def measure(nside: int, channels: int, device: str, rounds: int, compiled: bool = False) -> dict:
    """Measure the milliseconds of each case at one shape.

    Args:
        nside: Resolution of the sphere.
        channels: Number of channels.
        device: Device to run on.
        rounds: Number of rounds.
        compiled: Whether to include a compiled case.
    Returns:
        {"nside", "channels", "rounds", "milliseconds": {case: median}}.
    """
    with tqdm(total=100, desc=f"graph for nside {nside}", unit="%", leave=False) as bar:
        graph = build_graph(nside, on_progress=lambda done, _: bar.update(done - bar.n))
    with torch.inference_mode():
        cases = {**products(graph, channels, device, compiled), **layers(graph, channels, device)}
        times: dict[str, list[float]] = {name: [] for name in cases}
        for turn in tqdm(range(rounds + 1), desc=f"nside {nside}, {channels} channels", unit="round", leave=False):
            for name, case in cases.items():
                seconds = stopwatch(case, device)
                if turn > 0:  # the first round warms up
                    times[name].append(1000 * seconds)
    medians = {name: round(statistics.median(values), 3) for name, values in times.items()}
    return {"nside": nside, "channels": channels, "rounds": rounds, "milliseconds": medians}


def products(graph: SphereGraph, channels: int, device: str, compiled: bool) -> dict[str, Case]:
    """Make the cases of the product with the rescaled Laplacian by all back ends, and a copy for comparison.

    Args:
        graph: Graph of the sphere.
        channels: Number of channels.
        device: Device to run on.
        compiled: Whether to include a compiled case.
    Returns:
        Cases by name.
    """
    x = torch.randn(1, graph.npix, channels, device=device)
    bag = RescaledLaplacian(graph).to(device)
    cases: dict[str, Case] = {}
    if find_spec("torch_scatter"):
        cases[SCATTER] = partial(RescaledLaplacian(graph, "scatter").to(device), x)
    else:
        print("torch-scatter is not installed: its line is left out", file=sys.stderr)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "in beta state"
        matrix = csr(graph).to(device)
    cases["L̃x: torch.sparse CSR (csr)"] = partial(RescaledLaplacian(graph, "csr").to(device), x)
    cases["L̃x: torch.sparse CSR, matrix made beforehand"] = lambda: matrix @ x[0]
    cases["L̃x: gather and einsum"] = lambda: torch.einsum("nk,nkc->nc", bag.weight, x[0][bag.index])
    if compiled:
        function = compile_gather_sum(x[0], bag.index, bag.weight)
        if function is not None:
            cases["L̃x: torch.compile of a gather sum"] = partial(function, x[0], bag.index, bag.weight)
    cases[BAG] = partial(bag, x)
    cases["copying x"] = x.clone
    return cases


def layers(graph: SphereGraph, channels: int, device: str) -> dict[str, Case]:
    """Make the cases of whole layers that keep the number of channels; the plane has as many pixels as there are nodes.

    Args:
        graph: Graph of the sphere.
        channels: Number of channels.
        device: Device to run on.
    Returns:
        Cases by name.
    """
    x = torch.randn(1, graph.npix, channels, device=device)
    plane = torch.randn(1, channels, 3 * graph.nside, 4 * graph.nside, device=device)
    plane = plane.contiguous(memory_format=torch.channels_last)
    cheb = ChebConv(channels, channels, TAPS, graph).to(device)
    directional = DirectionalConv(channels, channels, HealpixGrid.cached(graph.nside)).to(device)
    cases: dict[str, Case] = {PYG: pyg(graph, channels, x[0]), OURS: partial(cheb, x)}
    for size in (3, 5):
        conv = nn.Conv2d(channels, channels, size, padding=size // 2).to(device)
        conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last)
        cases[f"Conv2d {size}×{size} on the plane, whole layer"] = partial(conv, plane)
    cases["our DirectionalConv, whole layer"] = partial(directional, x)
    return cases


def pyg(graph: SphereGraph, channels: int, x: Tensor) -> Case:
    """Make the case of PyTorch Geometric's Chebyshev layer.

    Args:
        graph: Graph of the sphere.
        channels: Number of channels.
        x: Signal.
    Returns:
        Case.
    """
    from torch_geometric.nn import ChebConv as PygChebConv

    edges = graph.adjacency().tocoo()
    index = torch.from_numpy(np.stack([edges.row, edges.col]).astype(np.int64)).to(x.device)
    weight, lmax = torch.from_numpy(edges.data).float().to(x.device), torch.tensor(graph.lmax, device=x.device)
    layer = PygChebConv(channels, channels, TAPS, normalization=None).to(x.device)
    return partial(layer, x, index, weight, lambda_max=lmax)


def csr(graph: SphereGraph) -> Tensor:
    """Make the rescaled Laplacian in compressed sparse row format."""
    matrix = (graph.laplacian() * (2 / graph.lmax)).tocsr()
    matrix.setdiag(matrix.diagonal() - 1)
    pointer, columns = torch.from_numpy(matrix.indptr).long(), torch.from_numpy(matrix.indices).long()
    return torch.sparse_csr_tensor(pointer, columns, torch.from_numpy(matrix.data).float(), size=matrix.shape)


def compile_gather_sum(x: Tensor, index: Tensor, weight: Tensor) -> Callable[..., Tensor] | None:
    """Compile the sparse product as a gather and a sum.

    Args:
        x: Signal to compile for.
        index: Neighbours of each node.
        weight: Weights of the neighbours.
    Returns:
        Compiled function; None if compilation fails.
    """

    def gather_sum(x: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        y = weight[:, 0:1] * x
        for k in range(1, index.shape[1]):
            y = y + weight[:, k : k + 1] * x[index[:, k]]
        return y

    function = torch.compile(gather_sum)
    try:
        function(x, index, weight)
    except Exception as error:  # no suitable C++ compiler: this case is left out
        print(f"torch.compile does not work here ({type(error).__name__}): its line is left out", file=sys.stderr)
        return None
    return function


def stopwatch(case: Case, device: str) -> float:
    """Measure the seconds that a case takes.

    Args:
        case: Case.
        device: Device that it runs on.
    Returns:
        Seconds.
    """
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    case()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def as_text(tables: list[dict]) -> str:
    heads = [f"nside {table['nside']}, {table['channels']} ch" for table in tables]
    lines = ["milliseconds, median".ljust(46) + "".join(head.rjust(20) for head in heads)]
    for name in dict.fromkeys(name for table in tables for name in table["milliseconds"]):
        values = (table["milliseconds"].get(name) for table in tables)
        lines.append(name.ljust(46) + "".join(("-" if v is None else f"{v:.2f}").rjust(20) for v in values))
    return "\n".join([*lines, "", *ratios(tables[0])])


def as_text_of_codecs(codecs: list[dict]) -> str:
    lines = [
        "seconds per P-frame, 1024×512, median".ljust(46) + "encode".rjust(12) + "decode".rjust(12) + "GiB".rjust(8)
    ]
    for codec in codecs:
        figures = f"{codec['encode_seconds']:12.2f}{codec['decode_seconds']:12.2f}{codec['peak_gib']:8.2f}"
        lines.append(codec["codec"].ljust(46) + figures)
    return "\n".join(lines)


def as_text_of_motion(times: dict[str, float]) -> str:
    search, written, read = times.values()
    return (
        f"tree of motion from two references: search {search:.2f} s, coding {written:.3f} s, decoding {read:.3f} s "
        f"(goals: {SEARCH_GOAL:g} and {CODING_GOAL:g} with two threads)"
    )


def as_text_of_metrics(rows: list[dict]) -> str:
    figures = ", ".join(f"{row['metrics']} {row['frames_per_second']:.1f}" for row in rows)
    return f"metrics, frames of 1024×512 a second: {figures} (goal: at least {METRICS_GOAL:g} for WS-PSNR)"


def as_text_of_training(runs: list[dict]) -> str:
    lines = [f"training step, {BATCH} chains of {FRAMES} frames".ljust(46) + "s".rjust(12) + "waiting".rjust(12)]
    lines += [f"{run['precision']:46}{run['step_seconds']:12.2f}{run['waited']:12.1%}" for run in runs]
    return "\n".join([*lines, f"a sample, one thread: {1000 * runs[0]['sample_seconds']:.0f} ms"])


def ratios(table: dict) -> list[str]:
    """Format the ratios at one shape that the goals of the back end "bag" are about."""
    times = table["milliseconds"]
    return [
        f"{slow} / {fast}: {times[slow] / times[fast]:.1f} at nside {table['nside']} (goal: at least {goal:g})"
        for slow, fast, goal in GOALS
        if slow in times
    ]


def write(path: Path, device: str, **figures: list) -> None:
    """Write the results to a JSON file.

    Args:
        path: File to write.
        device: Device that was measured.
        **figures: Results by key.
    """
    measured_on = {**environment(), "device": torch.cuda.get_device_name() if device == "cuda" else "cpu"}
    result = {
        "name": "benchmark",
        "description": (
            "layers in milliseconds, forward, float32; whole codecs in seconds per P-frame; metrics in frames of "
            f"1024×512 per second; training in seconds per step on {BATCH} chains of {FRAMES} frames of 128×128 nodes "
            "at nside 256; medians"
        ),
        "settings": {"taps": TAPS, "neighbors": 8, "batch": 1},
        **figures,
        "environment": measured_on,
    }
    write_json(path, result)


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(run(main, "benchmark", "nothing is kept"))
