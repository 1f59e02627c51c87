"""python -m studies.equal_time: costs of steps, moments in steps, tiny runs to results and a figure."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.errors import UsageError
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.quality import PLANE_WEIGHTS, lmbda_of
from studies.ablation import costs, held_out
from studies.ablation.costs import steps_after
from studies.ablation.held_out import losses, measure
from studies.ablation.runs import Job, list_jobs
from studies.ablation.study import read_arguments
from studies.ablation.tables import by_variant

SCRIPT = Path(__file__).resolve().parents[2] / "studies" / "equal_time" / "__main__.py"
ANCHOR, MUON = "directional, Muon", "Chebyshev K=2, Muon"
PARTS = ("intra", "inter")


@pytest.fixture(scope="module")
def script(study_script):
    return study_script("equal_time")


@pytest.fixture
def arguments(small, clips, tmp_path) -> list[str]:
    """Two choices, measured after 20 steps and after 40, whatever a step costs."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "seconds-per-step.json").write_text(
        json.dumps({part: {ANCHOR: 0.5, MUON: 0.5} for part in PARTS})
    )
    chain = "parts.inter.settings={train={kept=800, chain=2}, data={frames=4}}"
    choices = ["--variants", MUON, "--set", "moments=[10.0, 20.1]", "--set", chain]
    return [*small, *choices, "--prepared-test", str(clips)]


def test_every_choice_is_one_that_training_takes(small):
    study, args = read_arguments(str(SCRIPT), "", small)
    jobs = list_jobs(study, args, lambda *_: [20])
    assert len({job.name for job in jobs}) == len(jobs) == 32
    for job in jobs:
        kind = job.variant.name.split()[0].strip(",").lower()
        assert job.settings.train.optimizer == ("adam" if "Adam" in job.variant.name else "muon")
        assert job.settings.model.kinds == (kind, kind)
        assert job.settings.train.rate_last == pytest.approx(0.01 * job.settings.train.rate)
        assert job.settings.train.kept == {"intra": 16000, "inter": 800}[job.part]


def test_settings_and_changes_are_those_of_the_results_that_are_there(script):
    """So that they can be added to."""
    results = json.loads((SCRIPT.parents[2] / "results" / "equal_time.json").read_text())
    study, args = read_arguments(str(SCRIPT), "", [])
    jobs = {(job.part, job.variant.name): job for job in list_jobs(study, args, lambda *_: [20])}
    for part in PARTS:
        if part in results:
            expected = results[part]["settings"] | {"clips": []}
            assert script.shared(study, args, part) | {"clips": []} == expected
            assert all(row["changes"] == jobs[part, row["name"]].changes for row in results[part]["variants"])


def test_a_moment_is_whole_turns_of_the_running_mean():
    assert steps_after(10.0, 0.1) == 100 and steps_after(10.0, 0.099) == 100 and steps_after(0.01, 0.1) == 20


@pytest.mark.slow
def test_trains_measures_and_goes_on_where_it_was(script, arguments, tmp_path, capsys):
    out, runs = tmp_path / "out" / "results.json", tmp_path / "runs"
    with pytest.raises(UsageError, match="holds no run; run it without --finished"):
        script.main([*arguments, "--finished"])
    script.main(arguments)
    results = json.loads(out.read_text())
    for part in PARTS:
        found = results[part]
        assert [variant["name"] for variant in found["variants"]] == [ANCHOR, MUON]
        assert found["settings"]["moments"] == [10.0, 20.1] and found["settings"]["nside"] == 128
        for variant in found["variants"]:
            assert list(variant) == ["name", "changes", "parameters", "seconds_per_step", "bd_rate", "runs"]
            (run,) = variant["runs"]
            assert [(each["after"], each["steps"]) for each in run["moments"]] == [(10.0, 20), (20.1, 40)]
            for each in run["moments"]:
                assert each["loss"] == pytest.approx(math.fsum(each["losses"]) / 3, abs=1e-4) and each["seconds"] > 0
            assert variant["parameters"] > 0 and all(math.isfinite(point["psnr"]) for point in run["points"])
        assert found["variants"][0]["bd_rate"] == {"mean": 0.0, "per_seed": [0.0]}
    assert MUON in capsys.readouterr().out and not list(runs.rglob("*.safetensors"))

    made = {path: path.stat().st_mtime_ns for path in runs.glob("*-1.json")}
    script.main(arguments)
    script.main([*arguments, "--finished"])
    assert made == {path: path.stat().st_mtime_ns for path in runs.glob("*-1.json")}
    again = json.loads(out.read_text())
    assert {part: again[part] for part in PARTS} == {part: results[part] for part in PARTS}
    others = [*arguments, "--set", "moments=[20.1]"]
    with pytest.raises(UsageError, match="was measured with other settings; remove it"):
        script.main(others)
    out.unlink()
    with pytest.raises(UsageError, match="was made with other settings"):
        script.main(others)
    broken_off = runs / "intra-chebyshev-k-2-muon-1.json"
    run = json.loads(broken_off.read_text())
    broken_off.write_text(json.dumps(run | {"moments": run["moments"][:1], "points": []}))
    capsys.readouterr()
    script.main([*arguments, "--finished"])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(MUON))
    assert line.removeprefix(MUON).split()[1] == "20", "one moment of two"


def test_costs_are_measured_in_turn(arguments, monkeypatch):
    monkeypatch.setattr(costs, "_TURNS", 2)
    study, args = read_arguments(str(SCRIPT), "", arguments)
    jobs = [job for job in list_jobs(study, args, lambda *_: [20]) if job.part == "inter"]
    found = costs.seconds_per_step(jobs)
    assert list(found) == [ANCHOR, MUON] and all(cost > 0 for cost in found.values())
    assert not any((job.folder / job.name).exists() for job in jobs)


def test_the_loss_is_the_rate_and_the_weighted_error(clips, narrow):
    samples = held_out.held_out(clips, PatchSettings(nside=128, side=64, frames=1))
    model = SphereDVC(ModelConfig(**narrow), samples[0].block)
    torch.manual_seed(1)
    low, high = losses(model, "intra", samples, (1.0, 7.0))
    assert 0 < low < high and [low, high] == losses(model, "intra", samples, (1.0, 7.0))
    (point,) = measure(model, "intra", samples, (1.0,))
    assert low > point.bits_per_node


def test_the_loss_of_p_frames_is_that_of_training_without_noise(clips, narrow):
    samples = held_out.held_out(clips, PatchSettings(nside=128, side=64, frames=3))[:1]
    model = SphereDVC(ModelConfig(**narrow), samples[0].block)
    (loss,) = losses(model, "inter", samples, (3.0,))
    errors = []
    with torch.no_grad():
        for frame in held_out._frames(model, "inter", samples[0].x, torch.full((2,), 3.0)):
            planes = (frame.x - frame.x_hat).square().mean((0, 1)) @ torch.tensor(PLANE_WEIGHTS)
            rate = float(frame.rate.bits) / frame.x[..., 0].numel()
            errors.append(rate + 255**2 * lmbda_of(3.0) * float(planes))
    assert len(errors) == 2 and loss == pytest.approx(sum(errors) / 2, rel=1e-4)


def run_of(name: str, losses: list[float], seed: int = 1, whole: bool = True) -> dict:
    moments = [{"steps": 20, "seconds": 1.0, "loss": loss, "losses": [loss]} for loss in losses]
    points = [{"quality": q, "frame": 0, "bits_per_node": 2.0**q, "psnr": 30.0 + q, "ws_psnr": 30.0} for q in range(4)]
    return {"variant": name, "part": "intra", "seed": seed, "moments": moments, "points": points if whole else []}


def brought_together(script, runs: list[dict], rows: dict[str, dict] | None = None) -> dict:
    names = dict.fromkeys(run["variant"] for run in runs)
    about = {"parameters": 1000, "seconds_per_step": 0.1, "bd_rate": None, "runs": []}
    rows = {name: {"name": name, **about} for name in names} | (rows or {})
    return script.bring_together({"anchor": "a", "moments": [10.0, 20.0]}, rows, by_variant(runs), "intra")


def test_a_run_that_was_broken_off_has_no_bd_rate(script):
    runs = [run_of("a", [0.6, 0.5]), run_of("b", [0.7, 0.4]), run_of("c", [0.65], whole=False)]
    results = brought_together(script, runs)
    assert [variant["bd_rate"]["mean"] for variant in results["variants"]] == [0.0, 0.0, None]
    lines = script.table(results).splitlines()
    assert len(lines) == 4 and "0.4000" in lines[2] and lines[3].split()[1:] == ["0.6500", "20", "0.100", "1,000", "-"]


def test_what_was_measured_earlier_stays(script):
    begun = [run_of("a", [0.6, 0.5]), run_of("b", [0.7], whole=False)]
    earlier = {row["name"]: row for row in brought_together(script, begun)["variants"]}
    more = [run_of("b", [0.7, 0.6]), run_of("c", [0.5, 0.4]), run_of("c", [0.5, 0.3], seed=2)]
    results = brought_together(script, more, earlier)
    everything = brought_together(script, [begun[0], *more])
    rows, expected = (sorted(each["variants"], key=lambda row: row["name"]) for each in (results, everything))
    assert rows == expected and [len(row["runs"]) for row in rows] == [1, 1, 2]
    assert [row["bd_rate"]["per_seed"] for row in rows] == [[0.0]] * 3


def test_only_what_is_missing_is_trained(script, arguments, tmp_path, monkeypatch):
    """Results in --out are enough to go on from, without the folder of runs."""
    trained = []

    def run_job(job: Job) -> dict:
        trained.append((job.part, job.variant.name, job.seed))
        moments = [{"steps": steps, "seconds": 1.0, "loss": 0.5, "losses": [0.5]} for steps in job.steps]
        return run_of(job.variant.name, [], job.seed) | {"part": job.part, "moments": moments}

    monkeypatch.setattr(script, "run_job", run_job)
    script.main([*arguments, "--parts", "intra", "--variants", ANCHOR])
    script.main([*arguments, "--parts", "intra"])
    script.main([*arguments, "--seeds", "1", "2", "--variants", ANCHOR])
    first, second = [("intra", ANCHOR, 1), ("intra", MUON, 1)], [("inter", ANCHOR, 1), ("intra", ANCHOR, 2)]
    assert trained == [*first, *second, ("inter", ANCHOR, 2)]
    (tmp_path / "runs" / "seconds-per-step.json").unlink()
    script.main([*arguments, "--parts", "intra", "--seeds", "1", "2"])
    assert trained[-1] == ("intra", MUON, 2) and len(trained) == 6
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [len(variant["runs"]) for variant in found["intra"]["variants"]] == [2, 2]
    assert [variant["seconds_per_step"] for variant in found["intra"]["variants"]] == [0.5, 0.5]


def test_the_figure_names_each_choice_and_its_last_loss(script, tmp_path):
    runs = [run_of(ANCHOR, [0.6, 0.5]), run_of(MUON, [0.6, 0.4]), run_of(MUON, [0.6, 0.3], seed=2)]
    part = brought_together(script, [*runs, run_of("begun, Adam", [0.55], whole=False)])
    script.plot({"intra": part}, tmp_path / "one.svg")
    script.plot({"intra": part, "inter": part}, tmp_path / "two.svg")
    one, two = ((tmp_path / name).read_text() for name in ("one.svg", "two.svg"))
    for text in (f"{ANCHOR}  0.5000", f"{MUON}  0.3500", "begun, Adam  0.5500 after 10 s"):
        assert one.count(f">{text}<") == 1 and two.count(f">{text}<") == 2
    script.plot({"intra": part}, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == one
    with pytest.raises(UsageError, match="nothing to draw"):
        script.plot({}, tmp_path / "none.svg")
