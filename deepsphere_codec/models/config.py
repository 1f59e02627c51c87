"""What can be chosen about a model, and what cannot work."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from deepsphere_codec.errors import UsageError
from deepsphere_codec.layers.blocks import KINDS

QUALITIES = 8


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices of the spherical DVC codec.

    Attributes:
        work_channels: Width at nside / 4, where the transforms begin and end.
        middle_channels: Width at nside / 8.
        intra_latents, residual_latents, motion_latents: Channels of y, at nside / 16.
        hyper_channels, hyper_hidden: Channels of z, at nside / 64, and width of the hyper networks.
        motion_channels: Width of the motion networks.
        kinds: The two convolutions of a residual block.
        cheb_order: Taps of the Chebyshev filters.
        neighbors: k of the graphs.
        intra_step: I-frames are coded this much above the quality asked for, since a whole GOP refers to them.
    """

    work_channels: int = 64
    middle_channels: int = 128
    intra_latents: int = 160
    residual_latents: int = 128
    motion_latents: int = 48
    hyper_channels: int = 32
    hyper_hidden: int = 48
    motion_channels: int = 64
    kinds: tuple[str, str] = ("directional", "chebyshev")
    cheb_order: int = 3
    neighbors: int = 8
    intra_step: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(self.kinds))
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "kinds":
                if len(value) != 2 or any(kind not in KINDS for kind in value):
                    raise UsageError(f"kinds is {list(value)}: expected two of {', '.join(KINDS)}")
            elif field.name == "intra_step":
                if not isinstance(value, int | float) or not 0 <= value < QUALITIES:
                    raise UsageError(f"intra_step is {value!r}: expected 0 or more, below {QUALITIES}")
            elif not isinstance(value, int) or value < 1:
                raise UsageError(f"{field.name} is {value!r}: expected a whole number of at least 1")
        if self.neighbors not in (8, 20):
            raise UsageError(f"neighbors is {self.neighbors}: expected 8 or 20")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Raises UsageError on a name that is not an attribute."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UsageError(f"model setting {unknown[0]!r} is unknown: expected one of {', '.join(sorted(known))}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"kinds": list(self.kinds)}
