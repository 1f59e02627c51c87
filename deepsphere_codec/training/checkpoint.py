"""Checkpoints of training: weights and the optimiser's state in one safetensors file, without pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from deepsphere_codec.entropy.exact import EXPONENT, ExactConv
from deepsphere_codec.errors import UsageError
from deepsphere_codec.runtime.atomic import atomic_output

_MODEL, _MEAN = "model.", "mean."
_STATES = {"adam": ("step", "exp_avg", "exp_avg_sq"), "muon": ("momentum_buffer",)}
"""State tensors that an optimiser has for a weight, by the "rule" of its group; groups without one are Adam's."""


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: Optimizer, state: dict[str, Any], average: AveragedModel | None = None
) -> None:
    """Write a checkpoint atomically: if the process is killed, the previous checkpoint stays intact.

    Args:
        path: File to write.
        model: Model whose parameters are stored.
        optimizer: Optimiser whose state is stored.
        state: Further state of the run, in JSON's types.
        average: Running mean of the weights, stored as well; None for none.
    Raises:
        UsageError: the file cannot be written, for example on a full disk; the previous checkpoint stays.
    """
    tensors = {_MODEL + name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    if average is not None:
        means = average.module.named_parameters()
        tensors |= {_MEAN + name: p.detach().cpu().contiguous() for name, p in means}
        state = state | {"averaged": int(average.n_averaged)}
    names = {id(p): name for name, p in model.named_parameters()}
    for rule, p in _with_rules(optimizer):
        for key, value in optimizer.state.get(p, {}).items():
            tensors[f"{rule}.{key}.{names[id(p)]}"] = torch.as_tensor(value).cpu().contiguous()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, beside, metadata={"state": json.dumps(state)})
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path} cannot be written, the one before stays: {error}") from error
    finally:
        beside.unlink(missing_ok=True)


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: Optimizer | None = None,
    only: str = "",
    leave: Container[str] = (),
    average: AveragedModel | None = None,
) -> dict[str, Any]:
    """Load parameters into a model, and state into its optimiser; parameters that the file lacks keep their values.

    Without an optimiser the running mean of the weights is loaded if the file has one.

    Args:
        path: File to read.
        model: Model to load into.
        optimizer: Optimiser to load into, to resume training; None to load weights only.
        only: Prefix of the names of the parameters to load; "" for all.
        leave: Names of parameters not to load.
        average: Running mean to load into; None for none.
    Returns:
        State of the run that was stored with the weights; empty for released weights.
    Raises:
        UsageError: the file is not a checkpoint, or a weight has another shape.
    """
    parameters = {name: p for name, p in model.named_parameters() if name.startswith(only) and name not in leave}
    try:
        with safe_open(path, "pt") as file:
            stored, state = set(file.keys()), json.loads((file.metadata() or {}).get("state", "{}"))
            _fill(file, path, stored, parameters, beginning(stored, mean=optimizer is None))
            if optimizer is not None:
                _load_moments(file, stored, parameters, optimizer)
            if average is not None:
                _fill(file, path, stored, dict(average.module.named_parameters()), beginning(stored, mean=True))
                average.n_averaged.fill_(state.get("averaged", 0))
            return state
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise UsageError(f"{path} is not a checkpoint: {error}") from error


def read_state(path: Path) -> dict[str, Any]:
    """Return the state of the run that was stored with the weights.

    Raises:
        UsageError: the file is not a checkpoint of a run.
    """
    try:
        with safe_open(path, "pt") as file:
            return json.loads(file.metadata()["state"])
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise UsageError(f"{path} is not a checkpoint: {error}") from error


def save_mean(path: Path, out: Path, only: str = "") -> int:
    """Write the running mean of a checkpoint's weights in 16-bit floating point, for `train.start` to begin from.

    Args:
        path: Checkpoint.
        out: File to write or replace; it appears complete or not at all.
        only: Beginning of the names of the weights to write.
    Returns:
        Step of the checkpoint.
    Raises:
        UsageError: `path` is not a checkpoint of a run, or holds no such weights.
    """
    state = read_state(path)
    with safe_open(path, "pt") as file:
        stored = set(file.keys())
        prefix = beginning(stored, mean=True)
        names = sorted(name for name in stored if prefix and name.startswith(prefix + only))
        means = {name.removeprefix(prefix): file.get_tensor(name).half() for name in names}
    if not means:
        raise UsageError(f"{path} holds no weights that begin with {only!r}")
    with atomic_output(out, force=True) as beside:
        save_file(means, beside, metadata={"state": json.dumps({"step": state["step"]})})
    return int(state["step"])


def beginning(stored: set[str], mean: bool) -> str:
    """Return the prefix of the weights' names in a file.

    Args:
        stored: Names of all tensors in the file.
        mean: Whether to prefer the running mean of the weights to the last ones, if the file has both.
    Returns:
        Prefix of the running mean or of the last weights; "" for released weights.
    """
    kinds = (_MEAN, _MODEL) if mean else (_MODEL,)
    return next((kind for kind in kinds if any(name.startswith(kind) for name in stored)), "")


def stored_weight(file: Any, stored: set[str], name: str) -> Tensor:
    """Read a weight from an open safetensors file; weights stored in 8 bits are converted to float32.

    Args:
        file: Open file.
        stored: Names of all tensors in the file.
        name: Name of the weight.
    Returns:
        The weight.
    """
    value = file.get_tensor(name)
    return ExactConv.unpacked(value, file.get_tensor(name + EXPONENT)) if name + EXPONENT in stored else value


def _fill(file: Any, path: Path, stored: set[str], parameters: dict[str, nn.Parameter], prefix: str) -> None:
    for name, p in parameters.items():
        if prefix + name in stored:
            value = stored_weight(file, stored, prefix + name)
            if value.shape != p.shape:
                raise UsageError(f"{path}: {name} is {list(value.shape)}, the model's is {list(p.shape)}")
            p.detach().copy_(value)


def _load_moments(file: Any, stored: set[str], parameters: dict[str, nn.Parameter], optimizer: Optimizer) -> None:
    """Load the optimiser's state, except for weights whose state was stored by another rule, which start afresh."""
    names = {id(p): name for name, p in parameters.items()}
    for rule, p in _with_rules(optimizer):
        keys = {key: f"{rule}.{key}.{names[id(p)]}" for key in _STATES[rule]} if id(p) in names else {}
        if keys and stored.issuperset(keys.values()):
            moments = {key: file.get_tensor(name) for key, name in keys.items()}
            optimizer.state[p] = {k: v if k == "step" else v.to(p.device) for k, v in moments.items()}


def _with_rules(optimizer: Optimizer) -> Iterator[tuple[str, nn.Parameter]]:
    for group in optimizer.param_groups:
        yield from ((group.get("rule", "adam"), p) for p in group["params"])
