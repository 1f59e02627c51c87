"""scripts/train.py and scripts/release.py: from films to a checkpoint, stopped and gone on from, to a model."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from support import load_script, same_signals

from deepsphere_codec.entropy.exact import ExactConv
from deepsphere_codec.models import load_model
from deepsphere_codec.training import loop
from deepsphere_codec.training.trainer import Trainer

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("train")


@pytest.fixture(autouse=True)
def _own_folder_and_signals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs lie in `runs/` of the folder that the script is called in; it takes SIGTERM for itself."""
    monkeypatch.chdir(tmp_path)
    with same_signals():
        yield


@pytest.fixture
def arguments(configuration: Path, clips: Path) -> list[str]:
    return [str(configuration), "--prepared", str(clips), "--device", "cpu", "--threads", "1"]


def step_of(path: Path) -> int:
    with safe_open(path / "checkpoint.safetensors", "pt") as file:
        return json.loads(file.metadata()["state"])["step"]


def equal(a: Path, b: Path) -> bool:
    one, two = (load_file(path / "checkpoint.safetensors") for path in (a, b))
    assert one.keys() == two.keys()
    return all(torch.equal(one[name], two[name]) for name in one)


def test_trains_to_the_end(script, arguments):
    assert script.main(arguments) == 0
    assert step_of(Path("runs/narrow")) == 12
    last = json.loads(Path("runs/narrow/log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 12 and last["bits_per_node"] > 0


def test_a_device_that_is_not_there_is_an_error(script, arguments, monkeypatch, capsys):
    """Hours on the CPU are not what was asked for."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert script.main([*arguments, "--device", "cuda"]) == 2
    assert capsys.readouterr().err == (
        "train: error: --device cuda: there is no usable CUDA device here; use --device cpu\n"
    )
    assert not Path("runs").exists()


def test_minutes_end_it_cleanly_and_resume_goes_on(script, arguments):
    assert script.main([*arguments, "--set", "name=whole"]) == 0
    assert script.main([*arguments, "--minutes", "0"]) == 0
    assert step_of(Path("runs/narrow")) == 1
    assert script.main([*arguments, "--resume", "auto"]) == 0
    assert step_of(Path("runs/narrow")) == 12 and equal(Path("runs/narrow"), Path("runs/whole"))


@pytest.mark.parametrize("send", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_tells_how_to_go_on(script, arguments, send, monkeypatch, capsys):
    take = Trainer._one

    def interrupted(self, samples, waited=0.0):
        if self.step == 3:
            os.kill(os.getpid(), send)
        return take(self, samples, waited)

    monkeypatch.setattr(Trainer, "_one", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    try:
        assert script.main(arguments) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "train: stopped at step 3 of narrow; go on with --resume auto" in capsys.readouterr().err
    assert step_of(Path("runs/narrow")) == 3
    monkeypatch.undo()


def test_after_a_signal_it_comes_to_the_same_weights(script, arguments, monkeypatch):
    assert script.main([*arguments, "--set", "name=whole"]) == 0
    take = Trainer._one

    def interrupted(self, samples, waited=0.0):
        if self.step == 5:
            raise KeyboardInterrupt
        return take(self, samples, waited)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one", interrupted)
        assert script.main(arguments) == 130
    assert script.main([*arguments, "--resume", "runs/narrow"]) == 0
    assert equal(Path("runs/narrow"), Path("runs/whole"))


def test_resume_auto_begins_anew_where_there_is_nothing(script, arguments):
    assert script.main([*arguments, "--resume", "auto", "--minutes", "0"]) == 0
    assert step_of(Path("runs/narrow")) == 1


def test_changes_reach_the_run(script, arguments):
    assert script.main([*arguments, "--set", "train.steps=2", "--set", "train.part=intra", "--set", "name=other"]) == 0
    assert step_of(Path("runs/other")) == 2
    tensors = load_file("runs/other/checkpoint.safetensors")
    assert not any(name.startswith("adam.") and ".inter." in name for name in tensors)


@pytest.mark.parametrize(
    "more, message",
    [
        (["--set", "train.step=3"], "train.step is unknown"),
        (["--set", "model.work_channels=0"], "model.work_channels is 0: expected greater than 0"),
        (["--set", "data.side=100"], "data.side is 100"),
        (["--resume", "nowhere"], "is not a checkpoint"),
        (["--set", "train.start=nowhere"], "nowhere is not a checkpoint"),
        (["--prepared", "empty", "--set", "films=nowhere"], "nowhere holds no films to train on"),
        (["--set", "train.chain=9", "--set", "data.frames=10"], "holds no prepared film of 10 frames"),
    ],
    ids=str,
)
def test_what_cannot_work_ends_with_one_line(script, arguments, more, message, capsys, clips, tmp_path):
    if "holds no prepared" in message:  # a folder without panoramas, which would stand in for any length
        folder = tmp_path / "films"
        folder.mkdir()
        (folder / "film0.npy").symlink_to(clips / "film0.npy")
        more = [*more, "--prepared", str(folder)]
    assert script.main([*arguments, *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("train: error: ") and message in error and error.count("\n") == 1


def test_a_loss_that_is_no_number_ends_with_one_line(script, arguments, monkeypatch, capsys):
    monkeypatch.setattr(loop, "learning_rate", lambda schedule, step: float("nan"))
    assert script.main(arguments) == 2
    assert "train: error: the loss is nan at step 1: go on from" in capsys.readouterr().err


STAGED = """
[stages.first]
train = { part = "intra", steps = 3, seed = 2 }
[stages.second]
train = { part = "inter", steps = 2, warmup = 1, ema = 0.5 }
[stages.third]
train = { part = "inter", steps = 4 }
"""


@pytest.fixture
def staged(configuration, arguments) -> list[str]:
    configuration.write_text(configuration.read_text() + STAGED)
    return arguments


def test_stages_follow_one_another(script, staged):
    assert script.main(staged) == 0
    runs = {name: Path("runs/narrow") / name for name in ("first", "second", "third")}
    assert [step_of(run) for run in runs.values()] == [3, 2, 4]
    first, second, third = (load_file(run / "checkpoint.safetensors") for run in runs.values())
    for name in (name for name in first if name.startswith("model.intra.")):
        assert torch.equal(first[name], second[name]) and torch.equal(first[name], third[name])
    inter = [name for name in second if name.startswith("model.inter.")]
    assert inter and any(not torch.equal(first[name], second[name]) for name in inter)
    means = {name: name.replace("model.", "mean.", 1) for name in inter}
    assert any(not torch.equal(second[name], second[mean]) for name, mean in means.items())


def test_resume_auto_leaves_finished_stages_alone(script, staged):
    assert script.main([*staged, "--set", "name=whole"]) == 0
    assert script.main([*staged, "--minutes", "0"]) == 0
    assert step_of(Path("runs/narrow/first")) == 1 and not Path("runs/narrow/second").exists()
    assert script.main([*staged, "--resume", "auto", "--set", "stages.second.train.steps=2"]) == 0
    assert all(equal(Path("runs/narrow") / name, Path("runs/whole") / name) for name in ("first", "second", "third"))
    stamps = [path.stat().st_mtime_ns for path in sorted(Path("runs/narrow").rglob("*.safetensors"))]
    assert script.main([*staged, "--resume", "runs/narrow"]) == 0
    assert stamps == [path.stat().st_mtime_ns for path in sorted(Path("runs/narrow").rglob("*.safetensors"))]


def test_a_run_becomes_a_model_whose_card_says_what_was_done(script, staged, configuration, tmp_path):
    """The steps on the card are those that were taken, not those that were planned; the weights are running means."""
    changes = ["--set", "stages.third.train.ema=0.5", "--set", "stages.third.train.steps=40"]
    assert script.main([*staged, "--set", "stages.third.train.steps=0"]) == 2, "refused before any work"
    assert script.main(staged) == 0
    stopped = [*changes, "--minutes", "0", "--resume", "auto"]
    for path in Path("runs/narrow/third").iterdir():
        path.unlink()
    assert script.main([*staged, *stopped]) == 0
    out = tmp_path / "models"
    assert load_script("release").main(["mine", str(configuration), "--out", str(out), "--hardware", "an abacus"]) == 0
    assert (out / "mine" / "LICENSE-weights").read_bytes() == (SCRIPTS.parent / "LICENSE-weights").read_bytes()
    model = load_model(out / "mine")
    assert model.name == "mine" and model.card["hardware"] == "an abacus"
    assert model.card["data"] == (
        "2 clips of 6 frames of 360° video and 1 panorama, 64×32; patches of 64×64 nodes at nside 128"
    )
    told = model.card["training"]
    assert [told[name]["steps"] for name in ("first", "second", "third")] == [3, 2, 1]
    assert told["third"]["steps_planned"] == 40 and told["first"]["seed"] == 2
    assert told["third"]["samples"]["side"] == 64
    stored, network = load_file("runs/narrow/third/checkpoint.safetensors"), model.network(64)
    exact = {name: module for name, module in network.named_modules() if isinstance(module, ExactConv)}
    for name, p in network.named_parameters():
        module, _, kind = name.rpartition(".")
        expected = stored[f"mean.{name}"]
        if module not in exact:
            expected = expected.half().float()
        elif kind == "weight":
            layer = copy.deepcopy(exact[module])
            layer.weight.data = expected
            expected = layer.unpacked(*layer.packed())
        assert torch.equal(p, expected), name
    x = torch.rand(1, 12 * 64**2, 3)
    coded = network.encode_intra(x, 4.0)
    assert torch.equal(network.decode_intra(coded.payload, 4.0).x_hat, coded.state.x_hat)


def test_a_card_tells_of_the_training_that_the_run_began_with(script, staged, configuration, tmp_path):
    """Released weights that are trained further: the recipe is that of both."""
    assert script.main(staged) == 0
    release, out = load_script("release"), tmp_path / "models"
    assert release.main(["mine", str(configuration), "--out", str(out)]) == 0
    shutil.rmtree("runs/narrow")
    further = configuration.with_name("further.toml")
    shared = configuration.read_text().removesuffix(STAGED)
    start = out / "mine" / "weights.safetensors"
    further.write_text(f"name = 'narrow'\n{shared}\n[stages.more]\ntrain.start = '{start}'\n")
    assert script.main([str(further), *staged[1:]]) == 0
    assert release.main(["mine", str(further), "--out", str(out)]) == 0
    assert list(load_model(out / "mine").card["training"]) == [
        "mine/first",
        "mine/second",
        "mine/third",
        "more",
    ]


def test_what_a_model_computes_is_printed_and_needs_no_configuration(capsys):
    main = load_script("release").main
    assert main(["sphere-dvc", "--complexity"]) == main(["planar-ssf2020", "--complexity"]) == 0
    ours, planar = capsys.readouterr().out.splitlines()
    millions = load_model("sphere-dvc").card["parameters"] / 1e6
    assert ours.startswith(f"sphere-dvc: {millions:.2f} M parameters; thousands of multiply-accumulates to a pixel: I-")
    assert planar.startswith("planar-ssf2020: 34.21 M parameters; ") and "(decoder " in planar
    assert main(["moon", "--complexity"]) == 2 and "model 'moon' is neither" in capsys.readouterr().err


def test_a_release_of_what_was_not_trained_ends_with_one_line(configuration, capsys):
    assert load_script("release").main(["mine", str(configuration), "--out", "models"]) == 2
    assert "runs holds no checkpoint of" in capsys.readouterr().err and not Path("models").exists()


def test_a_release_of_something_else_ends_with_one_line(configuration, capsys):
    Path("runs/narrow").mkdir(parents=True)
    Path("runs/narrow/checkpoint.safetensors").write_text("nothing")
    assert load_script("release").main(["mine", str(configuration), "--out", "models"]) == 2
    assert "checkpoint.safetensors is not a checkpoint" in capsys.readouterr().err and not Path("models").exists()


@pytest.mark.parametrize("options", [[], ["a.toml", "--measured", "a"]], ids=str)
def test_a_release_is_of_a_run_or_of_a_measurement(options, capsys):
    with pytest.raises(SystemExit) as stop:
        load_script("release").main(["mine", *options])
    assert (
        stop.value.code == 2
        and "give the configuration that it was trained with, or --measured" in capsys.readouterr().err
    )


def test_prepared_films_are_trained_on_without_what_opens_films_or_draws(arguments, tmp_path):
    """Machines with accelerators are often bare."""
    blocked = ("av", "healpy", "pygsp", "matplotlib", "torch_scatter", "bjontegaard")
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.abc, sys\n"
        "class Blocked(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name.split('.')[0] in {blocked}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
    )
    command = [sys.executable, str(SCRIPTS / "train.py"), *arguments, "--minutes", "0", "--workers", "0"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{SCRIPTS.parent}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert step_of(Path("runs/narrow")) == 1
