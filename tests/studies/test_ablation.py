"""python -m studies.convolutions: tiny runs to results and a figure; held-out patches; I-frames that stand in."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from support import load_script, same_signals

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.data.prepare import prepare_films
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
from deepsphere_codec.training.trainer import Trainer
from studies.ablation.figure import plot_ablation
from studies.ablation.held_out import PLACES, held_out, measure
from studies.ablation.runs import PARTS, QUALITIES, Budget, Job, Run, finished, run_job
from studies.ablation.stand_in import BlockIntra
from studies.ablation.tables import read_ablation
from studies.convolutions.choices import ANCHOR, VARIANTS
from studies.convolutions.results import MOMENTS, bring_together, convolution_table

NAMES = [ANCHOR, "hybrid K=3"]


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with same_signals():
        yield load_script("studies/convolutions")


@pytest.fixture
def arguments(configuration: Path, clips: Path, film: Path, tmp_path: Path) -> list[str]:
    """Two choices, one seed, four steps, and next to no time."""
    folders = ["--prepared", str(clips), "--clips", str(film.parent), "--runs", str(tmp_path / "runs")]
    outputs = ["--out", str(tmp_path / "out" / "convolutions.json"), "--figure", str(tmp_path / "figure.svg")]
    budget = ["--variants", *NAMES, "--seeds", "1", "--steps", "4", "--minutes", "0.01"]
    return ["--config", str(configuration), *folders, *outputs, *budget]


@pytest.fixture
def job(configuration: Path, clips: Path, film: Path, tmp_path: Path) -> Job:
    """Of P-frames."""
    prepare_films(film.parent, tmp_path / "films")
    budget = Budget(4, 1e-9)
    return Job(configuration, clips, tmp_path / "films", tmp_path, VARIANTS[0], "inter", 1, budget, VARIANTS[0])


@pytest.mark.slow
def test_trains_measures_and_draws_and_goes_on_where_it_was(script, arguments, tmp_path, capsys):
    script.main(arguments)
    results = json.loads((tmp_path / "out" / "convolutions.json").read_text())
    assert [variant["name"] for variant in results["variants"]] == NAMES
    assert results["name"] == "convolutions" and results["environment"]["threads"] == 1
    assert results["settings"]["nside"] == 128 and results["settings"]["clips"] == ["film"]
    for variant in results["variants"]:
        assert ModelConfig.from_dict(variant["config"]).kinds == (variant["name"].split()[0],) * 2
        for part in PARTS:
            assert variant["parameters"][part] > 0 and variant["milliseconds"][part] > 0
            for moment in MOMENTS:
                (one,) = variant[part][moment]
                assert one["seed"] == 1 and one["steps"] >= 1 and one["seconds"] >= 0
                assert [point["quality"] for point in one["points"]] == list(QUALITIES)
                assert all(point["bits_per_node"] > 0 and math.isfinite(point["psnr"]) for point in one["points"])
            assert variant[part]["equal_steps"][0]["steps"] == 4
    for part in PARTS:
        assert results["variants"][0][part]["bd_rate_equal_steps"] == {"mean": 0.0, "per_seed": [0.0]}
    assert "hybrid K=3" in capsys.readouterr().out
    figure = (tmp_path / "figure.svg").read_bytes()
    assert b"hybrid K=3" in figure

    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.json")}
    assert len(made) == 4 and not list((tmp_path / "runs").rglob("*.safetensors"))
    again = next(iter(made))
    again.unlink()
    script.main(arguments)
    changed = {path for path, time in made.items() if path.stat().st_mtime_ns != time}
    assert changed == {again}
    with pytest.raises(UsageError, match="made with other settings; remove it, or keep runs in another folder"):
        script.main([*arguments, "--steps", "5"])

    (tmp_path / "figure.svg").unlink()
    script.main([*arguments, "--runs", "nowhere", "--prepared", "nowhere", "--draw"])
    assert (tmp_path / "figure.svg").read_bytes().startswith(b"<?xml")


def test_without_the_anchor_nothing_is_trained(script, arguments):
    with pytest.raises(UsageError, match="--variants lacks 'directional'"):
        script.main([*arguments, "--variants", "hybrid K=3"])


def test_budgets_grow_with_the_minutes(script):
    half = Namespace(minutes=script.MINUTES / 2, steps=None)
    assert script.budget(half, "intra").seconds == script.BUDGETS["intra"].seconds / 2
    assert script.budget(half, "inter").steps == script.BUDGETS["inter"].steps // 2
    assert script.budget(Namespace(minutes=script.MINUTES, steps=7), "intra").steps == 7


@pytest.mark.slow
def test_time_ends_first_where_it_is_short_and_steps_where_there_are_few(job):
    short = run_job(job)
    assert short["equal_time"]["steps"] == 1 and short["equal_steps"]["steps"] == 4
    long = run_job(job._replace(seed=2, budget=Budget(1, 2.0)))
    assert long["equal_steps"]["steps"] == 1 < long["equal_time"]["steps"]
    assert long["equal_steps"]["seconds"] < 2.0 <= long["equal_time"]["seconds"] + 1.0
    assert finished(job) == short


def test_the_rate_of_learning_stays_since_the_end_is_open(job):
    assert job.settings.train.rate_last == job.settings.train.rate
    assert job._replace(part="intra").settings.data.frames == 1


def test_a_job_is_its_variants_configuration(job):
    for variant in VARIANTS:
        model = job._replace(variant=variant).settings.model
        kind = variant.name.replace("gated Chebyshev", "gated").split()[0].lower()
        assert model.kinds == (kind,) * 2 and model.stem == kind
        assert kind == ANCHOR or f"K={model.cheb_order}" in variant.name
        assert model.neighbors == (20 if "k=20" in variant.name else 8)
    assert len({job._replace(variant=variant).name for variant in VARIANTS}) == len(VARIANTS)


def test_what_is_alike_begins_alike(job):
    """Else luck in the entropy coder's first weights would count for or against a convolution."""
    models = [Run(job._replace(variant=variant)).trainer.model for variant in (VARIANTS[0], VARIANTS[-1])]
    one, two = (dict(model.inter.named_parameters()) for model in models)
    same = {name for name in one.keys() & two.keys() if one[name].shape == two[name].shape}
    assert all(torch.equal(one[name], two[name]) for name in same)
    assert {name for name in one if "hyperprior" in name or "gain" in name} <= same
    assert "g_a.layers.0.weight" not in same


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


@pytest.mark.parametrize("part", PARTS)
def test_what_is_measured_is_the_rate_of_rounded_latents_and_psnr(job, part):
    run = Run(job._replace(part=part))
    model, (sample, *_) = run.trainer.model.eval(), run.samples
    (point,) = measure(model, part, [sample], [3.0])
    films, npix = len(sample.x), sample.x.shape[2]
    quality, trees_bytes = torch.full((films,), 3.0), []
    with torch.no_grad():
        if part == "intra":
            target, (picture, rate) = sample.x[:, 0], model.intra(sample.x[:, 0], quality, straight=True)
            x_hat, rates = picture.x_hat, [rate]
        else:
            picture, _ = model.intra(sample.x[:, 0], quality + model.config.intra_step)
            references = References(model.inter.begin(*picture))
            target, trees = sample.x[:, 1], model.inter.find_motion(sample.x[:, 1], references, motion_lmbda(quality))
            out = model.inter(target, references, Motion.of(trees), quality, True)
            x_hat, rates = out.x_hat, [out.rate]
            trees_bytes = [coded_tree(model, tree, references) for tree in trees]
    bits = (sum(float(rate.bits) for rate in rates) + 8 * sum(map(len, trees_bytes))) / (films * npix)
    decibels = -10 * np.log10(((target - x_hat).double() ** 2).mean(1).numpy())
    assert point.quality == 3.0 and point.bits_per_node == pytest.approx(bits, rel=1e-5)
    assert point.psnr == pytest.approx((decibels @ [6, 1, 1]).mean() / 8, abs=1e-4)
    decibels = -10 * ErpError(sample.block, 4 * sample.block.nside)(target, x_hat).log10().numpy()
    assert point.ws_psnr == pytest.approx((decibels @ [6, 1, 1]).mean() / 8, abs=1e-4)
    assert point.frame == PARTS.index(part)


def test_each_p_frame_is_measured_behind_the_one_before(job):
    run = Run(job._replace(frames=3))
    model, (sample, *_) = run.trainer.model.eval(), run.samples
    one, two = measure(model, "inter", [sample], [3.0])
    assert (one.frame, two.frame) == (1, 2) and sample.x.shape[1] == 3
    assert [one] == measure(model, "inter", [sample._replace(x=sample.x[:, :2])], [3.0])
    quality = torch.full((len(sample.x),), 3.0)
    with torch.no_grad():
        picture, _ = model.intra(sample.x[:, 0], quality + model.config.intra_step)
        states = [model.inter.begin(*picture)]
        for frame in (1, 2):
            x, references = sample.x[:, frame], anchors_of(states)
            motion = Motion.of(model.inter.find_motion(x, references, motion_lmbda(quality)))
            out = model.inter(x, references, motion, quality, straight=True)
            states.append(references.after(out.x_hat, out.fine))
        assert references.distances == (-1, -2)
        x_hat = out.x_hat
    decibels = -10 * np.log10(((sample.x[:, 2] - x_hat).double() ** 2).mean(1).numpy())
    assert two.psnr == pytest.approx((decibels @ [6, 1, 1]).mean() / 8, abs=1e-4)


@pytest.mark.parametrize("wrong", [["--seeds", "0"], ["--jobs", "0"], ["--minutes", "-1"], ["--steps", "-4"]], ids=str)
def test_nothing_less_than_one_is_asked_for(script, arguments, wrong):
    with pytest.raises(UsageError, match="must be greater than 0"):
        script.main([*arguments, *wrong])


def test_every_variant_is_trained_behind_the_same_i_frames(job):
    pictures = []
    for variant in VARIANTS[:4]:
        settings = job._replace(variant=variant).settings
        trainer = Trainer(settings, job.folder, job.films, torch.device("cpu"), 0)
        stand_in = BlockIntra(trainer.model.config, trainer.model.pyramid)
        (batch,) = next(trainer._steps())
        pictures.append(stand_in(batch.x[:, 0], batch.quality)[0])
    for picture in pictures[1:]:
        assert torch.equal(picture.x_hat, pictures[0].x_hat) and torch.equal(picture.fine, pictures[0].fine)


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


def run_of(name: str, part: str, seed: int, factor: float) -> dict:
    points = [{"quality": q, "bits_per_node": factor * 0.1 * 2 ** (q / 2), "psnr": 30 + 1.5 * q} for q in QUALITIES]
    moment = {"steps": 10, "seconds": 2.0, "points": points}
    return {"variant": name, "part": part, "seed": seed, "equal_steps": moment, "equal_time": moment}


def rows(names: list[str]) -> list[dict]:
    both = {"intra": 10, "inter": 20}
    return [
        {"name": name, "config": ModelConfig().to_dict(), "parameters": both, "milliseconds": both} for name in names
    ]


def test_bd_rates_are_against_the_anchor_of_the_same_seed(tmp_path):
    factors = {(ANCHOR, 1): 1.0, (ANCHOR, 2): 2.0, ("other", 1): 1.1, ("other", 2): 2.4}
    runs = [run_of(name, part, seed, factor) for (name, seed), factor in factors.items() for part in PARTS]
    results = bring_together(rows([ANCHOR, "other"]), runs, ANCHOR, "", {"nside": 64})
    anchor, other = results["variants"]
    assert anchor["intra"]["bd_rate_equal_time"] == {"mean": 0.0, "per_seed": [0.0, 0.0]}
    assert other["inter"]["bd_rate_equal_steps"] == {"mean": 15.0, "per_seed": [10.0, 20.0]}
    assert "+15.0 %" in convolution_table(results)
    plot_ablation(results, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_bd_rate_that_cannot_be_had_is_left_out(tmp_path):
    runs = [run_of(name, part, 1, 1.0) for name in (ANCHOR, "other") for part in PARTS]
    for point in runs[2]["equal_steps"]["points"]:
        point["psnr"] += 90  # no common range
    results = bring_together(rows([ANCHOR, "other"]), runs, ANCHOR, "", {"nside": 64})
    assert results["variants"][1]["intra"]["bd_rate_equal_steps"] == {"mean": None, "per_seed": [None]}
    plot_ablation(results, tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text()
    assert text.count(">other<") == 2 and text.count(">directional<") == 4


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(UsageError, match="ends in neither .svg nor .png"):
        plot_ablation({"variants": []}, tmp_path / "figure.pdf")
    with pytest.raises(UsageError, match="there is nothing to draw"):
        plot_ablation({"variants": []}, tmp_path / "figure.svg")
    (tmp_path / "other.json").write_text('{"name": "sphere-dvc"}')
    with pytest.raises(UsageError, match="holds no results of an ablation"):
        read_ablation(tmp_path / "other.json", "convolutions")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UsageError, match="is no JSON file"):
        read_ablation(tmp_path / "broken.json", "convolutions")
    with pytest.raises(UsageError, match="No such file"):
        read_ablation(tmp_path / "none.json", "convolutions")
