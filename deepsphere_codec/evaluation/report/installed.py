"""Where a report finds the models that it codes with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from deepsphere_codec.models import list_models, load_model


class Installed(NamedTuple):
    """A model that is there.

    Attributes:
        place: Its name or folder, as commands take it.
        weights_hash: Of what lies there now.
    """

    place: str
    weights_hash: str


def installed(codec: str, models: Path | None) -> Installed:
    """A model that comes with the package; or one in a folder of its name.

    Args:
        models: Where such folders lie; where we are unless given.
    Raises:
        UsageError: it is not there.
    """
    released = {card["name"]: card["weights_hash"] for card in list_models()}
    if codec in released:
        return Installed(codec, released[codec])
    folder = models / codec if models else Path(codec)
    return Installed(str(folder), load_model(folder).weights_hash)
