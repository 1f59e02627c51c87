"""Graphs as files: those shipped with the package, and those computed at first use and stored in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import platformdirs
from jaxtyping import Float, Int
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from deepsphere_codec.errors import UsageError
from deepsphere_codec.graph.laplacian import FORMAT_VERSION, Progress, SphereGraph, compute_graph, kernel_width

_FORMAT = "deepsphere-codec graph"


def build_graph(nside: int, neighbors: int = 8, *, on_progress: Progress | None = None) -> SphereGraph:
    """Load the graph of a resolution, or compute it if no file has it; the public form of `load_graph`.

    Args:
        nside: HEALPix resolution, any integer >= 1.
        neighbors: Number of neighbours, 8, 20 or 40.
        on_progress: Called with (done, 100) while a graph is computed, never while one is read.
    Returns:
        The graph.
    """
    return load_graph(nside, neighbors, on_progress=on_progress)


def load_graph(nside: int, k: int = 8, *, rebuild: bool = False, on_progress: Progress | None = None) -> SphereGraph:
    """Read the graph of a resolution; if no file has it, compute it and store it in the user's cache.

    The file is looked up in the package first, then in the cache (`cache_directory`).

    Args:
        nside: HEALPix resolution, any integer >= 1.
        k: Number of neighbours, 8, 20 or 40.
        rebuild: Compute the graph again and replace its file.
        on_progress: Called with (done, 100) while a graph is computed, never while one is read.
    Returns:
        The graph.
    Raises:
        UsageError: k or nside is out of range, or the file is damaged or not such a graph.
    """
    kernel_width(nside, k)  # raises if nside or k is out of range
    directories = [*packaged_directories(), cache_directory()]
    paths = [directory / file_name(nside, k) for directory in directories]
    path = next((p for p in paths if p.exists()), paths[-1])
    if path.exists() and not rebuild:
        return read_graph(path, nside, k)
    graph = compute_graph(nside, k, on_progress=on_progress)
    try:
        write_graph(graph, path)
    except OSError as error:  # a full or read-only cache only costs time at the next start
        warnings.warn(f"the graph for nside {nside} could not be stored in {path.parent}: {error}", stacklevel=2)
    return graph


def file_name(nside: int, k: int) -> str:
    """Name of a graph's file.

    Args:
        nside: HEALPix resolution.
        k: Number of neighbours.
    Returns:
        The name, without a directory.
    """
    return f"healpix_nside{nside:04d}_k{k}.safetensors"


def packaged_directories() -> list[Path]:
    """Folders of the graphs shipped with the package: `_graphs` when installed, `graphs` beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    candidates = [package / "_graphs", package.parent / "graphs"]
    return [path for path in candidates if path.is_dir()]


def cache_directory() -> Path:
    """Folder of the computed graphs: `graphs` in DEEPSPHERE_CACHE, if set, else in the platform's cache directory."""
    root = os.environ.get("DEEPSPHERE_CACHE") or platformdirs.user_cache_dir("deepsphere-codec")
    return Path(root) / "graphs"


def write_graph(graph: SphereGraph, path: Path) -> None:
    """Write a graph atomically: the file appears complete or not at all.

    Args:
        graph: Graph to write.
        path: Destination; its directory is created if necessary.
    Raises:
        OSError: the directory cannot be created or written.
    """
    data = encode_graph(graph)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would exclude the other users of a shared cache
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def encode_graph(graph: SphereGraph) -> bytes:
    """Serialise a graph to safetensors, with its parameters and SHA-256 in the metadata."""
    metadata = {
        "format": _FORMAT,
        "version": str(FORMAT_VERSION),
        "nside": str(graph.nside),
        "k": str(graph.k),
        "width": repr(graph.width),
        "lmax": repr(graph.lmax),
        "sha256": _checksum(graph.neighbors, graph.weights),
        "fingerprint": graph.fingerprint,
    }
    return save({"neighbors": graph.neighbors, "weights": graph.weights}, metadata)


def read_graph(path: Path, nside: int, k: int) -> SphereGraph:
    """Read and check one graph file.

    Args:
        path: File to read.
        nside: Expected HEALPix resolution.
        k: Expected number of neighbours.
    Returns:
        The graph.
    Raises:
        UsageError: the file is unreadable, damaged, of another version, or not the graph of this nside and k.
    """
    try:
        metadata, graph = _decode(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read the graph {path}: {error.strerror}") from error
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise _refusal(path, "is not a graph file, or a damaged one") from error
    if metadata["version"] != str(FORMAT_VERSION):
        raise _refusal(path, f"has version {metadata['version']}, expected {FORMAT_VERSION}")
    if (graph.nside, graph.k) != (nside, k):
        raise _refusal(path, f"is the graph for nside {graph.nside}, k {graph.k}, expected nside {nside}, k {k}")
    if metadata["sha256"] != _checksum(graph.neighbors, graph.weights):
        raise _refusal(path, "is damaged: its contents do not match its SHA-256")
    if metadata["fingerprint"] != graph.fingerprint or not _is_consistent(graph):
        raise _refusal(path, "is damaged: its parameters do not match its contents")
    return graph


def _decode(data: bytes) -> tuple[dict[str, str], SphereGraph]:
    tensors = load(data)  # also validates the header, which the next line reads
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    if metadata["format"] != _FORMAT:
        raise ValueError("another format")
    graph = SphereGraph(
        nside=int(metadata["nside"]),
        k=int(metadata["k"]),
        width=float(metadata["width"]),
        lmax=float(metadata["lmax"]),
        neighbors=tensors["neighbors"].copy(),  # the copies are writable: torch shares them without a warning
        weights=tensors["weights"].copy(),
    )
    return metadata, graph


def _is_consistent(graph: SphereGraph) -> bool:
    """Check dtypes, shapes and the range of the indices, on which the operators rely without checking."""
    table, weights = graph.neighbors, graph.weights
    return (
        table.dtype == np.int32
        and weights.dtype == np.float32
        and table.shape == weights.shape
        and len(table) == graph.npix
        and 0 <= int(table.min())
        and int(table.max()) < graph.npix
    )


def _checksum(neighbors: Int[ndarray, "npix columns"], weights: Float[ndarray, "npix columns"]) -> str:
    return hashlib.sha256(neighbors.tobytes() + weights.tobytes()).hexdigest()


def _refusal(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path} {reason}; delete it or rebuild it with scripts/precompute_graphs.py --rebuild")
