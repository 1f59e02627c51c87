"""Search for the models that a report codes with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deepsphere_codec.evaluation.anchors.ssf2020.measure import SsfCodec
from deepsphere_codec.models import list_models, load_model


class Installed(NamedTuple):
    """Installed model.

    Attributes:
        place: Name or folder of the model on the command line.
        weights_hash: Hash of its current weights.
    """

    place: str
    weights_hash: str


def installed(codec: str, models: Path | None, quality: float) -> Installed:
    """Find the model of a codec.

    Args:
        codec: Name of the codec.
        models: Folder of models that do not come with the package.
        quality: Quality to code at; the planar baseline has weights for each quality.
    Returns:
        Model.
    Raises:
        UsageError: it is not installed.
    """
    if codec == SsfCodec.codec:
        baseline = SsfCodec(models / codec if models else None)
        return Installed(str(baseline.weights_of(quality)), baseline.settings["weights_hash"][f"{quality:g}"])
    place = place_of(codec, models)
    return Installed(place, load_model(place).weights_hash)


def card_of(codec: str, models: Path | None) -> Mapping[str, Any]:
    """Read the card of a model; the cards of the planar baseline, one for each quality, are combined.

    Args:
        codec: Name of the codec.
        models: Folder of models that do not come with the package.
    Returns:
        Contents of the card.
    Raises:
        UsageError: it is not installed.
    """
    if codec != SsfCodec.codec:
        return load_model(place_of(codec, models)).card
    baseline = SsfCodec(models / codec if models else None)
    cards = [json.loads((baseline.weights_of(each) / "card.json").read_text()) for each in baseline.qualities]
    trained = {
        f"quality-{card['quality']}": {"part": "all", **card["training"]} for card in cards if "training" in card
    }
    return {"training": trained, "hardware": cards[0].get("hardware")}


def place_of(codec: str, models: Path | None) -> str:
    """Return the name of a model that comes with the package, or else its folder.

    Args:
        codec: Name of the codec.
        models: Folder that contains the model's folder; None for the current folder.
    Returns:
        Name or folder, as on the command line.
    """
    if any(card["name"] == codec for card in list_models()):
        return codec
    return str(models / codec if models else Path(codec))
