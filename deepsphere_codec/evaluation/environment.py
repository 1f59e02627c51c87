"""Description of a measurement's environment, so that it can be repeated."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from deepsphere_codec import __version__
from deepsphere_codec.video import library_versions

PACKAGES = ("numpy", "scipy", "av", "compressai", "pytorch-msssim", "healpy", "pygsp", "bjontegaard")
ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, Any]:
    """Describe the environment in JSON types.

    Versions, including FFmpeg's, system, processor, threads, and the commit if the package lies in its repository.
    """
    found: dict[str, Any] = {
        "deepsphere-codec": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": " ".join([platform.system(), platform.machine(), *platform.libc_ver()]).strip(),
        "versions": {name: _version(name) for name in PACKAGES},
        "ffmpeg": library_versions(),
    }
    commit = _commit()
    return {**found, "commit": commit} if commit else found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str | None:
    """Commit of the repository that contains the package, with the suffix -dirty if files differ."""
    if not (ROOT / ".git").exists():  # installed elsewhere: a repository around it would not be ours
        return None
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
