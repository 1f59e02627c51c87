"""Where a report finds the models that it codes with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deepsphere_codec.evaluation.anchors.ssf2020.measure import SsfCodec
from deepsphere_codec.models import list_models, load_model


class Installed(NamedTuple):
    """A model that is there.

    Attributes:
        place: Its name or folder, as commands take it.
        weights_hash: Of what lies there now.
    """

    place: str
    weights_hash: str


def installed(codec: str, models: Path | None, quality: float) -> Installed:
    """The model of a codec.

    Args:
        models: Folder of models that do not come with the package.
        quality: To be coded with: the planar baseline has weights of its own for each.
    Raises:
        UsageError: it is not there.
    """
    if codec == SsfCodec.codec:
        baseline = SsfCodec(models / codec if models else None)
        return Installed(str(baseline.weights_of(quality)), baseline.settings["weights_hash"][f"{quality:g}"])
    place = place_of(codec, models)
    return Installed(place, load_model(place).weights_hash)


def card_of(codec: str, models: Path | None) -> Mapping[str, Any]:
    """What a model's card says; those of the planar baseline, one for each quality, tell of their training as one.

    Raises:
        UsageError: it is not there.
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
    """Name of a model that comes with the package; else a folder of its name, where we are unless another is given."""
    if any(card["name"] == codec for card in list_models()):
        return codec
    return str(models / codec if models else Path(codec))
