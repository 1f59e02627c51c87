"""What can be chosen about a model, and what cannot work."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from deepsphere_codec.errors import UsageError
from deepsphere_codec.layers.blocks import KINDS
from deepsphere_codec.motion.tree import BLURS
from deepsphere_codec.settings import AS_GIVEN, checked_dataclass, one_of

QUALITIES = 8
LAYERS = 4
"""Layers of a group of eight pictures: its anchor (layer 0), then the pictures between, ever closer together."""
ConvolutionKind = Annotated[str, one_of(KINDS)]
QualityStep = Annotated[float, Field(gt=-QUALITIES, lt=QUALITIES), AS_GIVEN]
LayerSteps = Annotated[tuple[QualityStep, ...], Field(min_length=LAYERS, max_length=LAYERS, strict=False)]


@checked_dataclass("model")
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

    work_channels: PositiveInt = 64
    middle_channels: PositiveInt = 128
    intra_latents: PositiveInt = 256
    residual_latents: PositiveInt = 192
    hyper_channels: PositiveInt = 32
    hyper_hidden: PositiveInt = 128
    lead_steps: Literal[2, 3, 5] = 2
    blurs: Annotated[int, Field(ge=1, le=BLURS)] = 3
    kinds: Annotated[tuple[ConvolutionKind, ConvolutionKind], Field(strict=False)] = ("directional", "directional")
    stem: ConvolutionKind = "directional"
    cheb_order: PositiveInt = 3
    neighbors: Literal[8, 20] = 8
    intra_step: Annotated[float, Field(ge=0, lt=QUALITIES), AS_GIVEN] = 1.0
    layer_steps: LayerSteps = (-1.0, -1.5, -2.0, -2.25)
    deep_context: bool = False
    geometry: Literal["healpix", "erp"] = "healpix"
    positional: bool = False
    latitude_quality: bool = False

    def __post_init__(self) -> None:
        if self.geometry == "erp":
            _check_plane(self)
        elif self.positional or self.latitude_quality:
            name = "positional" if self.positional else "latitude_quality"
            raise UsageError(f"model.{name} is true: expected geometry 'erp', which alone has it")

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it; `ModelConfig(**values)` reads it."""
        return asdict(self) | {"kinds": list(self.kinds), "layer_steps": list(self.layer_steps)}


def _check_plane(config: ModelConfig) -> None:
    """Raise UsageError where a plane lacks what the configuration asks for."""
    if set(config.kinds) | {config.stem} != {"directional"}:
        raise UsageError(
            f"model.kinds are {list(config.kinds)}, stem {config.stem!r}: geometry 'erp' has 'directional' alone"
        )
    if config.neighbors != 8:
        raise UsageError(f"model.neighbors is {config.neighbors}: geometry 'erp' has 8 alone")
