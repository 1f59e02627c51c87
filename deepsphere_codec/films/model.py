"""Selection of the model that codes a film."""

from __future__ import annotations

from pathlib import Path

from deepsphere_codec.bitstream import Header
from deepsphere_codec.errors import IncompatibleStream
from deepsphere_codec.models import LoadedModel, list_models, load_model


def loaded(model: str | Path | LoadedModel, device: str) -> LoadedModel:
    """Load a model unless it is loaded already.

    Args:
        model: Name, folder, or loaded model, which is returned unchanged.
        device: Device of the networks, for a model that is not loaded yet.
    Returns:
        The model.
    """
    return load_model(model, device=device) if isinstance(model, str | Path) else model


def model_of(header: Header, model: str | Path | LoadedModel | None, device: str) -> LoadedModel:
    """Load the model that decodes a stream.

    Args:
        header: Header of the stream.
        model: Name, folder, or loaded model; None for the one that the stream names.
        device: Device of the networks, "cpu" or "cuda".
    Returns:
        The model.
    Raises:
        IncompatibleStream: the model that the stream names is not installed.
        UsageError: the given model does not exist.
    """
    if model is not None:
        return loaded(model, device)
    installed = [card["name"] for card in list_models()]
    if header.model not in installed:  # a file must not be able to select a folder to load from
        raise IncompatibleStream(
            f"the stream needs the model {header.model!r}, installed: {', '.join(installed) or 'none'}; "
            f"name its folder with --model"
        )
    return load_model(header.model, device=device)
