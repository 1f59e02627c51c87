"""Training the planar twin: with the sphere's loop and loss, on patches of ERP pictures, by the same scripts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import load_script

from deepsphere_codec.data.patches import PatchBatch
from deepsphere_codec.data.planar import PlanarPatches, PlanarSettings
from deepsphere_codec.errors import UsageError
from deepsphere_codec.figures.globes import movement
from deepsphere_codec.models import ModelConfig, load_model
from deepsphere_codec.models.bits import FrameContents
from deepsphere_codec.models.plane_on_sphere import seen_on_sphere
from deepsphere_codec.sphere import ErpGrid, ErpPatch, HealpixGrid
from deepsphere_codec.training.distortion import make_distortion, squared_error
from deepsphere_codec.training.settings import TrainSettings, load_settings
from deepsphere_codec.training.trainer import Trainer
from deepsphere_codec.training.validation import Validator

PATCH = ErpPatch(256, 512, 0, 128, 64, 128)


@pytest.fixture
def configuration(tmp_path: Path, narrow: dict[str, int]) -> Path:
    """A run of 12 steps that takes seconds."""
    path = tmp_path / "flat.toml"
    lines = [f"{key} = {value}" for key, value in narrow.items()]
    path.write_text(
        "[model]\ngeometry = 'erp'\n" + "\n".join(lines) + "\n[data]\nheight = 128\nwidth = 256\nrows = 64\n"
        "columns = 64\nframes = 4\n[train]\npart = 'all'\nsteps = 12\nbatch = 2\nwarmup = 3\n"
        "chain = 2\nrelocate = 1\nrate = 2e-3\n"
    )
    return path


@pytest.fixture
def settings(configuration: Path) -> TrainSettings:
    return load_settings(configuration, [])


def test_a_step_lowers_the_loss(settings, clips, tmp_path):
    """Of the same samples: the loss before and after some steps on them."""
    intra = replace(settings, train=replace(settings.train, part="intra", steps=40, batch=2, relocate=100))
    trainer = Trainer(intra, tmp_path / "run", clips, torch.device("cpu"), workers=0)
    samples = [PatchBatch.of([trainer.dataset[i] for i in range(4)])]
    losses = [trainer._one(samples)["loss"] for _ in range(25)]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


@pytest.mark.parametrize("part", ["intra", "inter"])
def test_every_part_is_trained_and_a_run_is_a_function_of_its_steps(settings, clips, tmp_path, part):
    asked = replace(settings, train=replace(settings.train, part=part, steps=2, chain=1, distortion="wmse"))
    runs = [Trainer(asked, tmp_path / name, clips, torch.device("cpu"), workers=0) for name in ("one", "two")]
    before = {name: p.detach().clone() for name, p in runs[0].model.named_parameters()}
    for trainer in runs:
        trainer.run()
    one, two = (dict(trainer.model.named_parameters()) for trainer in runs)
    assert all(torch.equal(p, two[name]) for name, p in one.items())
    assert any(not torch.equal(p, before[name]) for name, p in one.items())


@pytest.mark.slow
def test_the_scripts_train_and_release_it(configuration, clips, film, tmp_path, monkeypatch):
    """From films to a model that codes: train.py, with a validation in real bytes, then release.py."""
    monkeypatch.chdir(tmp_path)
    asked = ["--prepared", str(clips), "--device", "cpu", "--threads", "1", "--workers", "0"]
    validated = ["--set", "train.steps=2", "--set", f"validation.clips={film}", "--set", "validation.frames=2"]
    assert load_script("train").main([str(configuration), *asked, *validated]) == 0
    entry = json.loads(Path("runs/flat/validation.jsonl").read_text().splitlines()[-1])
    assert entry["mean"]["exact"] and Path("runs/flat/validation/2.png").stat().st_size > 10_000
    assert load_script("release").main(["flat", str(configuration), "--out", str(tmp_path / "models")]) == 0
    model = load_model(tmp_path / "models" / "flat")
    assert model.geometry == "erp" and "patches of 64×64 pixels" in model.card["data"]
    assert all(stage["cpu_minutes"] >= 0 for stage in model.card["training"].values())


def test_it_may_begin_with_the_spheres_weights(clips, tmp_path):
    released = Path(load_model.__code__.co_filename).parent / "weights" / "sphere-dvc" / "weights.safetensors"
    sphere = load_model("sphere-dvc")
    begun = TrainSettings(
        "begun",
        model=replace(sphere.config, geometry="erp"),
        data=PlanarSettings(256, 512, 64, 64),
    )
    begun = replace(begun, train=replace(begun.train, start=str(released)))
    trainer = Trainer(begun, tmp_path, clips, torch.device("cpu"), workers=0)
    theirs = dict(sphere.network(64).named_parameters())
    assert all(torch.equal(p, theirs[name]) for name, p in trainer.model.named_parameters())


def test_rows_weigh_what_they_cover():
    """The mean over patches that tile the picture is WMSE, sum w d² / sum w."""
    height, width = 128, 256
    x, x_hat = torch.rand(2, 1, height * width, 3)
    parts = [ErpPatch(height, width, row, column, 64, 64) for row in (0, 64) for column in range(0, width, 64)]
    found = torch.stack([make_distortion("wmse", p)(x[:, p.nodes], x_hat[:, p.nodes]) for p in parts]).mean(0)
    lat = (np.arange(height) + 0.5 - height / 2) * math.pi / height
    weights = torch.from_numpy(np.cos(lat)).repeat_interleave(width)[None, :, None]
    expected = (weights * (x - x_hat).square()).sum(1) / weights.sum()
    assert torch.allclose(found.double(), expected, rtol=1e-5)
    assert make_distortion("nodes", PATCH) is squared_error


@pytest.mark.parametrize(
    "change, rule",
    [
        ("train.distortion=erp", "train.distortion is 'erp': expected one of nodes, wmse where geometry is 'erp'"),
        ("model.geometry=healpix", "data.height is unknown"),
        ("data.rows=48", "data.rows x data.columns is 48 x 64 of 128 x 256: expected multiples of 64"),
        ("data.width=384", "twice as wide as high"),
        ("data.reprojected=1", "data.reprojected is 1: expected a valid boolean"),
        ("data.side=128", "data.side is unknown"),
        ("train.margin=32", "train.margin is 32"),
    ],
)
def test_what_a_plane_cannot_be_trained_with_is_refused(configuration, change, rule):
    with pytest.raises(UsageError, match=rule):
        load_settings(configuration, [change])


def test_a_margin_needs_a_square(configuration):
    with pytest.raises(UsageError, match="64 x 128: a margin needs a square"):
        load_settings(configuration, ["data.columns=128", "train.margin=16"])
    settings = load_settings(configuration, ["train.margin=16"])
    assert settings.train.margin == 16


def test_data_of_another_geometry_are_refused(narrow):
    with pytest.raises(UsageError, match="geometry is 'erp', but data are those of another"):
        TrainSettings("wrong", model=ModelConfig(geometry="erp", **narrow))
    with pytest.raises(UsageError, match="expected one of nodes, erp, ms-ssim where geometry is 'healpix'"):
        sphere = TrainSettings("right")
        replace(sphere, train=replace(sphere.train, distortion="wmse"))


def test_validation_refuses_an_nside_that_no_plane_has(film, tmp_path):
    for nside in (128, 64):  # the film's own size, or a smaller one, which it is scaled to
        Validator(film, tmp_path, nside=nside, geometry="erp")
    with pytest.raises(UsageError, match="expected a multiple of 32"):
        Validator(film, tmp_path, nside=48, geometry="erp")


def test_what_a_plane_holds_is_seen_on_the_sphere():
    """A pan to the east everywhere, and a bit to a pixel: as much motion as longitude has, and 4 pi of bits in all."""
    grid = ErpGrid(128, 256)
    motion = np.tile([-math.radians(2.0), 0.0, 0.0], (grid.npix, 1))  # it leads back to where the content was
    motion[: grid.npix // 2, :2] = 0.0, math.radians(-3.0)  # in the north: down from above, that is, to the south
    seen = seen_on_sphere(FrameContents(motion, np.ones(grid.npix // 256)), grid)
    sphere = HealpixGrid.cached(64)
    moves, cos_lat = movement(seen.motion), np.hypot(*sphere.centers.T[:2])
    north = sphere.centers[:, 2] > 0.02
    assert np.allclose(moves[north], [0, -3.0], atol=1e-6)
    south = sphere.centers[:, 2] < -0.02
    assert np.allclose(moves[south], np.stack([2 * cos_lat[south], 0 * cos_lat[south]], -1), atol=1e-6)
    assert seen.bits_per_node.mean() * sphere.npix == pytest.approx(grid.npix, rel=0.1)


def test_patches_of_a_step_share_their_place(clips):
    data = PlanarPatches(clips, PlanarSettings(256, 512, 64, 128), batch=2, relocate=3, seed=5)
    blocks = [data.block(step) for step in range(60)]
    assert all(blocks[step] == blocks[step - step % 3] for step in range(60))
    assert {block.row for block in blocks} == {0, 64, 128, 192} and {block.column % 64 for block in blocks} == {0}
    x, quality, _ = data[7]
    assert x.shape == (1, 64 * 128, 3) and 1 <= quality <= 8 and torch.equal(data[7][0], x)
    there = data.drawn.sample(7, data.drawn.place(7)._replace(row=data.block(3).row, column=data.block(3).column))
    assert torch.equal(x, there.x.flatten(2).transpose(1, 2))


def test_a_film_that_is_not_reprojected_is_only_rolled(clips, tmp_path):
    """Luma of a panorama, pixel for pixel."""
    rng = np.random.default_rng(2)
    folder = tmp_path / "one"
    folder.mkdir()
    film = rng.integers(16, 235, (1, 3 * 64, 256)).astype(np.uint8)
    np.save(folder / "photo.npy", film)
    settings = PlanarSettings(128, 256, 64, 64, guided=0.0, spin_degrees=0.0, zoom=1.0, reprojected=False)
    data = PlanarPatches(folder, settings, batch=1, relocate=1, seed=3)
    luma = film[0, :128]
    for index in range(4):
        block = data.block(index)
        found = np.rint(data[index][0][0, :, 0].view(64, 64).numpy() * 255)
        rows = luma[block.row : block.row + 64]
        shifts = [s for s in range(256) if np.array_equal(np.roll(rows, s, 1)[:, :64], found)]
        assert len(shifts) == 1
    turned = PlanarPatches(folder, replace(settings, reprojected=True), batch=1, relocate=1, seed=3)
    assert not torch.equal(turned[0][0], data[0][0])
