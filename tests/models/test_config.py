"""Configurations refuse what cannot work, and say which rule is broken."""

from __future__ import annotations

import dataclasses
import json

import pytest

from deepsphere_codec.errors import UsageError
from deepsphere_codec.models import ModelConfig

OTHERS = ("kinds", "intra_step")
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
    with pytest.raises(UsageError, match="kinds is .*: expected two of chebyshev, directional"):
        ModelConfig(kinds=kinds)


@pytest.mark.parametrize("neighbors", [1, 4, 9, 40])
def test_graphs_have_8_or_20_neighbours(neighbors):
    with pytest.raises(UsageError, match=f"neighbors is {neighbors}: expected 8 or 20"):
        ModelConfig(neighbors=neighbors)


@pytest.mark.parametrize("step", [-0.1, 8, "1", None])
def test_the_i_frames_step_is_a_number_of_qualities(step):
    with pytest.raises(UsageError, match="intra_step is .*: expected 0 or more, below 8"):
        ModelConfig(intra_step=step)
    assert ModelConfig(intra_step=0).intra_step == 0


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(
        UsageError, match="model setting 'width' is unknown: expected one of cheb_order, .*work_channels"
    ):
        ModelConfig.from_dict({"width": 3, "work_channels": 16})


def test_survives_json():
    config = ModelConfig(work_channels=24, kinds=("chebyshev", "chebyshev"), neighbors=20)
    read = ModelConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert read == config and isinstance(read.kinds, tuple)
    assert read != ModelConfig()
    assert config.to_dict().keys() == {field.name for field in dataclasses.fields(ModelConfig)}


def test_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().work_channels = 3  # type: ignore[misc]
