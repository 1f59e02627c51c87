"""The verb `models`, which lists the installed models."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepsphere_codec.cli.options import add_verb
from deepsphere_codec.cli.output import Result

if TYPE_CHECKING:
    from deepsphere_codec.cli.options import Verbs


def add_models(verbs: Verbs) -> None:
    """Add the verb to the program's parser."""
    add_verb(verbs, "models", _models, "List the models that are installed.")


def _models(args: argparse.Namespace) -> Result:
    from deepsphere_codec.models import list_models

    cards = list_models()
    if args.json:
        return {"models": cards}
    return {"models": [_in_short(card) for card in cards]}


def _in_short(card: Mapping[str, Any]) -> Result:
    """Summary of a model's card for the terminal; --json prints the whole card."""
    points = card.get("measured", {}).get("points", [])
    reached = ", ".join(f"{p['ws-psnr-yuv']:.1f} dB at {p['bpp']:.3f} bpp (quality {p['quality']:g})" for p in points)
    shown = {"name": card["name"], "parameters": card.get("parameters"), "reaches": reached or "not measured"}
    return shown | {key: card[key] for key in ("data", "hardware", "licence", "weights_hash") if key in card}
