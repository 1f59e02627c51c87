"""A run's settings: read from TOML, changed from the command line, refused where they cannot work."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.ssf2020.settings import is_ssf2020
from deepsphere_codec.models import ModelConfig
from deepsphere_codec.training.schedule import Schedule
from deepsphere_codec.training.settings import TrainSettings, load_settings, load_stages

FOLDER = Path(__file__).resolve().parents[2] / "configs"
FILES = [*sorted(FOLDER.glob("*.toml")), FOLDER.parent / "studies" / "fair" / "fair-sphere.toml"]
CONFIGS = [path for path in FILES if not is_ssf2020(path, [])]


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
        ("[train]\nstep = 3\n", r"train.step is unknown; did you mean steps\?$"),
        ("[data]\nfps = 3\n", "data.fps is unknown: expected one of fade, .*zoom$"),
        ("[model]\nwidth = 3\n", "model.width is unknown"),
        ("[optimizer]\nrate = 3\n", "^optimizer is unknown: expected one of data, .*train"),
        ("colour = 3\n", "^colour is unknown"),
        ("film_frames = 0\n", "^film_frames is 0: expected greater than 0$"),
        ("films = 3\n", "^films is 3: expected a valid string$"),
        ("[train\n", "is not TOML"),
        ("train = 5\n", "train is 5: expected a section, such as train.part"),
        ("[model]\nkinds = 5\n", "model.kinds is 5: expected a valid tuple"),
        (
            "[model]\nkinds = ['radial', 'chebyshev']\n",
            "model.kinds.0 is 'radial': expected one of chebyshev",
        ),
        ("[data]\nside = 100\n", "data.side is 100: expected a multiple of 64"),
        ("[train]\npart = 'inter'\n", "data.frames is 1: a chain of 1 needs 2 or more"),
        ("[train]\npart = 'all'\nchain = 3\n[data]\nframes = 3\n", "data.frames is 3: a chain of 3 needs 4 or more"),
    ],
)
def test_what_cannot_work_is_refused_with_the_rule(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        load_settings(written(tmp_path, text), [])


INTEGER, NUMBER, FINITE, BELOW_1 = "a valid integer", "a valid number", "a finite number", "less than 1"
ABOVE_0, AT_LEAST_0 = "greater than 0", "greater than or equal to 0"


@pytest.mark.parametrize(
    "key, values, rule",
    [
        ("train.part", ["'video'", "1"], "'intra', 'inter' or 'all'"),
        ("train.precision", ["'float16'"], "'float32', 'bfloat16' or 'auto'"),
        ("train.fall", ["'line'"], "'cosine' or 'step'"),
        ("train.optimizer", ["'sgd'"], "'adam' or 'muon'"),
        ("train.distortion", ["'ssim'"], "'nodes', 'erp', 'ms-ssim' or 'wmse'"),
        *((f"train.{key}", ["0", "-2"], ABOVE_0) for key in ("steps", "batch", "shares", "chain", "relocate")),
        *((f"train.{key}", ["-1", "0.0"], ABOVE_0) for key in ("rate", "rate_muon")),
        ("train.clip", ["-3", "0"], ABOVE_0),
        ("train.warmup", ["-5"], AT_LEAST_0),
        ("train.rate_last", ["-1e-5"], AT_LEAST_0),
        ("train.checkpoint_minutes", ["-3.0"], AT_LEAST_0),
        *((f"train.{key}", ["-1"], AT_LEAST_0) for key in ("kept", "seed")),
        ("train.margin", ["-16"], AT_LEAST_0),
        ("train.margin", ["8"], "a multiple of 16"),
        *((f"train.{key}", ["1.0", "7"], BELOW_1) for key in ("ema", "skipped", "maps")),
        *((f"train.{key}", ["-0.1"], AT_LEAST_0) for key in ("ema", "skipped", "maps")),
        ("train.steps", ["'many'", "'3'", "1.5", "true"], INTEGER),
        ("train.rate", ["'fast'", "'1e-3'", "true"], NUMBER),
        ("train.rate", ["nan", "inf"], FINITE),
        ("train.start", ["3"], "a valid string"),
        ("validation.minutes", ["-1"], AT_LEAST_0),
        ("validation.frames", ["0"], ABOVE_0),
        ("validation.quality", ["0.5"], "greater than or equal to 1"),
        ("validation.quality", ["8.5"], "less than or equal to 8"),
    ],
)
def test_values_out_of_bounds_or_of_another_type_are_refused(tmp_path, key, values, rule):
    path = written(tmp_path, "")
    for value in values:
        shown = re.escape(repr(tomllib.loads(f"v = {value}")["v"]))
        with pytest.raises(UsageError, match=f"^{key} is {shown}: expected {rule}$"):
            load_settings(path, [f"{key}={value}"])


def test_whole_numbers_are_taken_for_real_ones_and_stay_whole(tmp_path):
    """Cards, checkpoints and names of stored samples hold settings as they are given."""
    settings = load_settings(written(tmp_path, ""), ["train.clip=2", "model.intra_step=1", "data.spin=1"])
    kept = settings.to_dict()
    assert json.dumps([kept["train"]["clip"], kept["model"]["intra_step"], kept["data"]["spin"]]) == "[2, 1, 1]"


def test_values_by_position_are_named():
    with pytest.raises(UsageError, match="^train.batch is 0: expected greater than 0$"):
        Schedule("intra", 100, 0)
    with pytest.raises(UsageError, match="^name is missing$"):
        TrainSettings()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "change, message",
    [
        ("train.steps", "--set train.steps: expected section.key=value"),
        ("train.stepz=3", "train.stepz is unknown"),
        ("train=3", "train is 3: expected a section"),
        ("name.first=x", "name is not a section"),
        ("train.steps=many", "train.steps is 'many': expected a valid integer"),
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
    assert ModelConfig(**read["model"]) == settings.model
    assert Schedule(**read["train"]) == settings.train and read["data"]["side"] == settings.data.side


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_projects_own_configurations_load(path):
    for stage in load_stages(path, []):
        assert stage.name.split("/")[0] == path.stem
        assert stage.train.warmup < stage.train.steps and stage.train.rate_last <= stage.train.rate


def test_the_default_model_is_trained_whole():
    stages = load_stages(CONFIGS[0].with_name("sphere-dvc.toml"), [])
    assert [stage.train.part for stage in stages] == ["intra", "inter", "all"]
    assert all(stage.model == stages[0].model for stage in stages) and stages[-1].train.chain > 1
    falls = [stage.train.rate_last < stage.train.rate for stage in stages]
    assert falls == [False, False, True], "a long run has no end that is planned, but what is released is annealed"


STAGED = """
name = 'mine'
[data]
side = 64
[train]
steps = 7
rate = 1e-3
[stages.first]
train.steps = 3
[stages.second]
data.frames = 2
train.part = 'inter'
"""


def test_stages_are_what_the_file_says_of_all_and_what_it_says_of_each(tmp_path):
    first, second = load_stages(written(tmp_path, STAGED), [])
    assert (first.name, second.name) == ("mine/first", "mine/second")
    assert (first.train.steps, second.train.steps) == (3, 7) and first.train.rate == second.train.rate == 1e-3
    assert first.data.side == second.data.side == 64 and (first.data.frames, second.data.frames) == (1, 2)
    assert (first.train.start, second.train.start) == ("", "runs/mine/first/checkpoint.safetensors")


def test_changes_are_of_all_stages_or_of_one(tmp_path):
    changes = ["train.batch=3", "stages.second.train.batch=9", "stages.second.train.steps=8", "name=other"]
    first, second = load_stages(written(tmp_path, STAGED), changes)
    assert (first.train.steps, second.train.steps) == (3, 8) and second.name == "other/second"
    assert (first.train.batch, second.train.batch) == (3, 3), "what is said of all is said last"
    assert second.train.start == "runs/other/first/checkpoint.safetensors"


@pytest.mark.parametrize(
    "text, changes, message",
    [
        ("stages = 3\n", [], "stages is 3: expected sections"),
        ("[stages]\nfirst = 3\n", [], "expected sections, such as"),
        ("[stages.a]\nmodel.kinds = 3\n", [], r"\[stages.a\] model is unknown: expected data.KEY or train.KEY"),
        ("[stages.a]\ntrain.stepz = 3\n", [], r"stepz is unknown; did you mean steps\?"),
        ("[stages.a]\ntrain.steps = 3\n", ["stages.b.train.steps=3"], "has no stage b: expected one of a"),
        ("[stages.intra]\ntrain.steps = 3\n", ["stages.inter.x=3"], r"has no stage inter; did you mean intra\?"),
        ("", ["stages.b.train.steps=3"], "has no stage b"),
    ],
)
def test_stages_that_cannot_work_are_refused(tmp_path, text, changes, message):
    with pytest.raises(UsageError, match=message):
        load_stages(written(tmp_path, text), changes)


def test_several_stages_are_not_one(tmp_path):
    with pytest.raises(UsageError, match="has several stages, first, second: expected one"):
        load_settings(written(tmp_path, STAGED), [])
