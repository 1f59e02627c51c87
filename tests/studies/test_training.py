"""python -m studies.training: tiny runs to results; one thing changed at a time; what BD-rates are of."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.results import is_results_file
from deepsphere_codec.training.schedule import Schedule
from studies.ablation.runs import Job, Run, list_jobs
from studies.ablation.study import load_study, read_arguments

FOLDER = Path(__file__).resolve().parents[2] / "studies" / "training"
ANCHOR, ERP, CHAINS = "baseline", "distortion over ERP pixels", "chains of two"
PARTS, QUALITIES = ("intra", "inter"), (1.0, 3.0, 5.0, 7.0)


@pytest.fixture(scope="module")
def script(study_script):
    return study_script("training")


@pytest.fixture
def jobs(small) -> dict[str, Job]:
    """Jobs of P-frames, the first and the second of which are measured."""
    study, args = read_arguments(str(FOLDER / "__main__.py"), "", small)
    return {job.variant.name: job for job in list_jobs(study, args, lambda *_: [4]) if job.part == "inter"}


def test_trains_measures_and_goes_on_where_it_was(script, small, tmp_path, capsys):
    arguments = [*small, "--variants", CHAINS, "--steps", "4"]
    out = tmp_path / "out" / "results.json"
    with pytest.raises(UsageError, match="holds no finished run of the baseline"):
        script.main([*arguments, "--finished"])
    script.main(arguments)
    results = json.loads(out.read_text())
    assert not is_results_file(out)  # so that plot_rd.py passes it over
    assert [variant["name"] for variant in results["variants"]] == [ANCHOR, CHAINS]
    assert results["settings"]["clips"] == ["film"] and results["settings"]["budgets"]["inter"]["steps"] == 4
    baseline, chains = results["variants"]
    assert set(PARTS) <= set(baseline) and "intra" not in chains
    for part, variant in (("intra", baseline), ("inter", baseline), ("inter", chains)):
        (one,) = variant[part]["runs"]
        assert (one["seed"], one["steps"]) == (1, 4)
        assert variant[part]["seconds_per_step"] == pytest.approx(one["seconds"] / 4, abs=1e-3)
        frames = [0] if part == "intra" else [1, 2]
        assert sorted((p["quality"], p["frame"]) for p in one["points"]) == [(q, f) for q in QUALITIES for f in frames]
        assert all(math.isfinite(p["psnr"]) and math.isfinite(p["ws_psnr"]) for p in one["points"])
    assert baseline["inter"]["bd_rate"]["second"] == {"mean": 0.0, "per_seed": [0.0]}
    assert chains["inter"]["bd_rate"]["second"]["mean"] != 0
    assert CHAINS in capsys.readouterr().out

    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.json")}
    assert len(made) == 3 and not list((tmp_path / "runs").rglob("*.safetensors"))
    again = tmp_path / "runs" / "inter-chains-of-two-1.json"
    again.unlink()
    script.main([*arguments, "--finished"])
    assert json.loads(out.read_text())["variants"] == [baseline] and not again.exists()
    script.main(arguments)
    assert {path for path, time in made.items() if path.stat().st_mtime_ns != time} == {again}
    with pytest.raises(UsageError, match="made with other settings"):
        script.main([*arguments, "--steps", "5"])


def test_one_thing_is_changed_at_a_time(jobs):
    """Beside the names: chains of two need a frame more."""
    expected = {
        ANCHOR: set(),
        ERP: {("train", "distortion")},
        "margin of 16 nodes": {("train", "margin")},
        "without guidance": {("data", "guided")},
        "without spinning cameras": {("data", "spin")},
        "up to 3 frames apart": {("data", "gap")},
        "half of it mirrored": {("data", "mirror")},
        "colours jittered by 10 %": {("data", "jitter")},
        CHAINS: {("data", "frames"), ("train", "chain")},
    }
    anchor = jobs[ANCHOR].settings
    for name, changed in expected.items():
        settings = jobs[name].settings
        pairs = [
            ("data", asdict(anchor.data), asdict(settings.data)),
            ("train", *map(vars, (anchor.train, settings.train))),
        ]
        assert {(part, key) for part, one, two in pairs for key in one if one[key] != two[key]} == changed
    assert set(expected) == set(jobs)
    assert {each.name for each in load_study(FOLDER / "study.toml").variants if "intra" in each.parts} == {
        ANCHOR,
        ERP,
        "margin of 16 nodes",
    }


def test_the_baseline_has_augmentation_to_go_without():
    assert PatchSettings().guided == 0.5 and PatchSettings().spin == 0.25
    assert Schedule().distortion == "nodes" and Schedule().margin == 0 and Schedule().chain == 1


def test_all_are_measured_on_the_same_patches_and_begin_alike(jobs):
    runs = [Run(jobs[name]) for name in (ANCHOR, CHAINS)]
    for one, two in zip(*(run.samples for run in runs), strict=True):
        assert one.block == two.block and torch.equal(one.x, two.x) and one.x.shape[1] == 3
    first, second = (dict(run.trainer.model.named_parameters()) for run in runs)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def run_of(name: str, seed: int, nodes: float, erp: float = 1.0, second: float = 1.0) -> dict:
    """On curves of one shape, rates by factors; the two kinds of decibels lie apart by what a factor is worth."""
    points = []
    for frame, factor in ((1, nodes), (2, second)):
        for q in QUALITIES:
            point = {"quality": q, "frame": frame, "bits_per_node": factor * 0.1 * 2 ** (q / 2), "psnr": 30 + 3 * q}
            points.append({**point, "ws_psnr": 30 + 3 * q + 6 * math.log2(nodes / erp)})  # at 6 dB for twice the bits
    moment = {"steps": 10, "seconds": 5.0, "points": points}
    return {"variant": name, "part": "inter", "seed": seed, "moments": [moment], "points": points}


def test_bd_rates_are_against_the_baseline_of_the_same_seed_under_each_measure(script):
    study = load_study(FOLDER / "study.toml")
    runs = [run_of(ANCHOR, seed, seed, seed, seed) for seed in (1, 2)] + [run_of(CHAINS, 3, 1.0), run_of(ERP, 3, 1.0)]
    runs += [run_of(CHAINS, 2, 2.4, 1.8, 3.0), run_of(CHAINS, 1, 1.1, 0.95, 1.2)]
    baseline, other = script.bring_together(study, runs)  # without seeds and variants that lack a part
    assert baseline["inter"]["bd_rate"]["erp"] == {"mean": 0.0, "per_seed": [0.0, 0.0]}
    rates = other["inter"]["bd_rate"]
    assert other["name"] == CHAINS and "intra" not in other and other["inter"]["seconds_per_step"] == 0.5
    assert rates["nodes"] == {"mean": 15.0, "per_seed": [10.0, 20.0]}
    assert rates["second"] == {"mean": 35.0, "per_seed": [20.0, 50.0]}
    assert rates["erp"]["per_seed"] == pytest.approx([-5.0, -10.0], abs=0.5)
    text = script.table({"settings": {"anchor": ANCHOR}, "variants": [baseline, other]})
    assert text.splitlines()[-1].split()[3:6] == ["+15.0", "±", "5.0"]
