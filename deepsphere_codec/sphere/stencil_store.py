"""Disk cache for the stencils of ERP pictures.

A stored stencil carries its version, its parameters and a SHA-256. The cache only saves time: if a file is missing,
damaged, of another version or not writable, the stencil is built again without an error.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_dir
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from deepsphere_codec.sphere.erp import erp_directions
from deepsphere_codec.sphere.interpolation import Stencil, stencil

VERSION = "1"
"""Version of the stored stencils; to be raised whenever the results of `stencil` or `erp_directions` change."""


def default_cache_dir() -> Path:
    """Folder of the cache: the environment variable DEEPSPHERE_CACHE, else the user's cache folder."""
    return Path(os.environ.get("DEEPSPHERE_CACHE") or user_cache_dir("deepsphere-codec"))


def load_erp_stencil(height: int, width: int, nside: int, cache_dir: Path | None = None) -> Stencil:
    """Load from the cache, or build and store, the stencil that interpolates node values at an ERP picture's pixels.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
        nside: Resolution of the grid, >= 2.
        cache_dir: Folder of the stored stencils; None takes `default_cache_dir()`.
    Returns:
        Stencil of height * width rows, on the CPU.
    """
    folder = default_cache_dir() if cache_dir is None else Path(cache_dir)
    path = folder / f"stencil-v{VERSION}-{width}x{height}-nside{nside}.safetensors"
    tags = {"version": VERSION, "height": str(height), "width": str(width), "nside": str(nside)}
    stored = _read(path, tags)
    if stored is not None:
        return stored
    rows = stencil(erp_directions(height, width), nside)
    _write(path, rows, tags)
    return rows


def _digest(rows: Stencil) -> str:
    digest = hashlib.sha256()
    digest.update(rows.index.numpy().data)
    digest.update(rows.weights.numpy().data)
    return digest.hexdigest()


def _read(path: Path, tags: dict[str, str]) -> Stencil | None:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            rows = Stencil(file.get_tensor("index"), file.get_tensor("weights"))
    except (OSError, SafetensorError):
        return None
    return rows if metadata == tags | {"sha256": _digest(rows)} else None


def _write(path: Path, rows: Stencil, tags: dict[str, str]) -> None:
    """Write to a temporary file, then rename it, so that another process never reads a partial file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=path.stem, suffix=".tmp", dir=path.parent)
        os.close(handle)
    except OSError:
        return
    try:
        save_file({"index": rows.index, "weights": rows.weights}, temporary, tags | {"sha256": _digest(rows)})
        os.replace(temporary, path)
    except (OSError, SafetensorError):
        pass
    finally:
        Path(temporary).unlink(missing_ok=True)
