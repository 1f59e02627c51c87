"""Networks on disk: a folder `quality-N` for each rate, with weights.safetensors and card.json, without pickle.

A card's "flow_unit" is the unit of `PlanarFlow`: the training patches' size, or null for CompressAI's own behaviour,
which is the case for its weights.
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
    """Load the network of a folder `quality-N`, ready to code.

    Args:
        folder: Folder with weights and card.
    Returns:
        Network, quality, and hash of the weights.
    Raises:
        UsageError: files are missing, damaged or of another kind.
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
    """Write weights in half precision, tables and a card; the network is changed to the values that will be loaded.

    Entropy bottlenecks stay in single precision. Tables are built from the weights in half precision, as they will be
    used.

    Args:
        folder: Folder to write, `quality-N`.
        network: Trained network.
        quality: Quality of the network, 1 … 8.
        card: Facts about its training.
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
    """Convert a file of CompressAI's weights to `folder/quality-N` with the weights unchanged.

    Args:
        file: File with CompressAI's own name, `ssf2020-mse-N-….pth.tar`.
        folder: Folder that `quality-N` is written to.
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
    except Exception as error:  # torch raises various exceptions for files of other kinds
        raise UsageError(f"{file} holds no weights of CompressAI's ssf2020: {_reason(error)}") from error
    network.update()  # only if the file has no tables
    quality, card = int(named[1]), {"source": f"CompressAI, {file.name}"}
    _write(folder / f"quality-{quality}", network, network.state_dict(), quality, card)
    return quality


def weights_hash(tensors: dict[str, Tensor], unit: Sequence[int] | None) -> str:
    """Compute the SHA-256 of everything that decoding depends on: weights, tables and the flow's unit.

    Args:
        tensors: Weights and tables by name.
        unit: Unit of the flow, see `PlanarFlow`.
    Returns:
        Hash, hex.
    """
    return hashlib.sha256(f"{unit and list(unit)}\n{tensors_hash(tensors)}".encode()).hexdigest()


def _write(folder: Path, network: PlanarFlow, tensors: dict[str, Tensor], quality: int, card: dict[str, Any]) -> None:
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    about = {"name": NAME, "quality": quality, "flow_unit": network.unit, **card}
    about["parameters"] = sum(p.numel() for p in network.parameters())
    about["weights_hash"] = weights_hash(tensors, network.unit)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "weights.safetensors")
        (folder / "weights.safetensors").chmod(0o644)  # safetensors creates files that only their owner can read
        (folder / "card.json").write_text(
            json.dumps(about, indent=2) + "\n"
        )  # last, since its existence shows that the weights are complete
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{folder} cannot be written: {error}") from error


def _reason(error: Exception) -> str:
    """Line of an error message that states the cause: torch's messages begin with the file that is loaded."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[min(1, len(lines) - 1)].strip()
