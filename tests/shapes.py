"""Shapes of arrays, checked at every call while tests run: jaxtyping's import hook, with beartype.

DEEPSPHERE_SHAPES names the parts of the package that are checked, "models,motion" say; empty, it switches this off.
Only array annotations are checked: what else a function takes is mypy's to check, and the function's own to refuse. A
test that hands over a wrong shape on purpose asks for the fixture `unchecked_shapes`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype

PARTS = os.environ.get("DEEPSPHERE_SHAPES", "sphere,graph")
UNCHECKED = {"motion.kernels"}  # Numba compiles functions as they are written
_PACKAGE = Path(__file__).resolve().parents[1] / "deepsphere_codec"
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def install() -> None:
    """Check the modules of `PARTS` from their import on."""
    parts = filter(None, PARTS.split(","))
    names = [f"{part}.{path.stem}" for part in parts for path in sorted((_PACKAGE / part).glob("[!_]*.py"))]
    modules = [f"deepsphere_codec.{name}" for name in names if name not in UNCHECKED]
    jaxtyping.install_import_hook(modules, f"{__name__}.{check_arrays.__name__}")


def check_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the arrays among arguments and result, and nothing else."""
    arrays = {name: hint for name, hint in function.__annotations__.items() if _has_array(hint)}
    function.__annotations__ = arrays
    return _check(function) if arrays else function


def _has_array(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(map(_has_array, get_args(hint)))
