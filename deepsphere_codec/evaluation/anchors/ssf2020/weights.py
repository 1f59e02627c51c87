"""Networks on disk: a folder `quality-N` for each rate, with weights.safetensors and card.json, nothing pickled.

A card's "flow_unit" is that of `PlanarFlow`: the training patches' size, or null for CompressAI's own behaviour, as its
weights have it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from deepsphere_codec.entropy.planar import renamed_for_compressai
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.ssf2020 import NAME
from deepsphere_codec.evaluation.anchors.ssf2020.network import PlanarFlow
from deepsphere_codec.models.zoo import tensors_hash


def load_ssf(folder: Path) -> tuple[PlanarFlow, int, str]:
    """Load the network in a folder `quality-N`, ready to code.

    Returns:
        The network, its quality, and the hash of its weights.
    Raises:
        UsageError: its files are missing, damaged or of something else.
    """
    try:
        card = json.loads((folder / "card.json").read_text())
        tensors, unit = load_file(folder / "weights.safetensors"), card["flow_unit"]
        network = PlanarFlow(unit and tuple(unit))
        network.load_state_dict({name: v.float() if v.is_floating_point() else v for name, v in tensors.items()})
    except (OSError, LookupError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"{folder} does not hold weights of {NAME}: {_reason(error)}") from error
    return network.eval().requires_grad_(False), card["quality"], weights_hash(tensors, unit)


def save_ssf(folder: Path, network: PlanarFlow, quality: int, card: dict[str, Any]) -> None:
    """Write the weights in half precision, tables and a card; the network then is what will be loaded.

    Entropy bottlenecks stay in single precision. Tables are built from the halved weights, as they will be used.

    Args:
        folder: Where they go: `quality-N`.
        network: A trained network.
        quality: Its rate, 1 … 8.
        card: Facts of its training.
    Raises:
        UsageError: the folder cannot be written.
    """
    halved = {name: p for name, p in network.named_parameters() if "entropy_bottleneck" not in name}
    with torch.no_grad():
        for p in halved.values():
            p.copy_(p.half())
    network.update(force=True, update_quantiles=True)
    tensors = {name: value.half() if name in halved else value for name, value in network.state_dict().items()}
    _write(folder, network, tensors, quality, card)


def convert_zoo(file: Path, folder: Path) -> int:
    """Convert a file of CompressAI's weights into `folder/quality-N`, all as they are.

    Args:
        file: The file, named as CompressAI names it, `ssf2020-mse-N-….pth.tar`.
        folder: Where they go.
    Returns:
        The quality N.
    Raises:
        UsageError: it cannot be read without unpickling code, or holds other weights.
    """
    named = re.match(r"ssf2020-mse-(\d+)-", file.name)
    if named is None:
        raise UsageError(f"{file} does not say its quality as ssf2020-mse-N-… does; give it CompressAI's name")
    network = PlanarFlow()
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(renamed_for_compressai(stored.get("state_dict", stored)))
    except Exception as error:  # torch raises whatever a file of another kind leads it to
        raise UsageError(f"{file} holds no weights of CompressAI's ssf2020: {_reason(error)}") from error
    network.update()  # only where the file has no tables
    quality, card = int(named[1]), {"source": f"CompressAI, {file.name}"}
    _write(folder / f"quality-{quality}", network, network.state_dict(), quality, card)
    return quality


def weights_hash(tensors: dict[str, Tensor], unit: Sequence[int] | None) -> str:
    """SHA-256, hex, of all that decides what a stream means: weights, tables and the flow's unit."""
    return hashlib.sha256(f"{unit and list(unit)}\n{tensors_hash(tensors)}".encode()).hexdigest()


def _write(folder: Path, network: PlanarFlow, tensors: dict[str, Tensor], quality: int, card: dict[str, Any]) -> None:
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    about = {"name": NAME, "quality": quality, "flow_unit": network.unit, **card}
    about["parameters"] = sum(p.numel() for p in network.parameters())
    about["weights_hash"] = weights_hash(tensors, network.unit)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "weights.safetensors")
        (folder / "weights.safetensors").chmod(0o644)  # safetensors makes it the owner's alone
        (folder / "card.json").write_text(
            json.dumps(about, indent=2) + "\n"
        )  # last: it says that the weights are there
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{folder} cannot be written: {error}") from error


def _reason(error: Exception) -> str:
    """The line of a message that says what is wrong: torch says first what it loads."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[min(1, len(lines) - 1)].strip()
