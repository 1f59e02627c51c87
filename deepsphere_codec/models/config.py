"""What can be chosen about a model, and what cannot work."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from deepsphere_codec.errors import UsageError
from deepsphere_codec.layers.blocks import KINDS

QUALITIES = 8
FAMILIES = ("dvc", "ssf")
GEOMETRIES = ("healpix", "erp")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices of the spherical codecs.

    Attributes:
        family: How P-frames are predicted: "dvc" (warp and compensation network) or "ssf" (scale-space warp).
        work_channels: Width at nside / 4, where the transforms begin and end.
        middle_channels: Width at nside / 8.
        intra_latents, residual_latents, motion_latents: Channels of y, at nside / 16.
        hyper_channels, hyper_hidden: Channels of z, at nside / 64, and width of the hyper networks.
        motion_channels: Width of the motion networks.
        kinds: The two convolutions of a residual block.
        stem: The convolutions that begin and end the transforms.
        cheb_order: Taps of the Chebyshev filters.
        neighbors: k of the graphs.
        intra_step: I-frames are coded this much above the quality asked for, since a whole GOP refers to them.
        inter_steps: P-frames likewise, in turn: a better one now and then serves those after it.
        geometry: Where it runs: "healpix" (on the sphere) or "erp" (its planar twin: on the equirectangular picture as
            it lies, with Conv2d in place of every convolution; as many weights, of the same shapes).
        positional: On a plane, the entropy parameters are told the latitude of each row, as NVC360's are.
        latitude_quality: On a plane, quality falls towards the poles as the pixels' solid angle does: latents are
            scaled by a learned power of cos(latitude), and the encoder's decisions weigh pixels by it.
    """

    family: str = "dvc"
    work_channels: int = 64
    middle_channels: int = 128
    intra_latents: int = 256
    residual_latents: int = 192
    motion_latents: int = 48
    hyper_channels: int = 32
    hyper_hidden: int = 48
    motion_channels: int = 64
    kinds: tuple[str, str] = ("directional", "directional")
    stem: str = "directional"
    cheb_order: int = 3
    neighbors: int = 8
    intra_step: float = 1.0
    inter_steps: tuple[float, ...] = (-1.0,)
    geometry: str = "healpix"
    positional: bool = False
    latitude_quality: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(self.kinds))
        object.__setattr__(self, "inter_steps", tuple(self.inter_steps))
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "kinds":
                if len(value) != 2 or any(kind not in KINDS for kind in value):
                    raise UsageError(f"kinds is {list(value)}: expected two of {', '.join(KINDS)}")
            elif field.name == "family":
                if value not in FAMILIES:
                    raise UsageError(f"family is {value!r}: expected {' or '.join(FAMILIES)}")
            elif field.name == "geometry":
                if value not in GEOMETRIES:
                    raise UsageError(f"geometry is {value!r}: expected {' or '.join(GEOMETRIES)}")
            elif isinstance(field.default, bool):
                if not isinstance(value, bool) or (value and self.geometry != "erp"):
                    raise UsageError(
                        f"{field.name} is {value!r}: expected true or false, and true on geometry 'erp' alone"
                    )
            elif field.name == "stem":
                if value not in KINDS:
                    raise UsageError(f"stem is {value!r}: expected one of {', '.join(KINDS)}")
            elif field.name == "inter_steps":
                if not value or not all(isinstance(step, int | float) and abs(step) < QUALITIES for step in value):
                    raise UsageError(
                        f"inter_steps is {list(value)}: expected numbers between -{QUALITIES} and {QUALITIES}"
                    )
            elif field.name == "intra_step":
                if not isinstance(value, int | float) or not 0 <= value < QUALITIES:
                    raise UsageError(f"intra_step is {value!r}: expected 0 or more, below {QUALITIES}")
            elif not isinstance(value, int) or value < 1:
                raise UsageError(f"{field.name} is {value!r}: expected a whole number of at least 1")
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
        """What is not in models released before it came is left out where it is the default: their hashes stay."""
        values = asdict(self) | {"kinds": list(self.kinds), "inter_steps": list(self.inter_steps)}
        return {name: value for name, value in values.items() if name not in _LATER or value != _LATER[name]}


_LATER = {"geometry": "healpix", "positional": False, "latitude_quality": False}


def _check_plane(config: ModelConfig) -> None:
    """Raise UsageError where a plane lacks what the configuration asks for."""
    if set(config.kinds) | {config.stem} != {"directional"}:
        raise UsageError(
            f"kinds are {list(config.kinds)}, stem {config.stem!r}: geometry 'erp' has 'directional' alone"
        )
    if config.family != "dvc" or config.neighbors != 8:
        raise UsageError(
            f"family is {config.family!r}, neighbors {config.neighbors}: geometry 'erp' has family 'dvc' and 8 alone"
        )
