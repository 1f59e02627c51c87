"""What can be chosen about a model, and what cannot work."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from deepsphere_codec.errors import UsageError
from deepsphere_codec.layers.blocks import KINDS
from deepsphere_codec.motion.tree import BLURS

QUALITIES = 8
LAYERS = 4
"""Layers of a group of eight pictures: its anchor (layer 0), then the pictures between, ever closer together."""
GEOMETRIES = ("healpix", "erp")
_ON_A_PLANE = ("positional", "latitude_quality")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices of the spherical codecs.

    Attributes:
        work_channels: Width at nside / 4, where the transforms begin and end.
        middle_channels: Width at nside / 8.
        intra_latents, residual_latents: Channels of y, at nside / 16.
        hyper_channels, hyper_hidden: Channels of z, at nside / 64, and width of the hyper networks.
        lead_steps: Steps in which the entropy coder takes the nodes of the first slice of y: 2, 3 or 5.
        blurs: Blur levels that a leaf of the motion may have; 1 for none.
        kinds: The two convolutions of a residual block.
        stem: The convolutions that begin and end the transforms.
        cheb_order: Taps of the Chebyshev filters.
        neighbors: k of the graphs.
        intra_step: I-frames are coded this much above the quality asked for, since a whole GOP refers to them.
        layer_steps: Pictures of each layer of a group likewise, the anchor's first.
        geometry: Where it runs: "healpix" (on the sphere) or "erp" (its planar twin: on the equirectangular picture as
            it lies, with Conv2d in place of every convolution; as many weights, of the same shapes).
        positional: On a plane, the entropy parameters are told the latitude of each row, as NVC360's are.
        deep_context: Whether the transforms of a residual see features of the prediction at nside / 8 and nside / 16 as
            well, not the prediction at nside / 4 alone.
        latitude_quality: On a plane, quality falls towards the poles as the pixels' solid angle does: latents are
            scaled by a learned power of cos(latitude), and the encoder's decisions weigh pixels by it.
    """

    work_channels: int = 64
    middle_channels: int = 128
    intra_latents: int = 256
    residual_latents: int = 192
    hyper_channels: int = 32
    hyper_hidden: int = 128
    lead_steps: int = 2
    blurs: int = 3
    kinds: tuple[str, str] = ("directional", "directional")
    stem: str = "directional"
    cheb_order: int = 3
    neighbors: int = 8
    intra_step: float = 1.0
    layer_steps: tuple[float, ...] = (-1.0, -1.5, -2.0, -2.25)
    deep_context: bool = False
    geometry: str = "healpix"
    positional: bool = False
    latitude_quality: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(self.kinds))
        object.__setattr__(self, "layer_steps", tuple(self.layer_steps))
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "kinds":
                if len(value) != 2 or any(kind not in KINDS for kind in value):
                    raise UsageError(f"kinds is {list(value)}: expected two of {', '.join(KINDS)}")
            elif field.name == "geometry":
                if value not in GEOMETRIES:
                    raise UsageError(f"geometry is {value!r}: expected {' or '.join(GEOMETRIES)}")
            elif isinstance(field.default, bool):
                if not isinstance(value, bool):
                    raise UsageError(f"{field.name} is {value!r}: expected true or false")
                if value and field.name in _ON_A_PLANE and self.geometry != "erp":
                    raise UsageError(f"{field.name} is true: expected geometry 'erp', which alone has it")
            elif field.name == "stem":
                if value not in KINDS:
                    raise UsageError(f"stem is {value!r}: expected one of {', '.join(KINDS)}")
            elif field.name == "layer_steps":
                numbers = all(isinstance(step, int | float) and abs(step) < QUALITIES for step in value)
                if len(value) != LAYERS or not numbers:
                    raise UsageError(
                        f"layer_steps is {list(value)}: expected {LAYERS} numbers between -{QUALITIES} and {QUALITIES}"
                    )
            elif field.name == "intra_step":
                if not isinstance(value, int | float) or not 0 <= value < QUALITIES:
                    raise UsageError(f"intra_step is {value!r}: expected 0 or more, below {QUALITIES}")
            elif not isinstance(value, int) or value < 1:
                raise UsageError(f"{field.name} is {value!r}: expected a whole number of at least 1")
        if self.blurs > BLURS:
            raise UsageError(f"blurs is {self.blurs}: expected at most {BLURS}")
        if self.lead_steps not in (2, 3, 5):
            raise UsageError(f"lead_steps is {self.lead_steps}: expected 2, 3 or 5")
        if self.neighbors not in (8, 20):
            raise UsageError(f"neighbors is {self.neighbors}: expected 8 or 20")
        if self.geometry == "erp":
            _check_plane(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Raises UsageError on a name that is not an attribute."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UsageError(f"model setting {unknown[0]!r} is unknown: expected one of {', '.join(sorted(known))}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return asdict(self) | {"kinds": list(self.kinds), "layer_steps": list(self.layer_steps)}


def _check_plane(config: ModelConfig) -> None:
    """Raise UsageError where a plane lacks what the configuration asks for."""
    if set(config.kinds) | {config.stem} != {"directional"}:
        raise UsageError(
            f"kinds are {list(config.kinds)}, stem {config.stem!r}: geometry 'erp' has 'directional' alone"
        )
    if config.neighbors != 8:
        raise UsageError(f"neighbors is {config.neighbors}: geometry 'erp' has 8 alone")
