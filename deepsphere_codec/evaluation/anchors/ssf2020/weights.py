"""Networks on disk: a folder `quality-N` for each rate, with weights.safetensors and card.json, nothing pickled.

A card's "flow_unit" is that of `PlanarFlow`: the training patches' size, or null for CompressAI's own behaviour, as its
weights have it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from deepsphere_codec import models
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.ssf2020 import NAME, how_to_get
from deepsphere_codec.evaluation.anchors.ssf2020.network import FlowUnit, PlanarFlow, count_parameters
from deepsphere_codec.models.zoo import tensors_hash

RELEASED = Path(models.__file__).parent / "weights" / NAME
"""Where weights are looked for unless a folder is named. None come with the package: each takes 69 MiB."""

_WEIGHTS, _CARD = "weights.safetensors", "card.json"


class LoadedSsf(NamedTuple):
    """A network of one rate, ready to code.

    Attributes:
        weights_hash: SHA-256, hex, of weights, tables and the flow's unit.
    """

    network: PlanarFlow
    quality: int
    weights_hash: str
    card: dict[str, Any]


def quality_folders(folder: Path) -> dict[int, Path]:
    """The networks in a folder, or the one that the folder is, by quality.

    Raises:
        UsageError: there is none.
    """
    if (folder / _CARD).exists():
        return {card_of(folder)["quality"]: folder}
    found = {card_of(path.parent)["quality"]: path.parent for path in folder.glob(f"quality-*/{_CARD}")}
    if not found:
        raise UsageError(f"{folder} holds no weights of {NAME} (quality-N/{_CARD}); {how_to_get(folder)}")
    return dict(sorted(found.items()))


def save_ssf(folder: Path, network: PlanarFlow, quality: int, card: dict[str, Any]) -> None:
    """Write the weights in half precision, tables and a card; the network then is what will be loaded.

    Entropy bottlenecks stay in single precision. Tables are built from the halved weights, as they will be used.
    """
    with torch.no_grad():
        for name, p in network.named_parameters():
            if "entropy_bottleneck" not in name:
                p.copy_(p.half())
    network.update(force=True, update_quantiles=True)
    halved = {name for name, _ in network.named_parameters() if "entropy_bottleneck" not in name}
    tensors = {name: value.half() if name in halved else value for name, value in network.state_dict().items()}
    write_network(folder, tensors, network.unit, quality, card | {"parameters": count_parameters(network)})


def load_ssf(folder: Path) -> LoadedSsf:
    """The network in a folder `quality-N`.

    Raises:
        UsageError: its files are missing or damaged.
    """
    card, tensors = card_of(folder), _tensors(folder)
    unit = _unit(card)
    network = PlanarFlow(unit)
    try:
        network.load_state_dict({name: v.float() if v.is_floating_point() else v for name, v in tensors.items()})
    except RuntimeError as error:
        raise UsageError(f"{folder / _WEIGHTS} holds other weights than {NAME}'s: {_second_line(error)}") from error
    network.eval().requires_grad_(False)
    return LoadedSsf(network, card["quality"], weights_hash(tensors, unit), card)


def hash_of(folder: Path) -> str:
    """The `weights_hash` of the network in a folder `quality-N`.

    Raises:
        UsageError: its files are missing or damaged.
    """
    return weights_hash(_tensors(folder), _unit(card_of(folder)))


def weights_hash(tensors: dict[str, Tensor], unit: FlowUnit | None) -> str:
    """SHA-256, hex, of all that decides what a stream means."""
    return hashlib.sha256(f"{unit and list(unit)}\n{tensors_hash(tensors)}".encode()).hexdigest()


def write_network(
    folder: Path, tensors: dict[str, Tensor], unit: FlowUnit | None, quality: int, card: dict[str, Any]
) -> None:
    """Write weights, tables and a card, which comes last.

    Raises:
        UsageError: the folder cannot be written.
    """
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / _WEIGHTS)
        (folder / _WEIGHTS).chmod(0o644)  # safetensors makes it the owner's alone
        about = {"name": NAME, "quality": quality, "flow_unit": unit, **card}
        about["weights_hash"] = weights_hash(tensors, unit)
        (folder / _CARD).write_text(json.dumps(about, indent=2) + "\n")
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{folder} cannot be written: {error}") from error


def _tensors(folder: Path) -> dict[str, Tensor]:
    try:
        return load_file(folder / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{folder / _WEIGHTS} cannot be read: {error}") from error


def card_of(folder: Path) -> dict[str, Any]:
    """The card of the network in a folder `quality-N`.

    Raises:
        UsageError: there is none.
    """
    try:
        card = json.loads((folder / _CARD).read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / _CARD} cannot be read: {error}") from error
    if not isinstance(card, dict) or card.get("name") != NAME or not isinstance(card.get("quality"), int):
        raise UsageError(f"{folder / _CARD} is no card of {NAME}")
    return card


def _unit(card: dict[str, Any]) -> FlowUnit | None:
    return FlowUnit(*card["flow_unit"]) if card.get("flow_unit") else None


def _second_line(error: Exception) -> str:
    """torch says first what it loads, then what is wrong."""
    return str(error).strip().splitlines()[1:2][0].strip() if "\n" in str(error) else str(error)
