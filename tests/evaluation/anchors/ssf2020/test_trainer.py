"""Training of the planar baseline: what it minimises, and the way from TOML to a codec."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support import load_script, make_film, same_signals
from torch.optim.swa_utils import AveragedModel

from deepsphere_codec.data.planar import PatchOrigin, PlanarSample, PlanarSettings
from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.evaluation.anchors.ssf2020.coding import ColourSpace
from deepsphere_codec.evaluation.anchors.ssf2020.measure import SsfCodec
from deepsphere_codec.evaluation.anchors.ssf2020.network import PlanarFlow
from deepsphere_codec.evaluation.anchors.ssf2020.settings import (
    SsfSchedule,
    SsfSettings,
    is_ssf2020,
    load_ssf2020_stages,
)
from deepsphere_codec.evaluation.anchors.ssf2020.trainer import SsfTrainer, losses_of
from deepsphere_codec.evaluation.anchors.ssf2020.weights import load_ssf
from deepsphere_codec.models.quality import LAMBDAS
from deepsphere_codec.sphere.erp import erp_area_weights
from deepsphere_codec.training import loop
from deepsphere_codec.training.parallel import World

ROOT = Path(__file__).resolve().parents[4]
CONFIG = ROOT / "configs" / "planar-ssf2020.toml"
DATA = PlanarSettings(height=128, width=256, rows=128, columns=128, frames=2, spin_degrees=5.0)


@pytest.fixture(scope="module")
def network() -> PlanarFlow:
    torch.manual_seed(1)
    return PlanarFlow((128, 128))


@pytest.fixture
def sample() -> PlanarSample:
    weights = torch.from_numpy(erp_area_weights(256)[64:192]).float()
    return PlanarSample(torch.rand(1, 2, 3, 128, 128), PatchOrigin(64, 0), weights[None], torch.ones(1))


@pytest.fixture
def make(clips: Path, tmp_path: Path):
    """A trainer whose run lies in a folder of that name; its checkpoint, 400 MB, is removed at the end."""

    def trainer(name: str, **schedule) -> SsfTrainer:
        settings = SsfSettings(name, data=DATA, train=replace(SsfSchedule(batch=1, steps=3), **schedule))
        return SsfTrainer(settings, tmp_path / name, clips, torch.device("cpu"), workers=0)

    yield trainer
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()


def test_it_learns(make, monkeypatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    trainer, entries = make("run", steps=16, rate=5e-4, rate_last=5e-4, quality=6), []
    monkeypatch.setattr(trainer, "save", lambda: None)
    trainer.run(on_step=entries.append)
    losses = [entry["loss"] for entry in entries]
    assert sum(losses[-4:]) < 0.6 * sum(losses[:4])
    assert entries[-1]["aux"] < entries[0]["aux"]
    assert entries[0].keys() >= {"bits_per_pixel", "bits_motion", "psnr-y", "gradient", "rate", "seconds", "waited"}
    log = [json.loads(line) for line in (trainer.folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == list(range(1, 17))


def test_a_loss_that_is_no_number_stops_the_run(make) -> None:
    trainer = make("run")
    next(trainer.model.res_decoder.parameters()).data.fill_(torch.nan)
    with pytest.raises(CodecError, match="the loss is nan at step 0: go on from .*checkpoint.safetensors"):
        trainer.run()
    assert not trainer.checkpoint.exists()


def test_several_processes_are_refused(clips, tmp_path) -> None:
    settings = SsfSettings("run", data=DATA)
    with pytest.raises(UsageError, match="trained by one process, not by 2"):
        SsfTrainer(settings, tmp_path, clips, torch.device("cpu"), world=World(0, 2))


def test_the_loss_is_rate_and_weighted_distortion(network, sample) -> None:
    """As its definition says, frame by frame, where nothing is random: in evaluation mode."""
    network.eval()
    with torch.no_grad():
        losses, space = losses_of(network, sample, 3, "float32"), ColourSpace()
        out = network([space.to_rgb(sample.x[:, t]) for t in range(2)])
        frames = []
        for t, likelihoods in enumerate(out["likelihoods"]):
            bits = sum(-p.double().log2().sum() for part in likelihoods.values() for p in part.values()) / 128**2
            error = (space.from_rgb(out["x_hat"][t]) - sample.x[:, t]).square() * sample.weights[:, None, :, None]
            y, u, v = (error * torch.pi / 2).mean((0, 2, 3))
            frames.append(bits + LAMBDAS[2] * 255**2 * (6 * y + u + v) / 8)
    assert float(losses["loss"]) == pytest.approx(float(sum(frames)) / 2, rel=1e-4)
    motion = -sum(p.log2().sum() for p in out["likelihoods"][1]["motion"].values()) / (2 * 128**2)
    assert float(losses["bits_motion"]) == pytest.approx(float(motion), rel=1e-4)
    assert 0 < losses["bits_motion"] < losses["bits_per_pixel"]


def test_quantiles_have_a_loss_of_their_own(network, sample) -> None:
    """So that one backward pass serves both: neither loss touches what the other moves."""
    network.train()
    named = dict(network.named_parameters())
    quantiles = [p for name, p in named.items() if name.endswith(".quantiles")]
    others = [p for name, p in named.items() if not name.endswith(".quantiles")]
    assert len(quantiles) == 3
    losses = losses_of(network, sample, 3, "float32")
    of_total = torch.autograd.grad(losses["loss"], quantiles, retain_graph=True, allow_unused=True)
    of_aux = torch.autograd.grad(losses["aux"], others, retain_graph=True, allow_unused=True)
    assert all(g is None or not g.any() for g in of_total) and all(g is None for g in of_aux)
    assert all(g.any() for g in torch.autograd.grad(losses["aux"], quantiles))


def test_half_precision_spares_the_hyperpriors(network, sample) -> None:
    """In a copy as well, which must run itself and not what it was copied from."""
    network.train()
    copied = AveragedModel(network).module
    seen: list[tuple[PlanarFlow, torch.dtype]] = []
    for each in (network, copied):
        for part in (each.img_encoder[0], each.res_hyperprior.hyper_decoder_mean[0]):
            part.register_forward_hook(lambda _, __, out, each=each: seen.append((each, out.dtype)))
    with torch.no_grad():
        losses_of(copied, sample, 3, "bfloat16")
    assert [kind for _, kind in seen] == [torch.bfloat16, torch.float32]
    assert all(each is copied for each, _ in seen)


def test_the_projects_own_configuration_loads() -> None:
    stages = load_ssf2020_stages(CONFIG, [])
    assert is_ssf2020(CONFIG, []) and not is_ssf2020(CONFIG.with_name("sphere-dvc.toml"), [])
    assert [stage.name for stage in stages] == [f"planar-ssf2020/quality-{s.train.quality}" for s in stages]
    assert stages[1].train.start == f"runs/{stages[0].name}/checkpoint.safetensors"
    assert all(stage.data.frames == 3 and stage.train.rate_last < stage.train.rate for stage in stages)


@pytest.mark.parametrize(
    "change, message",
    [
        ("train.quality=9", "train.quality is 9: expected less than or equal to 8"),
        ("train.quality=0", "train.quality is 0: expected greater than or equal to 1"),
        ("train.quality=2.5", "train.quality is 2.5: expected a valid integer"),
        ("train.precision=half", "train.precision is 'half': expected 'float32', 'bfloat16' or 'auto'"),
        ("train.fall=slowly", "train.fall is 'slowly': expected 'cosine' or 'step'"),
        ("train.steps=0", "train.steps is 0: expected greater than 0"),
        ("train.batch=0", "train.batch is 0: expected greater than 0"),
        ("train.rate=-1", "train.rate is -1: expected greater than 0"),
        ("train.rate_last=-1", "train.rate_last is -1: expected greater than or equal to 0"),
        ("train.aux_rate=0", "train.aux_rate is 0: expected greater than 0"),
        ("train.warmup=-5", "train.warmup is -5: expected greater than or equal to 0"),
        ("train.clip=-3", "train.clip is -3: expected greater than 0"),
        ("train.ema=1", "train.ema is 1: expected less than 1"),
        ("train.checkpoint_minutes=-1", "train.checkpoint_minutes is -1: expected greater than or equal to 0"),
        ("train.seed=-1", "train.seed is -1: expected greater than or equal to 0"),
        ("train.part=intra", "train.part is unknown"),
        ("film_frames=0", "film_frames is 0: expected greater than 0"),
        ("data.rows=64", "data.rows x data.columns is 64 x 128: expected multiples of 128"),
        ("data.frames=1", "data.frames is 1: expected an I-frame and a P-frame"),
        ("model.family=ssf", "model is unknown: expected one of data, "),
    ],
)
def test_settings_that_cannot_work_are_refused(change, message) -> None:
    with pytest.raises(UsageError, match=message):
        load_ssf2020_stages(CONFIG, [change])


@pytest.mark.slow
def test_from_a_configuration_to_a_measured_codec(clips, tmp_path, monkeypatch, capsys) -> None:
    """Two rates are trained, stopped and gone on with; they are released, and code a film into real bytes."""
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "planar.toml"
    config.write_text(
        "kind = 'ssf2020'\n[data]\nheight = 128\nwidth = 256\nrows = 128\ncolumns = 128\nframes = 2\n"
        "[train]\nbatch = 1\nsteps = 1\n"
        "[stages.high]\ntrain.quality = 6\n[stages.low]\ntrain.quality = 2\ntrain.steps = 2\n"
    )
    options = ["--prepared", str(clips), "--device", "cpu", "--threads", "1", "--workers", "0"]
    train, release = load_script("train").main, load_script("release").main
    with same_signals():
        assert release(["planar-ssf2020", str(config), "--out", "out"]) == 2, "nothing is trained yet"
        assert train([str(config), *options]) == 0
        assert train([str(config), *options, "--resume", "auto", "--set", "stages.low.train.steps=3"]) == 0
    assert release(["planar-ssf2020", str(config), "--out", "out"]) == 0
    folder = Path("out/planar-ssf2020/quality-2")
    (network, quality, weights_hash), card = load_ssf(folder), json.loads((folder / "card.json").read_text())
    assert quality == 2 and network.unit == (128, 128)
    assert card["training"]["steps"] == 3 and card["stages"] == ["planar/high", "planar/low"]
    codec = SsfCodec(Path("out/planar-ssf2020"), frames=2)
    assert codec.qualities == (2.0, 6.0) and codec.settings["weights_hash"]["2"] == weights_hash
    point = codec.measure(make_film(tmp_path / "film.mkv", 96, 48, 3), 2.0)
    assert point.bpp and point.bpp_i and point.bpp_p and (point.bpp_i + point.bpp_p) / 2 < point.bpp
    assert "holds no checkpoint" in capsys.readouterr().err
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()
