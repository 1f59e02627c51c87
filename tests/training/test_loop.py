"""The training loop: interrupted or not, it comes to the same weights; and it stops before it spoils them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepsphere_codec.data.patches import PatchBatch
from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.runtime.quick import quick_bfloat16
from deepsphere_codec.training import loop, objective
from deepsphere_codec.training.loop import learning_rate
from deepsphere_codec.training.schedule import Schedule
from deepsphere_codec.training.settings import TrainSettings, load_settings
from deepsphere_codec.training.trainer import Trainer


@pytest.fixture
def settings(configuration: Path) -> TrainSettings:
    return load_settings(configuration, [])


@pytest.fixture
def make(settings: TrainSettings, clips: Path, tmp_path: Path):
    """A trainer whose run lies in a folder of that name; keywords change its schedule."""

    def trainer(name: str, **schedule) -> Trainer:
        changed = replace(settings, train=replace(settings.train, **schedule))
        return Trainer(changed, tmp_path / name, clips, torch.device("cpu"), workers=0)

    return trainer


def one_step(trainer: Trainer) -> None:
    trainer.run(until=0)  # long past: it ends after the step


def weights(trainer: Trainer, beginning: str = "") -> dict[str, torch.Tensor]:
    named = trainer.model.named_parameters()
    return {name: p.detach().clone() for name, p in named if name.startswith(beginning)}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    assert a.keys() == b.keys() and a
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    "schedule",
    [
        {"part": "intra"},
        {"part": "inter", "skipped": 0.5},
        {"part": "all", "precision": "bfloat16"},
        {"part": "inter", "margin": 16, "maps": 0.5},
        {"part": "all", "optimizer": "muon", "skipped": 0.5},
        {"part": "intra", "distortion": "erp", "ema": 0.9, "shares": 2, "fall": "step"},
        {"part": "inter", "kept": 8, "shares": 2},
    ],
    ids=lambda schedule: " ".join(map(str, schedule.values())),
)
def test_an_interrupted_run_comes_to_the_same_weights(make, schedule):
    """Six steps, another trainer, six more: bit for bit twelve, over the patch's moves and the schedule's bends."""
    straight, first, second = (make(name, **schedule) for name in ("straight", "first", "second"))
    straight.run()
    for _ in range(6):
        one_step(first)
    assert first.step == 6 and not equal(weights(first), weights(straight))
    second.resume(first.checkpoint)
    assert equal(weights(first), weights(second))
    second.run()
    assert straight.step == second.step == 12
    assert equal(weights(straight), weights(second))
    tails = [(trainer.folder / "log.jsonl").read_text().splitlines()[-1] for trainer in (straight, second)]
    entries = [
        {key: value for key, value in json.loads(tail).items() if key not in ("seconds", "waited")} for tail in tails
    ]
    assert entries[0] == entries[1] and entries[0]["step"] == 12


def test_another_seed_is_another_run(make):
    one, two = make("one"), make("two", seed=2)
    assert not equal(weights(one), weights(two))
    assert not torch.equal(one.dataset[0][0], two.dataset[0][0])


@pytest.mark.parametrize(
    "part, moves, stays",
    [
        ("intra", "intra.", "inter."),
        ("inter", "inter.", "intra."),
    ],
)
def test_only_the_part_that_is_trained_moves(make, part, moves, stays):
    trainer = make("run", part=part)
    moving, still = weights(trainer, moves), weights(trainer, stays)
    one_step(trainer)
    assert not equal(moving, weights(trainer, moves)) and equal(still, weights(trainer, stays))


def test_a_run_may_start_from_anothers_weights(make):
    first = make("first")
    one_step(first)
    second = make("second", start=str(first.checkpoint))
    assert second.step == 0 and equal(weights(first), weights(second))
    other = make("other", seed=3)
    one_step(other)
    third = make("third", start=str(first.checkpoint), start_intra=str(other.checkpoint))
    assert equal(weights(third, "intra."), weights(other, "intra."))
    assert equal(weights(third, "inter."), weights(first, "inter."))


def test_a_loss_that_is_no_number_stops_the_run_and_the_last_checkpoint_stays(make):
    trainer = make("run")
    one_step(trainer)
    one_step(trainer)
    before = trainer.checkpoint.read_bytes()
    next(trainer.model.inter.g_s.parameters()).data.fill_(torch.nan)
    with pytest.raises(CodecError, match="the loss is nan at step 2: go on from .*checkpoint.safetensors"):
        trainer.run()
    assert trainer.checkpoint.read_bytes() == before
    fresh = make("fresh")
    fresh.resume(trainer.checkpoint)
    assert fresh.step == 2 and all(torch.isfinite(p).all() for p in weights(fresh).values())


def test_checkpoints_are_written_on_the_way(make, monkeypatch):
    trainer = make("run", steps=3, warmup=1, checkpoint_minutes=0.0)
    saved = []
    monkeypatch.setattr(trainer, "save", lambda: saved.append(trainer.step))
    trainer.run()
    assert saved == [1, 2, 3, 3]


def test_the_checkpoint_tells_the_step_and_the_settings(make):
    from safetensors import safe_open

    trainer = make("run")
    one_step(trainer)
    with safe_open(trainer.checkpoint, "pt") as file:
        state = json.loads(file.metadata()["state"])
    assert state.pop("cpu_seconds") == trainer.cpu_seconds > 0
    assert state.pop("footage") == {"clips": 2, "panoramas": 1, "frames": 6, "width": 64}
    assert state == {"step": 1, "settings": json.loads(json.dumps(trainer.settings.to_dict()))}


def test_the_time_of_a_run_that_was_broken_off_counts(make):
    first, second = make("run"), make("run")
    one_step(first)
    second.resume(first.checkpoint)
    assert second.cpu_seconds == first.cpu_seconds
    one_step(second)
    assert second.cpu_seconds > first.cpu_seconds


def test_the_rate_rises_and_falls_and_each_step_is_told(make, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    trainer, entries = make("run", rate=1e-3, rate_last=1e-4), []
    trainer.run(on_step=entries.append)
    rates = [entry["rate"] for entry in entries]
    assert [entry["step"] for entry in entries] == list(range(1, 13))
    assert rates[:3] == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3]), "three steps of warming up"
    assert rates[3] == pytest.approx(1e-3) and all(a > b for a, b in zip(rates[3:], rates[4:], strict=False))
    assert 1e-4 < rates[-1] < 1.3e-4
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [rates[-1]]
    assert entries[0].keys() >= {"loss", "bits_per_node", "psnr-y", "gradient", "seconds"}
    log = [json.loads(line) for line in (trainer.folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == list(range(1, 13))


def test_the_network_moves_with_the_patch(make):
    """Films are sampled for the batch's patch: the operators and the motion's charts must be of the same place."""
    trainer = make("run", relocate=2, seed=5)
    places = set()
    for step in range(8):
        one_step(trainer)
        assert trainer.model.pyramid.grids[0] == trainer.model.inter.blocks.grid == trainer.dataset.block(step)
        places.add(trainer.dataset.block(step))
        there = SphereDVC(trainer.settings.model, trainer.dataset.block(step))
        mine = dict(trainer.model.named_buffers())
        for part in ("prediction.steps", "pyramid"):
            placed = {name: buffer for name, buffer in there.named_buffers() if part in name}
            assert placed and all(torch.equal(mine[name], buffer) for name, buffer in placed.items())
    assert len(places) > 2


def test_the_schedule_reaches_the_loss(make, monkeypatch):
    seen = []
    original = objective.inter_loss

    def spy(model, x, quality, *more):
        seen.append(more[:4])
        return original(model, x, quality, *more)

    monkeypatch.setattr(objective, "inter_loss", spy)
    make("run", part="inter", steps=2, skipped=0.25, maps=0.5).run()
    assert seen == [(2, False, 0.25, 0.5)] * 2


def test_layers_run_in_the_precision_that_is_asked_for(make, monkeypatch):
    """And what the entropy coder needs in single precision all the same."""
    seen = {}
    for precision in ("float32", "bfloat16", "auto"):
        trainer, types = make(precision, part="intra", precision=precision), []
        codec = trainer.model.intra
        codec.g_a.layers[0].register_forward_hook(lambda module, args, out, types=types: types.append(out.dtype))
        codec.latents.hyperprior.register_forward_hook(
            lambda module, args, out, types=types: types.extend([out[0].dtype, out[1].latents.dtype])
        )
        one_step(trainer)
        seen[precision] = types
    assert seen["float32"] == [torch.float32] * 3
    assert seen["bfloat16"] == [torch.bfloat16, torch.float32, torch.float32]
    assert seen["auto"] == seen["bfloat16" if quick_bfloat16("cpu") else "float32"]


def test_gradients_are_clipped(make, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    trainer, entries = make("run", part="intra", steps=1, clip=1e-3), []
    trainer.run(on_step=entries.append)
    assert entries[0]["gradient"] > 1, "measured before"
    norms = [p.grad.norm() for p in trainer.model.intra.parameters() if p.grad is not None]
    assert float(torch.stack(norms).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_it_learns(make, monkeypatch):
    """Fifty steps from nothing: the loss falls to a fraction."""
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    trainer, entries = make("run", part="intra", steps=50, rate=5e-3, relocate=10), []
    trainer.run(on_step=entries.append)
    losses = [entry["loss"] for entry in entries]
    assert sum(losses[-10:]) < 0.3 * sum(losses[:10])


def test_the_rate_may_fall_in_steps():
    schedule = Schedule(steps=110, warmup=10, rate=1e-3, rate_last=1e-5, fall="step")
    rates = [learning_rate(schedule, step) for step in (10, 69, 71, 94, 96, 109)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_the_running_mean_follows_the_weights(make):
    trainer = make("run", part="intra", ema=0.75)
    expected = weights(trainer)
    for step in range(3):
        one_step(trainer)
        now = weights(trainer)
        expected = now if step == 0 else {name: 0.75 * p + 0.25 * now[name] for name, p in expected.items()}
    for name, p in trainer.average.module.named_parameters():
        torch.testing.assert_close(p.data, expected[name], msg=name)
    begun = make("begun", start=str(trainer.checkpoint))
    assert all(
        torch.equal(begun_p, expected_p)
        for begun_p, expected_p in zip(
            weights(begun).values(), dict(trainer.average.module.named_parameters()).values(), strict=True
        )
    ), "what starts from it starts from the mean"


def test_a_step_of_two_shares_is_the_mean_of_both(make):
    """The gradient of two shares in turn is that of their mean loss; each sees samples of its own."""
    trainer = make("two", part="intra", shares=2, warmup=0, rate=1e-3)
    samples = next(trainer._steps())
    assert len(samples) == 2 and not torch.equal(samples[0][0], samples[1][0])
    told = trainer._gradients(samples)
    together = {name: p.grad.clone() for name, p in trainer.model.intra.named_parameters() if p.grad is not None}
    alone, losses = [], []
    for share in range(2):
        trainer.optimizer.zero_grad(set_to_none=True)
        torch.manual_seed((trainer.settings.train.seed * 1_000_003) * 2 + share)
        loss = trainer.objective(samples[share])
        loss.total.backward()
        losses.append(float(loss.total.detach()))
        alone.append({name: p.grad.clone() for name, p in trainer.model.intra.named_parameters() if p.grad is not None})
    assert told["loss"] == pytest.approx(sum(losses) / 2, rel=1e-6)
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, (alone[0][name] + alone[1][name]) / 2, rtol=1e-4, atol=1e-6)


def test_parts_are_those_that_a_schedule_knows():
    assert set(objective.PARTS) == {Schedule(part=name).part for name in objective.PARTS}
    with pytest.raises(UsageError):
        Schedule(part="motion")


def test_a_batch_holds_its_patch_without_the_arrays_made_for_it(make):
    dataset = make("run", relocate=2, seed=5).dataset
    samples = [dataset[index] for index in range(2 * dataset.batch, 3 * dataset.batch)]
    assert "centers" in vars(samples[0].patch)
    batch = PatchBatch.of(samples)
    assert batch.patch == dataset.block(2) and "centers" not in vars(batch.patch)
    assert torch.equal(batch.x[-1], samples[-1].x) and batch.quality[-1] == np.float32(samples[-1].quality)
    with pytest.raises(AssertionError):
        PatchBatch.of([samples[0], samples[1]._replace(patch=replace(batch.patch, face=(batch.patch.face + 1) % 12))])
