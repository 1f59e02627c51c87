"""The engine of the studies, and python -m studies.convolutions: tiny runs to results and a figure."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.entropy.coder import SymbolWriter
from deepsphere_codec.entropy.hyperprior import FINE
from deepsphere_codec.errors import UsageError
from deepsphere_codec.models import ModelConfig, References, SphereDVC
from deepsphere_codec.models.pyramid import Pyramid
from deepsphere_codec.motion.contexts import MotionTables
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.motion.syntax import Setting, write_tree
from deepsphere_codec.motion.tree import MotionTree
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.distortion import ErpError
from deepsphere_codec.training.order import anchors_of
from deepsphere_codec.training.stored_trees import motion_lmbda
from studies.ablation.figure import Panel, plot_panels
from studies.ablation.held_out import PLACES, held_out, measure
from studies.ablation.runs import Job, Run, list_jobs, make_trainer, run_all
from studies.ablation.stand_in import BlockIntra
from studies.ablation.study import load_study, read_arguments
from studies.ablation.tables import bd_rates, in_percent

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = str(ROOT / "studies" / "convolutions" / "__main__.py")
ANCHOR, PARTS, QUALITIES = "directional", ("intra", "inter"), [1.0, 3.0, 5.0, 7.0]
NAMES = [ANCHOR, "hybrid K=3"]


@pytest.fixture(scope="module")
def script(study_script):
    return study_script("convolutions")


@pytest.fixture
def jobs(small) -> list[Job]:
    """Jobs of P-frames, one for each variant, for four steps."""
    study, args = read_arguments(SCRIPT, "", [*small, "--set", "settings.data.frames=4"])
    return [job for job in list_jobs(study, args, lambda *_: [4]) if job.part == "inter"]


@pytest.mark.slow
def test_trains_measures_and_draws_and_goes_on_where_it_was(script, small, tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    costs = {part: dict.fromkeys(NAMES, 0.05) for part in PARTS}
    (tmp_path / "runs" / "seconds-per-step.json").write_text(json.dumps(costs))
    arguments = [*small, "--variants", NAMES[1], "--steps", "4", "--minutes", "0.2"]
    script.main(arguments)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [variant["name"] for variant in results["variants"]] == NAMES
    assert results["name"] == "convolutions" and results["environment"]["threads"] == 1
    assert results["settings"]["nside"] == 128 and results["settings"]["clips"] == ["film"]
    for variant in results["variants"]:
        assert ModelConfig(**variant["config"]).kinds == (variant["name"].split()[0],) * 2
        for part in PARTS:
            assert variant["parameters"][part] > 0 and variant["milliseconds"][part] > 0
            for moment, steps in (("equal_steps", 4), ("equal_time", 20)):
                (one,) = variant[part][moment]
                assert one["seed"] == 1 and one["steps"] == steps and one["seconds"] >= 0
                assert [point["quality"] for point in one["points"]] == QUALITIES
                assert all(point["bits_per_node"] > 0 and math.isfinite(point["psnr"]) for point in one["points"])
    for part in PARTS:
        assert results["variants"][0][part]["bd_rate_equal_steps"] == {"mean": 0.0, "per_seed": [0.0]}
    assert "hybrid K=3" in capsys.readouterr().out and b"hybrid K=3" in (tmp_path / "figure.svg").read_bytes()

    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("in*.json")}
    assert len(made) == 4 and not list((tmp_path / "runs").rglob("*.safetensors"))
    again = next(iter(made))
    again.unlink()
    script.main(arguments)
    assert {path for path, time in made.items() if path.stat().st_mtime_ns != time} == {again}
    with pytest.raises(UsageError, match="made with other settings; remove it, or keep runs in another folder"):
        script.main([*arguments, "--steps", "24"])

    (tmp_path / "figure.svg").unlink()
    script.main([*arguments, "--runs", "nowhere", "--prepared", "nowhere", "--draw"])
    assert (tmp_path / "figure.svg").read_bytes().startswith(b"<?xml")


def test_budgets_grow_with_the_minutes(script):
    study = load_study(Path(SCRIPT).parent / "study.toml")
    half = Namespace(minutes=script.MINUTES / 2, steps=None)
    assert script.budget(study, half, "intra") == {"steps": 700, "seconds": 145.0}
    assert script.budget(study, Namespace(minutes=script.MINUTES, steps=7), "inter") == {"steps": 7, "seconds": 390.0}


@pytest.mark.parametrize(
    "wrong", [["--jobs", "0"], ["--minutes", "-1"], ["--steps", "-4"], ["--set", "setings.x=1"], ["--set", "seeds"]]
)
def test_what_cannot_be_is_refused(script, small, wrong):
    with pytest.raises(UsageError, match="must be greater than 0|not a change of .*study.toml"):
        script.main([*small, *wrong])


def test_a_job_is_its_variants_configuration(jobs):
    for job in jobs:
        name, model = job.variant.name, job.settings.model
        kind = name.replace("gated Chebyshev", "gated").split()[0].lower()
        assert model.kinds == (kind,) * 2 and model.stem == kind
        assert kind == ANCHOR or f"K={model.cheb_order}" in name
        assert model.neighbors == (20 if "k=20" in name else 8)
        assert job.settings.train.rate_last == job.settings.train.rate  # since the end is open
        assert job._replace(part="intra").settings.data.frames == 1
    assert len({job.name for job in jobs}) == len(jobs) == 7


def test_variants_begin_alike_behind_the_same_i_frames(jobs):
    """Else luck in the entropy coder's first weights would count for or against a convolution."""
    models = [Run(job).trainer.model for job in (jobs[0], jobs[-1])]
    one, two = (dict(model.inter.named_parameters()) for model in models)
    same = {name for name in one.keys() & two.keys() if one[name].shape == two[name].shape}
    assert all(torch.equal(one[name], two[name]) for name in same)
    assert {name for name in one if "hyperprior" in name or "gain" in name} <= same
    assert "g_a.layers.0.weight" not in same
    (batch,) = next(make_trainer(jobs[0])._steps())
    for model in models:
        model.place(batch.patch)
    first, second = (model.intra(batch.x[:, 0].float(), batch.quality.float())[0] for model in models)
    assert torch.equal(first.x_hat, second.x_hat) and torch.equal(first.fine, second.fine)


def test_held_out_patches_are_the_same_every_time(clips):
    settings = PatchSettings(128, 64, 2)
    one, two = held_out(clips, settings), held_out(clips, settings)
    assert len(one) == PLACES
    for a, b in zip(one, two, strict=True):
        assert a.block == b.block and torch.equal(a.x, b.x)
        assert a.x.shape == (2, 2, 64**2, 3)  # the panorama does not move
    with pytest.raises(UsageError, match="holds no prepared film of 9 frames"):
        held_out(clips, replace(settings, frames=9))


def coded_tree(model: SphereDVC, tree: MotionTree, references: References) -> bytes:
    tables, writer = MotionTables(), SymbolWriter()
    tables.build_tables()
    write_tree(tree, model.inter.blocks, Setting(references.distances), tables, writer)
    return writer.finish()


def test_i_frames_are_measured_by_the_rate_of_rounded_latents_and_psnr(jobs):
    run = Run(jobs[0]._replace(part="intra"))
    model, (sample, *_) = run.trainer.model.eval(), run.samples
    (point,) = measure(model, "intra", [sample], [3.0])
    with torch.no_grad():
        picture, rate = model.intra(sample.x[:, 0], torch.full((len(sample.x),), 3.0), straight=True)
    compare(point, sample, 0, picture.x_hat, float(rate.bits))


def test_each_p_frame_is_measured_behind_the_one_before_with_its_motion(jobs):
    run = Run(jobs[0]._replace(study=jobs[0].study._replace(frames=3)))
    model, (sample, *_) = run.trainer.model.eval(), run.samples
    points = measure(model, "inter", [sample], [3.0])
    assert points[:1] == measure(model, "inter", [sample._replace(x=sample.x[:, :2])], [3.0])
    quality = torch.full((len(sample.x),), 3.0)
    with torch.no_grad():
        picture, _ = model.intra(sample.x[:, 0], quality + model.config.intra_step)
        states = [model.inter.begin(*picture)]
        for frame, point in zip((1, 2), points, strict=True):
            x, references = sample.x[:, frame], anchors_of(states)
            trees = model.inter.find_motion(x, references, motion_lmbda(quality))
            out = model.inter(x, references, Motion.of(trees), quality, straight=True)
            states.append(references.after(out.x_hat, out.fine))
            motion = 8 * sum(len(coded_tree(model, tree, references)) for tree in trees)
            compare(point, sample, frame, out.x_hat, float(out.rate.bits) + motion)
        assert references.distances == (-1, -2)


def compare(point, sample, frame: int, x_hat: torch.Tensor, bits: float) -> None:
    """Compare a measured point with what its definition says."""
    target = sample.x[:, frame]
    assert point.quality == 3.0 and point.frame == frame
    assert point.bits_per_node == pytest.approx(bits / target[..., 0].numel(), rel=1e-5)
    decibels = -10 * np.log10(((target - x_hat).double() ** 2).mean(1).numpy())
    assert point.psnr == pytest.approx((decibels @ [6, 1, 1]).mean() / 8, abs=1e-4)
    decibels = -10 * ErpError(sample.block, 4 * sample.block.nside)(target, x_hat).log10().numpy()
    assert point.ws_psnr == pytest.approx((decibels @ [6, 1, 1]).mean() / 8, abs=1e-4)


def test_i_frames_that_stand_in_are_better_at_higher_quality_and_learn_nothing(narrow):
    config = ModelConfig(**{**narrow, "intra_latents": 256})
    pyramid = Pyramid(PatchGrid(128, 3, 0, 64, 64))
    stand_in = BlockIntra(config, pyramid)
    assert not any(p.requires_grad for p in stand_in.parameters())
    y, x = torch.meshgrid(torch.linspace(0, 6, 64), torch.linspace(0, 9, 64), indexing="ij")
    signal = (0.5 + 0.3 * (x * y).sin()).reshape(1, -1, 1).repeat(1, 1, 3)
    errors = []
    for quality in (1.0, 4.0, 8.0):
        picture, rate = stand_in(signal, torch.tensor([quality]))
        errors.append(float((picture.x_hat - signal).square().mean()))
        assert torch.equal(picture.fine / FINE, (picture.fine / FINE).round()) and rate.latents == rate.hyper == 0
    assert errors[0] > errors[1] > errors[2] and errors[0] < 0.01


@pytest.mark.slow
def test_several_run_side_by_side():
    assert sorted(run_all(math.sqrt, [1.0, 4.0, 9.0], 2)) == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="math domain error"):
        list(run_all(math.sqrt, [1.0, -1.0], 2))


def points_of(factor: float, shift: float = 0.0) -> list[dict]:
    return [{"quality": q, "bits_per_node": factor * 2 ** (q / 2), "psnr": 30 + shift + 1.5 * q} for q in QUALITIES]


def test_bd_rates_are_against_the_anchor_of_the_same_seed():
    anchors, others = {1: points_of(1.0), 2: points_of(2.0)}, {1: points_of(1.1), 2: points_of(2.4), 3: points_of(9)}
    assert bd_rates(anchors, others) == {"mean": 15.0, "per_seed": [10.0, 20.0]}
    assert in_percent(bd_rates(anchors, others)) == "+15.0 ± 5.0 %"
    apart = bd_rates(anchors, {1: points_of(1.1), 2: points_of(2.4, shift=90.0)})  # no common range
    assert apart == {"mean": None, "per_seed": [10.0, None]} and in_percent(apart) == "-"


def test_results_of_convolutions_are_brought_together_and_drawn(script, tmp_path):
    steps = {(part, name): {"equal_steps": 4, "equal_time": 20} for part in PARTS for name in (ANCHOR, "other")}
    rows = [{"name": name, "milliseconds": dict.fromkeys(PARTS, 10)} for name in (ANCHOR, "other")]
    runs = [
        {"variant": name, "part": part, "seed": seed, "moments": [
            {"steps": 4, "points": points_of(factor)}, {"steps": 20, "points": points_of(factor, 90 * (factor - 1))}
        ]}
        for (name, seed), factor in {(ANCHOR, 1): 1.0, (ANCHOR, 2): 1.0, ("other", 1): 1.1, ("other", 2): 1.2}.items()
        for part in PARTS
    ]  # fmt: skip
    variants = script.bring_together(rows, runs, steps, ANCHOR)
    assert variants[1]["inter"]["bd_rate_equal_steps"] == {"mean": 15.0, "per_seed": [10.0, 20.0]}
    assert variants[1]["inter"]["bd_rate_equal_time"]["mean"] is None
    script.plot({"settings": {"nside": 64, "anchor": ANCHOR}, "variants": variants}, tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text()
    assert text.count(">other<") == 2 and text.count(">directional<") == 4


def test_what_cannot_be_drawn_is_refused(script, small, tmp_path):
    with pytest.raises(UsageError, match="ends in neither .svg nor .png"):
        plot_panels([], tmp_path / "figure.pdf")
    with pytest.raises(UsageError, match="there is nothing to draw"):
        plot_panels([[Panel("", "", [])]], tmp_path / "figure.svg")
    (tmp_path / "other.json").write_text('{"name": "sphere-dvc"}')
    with pytest.raises(UsageError, match="holds no results of this study"):
        script.main([*small, "--draw", "--out", str(tmp_path / "other.json")])
