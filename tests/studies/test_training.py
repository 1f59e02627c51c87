"""python -m studies.training: tiny runs to results; one thing changed at a time; what BD-rates are of."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import pytest
import torch
from support import load_script, same_signals

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.data.prepare import prepare_films
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.results import is_results_file
from deepsphere_codec.training.schedule import Schedule
from studies.ablation.runs import PARTS, QUALITIES, Budget, Job, Run
from studies.ablation.tables import in_percent, read_ablation
from studies.training.choices import ANCHOR, VARIANTS
from studies.training.results import YARDSTICKS, bring_together, training_table

BY_NAME = {variant.name: variant for variant in VARIANTS}
ERP = "distortion over ERP pixels"
CHAINS = "chains of two"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with same_signals():
        yield load_script("studies/training")


@pytest.fixture
def configuration(configuration: Path) -> Path:
    """As configs/ablation.toml, a chain of one P-frame."""
    configuration.write_text(
        configuration.read_text().replace("frames = 4", "frames = 2").replace("chain = 2", "chain = 1")
    )
    return configuration


@pytest.fixture
def arguments(configuration: Path, clips: Path, film: Path, tmp_path: Path) -> list[str]:
    """Two choices, one seed, four steps."""
    folders = ["--prepared", str(clips), "--clips", str(film.parent), "--runs", str(tmp_path / "runs")]
    budget = ["--variants", ANCHOR, CHAINS, "--seeds", "1", "--steps", "4", "--jobs", "1"]
    return ["--config", str(configuration), *folders, "--out", str(tmp_path / "training.json"), *budget]


@pytest.fixture
def job(configuration: Path, clips: Path, film: Path, tmp_path: Path) -> Job:
    """Of P-frames, the first and the second of which are measured."""
    prepare_films(film.parent, tmp_path / "films")
    films = tmp_path / "films"
    return Job(configuration, clips, films, tmp_path, VARIANTS[0], "inter", 1, Budget(4), VARIANTS[0], 3)


def test_trains_measures_and_goes_on_where_it_was(script, arguments, tmp_path, capsys):
    script.main(arguments)
    results = json.loads((tmp_path / "training.json").read_text())
    assert results == read_ablation(tmp_path / "training.json", "training")
    assert not is_results_file(tmp_path / "training.json")  # so that plot_rd.py passes it over
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
        assert list(variant[part]["bd_rate"]) == [each.name for each in YARDSTICKS[part]]
    assert baseline["inter"]["bd_rate"]["second"] == {"mean": 0.0, "per_seed": [0.0]}
    assert chains["inter"]["bd_rate"]["second"]["mean"] != 0
    assert CHAINS in capsys.readouterr().out

    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.json")}
    assert len(made) == 3 and not list((tmp_path / "runs").rglob("*.safetensors"))
    again = tmp_path / "runs" / "inter-chains-of-two-1.json"
    again.unlink()
    script.main([*arguments, "--finished"])
    (left,) = read_ablation(tmp_path / "training.json", "training")["variants"]
    assert left == baseline and not again.exists()
    script.main(arguments)
    assert {path for path, time in made.items() if path.stat().st_mtime_ns != time} == {again}
    with pytest.raises(UsageError, match="made with other settings"):
        script.main([*arguments, "--steps", "5"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--variants", ERP], "--variants lacks 'baseline'"),
        (["--steps", "0"], "--steps is 0: must be greater than 0"),
        (["--seeds", "-1"], "--seeds is -1: must be greater than 0"),
        (["--finished"], "holds no finished run of the baseline"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_refused(script, arguments, tmp_path, wrong, message):
    with pytest.raises(UsageError, match=message):
        script.main([*arguments, *wrong])
    assert not (tmp_path / "training.json").exists()


def test_one_thing_is_changed_at_a_time(job):
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
    assert set(expected) == set(BY_NAME) and VARIANTS[0].name == ANCHOR
    origin = _flat(job)
    for name, changed in expected.items():
        other = _flat(job._replace(variant=BY_NAME[name]))
        assert {key for key in origin if origin[key] != other[key]} == changed, name
    assert len({job._replace(variant=variant).name for variant in VARIANTS}) == len(VARIANTS)


def _flat(job: Job) -> dict[tuple[str, str], object]:
    tree = asdict(job.settings)
    return {(section, key): value for section in ("data", "train", "model") for key, value in tree[section].items()}


def test_the_baseline_has_augmentation_to_go_without():
    assert PatchSettings().guided == 0.5 and PatchSettings().spin == 0.25
    assert Schedule().distortion == "nodes" and Schedule().margin == 0 and Schedule().chain == 1


def test_all_are_measured_on_the_same_patches_and_begin_alike(job):
    runs = [Run(job._replace(variant=BY_NAME[name])) for name in (ANCHOR, CHAINS)]
    for one, two in zip(*(run.samples for run in runs), strict=True):
        assert one.block == two.block and torch.equal(one.x, two.x) and one.x.shape[1] == 3
    first, second = (dict(run.trainer.model.named_parameters()) for run in runs)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def run_of(name: str, part: str, seed: int, nodes: float, erp: float = 1.0, second: float = 1.0) -> dict:
    """On curves of one shape, rates by factors; the two kinds of decibels lie apart by what a factor is worth."""
    points = []
    for frame, factor in ((0, nodes),) if part == "intra" else ((1, nodes), (2, second)):
        for q in QUALITIES:
            decibels = 30 + 3 * q
            shift = 6 * math.log2(nodes / erp)  # at 6 dB for twice the bits
            point = {"quality": q, "frame": frame, "bits_per_node": factor * 0.1 * 2 ** (q / 2)}
            points.append({**point, "psnr": decibels, "ws_psnr": decibels + shift})
    return {"variant": name, "part": part, "seed": seed, "equal_steps": {"steps": 10, "seconds": 5.0, "points": points}}


def rows(*names: str) -> list[dict]:
    return [{"name": name, "changes": []} for name in names]


def test_bd_rates_are_against_the_baseline_of_the_same_seed_under_each_measure():
    runs = [run_of(ANCHOR, part, seed, seed, seed, seed) for part in PARTS for seed in (1, 2)]
    runs += [run_of("other", "inter", 2, 2.4, 1.8, 3.0), run_of("other", "inter", 1, 1.1, 0.95, 1.2)]
    baseline, other = bring_together(rows(ANCHOR, "other"), runs, ANCHOR, "", {})["variants"]
    assert baseline["intra"]["bd_rate"]["erp"] == {"mean": 0.0, "per_seed": [0.0, 0.0]}
    rates = other["inter"]["bd_rate"]
    assert "intra" not in other and other["inter"]["seconds_per_step"] == 0.5
    assert rates["nodes"] == {"mean": 15.0, "per_seed": [10.0, 20.0]}
    assert rates["second"] == {"mean": 35.0, "per_seed": [20.0, 50.0]}
    assert rates["erp"]["per_seed"] == pytest.approx([-5.0, -10.0], abs=0.5)
    assert in_percent(rates["nodes"]) == "+15.0 ± 5.0 %"


def test_seeds_and_choices_that_are_not_finished_are_left_out():
    runs = [run_of(ANCHOR, "inter", 1, 1.0), run_of("other", "inter", 1, 1.1), run_of("other", "inter", 2, 9.0)]
    results = bring_together(rows(ANCHOR, "other", "third"), runs, ANCHOR, "", {})
    assert [variant["name"] for variant in results["variants"]] == [ANCHOR, "other"]
    assert results["variants"][1]["inter"]["bd_rate"]["nodes"] == {"mean": 10.0, "per_seed": [10.0]}
    table = training_table(results).splitlines()
    assert "+10.0 %" in table[-1] and "±" not in table[-1] and len(table) == 4
    assert bring_together(rows(ANCHOR, "other"), runs[1:], ANCHOR, "", {})["variants"] == []


def test_a_bd_rate_that_cannot_be_had_is_null():
    runs = [run_of(ANCHOR, "inter", 1, 1.0), run_of("other", "inter", 1, 1.0)]
    for point in runs[1]["equal_steps"]["points"]:
        point["ws_psnr"] += 90  # no common range
    results = bring_together(rows(ANCHOR, "other"), runs, ANCHOR, "", {})
    assert results["variants"][1]["inter"]["bd_rate"]["erp"] == {"mean": None, "per_seed": [None]}
    assert training_table(results).splitlines()[-1].split()[1:] == ["+0.0", "%", "-", "+0.0", "%", "0.50"]
