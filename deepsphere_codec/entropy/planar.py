"""CompressAI's planar codecs, for baselines; separate from `backend`, since the package's own codecs do not need it."""

from __future__ import annotations

import warnings

# First: it makes CompressAI importable.
from deepsphere_codec.entropy import backend

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from compressai.models.video.google import ScaleSpaceFlow
    from compressai.zoo.pretrained import load_pretrained as renamed_for_compressai

__all__ = ["ScaleSpaceFlow", "backend", "renamed_for_compressai"]
