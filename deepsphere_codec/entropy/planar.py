"""CompressAI's planar codecs, for baselines; separate from `backend`, since the package's own codecs do not need it."""

from __future__ import annotations

import warnings

# First: it makes CompressAI importable.
from deepsphere_codec.entropy import backend

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from compressai.models.video.google import ScaleSpaceFlow
    from compressai.zoo.pretrained import load_pretrained as renamed_for_compressai
    from compressai.zoo.video import model_urls

ZOO_URLS: dict[str, dict[int, str]] = model_urls["ssf2020"]
"""URLs of CompressAI's ScaleSpaceFlow weights, by the distortion they were trained for, then by quality."""

__all__ = ["ZOO_URLS", "ScaleSpaceFlow", "backend", "renamed_for_compressai"]
