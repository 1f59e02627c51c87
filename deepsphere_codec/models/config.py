"""Configuration of a model: its sizes and options, with checks of their combinations."""

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
"""Number of layers in a group of eight pictures: the anchor (layer 0), then three layers of pictures in between, each
closer together than the one before."""
ConvolutionKind = Annotated[str, one_of(KINDS)]
QualityStep = Annotated[float, Field(gt=-QUALITIES, lt=QUALITIES), AS_GIVEN]
LayerSteps = Annotated[tuple[QualityStep, ...], Field(min_length=LAYERS, max_length=LAYERS, strict=False)]


@checked_dataclass("model")
class ModelConfig:
    """Sizes and options of the spherical codec and of its planar twin.

    Attributes:
        work_channels: Channels at nside / 4, the resolution at which the transforms begin and end.
        middle_channels: Channels at nside / 8.
        intra_latents: Channels of y of an I-frame, at nside / 16.
        residual_latents: Channels of y of a residual, at nside / 16.
        hyper_channels: Channels of z, at nside / 64.
        hyper_hidden: Width of the hyperprior's networks.
        lead_steps: Number of steps in which the nodes of the first slice of y are entropy-coded: 2, 3 or 5.
        blurs: Number of blur levels from which a leaf of a motion tree selects; 1 for no blur.
        kinds: Kinds of the two convolutions of a residual block.
        stem: Kind of the transforms' first and last convolution.
        cheb_order: Number of taps of the Chebyshev filters.
        neighbors: Number of neighbours k of a node in the graphs.
        intra_step: Quality added to the requested one for I-frames, which a whole GOP depends on.
        layer_steps: Quality added to the requested one for the pictures of each layer of a group, the anchor's first.
        deep_context: Whether the residual's transforms receive features of the prediction at nside / 8 and nside / 16
            in addition to the prediction at nside / 4.
        geometry: Domain of the networks: "healpix" (the sphere) or "erp" (the planar twin, which works on the
            equirectangular picture with Conv2d in place of every convolution; its weights have the same shapes).
        positional: Whether the latitude of each row is an input of the entropy parameters, as in NVC360; "erp" only.
        latitude_quality: Whether the quality decreases towards the poles like the pixels' solid angle, "erp" only:
            latents are scaled by a learned power of cos(latitude), and the encoder's decisions weight pixels by
            cos(latitude).
    Raises:
        UsageError: a value, or a combination of values, is not valid.
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
        """Convert to a dictionary of JSON types; `ModelConfig(**values)` restores the configuration."""
        return asdict(self) | {"kinds": list(self.kinds), "layer_steps": list(self.layer_steps)}


def _check_plane(config: ModelConfig) -> None:
    """Raise UsageError if the configuration has options that a plane does not support."""
    if set(config.kinds) | {config.stem} != {"directional"}:
        raise UsageError(
            f"model.kinds are {list(config.kinds)}, stem {config.stem!r}: geometry 'erp' has 'directional' alone"
        )
    if config.neighbors != 8:
        raise UsageError(f"model.neighbors is {config.neighbors}: geometry 'erp' has 8 alone")
