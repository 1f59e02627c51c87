"""python -m studies.equal_time: costs of steps, moments in steps, tiny runs to results and a table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from support import load_script, same_signals

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.errors import UsageError
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.quality import PLANE_WEIGHTS, lmbda_of
from studies.ablation.held_out import held_out, measure
from studies.ablation.runs import Budget, Job
from studies.ablation.tables import PARTS
from studies.equal_time import measure as equal_time
from studies.equal_time.choices import ANCHOR, PART_CHANGES, VARIANTS, of_part
from studies.equal_time.figure import plot_equal_time
from studies.equal_time.measure import held_out_losses, steps_after
from studies.equal_time.results import bring_together, loss_table

MUON = "Chebyshev K=2, Muon"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with same_signals():
        yield load_script("studies/equal_time")


@pytest.fixture
def arguments(configuration: Path, clips: Path, tmp_path: Path) -> list[str]:
    """Two choices, measured after 20 steps and after 40, whatever a step costs."""
    folders = ["--prepared", str(clips), "--prepared-test", str(clips), "--runs", str(tmp_path / "runs")]
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "seconds-per-step.json").write_text(
        json.dumps({part: {ANCHOR: 0.5, MUON: 0.5} for part in PARTS})
    )
    choices = ["--variants", ANCHOR, MUON, "--moments", "10", "20.1", "--clips", str(clips)]
    places = ["--out", str(tmp_path / "equal_time.json"), "--figure", str(tmp_path / "equal_time.svg")]
    return ["--config", str(configuration), *folders, *choices, *places]


def test_every_choice_is_one_that_training_takes(configuration):
    for variant in VARIANTS:
        job = Job(configuration, Path(), Path(), Path(), variant, "intra", 1, Budget(20), VARIANTS[0])
        settings = job.settings
        assert of_part(variant, "inter").changes[: len(PART_CHANGES["inter"])] == PART_CHANGES["inter"]
        assert settings.train.optimizer == ("adam" if "Adam" in variant.name else "muon")
        assert settings.model.kinds == (variant.name.split()[0].strip(",").lower(),) * 2
    assert VARIANTS[0].name == ANCHOR and len({variant.name for variant in VARIANTS}) == len(VARIANTS)


def test_a_moment_is_whole_turns_of_the_running_mean():
    assert steps_after(10.0, 0.1) == 100 and steps_after(10.0, 0.099) == 100 and steps_after(0.01, 0.1) == 20


@pytest.mark.slow
def test_trains_measures_and_goes_on_where_it_was(script, arguments, tmp_path, capsys):
    with pytest.raises(UsageError, match="holds no run; run it without --finished"):
        script.main([*arguments, "--finished"])
    script.main(arguments)
    results = json.loads((tmp_path / "equal_time.json").read_text())
    for part in PARTS:
        found = results[part]
        assert [variant["name"] for variant in found["variants"]] == [ANCHOR, MUON]
        assert found["settings"]["moments"] == [10.0, 20.1] and found["settings"]["nside"] == 128
        for variant in found["variants"]:
            (run,) = variant["runs"]
            assert [(each["after"], each["steps"]) for each in run["moments"]] == [(10.0, 20), (20.1, 40)]
            for each in run["moments"]:
                assert each["loss"] == pytest.approx(math.fsum(each["losses"]) / 3, abs=1e-4) and each["seconds"] > 0
            assert variant["parameters"] > 0 and all(math.isfinite(point["psnr"]) for point in run["points"])
        assert found["variants"][0]["bd_rate"] == {"mean": 0.0, "per_seed": [0.0]}
    assert MUON in capsys.readouterr().out and not list((tmp_path / "runs").rglob("*.safetensors"))

    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*-1.json")}
    script.main(arguments)
    script.main([*arguments, "--finished"])
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*-1.json")}
    with pytest.raises(UsageError, match="was measured with other settings; remove it"):
        script.main([*arguments, "--moments", "20.1"])
    again = json.loads((tmp_path / "equal_time.json").read_text())
    assert {part: again[part] for part in PARTS} == {part: results[part] for part in PARTS}
    (tmp_path / "equal_time.json").unlink()
    with pytest.raises(UsageError, match="was measured at other moments"):
        script.main([*arguments, "--moments", "20.1"])
    broken_off = tmp_path / "runs" / "intra-chebyshev-k-2-muon-1.json"
    run = json.loads(broken_off.read_text())
    broken_off.write_text(json.dumps(run | {"moments": run["moments"][:1], "points": []}))
    capsys.readouterr()
    script.main([*arguments, "--finished"])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(MUON))
    assert line.removeprefix(MUON).split()[1] == "20", "one moment of two"
    (tmp_path / "equal_time.json").unlink()
    with pytest.raises(UsageError, match="was made with other settings"):  # the rate would have fallen more slowly
        script.main([*arguments, "--finished", "--moments", "10", "20.1", "30"])
    with pytest.raises(UsageError, match="must be greater than 0"):
        script.main([*arguments, "--moments", "0", "10"])


def test_costs_are_measured_in_turn(script, arguments, monkeypatch):
    monkeypatch.setattr(equal_time, "_TURNS", 2)
    jobs = script.list_jobs(script.parse(arguments), "inter")
    costs = equal_time.seconds_per_step(jobs)
    assert list(costs) == [ANCHOR, MUON] and all(cost > 0 for cost in costs.values())
    assert not any((job.folder / job.name).exists() for job in jobs)


def test_the_loss_is_the_rate_and_the_weighted_error(clips, narrow):
    samples = held_out(clips, PatchSettings(nside=128, side=64, frames=1))
    model = SphereDVC(ModelConfig(**narrow), samples[0].block)
    torch.manual_seed(1)
    low, high = held_out_losses(model, samples, (1.0, 7.0))
    assert 0 < low < high and [low, high] == held_out_losses(model, samples, (1.0, 7.0))
    (point,) = measure(model, "intra", samples, (1.0,))
    assert low > point.bits_per_node


def test_the_loss_of_p_frames_is_that_of_training_without_noise(clips, narrow):
    samples = held_out(clips, PatchSettings(nside=128, side=64, frames=3))[:1]
    model = SphereDVC(ModelConfig(**narrow), samples[0].block)
    (loss,) = held_out_losses(model, samples, (3.0,), "inter")
    points = measure(model, "inter", samples, (3.0,))
    assert [point.frame for point in points] == [1, 2] and math.isfinite(loss)
    errors = []
    with torch.no_grad():
        for x, x_hat, rate in equal_time._frames(model, "inter", samples[0].x, torch.full((2,), 3.0)):
            planes = (x - x_hat).square().mean((0, 1)) @ torch.tensor(PLANE_WEIGHTS)
            errors.append(float(rate.bits) / x[..., 0].numel() + 255**2 * lmbda_of(3.0) * float(planes))
    assert loss == pytest.approx(sum(errors) / 2, rel=1e-4)


def run_of(name: str, losses: list[float]) -> dict:
    moments = [{"steps": 20, "seconds": 1.0, "loss": loss, "losses": [loss]} for loss in losses]
    points = [{"quality": q, "frame": 0, "bits_per_node": 2.0**q, "psnr": 30.0 + q, "ws_psnr": 30.0} for q in range(4)]
    return {"variant": name, "seed": 1, "moments": moments, "points": points}


def test_a_run_that_was_broken_off_has_no_bd_rate():
    rows = [{"name": name, "parameters": 1000, "seconds_per_step": 0.1} for name in ("a", "b", "c", "not run")]
    runs = [run_of("a", [0.6, 0.5]), run_of("b", [0.7, 0.4]), run_of("c", [0.65]) | {"points": []}]
    results = bring_together(rows, runs, {"anchor": "a", "moments": [10.0, 20.0]})
    assert [variant["bd_rate"]["mean"] for variant in results["variants"]] == [0.0, 0.0, None]
    lines = loss_table(results).splitlines()
    assert len(lines) == 4 and "0.4000" in lines[2] and lines[3].split()[1:] == ["0.6500", "20", "0.100", "1,000", "-"]


def test_what_was_measured_earlier_stays():
    settings = {"anchor": "a", "moments": [10.0, 20.0]}
    rows = [{"name": name, "parameters": 1000, "seconds_per_step": 0.1} for name in ("a", "b", "c")]
    begun = [run_of("a", [0.6, 0.5]), run_of("b", [0.7]) | {"points": []}]
    earlier = bring_together(rows[:2], begun, settings)
    more = [run_of("b", [0.7, 0.6]), run_of("c", [0.5, 0.4]), run_of("c", [0.5, 0.3]) | {"seed": 2}]
    results = bring_together(rows[1:], more, settings, earlier)
    everything = bring_together(rows, [begun[0], *more], settings)
    assert results == everything
    assert [len(variant["runs"]) for variant in results["variants"]] == [1, 1, 2]
    assert [variant["bd_rate"]["per_seed"] for variant in results["variants"]] == [[0.0]] * 3


def test_only_what_is_missing_is_trained(script, arguments, tmp_path, monkeypatch):
    """Results in --out are enough to go on from, without the folder of runs."""
    trained = []

    def train_to(job: Job, moments: list[int]) -> dict:
        trained.append((job.part, job.variant.name, job.seed))
        moment = [{"steps": steps, "seconds": 1.0, "loss": 0.5, "losses": [0.5]} for steps in moments]
        return run_of(job.variant.name, []) | {"moments": moment, "seed": job.seed}

    monkeypatch.setattr(script, "train_to", train_to)
    script.main([*arguments, "--parts", "intra", "--variants", ANCHOR])
    script.main([*arguments, "--parts", "intra"])
    script.main([*arguments, "--seeds", "1", "2", "--variants", ANCHOR])
    assert trained == [
        ("intra", ANCHOR, 1),
        ("intra", MUON, 1),
        ("intra", ANCHOR, 2),
        ("inter", ANCHOR, 1),
        ("inter", ANCHOR, 2),
    ]
    (tmp_path / "runs" / "seconds-per-step.json").unlink()
    script.main([*arguments, "--parts", "intra", "--seeds", "1", "2"])
    assert trained[-1] == ("intra", MUON, 2) and len(trained) == 6
    found = json.loads((tmp_path / "equal_time.json").read_text())
    assert [len(variant["runs"]) for variant in found["intra"]["variants"]] == [2, 2]
    assert [variant["seconds_per_step"] for variant in found["intra"]["variants"]] == [0.5, 0.5]


def test_the_figure_names_each_choice_and_its_last_loss(tmp_path):
    rows = [{"name": name, "parameters": 1000, "seconds_per_step": 0.1} for name in (ANCHOR, MUON, "begun, Adam")]
    runs = [run_of(ANCHOR, [0.6, 0.5]), run_of(MUON, [0.6, 0.4]), run_of(MUON, [0.6, 0.3]) | {"seed": 2}]
    runs.append(run_of("begun, Adam", [0.55]) | {"points": []})
    part = bring_together(rows, runs, {"anchor": ANCHOR, "moments": [10.0, 20.0]})
    plot_equal_time({"intra": part}, tmp_path / "one.svg")
    plot_equal_time({"intra": part, "inter": part}, tmp_path / "two.svg")
    one, two = ((tmp_path / name).read_text() for name in ("one.svg", "two.svg"))
    for text in (f"{ANCHOR}  0.5000", f"{MUON}  0.3500", "begun, Adam  0.5500 after 10 s"):
        assert one.count(f">{text}<") == 1 and two.count(f">{text}<") == 2
    plot_equal_time({"intra": part}, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == one
    with pytest.raises(UsageError, match="nothing to draw"):
        plot_equal_time({}, tmp_path / "none.svg")
