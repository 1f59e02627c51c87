"""A learned codec for 360° video that works on the sphere."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .codec import VideoDecoder, VideoEncoder
    from .errors import CodecError, DamagedStream, IncompatibleStream, UsageError
    from .evaluation.compare import Comparison, compare_videos
    from .films import DecodeReport, EncodeReport, decode_to_file, decode_video, encode_video
    from .graph import build_graph
    from .models import list_models, load_model
    from .sphere import ErpResampler, HealpixGrid

__version__ = "0.1.0"

# Name -> module, imported at first use: `import deepsphere_codec` itself needs neither torch nor av nor compressai.
_HOMES = {
    "DecodeReport": "films",
    "EncodeReport": "films",
    "VideoDecoder": "codec",
    "VideoEncoder": "codec",
    "decode_to_file": "films",
    "decode_video": "films",
    "encode_video": "films",
    "CodecError": "errors",
    "DamagedStream": "errors",
    "IncompatibleStream": "errors",
    "UsageError": "errors",
    "Comparison": "evaluation.compare",
    "compare_videos": "evaluation.compare",
    "build_graph": "graph",
    "list_models": "models",
    "load_model": "models",
    "ErpResampler": "sphere",
    "HealpixGrid": "sphere",
}

__all__ = [
    "CodecError",
    "Comparison",
    "DamagedStream",
    "DecodeReport",
    "EncodeReport",
    "ErpResampler",
    "HealpixGrid",
    "IncompatibleStream",
    "UsageError",
    "VideoDecoder",
    "VideoEncoder",
    "build_graph",
    "compare_videos",
    "decode_to_file",
    "decode_video",
    "encode_video",
    "list_models",
    "load_model",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
