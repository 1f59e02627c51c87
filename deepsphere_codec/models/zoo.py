"""Released models: storage and loading of weights, tables and cards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deepsphere_codec.entropy.exact import EXPONENT, ExactConv
from deepsphere_codec.entropy.hyperprior import Hyperprior
from deepsphere_codec.errors import UsageError
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.geometry import nside_multiple, whole_grid
from deepsphere_codec.motion.contexts import MotionTables

DEFAULT_MODEL = "sphere-dvc"
_FOLDERS = Path(__file__).parent / "weights", Path(__file__).parents[2] / "models"
"""Folders in which models are looked up by name: in the package, and in the checkout around it."""

_WEIGHTS, _CARD = "weights.safetensors", "card.json"
_TABLE_ENDS = ("_cdf", "_length", "_offset")


class LoadedModel:
    """Model with its weights, for any resolution; created by `load_model`.

    Args:
        name: Name of the model.
        card: Contents of the card.
        tensors: Weights and tables by name.
        device: Device of the networks.
    Attributes:
        name: Name of the model, as stored in a stream's header.
        config: Sizes and options.
        card: Contents of the card, such as the origin of the weights.
        weights_hash: SHA-256 of configuration and weights, hex; a stream stores that of the model it was coded with.
        tables_hash: SHA-256 of the tables, hex; a stream stores that of the model it was coded with.
    Raises:
        UsageError: weights or tables are not those of the card.
    """

    def __init__(self, name: str, card: dict[str, Any], tensors: dict[str, Tensor], device: torch.device) -> None:
        self.name, self.card, self.device = name, card, device
        self.config = ModelConfig(**card["model"])
        self._tables = {key: value for key, value in tensors.items() if key.endswith(_TABLE_ENDS)}
        self._weights = {key: value for key, value in tensors.items() if key not in self._tables}
        self.weights_hash, self.tables_hash = _weights_hash(card["model"], self._weights), tensors_hash(self._tables)
        for key in ("weights_hash", "tables_hash"):
            if card.get(key, getattr(self, key)) != getattr(self, key):
                raise UsageError(
                    f"the model {name} is not what its card says ({key}): its files do not belong together"
                )
        self._networks: dict[int, SphereDVC] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the network, which another process creates again when needed."""
        return self.__dict__ | {"_networks": {}}

    @property
    def geometry(self) -> str:
        """Domain of the networks: "healpix" or "erp"."""
        return self.config.geometry

    @property
    def nside_multiple(self) -> int:
        """Number that nside must be a multiple of."""
        return nside_multiple(self.geometry)

    def network(self, nside: int) -> SphereDVC:
        """Return the network at one resolution, for inference; the last one is cached.

        Raises:
            UsageError: nside is not a multiple of `nside_multiple`.
        """
        if nside < 1 or nside % self.nside_multiple:
            below = max(1, nside // self.nside_multiple) * self.nside_multiple
            raise UsageError(
                f"nside is {nside}: {self.name} needs a multiple of {self.nside_multiple}, "
                f"such as {below} or {below + self.nside_multiple}"
            )
        if nside not in self._networks:
            network = SphereDVC(self.config, whole_grid(self.geometry, nside))
            fill(network, self._weights, self._tables)
            _check_parts(network, self._weights, self._tables)
            self._networks = {nside: network.eval().requires_grad_(False).to(self.device)}
        return self._networks[nside]

    def graph_hash(self, nside: int) -> str:
        """Return the SHA-256, hex, of the graphs of the network at one resolution."""
        return hashlib.sha256("".join(self.network(nside).pyramid.graph_fingerprints).encode()).hexdigest()


def load_model(name: str | Path = DEFAULT_MODEL, device: str | torch.device = "cpu") -> LoadedModel:
    """Load a released model by its name, or any model by its folder.

    Args:
        name: Name of one of `list_models()`, or a folder with weights.safetensors and card.json.
        device: Device of the networks.
    Returns:
        The model.
    Raises:
        UsageError: there is no such model, or its files are damaged.
    """
    folder = next((place / name for place in _FOLDERS if (place / name / _CARD).exists()), Path(name))
    if not (folder / _CARD).exists():
        known = ", ".join(card["name"] for card in list_models()) or "none"
        raise UsageError(f"model {str(name)!r} is neither one of ours ({known}) nor a folder with {_CARD}")
    card, tensors = _read(folder.resolve(), _stamp(folder))
    return LoadedModel(card["name"], card, tensors, torch.device(device))


def list_models() -> list[dict[str, Any]]:
    """Return the cards of the released models in the package and in the checkout's models/."""
    return [json.loads(path.read_text()) for place in _FOLDERS for path in sorted(place.glob(f"*/{_CARD}"))]


def save_model(folder: Path, name: str, network: SphereDVC, card: dict[str, Any]) -> None:
    """Write weights, tables and card.

    Weights are stored in float16, those of the integer networks in 8 bits, as they are used. The network's weights are
    rounded to the stored ones and its tables built from them, so that they equal those of the loaded model.

    Args:
        folder: Folder to write to.
        name: Name of the model.
        network: Network whose weights are written.
        card: Further entries of the card.
    """
    exact = _integer_networks(network)
    weights = {}
    for key, p in network.named_parameters():
        module, _, kind = key.rpartition(".")
        if module not in exact:
            weights[key] = p.half()
        elif kind == "bias":
            weights[key] = p
        else:
            weights[key], weights[key + EXPONENT] = exact[module].packed()
    weights = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    fill(network, weights, {})
    network.build_tables()
    tables = {key: b.cpu().contiguous() for key, b in network.named_buffers() if key.endswith(_TABLE_ENDS)}
    tables = {key: b for key, b in tables.items() if not key.rpartition(".")[2].startswith("_")}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights | tables, folder / _WEIGHTS)
    (folder / _WEIGHTS).chmod(0o644)  # safetensors makes it readable by the owner only
    about = {
        "name": name,
        **card,
        "model": network.config.to_dict(),
        "parameters": sum(p.numel() for p in network.parameters()),
        "weights_hash": _weights_hash(network.config.to_dict(), weights),
        "tables_hash": tensors_hash(tables),
    }
    (folder / _CARD).write_text(json.dumps(about, indent=2) + "\n")


def fill(network: SphereDVC, weights: dict[str, Tensor], tables: dict[str, Tensor]) -> None:
    """Copy stored weights and tables into a network.

    Args:
        network: The network.
        weights: Weights by name.
        tables: Tables by name.
    Raises:
        UsageError: a weight is missing or has another shape, or the network has no such table.
    """
    for key, p in network.named_parameters():
        value = weights.get(key)
        if value is None or value.shape != p.shape:
            got = "missing" if value is None else f"{list(value.shape)} instead of {list(p.shape)}"
            raise UsageError(f"the model's weight {key} is {got}: its files do not belong together")
        exponent = weights.get(key + EXPONENT)
        p.detach().copy_(value if exponent is None else ExactConv.unpacked(value, exponent))
    places = {key for key, _ in network.named_buffers() if key.endswith(_TABLE_ENDS)}
    for key, value in tables.items():
        module, _, name = key.rpartition(".")
        if key not in places or name.startswith("_"):
            raise UsageError(f"the model's files hold {key}, which is no part of it")
        setattr(network.get_submodule(module), name, value)


def _check_parts(network: SphereDVC, weights: dict[str, Tensor], tables: dict[str, Tensor]) -> None:
    """Raise UsageError unless the files contain the network's weights and tables, and nothing else."""
    known = {key for key, _ in network.named_parameters()}
    known |= {f"{name}.weight{EXPONENT}" for name in _integer_networks(network)}
    unknown = set(weights) - known
    if unknown:
        raise UsageError(f"the model's files hold {min(unknown)}, which is no part of it")
    try:
        for module in network.modules():
            if isinstance(module, Hyperprior | MotionTables):
                module.check_tables()
    except ValueError as error:
        raise UsageError(f"the model's files are damaged: {error}") from error


def tensors_hash(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256, hex, of names, types, shapes and bytes of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        value = tensors[key]
        digest.update(f"{key} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _weights_hash(config: dict[str, Any], weights: dict[str, Tensor]) -> str:
    """SHA-256, hex, of the weights and of the configuration that determines their use.

    Args:
        config: Configuration as stored on the card, since options added later do not change an older model.
        weights: Weights by name.
    """
    about = json.dumps(config, sort_keys=True)
    return hashlib.sha256(f"{about}\n{tensors_hash(weights)}".encode()).hexdigest()


def _integer_networks(network: nn.Module) -> dict[str, ExactConv]:
    """Layers of a network that compute in integers, by name."""
    return {name: module for name, module in network.named_modules() if isinstance(module, ExactConv)}


def _stamp(folder: Path) -> tuple[int, ...]:
    """Modification times of a model's files, so that the cache is not used for a model that was saved again."""
    return tuple(path.stat().st_mtime_ns for path in (folder / _WEIGHTS, folder / _CARD) if path.exists())


@lru_cache(maxsize=4)
def _read(folder: Path, stamp: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        card = json.loads((folder / _CARD).read_text())
        tensors = load_file(folder / _WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise UsageError(f"the model in {folder} cannot be read: {error}") from error
    missing: Iterable[str] = [key for key in ("name", "model") if key not in card]
    for key in missing:
        raise UsageError(f"{folder / _CARD} has no {key!r}: it is not a model's card")
    return card, tensors
