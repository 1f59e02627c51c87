"""The one place that imports CompressAI.

CompressAI imports torchvision for image transforms, which a codec never uses. PyPI's torchvision is built against CUDA
and does not load with a CPU build of torch; if it cannot be imported, an empty stand-in replaces it before CompressAI
imports it. CompressAI also imports PyTorch Geometric and pandas, for point clouds, and scipy.stats, to build tables,
which takes three seconds. Those of them that are not imported yet are replaced by stand-ins during the import; scipy
imports its submodule later, when it is used.
"""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def _stand_in_for_torchvision() -> None:
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):  # absent, or built for another torch
        for name in [module for module in sys.modules if module.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        package, transforms = types.ModuleType("torchvision"), types.ModuleType("torchvision.transforms")
        package.__path__ = []
        package.transforms = transforms  # type: ignore[attr-defined]
        sys.modules.update({"torchvision": package, "torchvision.transforms": transforms})


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
def _stand_ins_for_what_is_spared() -> Iterator[None]:
    """Replace unused dependencies of CompressAI by stand-ins within the context."""
    names = [name + part for name, parts in _SPARED.items() if name not in sys.modules for part in parts]
    sys.modules.update({name: _StandIn(name) for name in names})
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


_stand_in_for_torchvision()
with warnings.catch_warnings(), _stand_ins_for_what_is_spared():
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
