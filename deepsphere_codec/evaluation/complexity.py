"""Computational complexity of codecs by name."""

from __future__ import annotations

from deepsphere_codec.evaluation.anchors.ssf2020 import NAME
from deepsphere_codec.models.macs import Complexity, complexity
from deepsphere_codec.models.zoo import load_model


def complexity_of(model: str) -> Complexity:
    """Count the computation of a model given by name or folder, or of `planar-ssf2020`, which needs no weights for it.

    Raises:
        UsageError: there is no such model.
    """
    if model == NAME:
        from deepsphere_codec.evaluation.anchors.ssf2020.network import (
            complexity as complexity_of_ssf2020,  # not needed for other models
        )

        return complexity_of_ssf2020()
    return complexity(load_model(model).config)
