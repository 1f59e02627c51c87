"""A run's settings: read from TOML, changed from the command line, refused where they cannot work."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deepsphere_codec.errors import UsageError
from deepsphere_codec.models import ModelConfig
from deepsphere_codec.training.settings import PARTS, Schedule, TrainSettings, load_settings

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.toml"))


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


def test_what_the_file_leaves_out_has_defaults_and_its_name_is_the_runs(tmp_path):
    settings = load_settings(written(tmp_path, "[train]\nsteps = 7\n"), [])
    assert settings == TrainSettings(name="run", train=Schedule(steps=7))
    assert load_settings(written(tmp_path, "name = 'mine'\nfilms = 'here'\n"), []) == TrainSettings(
        "mine", films="here"
    )


def test_every_section_is_read(tmp_path):
    model = "[model]\nwork_channels = 24\nkinds = ['chebyshev', 'directional']\n"
    text = f"film_frames = 5\n{model}[data]\nside = 64\nspin = 1\n"
    settings = load_settings(written(tmp_path, text), [])
    assert settings.film_frames == 5 and settings.data.side == 64 and settings.data.spin == 1
    assert settings.model == ModelConfig(work_channels=24, kinds=("chebyshev", "directional"))


def test_changes_come_after_the_file_and_are_spelled_as_in_toml(tmp_path):
    path = written(tmp_path, "name = 'a'\n[train]\nsteps = 7\nbatch = 3\n")
    changes = [
        "train.steps=9",
        "train.rate = 1e-3",
        "model.kinds=['chebyshev','chebyshev']",
        "train.start=runs/x/y",
        "name=b",
    ]
    settings = load_settings(path, changes)
    assert (settings.name, settings.train.steps, settings.train.batch, settings.train.rate) == ("b", 9, 3, 1e-3)
    assert settings.model.kinds == ("chebyshev", "chebyshev") and settings.train.start == "runs/x/y"
    assert load_settings(path, ["train.steps=9", "train.steps=10"]).train.steps == 10


@pytest.mark.parametrize(
    "text, message",
    [
        ("[train]\nstep = 3\n", r"\[train\] step is unknown: expected one of batch, .*steps"),
        ("[data]\nfps = 3\n", r"\[data\] fps is unknown"),
        ("[model]\nwidth = 3\n", r"\[model\] width is unknown"),
        ("[optimizer]\nrate = 3\n", "optimizer is unknown: expected one of data, .*train"),
        ("colour = 3\n", "colour is unknown"),
        ("[train\n", "is not TOML"),
        ("[train]\npart = 'video'\n", "train.part is 'video': expected one of intra, motion, inter, all"),
        ("[train]\nprecision = 'float16'\n", "train.precision is 'float16': expected one of float32, bfloat16"),
        ("[train]\nskipped = 1.0\n", "train.skipped is 1.0: expected 0 or more, below 1"),
        ("[train]\nskipped = -0.1\n", "train.skipped is -0.1: expected 0 or more, below 1"),
        ("[train]\npart = 'motion'\n", "data.frames is 1: a chain of 1 needs 2 or more"),
        ("[train]\nsteps = 0\n", "must be at least 1"),
        ("[train]\nbatch = -2\n", "must be at least 1"),
        ("[train]\nrelocate = 0\n", "must be at least 1"),
        ("[train]\nsteps = 'many'\n", r"\[train\] steps is 'many': expected a whole number"),
        ("[train]\nsteps = 1.5\n", r"\[train\] steps is 1.5: expected a whole number"),
        ("[train]\nbatch = true\n", r"\[train\] batch is True: expected a whole number"),
        ("[train]\nrate = 'fast'\n", r"\[train\] rate is 'fast': expected a number"),
        ("[train]\nstart = 3\n", r"\[train\] start is 3: expected text"),
        ("[model]\nkinds = 5\n", r"\[model\] kinds is 5: expected a list of two"),
        ("[model]\nkinds = ['radial', 'chebyshev']\n", "kinds is .*: expected two of chebyshev, directional"),
        ("[data]\nside = 100\n", "data.side is 100"),
        ("train = 5\n", "train is 5: expected a section, such as train.part"),
        ("[train]\nchain = 0\n", "must be at least 1"),
        ("[train]\npart = 'inter'\n", "data.frames is 1: a chain of 1 needs 2 or more"),
        ("[train]\npart = 'all'\nchain = 3\n[data]\nframes = 3\n", "data.frames is 3: a chain of 3 needs 4 or more"),
    ],
)
def test_what_cannot_work_is_refused_with_the_rule(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        load_settings(written(tmp_path, text), [])


@pytest.mark.parametrize(
    "change, message",
    [
        ("train.steps", "--set train.steps: expected section.key=value"),
        ("train.stepz=3", r"\[train\] stepz is unknown"),
        ("train=3", "train is 3: expected a section"),
        ("name.first=x", "name is not a section"),
        ("train.steps=many", r"\[train\] steps is 'many': expected a whole number"),
    ],
)
def test_changes_that_cannot_work_are_refused(tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        load_settings(written(tmp_path, "name = 'a'\n"), [change])


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match="nowhere.toml cannot be read: No such file"):
        load_settings(tmp_path / "nowhere.toml", [])


def test_settings_survive_json():
    settings = TrainSettings("a", model=ModelConfig(kinds=("chebyshev", "chebyshev")))
    read = json.loads(json.dumps(settings.to_dict()))
    assert ModelConfig.from_dict(read["model"]) == settings.model
    assert Schedule(**read["train"]) == settings.train and read["data"]["side"] == settings.data.side


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_projects_own_configurations_load(path):
    settings = load_settings(path, [])
    assert settings.name == path.stem and settings.train.part in PARTS
    assert settings.train.warmup < settings.train.steps and settings.train.rate_last < settings.train.rate
    assert replace(settings.model, family="dvc") == ModelConfig(), "but for the family, the released model's"


def test_there_are_configurations_for_both_kinds_of_frames():
    assert {load_settings(path, []).train.part for path in CONFIGS} >= {"intra", "inter"}
