"""python -m studies.entropy: tiny runs to results; what each variant goes without; the twin in floating point."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.entropy.exact import ExactConv
from deepsphere_codec.entropy.hyperprior import FINE, Hyperprior
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.model import CURVE_QUALITIES
from deepsphere_codec.layers import FacePadding
from deepsphere_codec.models import ModelConfig, load_model
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.latent_codec import LatentCodec
from deepsphere_codec.models.motion_context import MOTION_CHANNELS
from deepsphere_codec.models.quality import inter_quality, intra_quality
from deepsphere_codec.models.zoo import save_model
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.order import anchors_of
from deepsphere_codec.training.stored_trees import motion_lmbda
from studies.ablation.study import load_study
from studies.entropy.hyperpriors import (
    Change,
    Job,
    RelaxedConv,
    Site,
    build,
    coded,
    measure,
    measure_own,
    relax,
    run_job,
)
from studies.entropy.latents import PARTS, Latents, Place, Plan, collect, places, record

STUDY = load_study(Path(__file__).resolve().parents[2] / "studies" / "entropy" / "study.toml")
FULL = STUDY.anchor
BLOCK = PatchGrid(128, 3, 0, 64, 64)
CHANGES = {variant.name: Change(**variant.changes) for variant in STUDY.variants}


@pytest.fixture(scope="module")
def script(study_script):
    return study_script("entropy")


@pytest.fixture(scope="module")
def config(narrow: dict[str, int]) -> ModelConfig:
    return ModelConfig(**narrow)  # type: ignore[arg-type]


def codecs(network: SphereDVC) -> tuple[LatentCodec, LatentCodec]:
    return network.intra.latents, network.inter.residual_latents


def louder(network: SphereDVC) -> SphereDVC:
    """With gains so high that random weights leave latents that are not all zero."""
    for codec in codecs(network):
        codec.gain.log_gain.data += 2.0
        codec.inverse_gain.log_gain.data -= 2.0
    return network


@pytest.fixture(scope="module")
def model(config: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model with random weights."""
    torch.manual_seed(3)
    network = louder(SphereDVC(config, HealpixGrid.cached(64)))
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(folder, "tiny", network, {})
    return folder


@pytest.fixture(scope="module")
def plan(
    model: Path, config: ModelConfig, clips: Path, test_films: Path, tmp_path_factory: pytest.TempPathFactory
) -> Plan:
    """Two steps on next to no samples."""
    identity = load_model(model)
    return Plan(
        model=str(model),
        name=identity.name,
        weights_hash=identity.weights_hash,
        config=config,
        films=clips,
        clips=test_films,
        folder=tmp_path_factory.mktemp("runs"),
        data=PatchSettings(128, 64, 3),
        sampling={"places": 1, "chains": 2, "singles": 3},
        training={"steps": 2, "batch": 2, "rate": 3e-3, "rate_muon": 1e-2},
    )


@pytest.fixture
def two_places(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> list[Place]:
    """One to train on and one to measure at, and no others; recorded."""
    two = places(plan)[:2]
    monkeypatch.setattr("studies.entropy.hyperpriors.places", lambda plan: two)
    for place in two:
        collect(place)
    return two


@pytest.fixture
def arguments(model: Path, clips: Path, test_films: Path, tmp_path: Path) -> list[str]:
    sizes = ["data={nside=128, side=64, frames=3}", "sampling={places=1, chains=2, singles=2}"]
    folders = ["--prepared", str(clips), "--prepared-test", str(test_films), "--runs", str(tmp_path / "runs")]
    budget = ["--seeds", "1", "--steps", "2", "--jobs", "1", "--out", str(tmp_path / "out" / "entropy.json")]
    changes = [word for size in sizes for word in ("--set", f"settings.{size}")]
    return ["--model", str(model), *folders, *changes, *budget]


def random_latents(count: int = 3, channels: int = 8, context: int = 24 + MOTION_CHANNELS + 1) -> Latents:
    """As those of residuals of the narrow model, on a block of 16 latent nodes."""
    nodes = BLOCK.npix // 4**4
    return Latents(
        1.5 * torch.randn(count, nodes, channels),
        torch.randint(-127, 128, (count, nodes, context)).to(torch.int8),
        0.1 + torch.rand(count, 1, channels),
        torch.full((count,), 3.0),
    )


def spread(hyperprior: Hyperprior) -> Hyperprior:
    """Means as spread as training leaves them."""
    for part in (hyperprior.hyper, *hyperprior.slices):
        part.mean.weight.data *= 10  # type: ignore[union-attr, operator]
    return hyperprior.eval().requires_grad_(False)


@pytest.fixture
def made(config: ModelConfig) -> Callable[[str], Hyperprior]:
    """The hyperprior of a variant, alike but for what the variant changes."""

    def make(name: str) -> Hyperprior:
        torch.manual_seed(2)
        return spread(build(config, Site(BLOCK, random_latents()), CHANGES[name]))

    return make


@pytest.mark.slow
def test_records_trains_and_compares_and_goes_on_where_it_was(script, arguments, model, tmp_path, capsys):
    script.main(arguments)
    results = json.loads((tmp_path / "out" / "entropy.json").read_text())
    assert results["name"] == "entropy" and results["description"] and results["environment"]["threads"] == 1
    settings = results["settings"]
    assert settings["model"] == "tiny" and settings["weights_hash"] == load_model(model).weights_hash
    assert settings["clips"] == ["film"] and settings["seeds"] == [1] and settings["steps"] == 2
    assert [row["name"] for row in results["variants"]] == list(STUDY.by_name)
    for row in results["variants"]:
        assert row["seed"] == 1 and list(row["latents"]) == list(STUDY.by_name[row["name"]].parts)
        for points in row["latents"].values():
            assert [point["quality"] for point in points] == list(CURVE_QUALITIES)
            assert all(point["bits_per_node"] > 0 and math.isfinite(point["rounding_db"] or 0) for point in points)
    assert list(results["own"]["latents"]) == list(PARTS)
    assert list(results["savings"]) == [name for name in STUDY.by_name if name != "full"]
    for name, saving in results["savings"].items():
        assert list(saving) == list(STUDY.by_name[name].parts)
        for part, each in saving.items():
            assert each["percent"] == pytest.approx(each["per_seed"][0]) and len(each["per_quality"]) == 4
            assert part in PARTS and "rounding_db" in each
    text = capsys.readouterr().out
    assert all(name in text for name in STUDY.by_name)

    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir() if path.is_file()}
    assert len(kept) == 7 + sum(len(variant.parts) for variant in STUDY.variants)
    again = tmp_path / "runs" / "residual-in-one-step-1.json"
    again.unlink()
    script.main(arguments)
    assert {path for path, time in kept.items() if path.stat().st_mtime_ns != time} == {again}
    assert json.loads((tmp_path / "out" / "entropy.json").read_text())["savings"] == results["savings"]
    with pytest.raises(UsageError, match="was made with other settings; remove it, or keep runs in another folder"):
        script.main([*arguments, "--steps", "3"])
    with pytest.raises(UsageError, match="latents-train-00.safetensors was made with other settings"):
        script.main([*arguments, "--set", "settings.sampling.chains=3"])


def test_savings_are_against_the_full_one_of_the_same_seed(script):
    def row(name: str, seed: int, bits: float, decibels: float | None) -> dict:
        latents = {
            part: [{"quality": q, "bits_per_node": bits * q, "rounding_db": decibels} for q in CURVE_QUALITIES]
            for part in PARTS
        }
        return {"name": name, "seed": seed, "latents": latents}

    rows = [row("full", 1, 1.0, 9.0), row("full", 2, 2.0, 9.5), row("other", 1, 1.1, 8.8), row("other", 2, 2.6, None)]
    savings = script.savings(rows, "full")
    assert savings["other"]["intra"] == {
        "percent": 20.0,
        "per_seed": [10.0, 30.0],
        "per_quality": [20.0] * 4,
        "rounding_db": -0.2,
    }
    assert savings["other"]["residual"]["percent"] == 20.0
    text = script.table({"own": row("", 0, 0.5, None), "variants": rows, "savings": savings})
    assert "+20.00 ± 10.00 % -0.200 dB" in text and "6.0000" in text and "2.0000" in text


def test_what_is_recorded_is_what_the_model_codes(config):
    """The bits of the model's own hyperpriors on the recorded latents are those that the model counts."""
    torch.manual_seed(3)
    network = louder(SphereDVC(config, BLOCK)).eval()
    x, quality = torch.rand(2, 3, BLOCK.npix, 3), torch.tensor([2.0, 6.5])
    found = record(network, x, quality)
    assert {part: len(each.y) for part, each in found.items()} == {"intra": 2, "residual": 4}
    assert not any(module._forward_pre_hooks for module in network.modules())
    asked = intra_quality(quality, config)
    with torch.no_grad():
        picture, rate = network.intra(x[:, 0], asked, straight=True)
        states, outs, asked_inter = [network.inter.begin(*picture)], [], inter_quality(quality, config, 0)
        for t in (1, 2):
            references = anchors_of(states)
            motion = Motion.of(network.inter.find_motion(x[:, t], references, motion_lmbda(asked_inter)))
            outs.append(network.inter(x[:, t], references, motion, asked_inter, straight=True))
            states.append(references.after(outs[-1].x_hat, outs[-1].fine))
        counted = {"intra": [rate], "residual": [out.rate for out in outs]}
        for (part, latents), codec in zip(found.items(), codecs(network), strict=True):
            _, again = codec.hyperprior(latents.y, latents.context.float(), straight=True)
            assert float(again.bits) == pytest.approx(sum(float(each.bits) for each in counted[part]))
    assert torch.equal(found["residual"].quality, torch.cat([quality, quality]))
    assert torch.equal(found["residual"].context[2:, :, :-1], network.inter.context(references, motion).to(torch.int8))
    assert torch.equal(found["intra"].context[..., 0], (8 * asked).round().to(torch.int8)[:, None].expand(-1, 16))
    assert torch.equal(found["intra"].step, network.intra.latents.inverse_gain(asked))


def test_there_are_places_to_train_on_and_places_to_measure_at(plan):
    assert [place.role for place in places(plan)] == ["train"] + ["test"] * 6


def test_latents_are_kept_for_every_place(plan, two_places):
    train, _ = two_places
    ((_, intra),) = Job(plan, FULL, "intra", 1).sites("train")
    assert len(intra.y) == 2 + 3 and intra.context.shape[-1] == 1
    job = Job(plan, FULL, "residual", 1)
    ((_, seen),), ((block, held),) = job.sites("train"), job.sites("test")
    assert len(seen.y) == 2 * 2 and block.nside == 128 and seen.context.dtype == torch.int8
    assert sorted(set(held.quality.tolist())) == list(CURVE_QUALITIES) and len(held.y) == 4 * 2
    assert seen.y.abs().max() > 1 and seen.context.any(), "else there is nothing to code"
    before = train.path.stat().st_mtime_ns
    assert collect(train) == train.path and train.path.stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="was made with other settings"):
        collect(Place(plan._replace(weights_hash="another"), "train", 0))


def test_a_run_is_the_same_again(plan, two_places):
    job = Job(plan, FULL, "residual", 1)
    first = run_job(job)
    assert run_job(job) == first
    job.result.unlink()
    assert run_job(job) == first
    other = run_job(job._replace(seed=2))
    assert other["points"] != first["points"]


def test_the_models_own_hyperprior_is_measured_on_the_same_samples(plan, two_places, config):
    network = load_model(plan.model).network(64)
    for part, codec in zip(PARTS, codecs(network), strict=True):
        job = Job(plan, FULL, part, 1)
        sites = job.sites("test")
        patchwise = build(config, sites[0])
        patchwise.load_state_dict(dict(codec.hyperprior.named_parameters()), strict=False)
        assert measure_own(job) == measure(patchwise, config, sites)


def test_without_memory_the_memory_changes_nothing(config, made):
    latents = random_latents()
    context = latents.context.clone()
    context[..., : -1 - MOTION_CHANNELS] = random_latents().context[..., : -1 - MOTION_CHANNELS]
    others = latents._replace(context=context)
    rates = {}
    for variant in ("full", "without memory"):
        hyperprior = made(variant)
        for name, given in (("one", latents), ("other", others)):
            context = CHANGES[variant].remember(given.context, 8)
            rates[variant, name] = float(coded(hyperprior, config, BLOCK, given._replace(context=context))[1])
    assert rates["without memory", "one"] == rates["without memory", "other"]
    assert rates["full", "one"] != rates["full", "other"]


@pytest.mark.parametrize(
    "name, left_out",
    [
        ("memory of the last frame only", [(8, 24)]),
        ("without memory", [(0, 24)]),
        ("without the motion", [(24, 24 + MOTION_CHANNELS)]),
        ("without the quality", [(-1, None)]),
        ("as before", [(24, None)]),
    ],
)
def test_of_a_context_the_rest_is_left(name, left_out):
    context = random_latents().context
    left, expected = CHANGES[name].remember(context, 8), context.clone()
    for first, last in left_out:
        expected[..., first:last] = 0
    assert torch.equal(left, expected) and left.any()
    told = torch.full((1, 16, 1), 40).to(torch.int8)  # of an I-frame
    assert torch.equal(CHANGES[name].remember(told, 8), told) == ("quality" not in name and name != "as before")


def distributions(hyperprior: Hyperprior, y: torch.Tensor, z: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Scales and means of the first slice of y, where its side information is z."""
    found = []

    def listen(module: torch.nn.Module, given: tuple) -> None:
        _, scale, mean = given
        found.append(torch.cat([scale, mean]))

    hook = hyperprior.conditional.register_forward_pre_hook(listen)
    hyperprior.hyper_latents = lambda y: z  # type: ignore[method-assign]
    hyperprior(y, context.float(), straight=True)
    hook.remove()
    return found[1]


def test_in_one_step_no_decoded_latents_are_looked_at(made):
    latents, z = random_latents(), torch.randn(3, 1, 4)
    for name, blind in (("in one step", True), ("full", False)):
        hyperprior = made(name)
        one, other = (distributions(hyperprior, y, z, latents.context) for y in (latents.y, -3 * latents.y))
        assert torch.equal(one, other) == blind, name


def test_without_means_all_are_zero_and_stay_so(config, made):
    hyperprior = made("without means")
    latents = random_latents()
    y_hat, _ = coded(hyperprior, config, BLOCK, latents)
    assert torch.equal(y_hat, latents.y.round())
    means = [part.mean for part in (hyperprior.hyper, *hyperprior.slices)]
    assert not any(p.requires_grad or p.any() for mean in means for p in mean.parameters())
    full, _ = coded(made("full"), config, BLOCK, latents)
    assert not torch.equal(full, full.round())


@pytest.mark.parametrize("nine_taps", [True, False])
def test_the_relaxed_twin_equals_the_exact_layer_where_all_is_whole(nine_taps):
    conv = ExactConv(6, 5, FacePadding(BLOCK) if nine_taps else None, limit=20, low=-20)
    for p in conv.parameters():
        p.data = torch.randint(-2, 3, p.shape).float()
    a = torch.randint(0, 8, (2, BLOCK.npix, 6)).float()
    exact, relaxed = conv(a), RelaxedConv(conv)(a)
    assert torch.equal(exact, relaxed) and exact.min() == -20 and exact.max() == 20


def test_the_relaxed_twin_does_not_round_and_learns_alike():
    conv = ExactConv(6, 5)
    a = (40 * torch.rand(2, 10, 6)).round()
    twin = RelaxedConv(copy.deepcopy(conv))
    exact, relaxed = conv(a), twin(a)
    assert not torch.equal(relaxed, relaxed.round()) and (exact - relaxed).abs().max() < 1
    exact.sum().backward(), relaxed.sum().backward()
    assert conv.weight.grad is not None and twin.weight.grad is not None
    assert torch.allclose(conv.weight.grad, twin.weight.grad)


def test_everything_exact_is_relaxed_and_begins_alike(config, made):
    exact, relaxed = made("full"), made("floating point")
    assert not any(isinstance(module, ExactConv) for module in relaxed.modules())
    twins = [module for module in relaxed.modules() if isinstance(module, RelaxedConv)]
    assert len(twins) == sum(isinstance(module, ExactConv) for module in exact.modules())
    latents = random_latents()
    (y_exact, bits), (y_relaxed, relaxed_bits) = (coded(each, config, BLOCK, latents) for each in (exact, relaxed))
    assert float(relaxed_bits) == pytest.approx(float(bits), rel=0.05)
    assert torch.equal(FINE * y_exact, (FINE * y_exact).round())
    assert not torch.equal(FINE * y_relaxed, (FINE * y_relaxed).round())
    relax(relaxed)
    assert len([module for module in relaxed.modules() if isinstance(module, RelaxedConv)]) == len(twins)


def test_every_variant_learns(config):
    """Gradients reach all but what the variant goes without."""
    latents = random_latents()
    for name, change in CHANGES.items():
        torch.manual_seed(2)
        hyperprior = build(config, Site(BLOCK, latents), change)
        given = latents._replace(context=change.remember(latents.context, 8))
        coded(hyperprior, config, BLOCK, given)[1].backward()
        still = {each for each, p in hyperprior.named_parameters() if p.grad is None or not p.grad.any()}
        absent = {
            "without means": ("hyper.mean.", *(f"slices.{number}.mean." for number in range(4))),
            "hyper-latents alone": ("up.",),
            "as before": ("up.",),
            "in one step": ("slices.0.around.weight",),
        }
        # A block has one node of z, which sees none beside it; nothing is decoded after the last slice.
        nowhere = ("hyper.around.weight", "hyper.embed.", f"slices.{len(hyperprior.slices) - 1}.embed.")
        assert all(each.startswith((*nowhere, *absent.get(name, ()))) for each in still), (name, still)


def test_rounding_is_measured_on_what_is_scaled_back(config, made):
    latents = random_latents()
    site = Site(BLOCK, Latents(*(torch.cat([field] * 4) for field in latents)))
    site = Site(BLOCK, site.latents._replace(quality=torch.tensor(CURVE_QUALITIES).repeat_interleave(3)))
    points = measure(made("without means"), config, [site])
    signal, error = latents.step * latents.y, latents.step * (latents.y.round() - latents.y)
    expected = 10 * math.log10(float(signal.square().sum() / error.square().sum()))
    assert [point["quality"] for point in points] == list(CURVE_QUALITIES)
    assert all(point["rounding_db"] == pytest.approx(expected, abs=1e-3) for point in points)
    silent = site.latents._replace(y=torch.zeros_like(site.latents.y))
    assert measure(made("without means"), config, [Site(BLOCK, silent)])[0]["rounding_db"] is None
