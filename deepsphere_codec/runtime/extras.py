"""Optional packages: which extra of this one installs each, and one clear line where it is absent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deepsphere_codec.errors import UsageError

EXTRAS = {
    "PIL": "report",
    "bjontegaard": "report",
    "healpy": "graphs",
    "jinja2": "report",
    "matplotlib": "report",
    "pygsp": "graphs",
    "pytorch_msssim": "train",
    "ray": "ray",
    "tensorboard": "train",
    "torch_geometric": "pyg",
    "torch_scatter": "pyg",
}
"""Name of an optional package, as it is imported → the extra in pyproject.toml that installs it."""


@contextmanager
def optional_imports() -> Iterator[None]:
    """Import optional packages inside, so that an absent one is an error that says how to install it.

    Raises:
        UsageError: one of `EXTRAS` is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        raise UsageError(f'{package} is not installed: pip install "deepsphere-codec[{EXTRAS[package]}]"') from error
