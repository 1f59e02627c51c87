"""What a run can go on from: weights and the optimiser's moments in one safetensors file, nothing pickled."""

from __future__ import annotations

import json
import os
from collections.abc import Container
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.optim import Adam

from deepsphere_codec.errors import UsageError


def save_checkpoint(path: Path, model: nn.Module, optimizer: Adam, state: dict[str, Any]) -> None:
    """Write beside and rename, so that a run that is killed leaves the last whole one."""
    tensors = {f"model.{name}": p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    names = {id(p): name for name, p in model.named_parameters()}
    for p, moments in optimizer.state.items():
        for key, value in moments.items():
            tensors[f"adam.{key}.{names[id(p)]}"] = torch.as_tensor(value).cpu().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(tensors, beside, metadata={"state": json.dumps(state)})
    os.replace(beside, path)


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: Adam | None = None, only: str = "", leave: Container[str] = ()
) -> dict[str, Any]:
    """Fill the model (and the optimiser) and return the state; parameters that the file lacks keep their values.

    Args:
        only: Beginning of the names of the parameters that are filled.
        leave: Names of parameters that are not.
    Raises:
        UsageError: not such a file, or a weight of another shape.
    """
    parameters = {name: p for name, p in model.named_parameters() if name.startswith(only) and name not in leave}
    try:
        with safe_open(path, "pt") as file:
            stored = set(file.keys())
            prefix = "model." if any(key.startswith("model.") for key in stored) else ""
            for name, p in parameters.items():
                if prefix + name in stored:
                    value = file.get_tensor(prefix + name)
                    if value.shape != p.shape:
                        raise UsageError(f"{path}: {name} is {list(value.shape)}, the model's is {list(p.shape)}")
                    p.data.copy_(value)
            if optimizer is not None:
                _load_moments(file, stored, parameters, optimizer)
            return json.loads((file.metadata() or {}).get("state", "{}"))
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is not a checkpoint: {error}") from error


def _load_moments(file: Any, stored: set[str], parameters: dict[str, nn.Parameter], optimizer: Adam) -> None:
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, p in parameters.items():
        if id(p) in trained and f"adam.step.{name}" in stored:
            moments = {key: file.get_tensor(f"adam.{key}.{name}") for key in ("step", "exp_avg", "exp_avg_sq")}
            optimizer.state[p] = {k: v if k == "step" else v.to(p.device) for k, v in moments.items()}
