"""The one place that imports CompressAI.

CompressAI imports torchvision when it is imported itself, for image transforms that a codec never uses. PyPI's
torchvision is built against CUDA and does not load beside a CPU build of torch; where it cannot be imported, an empty
stand-in takes its place before CompressAI looks for it.
"""

from __future__ import annotations

import importlib
import sys
import types
import warnings
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


_stand_in_for_torchvision()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its dependencies' deprecations are not our users' concern
    from compressai.ans import BufferedRansEncoder, RansDecoder
    from compressai.entropy_models import EntropyBottleneck, GaussianConditional

__all__ = [
    "BufferedRansEncoder",
    "EntropyBottleneck",
    "GaussianConditional",
    "RansDecoder",
    "planar_scale_space_flow",
]


def planar_scale_space_flow() -> Any:
    """CompressAI's ssf2020, a codec of planar video, with random weights and its tables built: to compare times."""
    from compressai.zoo import ssf2020

    network = ssf2020(1, pretrained=False).eval()
    network.update(force=True)
    return network
