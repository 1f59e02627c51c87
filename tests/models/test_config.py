"""Configurations refuse what cannot work, and say which rule is broken."""

from __future__ import annotations

import dataclasses
import json

import pytest

from deepsphere_codec.errors import UsageError
from deepsphere_codec.layers.blocks import KINDS
from deepsphere_codec.models import ModelConfig

OTHERS = (
    "kinds",
    "stem",
    "intra_step",
    "layer_steps",
    "geometry",
    "deep_context",
    "positional",
    "latitude_quality",
)
NUMBERS = [field.name for field in dataclasses.fields(ModelConfig) if field.name not in OTHERS]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [0, -3, 1.5, "12", None])
def test_sizes_are_whole_numbers_from_1(name, value):
    with pytest.raises(UsageError, match=f"{name} is .*: expected a whole number of at least 1"):
        ModelConfig(**{name: value})


@pytest.mark.parametrize(
    "kinds", [("directional",), ("directional", "chebyshev", "directional"), ("chebyshev", "radial"), ()]
)
def test_kinds_are_two_of_those_there_are(kinds):
    with pytest.raises(UsageError, match="kinds is .*: expected two of chebyshev, directional, hybrid, "):
        ModelConfig(kinds=kinds)


@pytest.mark.parametrize("stem", ["radial", "", None])
def test_the_stem_is_one_of_those_there_are(stem):
    with pytest.raises(UsageError, match="stem is .*: expected one of chebyshev, directional, hybrid, "):
        ModelConfig(stem=stem)
    assert {ModelConfig(stem=kind).stem for kind in KINDS} == set(KINDS)


def test_there_are_so_many_blur_levels_at_most():
    with pytest.raises(UsageError, match="blurs is 4: expected at most 3"):
        ModelConfig(blurs=4)
    assert ModelConfig(blurs=1).blurs == 1


@pytest.mark.parametrize("neighbors", [1, 4, 9, 40])
def test_graphs_have_8_or_20_neighbours(neighbors):
    with pytest.raises(UsageError, match=f"neighbors is {neighbors}: expected 8 or 20"):
        ModelConfig(neighbors=neighbors)


@pytest.mark.parametrize("step", [-0.1, 8, "1", None])
def test_the_i_frames_step_is_a_number_of_qualities(step):
    with pytest.raises(UsageError, match="intra_step is .*: expected 0 or more, below 8"):
        ModelConfig(intra_step=step)
    assert ModelConfig(intra_step=0).intra_step == 0


@pytest.mark.parametrize("steps", [(), (0, 0, 0), (0,) * 5, (0, 0, 0, -8.5), ("1", 0, 0, 0), (0, None, 0, 0)])
def test_each_layers_step_is_a_number_of_qualities(steps):
    with pytest.raises(UsageError, match="layer_steps is .*: expected 4 numbers between -8 and 8"):
        ModelConfig(layer_steps=steps)
    assert ModelConfig(layer_steps=[0, -1.5, 2, 0]).layer_steps == (0, -1.5, 2, 0)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(
        UsageError, match="model setting 'width' is unknown: expected one of blurs, cheb_order, .*work_channels"
    ):
        ModelConfig.from_dict({"width": 3, "work_channels": 16})


def test_survives_json():
    config = ModelConfig(work_channels=24, kinds=("chebyshev", "chebyshev"), neighbors=20, layer_steps=(0.5, -1, 0, 0))
    read = ModelConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert read == config and isinstance(read.kinds, tuple) and isinstance(read.layer_steps, tuple)
    assert read != ModelConfig()
    assert config.to_dict().keys() == {field.name for field in dataclasses.fields(ModelConfig)}


def test_a_plane_is_said_to_be_one():
    twin = ModelConfig(geometry="erp")
    assert twin.to_dict() == ModelConfig().to_dict() | {"geometry": "erp"}
    assert ModelConfig.from_dict(twin.to_dict()) == twin
    with pytest.raises(UsageError, match="geometry is 'flat': expected healpix or erp"):
        ModelConfig(geometry="flat")


@pytest.mark.parametrize("name", ["positional", "latitude_quality"])
def test_latitudes_are_told_on_a_plane_alone(name):
    assert getattr(ModelConfig(geometry="erp", **{name: True}), name)
    with pytest.raises(UsageError, match=f"{name} is true: expected geometry 'erp', which alone has it"):
        ModelConfig(**{name: True})
    with pytest.raises(UsageError, match=f"{name} is 1: expected true or false"):
        ModelConfig(geometry="erp", **{name: 1})


@pytest.mark.parametrize(
    "choice, rule",
    [
        ({"kinds": ("chebyshev", "directional")}, "geometry 'erp' has 'directional' alone"),
        ({"stem": "hybrid"}, "geometry 'erp' has 'directional' alone"),
        ({"neighbors": 20}, "geometry 'erp' has 8 alone"),
    ],
)
def test_a_plane_has_what_planar_networks_have(choice, rule):
    with pytest.raises(UsageError, match=rule):
        ModelConfig(geometry="erp", **choice)


def test_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().work_channels = 3  # type: ignore[misc]
