"""The one place that imports CompressAI.

CompressAI imports torchvision when it is imported itself, for image transforms that a codec never uses. PyPI's
torchvision is built against CUDA and does not load beside a CPU build of torch. It imports PyTorch Geometric and pandas
as well, for point clouds, and scipy.stats, to build tables; that takes three seconds. While CompressAI is imported,
stand-ins take the place of torchvision where it cannot be imported, and of the others where nobody has imported them;
afterwards they are gone. scipy itself imports its part when it is asked for it.
"""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def _has_torchvision() -> bool:
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):  # absent, or built for another torch
        for name in [module for module in sys.modules if module.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        return False
    return True


class _Nothing:
    """Placeholder for any attribute of a stand-in module: usable as a base class or as an identity decorator."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, thing: Any) -> Any:
        return thing


class _StandIn(types.ModuleType):
    __path__: list[str] = []

    def __getattr__(self, name: str) -> type[_Nothing]:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing


_SPARED = {
    "torch_geometric": ("", ".data", ".data.datapipes", ".transforms"),
    "pandas": ("",),
    "scipy.stats": ("",),
}


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Put stand-ins among the modules for the time of the block."""
    names = [name + part for name, parts in _SPARED.items() if name not in sys.modules for part in parts]
    names += [] if _has_torchvision() else ["torchvision", "torchvision.transforms"]
    sys.modules.update({name: _StandIn(name) for name in names})
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


with warnings.catch_warnings(), _stand_ins():
    warnings.simplefilter("ignore")  # its dependencies' deprecations are not our users' concern
    from compressai.ans import BufferedRansEncoder, RansDecoder
    from compressai.entropy_models import GaussianConditional

__all__ = [
    "BufferedRansEncoder",
    "GaussianConditional",
    "RansDecoder",
    "planar_scale_space_flow",
]


def planar_scale_space_flow() -> Any:
    """Create CompressAI's planar video codec ssf2020 with random weights and built tables, for timing comparisons."""
    from compressai.zoo import ssf2020

    network = ssf2020(1, pretrained=False).eval()
    network.update(force=True)
    return network
