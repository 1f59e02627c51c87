"""scripts/train.py and scripts/release.py: from films to a checkpoint, stopped and gone on from, to a model."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from deepsphere_codec.entropy.exact import ExactConv
from deepsphere_codec.models import load_model
from deepsphere_codec.training.loop import Trainer

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def load(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"{name}_script", SCRIPTS / f"{name}.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load("train")


@pytest.fixture(autouse=True)
def _own_folder_and_signals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs lie in `runs/` of the folder that the script is called in; it takes SIGTERM for itself."""
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


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


def test_minutes_end_it_cleanly_and_resume_goes_on(script, arguments):
    assert script.main([*arguments, "--set", "name=whole"]) == 0
    assert script.main([*arguments, "--minutes", "0"]) == 0
    assert step_of(Path("runs/narrow")) == 1
    assert script.main([*arguments, "--resume", "auto"]) == 0
    assert step_of(Path("runs/narrow")) == 12 and equal(Path("runs/narrow"), Path("runs/whole"))


@pytest.mark.parametrize("send", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_tells_how_to_go_on(script, arguments, send, monkeypatch, capsys):
    take = Trainer._one

    def interrupted(self, x, quality):
        if self.step == 3:
            os.kill(os.getpid(), send)
        return take(self, x, quality)

    monkeypatch.setattr(Trainer, "_one", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    try:
        assert script.main(arguments) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "train: stopped at step 3; go on with --resume auto" in capsys.readouterr().err
    assert step_of(Path("runs/narrow")) == 3
    monkeypatch.undo()


def test_after_a_signal_it_comes_to_the_same_weights(script, arguments, monkeypatch):
    assert script.main([*arguments, "--set", "name=whole"]) == 0
    take = Trainer._one

    def interrupted(self, x, quality):
        if self.step == 5:
            raise KeyboardInterrupt
        return take(self, x, quality)

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
        (["--set", "train.step=3"], "[train] step is unknown"),
        (["--set", "model.work_channels=0"], "work_channels is 0: expected a whole number of at least 1"),
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
    monkeypatch.setattr(Trainer, "_learning_rate", lambda self: float("nan"))
    assert script.main(arguments) == 2
    assert "train: error: the loss is nan at step 1: go on from" in capsys.readouterr().err


def test_two_runs_become_a_model_whose_card_says_what_was_done(script, arguments, tmp_path):
    """The steps on the card are those that were taken, not those that were planned."""
    assert script.main([*arguments, "--set", "train.part=intra", "--set", "name=a", "--minutes", "0"]) == 0
    assert script.main([*arguments, "--set", "train.part=inter", "--set", "name=b", "--set", "train.seed=2"]) == 0
    changes = ["train.part=motion", "name=c", "train.seed=3", "train.steps=2", "train.warmup=1"]
    assert script.main([*arguments, *(word for change in changes for word in ("--set", change))]) == 0
    runs = {name: str(tmp_path / "runs" / name / "checkpoint.safetensors") for name in "abc"}
    out = tmp_path / "models"
    options = ["--intra", runs["a"], "--inter", runs["b"], "--motion", runs["c"]]
    options += ["--out", str(out), "--hardware", "an abacus"]
    assert load("release").main(["mine", *options]) == 0
    model = load_model(out / "mine")
    assert model.name == "mine" and model.card["hardware"] == "an abacus"
    assert model.card["training"]["intra"]["steps"] == 1 and model.card["training"]["inter"]["steps"] == 12
    assert model.card["training"]["inter"]["seed"] == 2 and model.card["training"]["motion"]["steps"] == 2
    stored, network = {name: load_file(path) for name, path in runs.items()}, model.network(64)
    whole = {name for name, module in network.named_modules() if isinstance(module, ExactConv)}
    for name, p in network.named_parameters():
        run = "c" if name.startswith("inter.estimator.") else "b" if name.startswith("inter.") else "a"
        expected = stored[run][f"model.{name}"]
        assert torch.equal(p, expected if name.rpartition(".")[0] in whole else expected.half().float()), name
    x = torch.rand(1, 12 * 64**2, 3)
    coded = network.encode_intra(x, 4.0)
    assert torch.equal(network.decode_intra(coded.payload, 4.0).x_hat, coded.state.x_hat)


def test_a_release_of_something_else_ends_with_one_line(tmp_path, capsys):
    (tmp_path / "a").write_text("nothing")
    assert load("release").main(["mine", "--intra", "a", "--inter", "a", "--out", "models"]) == 2
    assert "release: error: a is not a checkpoint" in capsys.readouterr().err
    assert not Path("models").exists()


@pytest.mark.parametrize(
    "options", [[], ["--intra", "a"], ["--intra", "a", "--inter", "a", "--measured", "a"]], ids=str
)
def test_a_release_is_of_two_runs_or_of_a_measurement(options, capsys):
    with pytest.raises(SystemExit) as stop:
        load("release").main(["mine", *options])
    assert stop.value.code == 2 and "give --intra and --inter, or --measured" in capsys.readouterr().err
