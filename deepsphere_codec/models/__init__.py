"""Networks of the codec, and the released models."""

from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.dvc import CodedPicture, SphereDVC
from deepsphere_codec.models.memory import References, State
from deepsphere_codec.models.zoo import DEFAULT_MODEL, LoadedModel, list_models, load_model, save_model

__all__ = [
    "DEFAULT_MODEL",
    "CodedPicture",
    "LoadedModel",
    "ModelConfig",
    "References",
    "SphereDVC",
    "State",
    "list_models",
    "load_model",
    "save_model",
]
