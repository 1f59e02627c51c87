"""Which model codes a film."""

from __future__ import annotations

from pathlib import Path

from deepsphere_codec.bitstream import Header
from deepsphere_codec.errors import IncompatibleStream
from deepsphere_codec.models import LoadedModel, list_models, load_model


def loaded(model: str | Path | LoadedModel, device: str) -> LoadedModel:
    """The model itself, whose device then counts, or the one of this name or folder."""
    return load_model(model, device=device) if isinstance(model, str | Path) else model


def model_of(header: Header, model: str | Path | LoadedModel | None, device: str) -> LoadedModel:
    """The model that a stream names, unless one is given.

    Raises:
        IncompatibleStream: it is not installed.
        UsageError: there is no such model.
    """
    if model is not None:
        return loaded(model, device)
    installed = [card["name"] for card in list_models()]
    if header.model not in installed:  # a file must not choose a folder to load from
        raise IncompatibleStream(
            f"the stream needs the model {header.model!r}, installed: {', '.join(installed) or 'none'}; "
            f"name its folder with --model"
        )
    return load_model(header.model, device=device)
