"""How much a codec computes, by its name."""

from __future__ import annotations

from deepsphere_codec.evaluation.anchors.ssf2020 import NAME
from deepsphere_codec.models.macs import Complexity, complexity
from deepsphere_codec.models.zoo import load_model


def complexity_of(model: str) -> Complexity:
    """Of a model by its name or folder, or of `planar-ssf2020`, which needs no weights for it.

    Raises:
        UsageError: there is no such model.
    """
    if model == NAME:
        from deepsphere_codec.evaluation.anchors.ssf2020.network import (
            complexity as complexity_of_ssf2020,  # others need it not
        )

        return complexity_of_ssf2020()
    return complexity(load_model(model).config)
