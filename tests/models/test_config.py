"""Configurations refuse what cannot work, and say which rule is broken."""

from __future__ import annotations

import dataclasses
import json

import pytest

from deepsphere_codec.errors import UsageError
from deepsphere_codec.layers.blocks import KINDS
from deepsphere_codec.models import ModelConfig

SIZES = [
    *("work_channels", "middle_channels", "intra_latents", "residual_latents", "hyper_channels", "hyper_hidden"),
    "cheb_order",
]


@pytest.mark.parametrize("name", [*SIZES, "blurs"])
def test_sizes_are_whole_numbers_from_1(name):
    for value in (0, -3):
        with pytest.raises(UsageError, match=f"^model.{name} is {value}: expected greater than"):
            ModelConfig(**{name: value})
    for value in (1.5, "12", None, True):
        with pytest.raises(UsageError, match=f"^model.{name} is {value!r}: expected a valid integer$"):
            ModelConfig(**{name: value})


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("kinds", ("directional",), "model.kinds.1 is missing"),
        ("kinds", ("directional",) * 3, r"model.kinds is \('directional', .*\): Tuple should have at most 2 items"),
        (
            "kinds",
            ("chebyshev", "radial"),
            "model.kinds.1 is 'radial': expected one of chebyshev, directional, hybrid, ",
        ),
        ("kinds", "directional", "model.kinds is 'directional': expected a valid tuple"),
        ("stem", "radial", "model.stem is 'radial': expected one of chebyshev, directional, "),
        ("stem", "", "model.stem is '': expected one of chebyshev, directional, hybrid, "),
        ("stem", None, "model.stem is None: expected a valid string"),
        ("blurs", 4, "model.blurs is 4: expected less than or equal to 3"),
        ("lead_steps", 4, "model.lead_steps is 4: expected 2, 3 or 5"),
        ("lead_steps", True, "model.lead_steps is True: expected 2, 3 or 5"),
        ("neighbors", 9, "model.neighbors is 9: expected 8 or 20"),
        ("neighbors", "8", "model.neighbors is '8': expected 8 or 20"),
        ("intra_step", -0.1, "model.intra_step is -0.1: expected greater than or equal to 0"),
        ("intra_step", 8, "model.intra_step is 8: expected less than 8"),
        ("intra_step", "1", "model.intra_step is '1': expected a valid number"),
        ("layer_steps", (0, 0, 0), r"model.layer_steps is \(0, 0, 0\): Tuple should have at least 4 items"),
        ("layer_steps", (0,) * 5, r"model.layer_steps is \(0, .*\): Tuple should have at most 4 items"),
        ("layer_steps", (0, 0, 0, -8.5), "model.layer_steps.3 is -8.5: expected greater than -8"),
        ("layer_steps", (8, 0, 0, 0), "model.layer_steps.0 is 8: expected less than 8"),
        ("layer_steps", (0, "1", 0, 0), "model.layer_steps.1 is '1': expected a valid number"),
        ("layer_steps", (0, True, 0, 0), "model.layer_steps.1 is True: expected a valid number"),
        ("layer_steps", None, "model.layer_steps is None: expected a valid tuple"),
        ("geometry", "flat", "model.geometry is 'flat': expected 'healpix' or 'erp'"),
        ("deep_context", 1, "model.deep_context is 1: expected a valid boolean"),
        ("width", 3, "model.width is unknown: expected one of blurs, cheb_order, .*work_channels$"),
        ("work_chanels", 3, r"model.work_chanels is unknown; did you mean work_channels\?$"),
    ],
)
def test_what_cannot_work_is_refused_with_the_rule(name, value, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        ModelConfig(**{name: value})


def test_all_that_there_is_is_taken():
    assert {ModelConfig(stem=kind).stem for kind in KINDS} == set(KINDS)
    assert ModelConfig(blurs=1, intra_step=0) == ModelConfig(blurs=1, intra_step=0.0) != ModelConfig()


def test_survives_json():
    config = ModelConfig(work_channels=24, kinds=("chebyshev", "chebyshev"), neighbors=20, layer_steps=(0.5, -1, 0, 0))
    text = json.dumps(config.to_dict())
    read = ModelConfig(**json.loads(text))
    assert read == config and hash(read) == hash(config) and read != ModelConfig()
    assert isinstance(read.kinds, tuple) and isinstance(read.layer_steps, tuple)
    assert json.dumps(read.to_dict()) == text and '"layer_steps": [0.5, -1, 0, 0]' in text
    assert list(config.to_dict()) == [field.name for field in dataclasses.fields(ModelConfig)]


def test_a_plane_is_said_to_be_one():
    twin = ModelConfig(geometry="erp")
    assert twin.to_dict() == ModelConfig().to_dict() | {"geometry": "erp"}
    assert ModelConfig(**twin.to_dict()) == twin


@pytest.mark.parametrize("name", ["positional", "latitude_quality"])
def test_latitudes_are_told_on_a_plane_alone(name):
    assert getattr(ModelConfig(geometry="erp", **{name: True}), name)
    with pytest.raises(UsageError, match=f"{name} is true: expected geometry 'erp', which alone has it"):
        ModelConfig(**{name: True})
    with pytest.raises(UsageError, match=f"{name} is 1: expected a valid boolean"):
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
