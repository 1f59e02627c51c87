"""Validation: the real bytes of whole films, and a training that does not notice."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from support import centers, make_film, texture, true_field, turn

from deepsphere_codec.codec import VideoDecoder, VideoEncoder
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.compare import compare_frames
from deepsphere_codec.gop.lookahead import LowDelay
from deepsphere_codec.models import CodedPicture, ModelConfig, References, SphereDVC, load_model, save_model
from deepsphere_codec.models.bits import look_into
from deepsphere_codec.models.payload import Payload
from deepsphere_codec.models.zoo import fill
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training import picture, validation
from deepsphere_codec.training.picture import ValidationFrame
from deepsphere_codec.training.settings import load_settings
from deepsphere_codec.training.trainer import Trainer
from deepsphere_codec.training.validation import Validated, Validator, as_released, read_clip, validate
from deepsphere_codec.video import yuv_to_rgb

QUALITY = 7.0  # at which frames of a model that has not learned pay all the same
BLACK = np.zeros((4, 8, 3), np.uint8)
NOTHING_SEEN = ValidationFrame(1, BLACK, BLACK, np.zeros((12, 3)), np.zeros(12))
FOUND = Validated(0.125, 34.5, 33.25, True, 2.0, NOTHING_SEEN)


class Snapshot(NamedTuple):
    """All that a training run goes on from."""

    tensors: dict[str, torch.Tensor]
    modes: dict[str, tuple[bool, ...]]
    random: torch.Tensor

    @classmethod
    def of(cls, model: SphereDVC) -> Snapshot:
        named = [*model.named_parameters(), *model.named_buffers()]
        modes = {name: (module.training,) for name, module in model.named_modules()}
        modes |= {name: (p.requires_grad, p.is_inference()) for name, p in named}
        return cls({name: p.detach().clone() for name, p in named}, modes, torch.get_rng_state())


class Run(NamedTuple):
    found: Validated
    before: Snapshot
    after: Snapshot


@pytest.fixture(scope="module")
def model(narrow: dict[str, int]) -> SphereDVC:
    """On a patch, as while it is trained; some of its weights stand still."""
    torch.manual_seed(3)
    model = SphereDVC(ModelConfig(**narrow), PatchGrid(128, 3, 0, 64, 64)).train()
    model.inter.g_s.requires_grad_(False)
    return model


@pytest.fixture(scope="module")
def run(model: SphereDVC, film: Path) -> Run:
    """A validation, and the model before and after it."""
    before = Snapshot.of(model)
    (found,) = validate(model, [read_clip(film, 3)], nside=64, quality=QUALITY)
    return Run(found, before, Snapshot.of(model))


@pytest.fixture(scope="module")
def network(model: SphereDVC) -> SphereDVC:
    """The model on the whole sphere; not to be changed."""
    return as_released(model).network(64)


def test_it_reaches_what_a_release_reaches(model, film, run, tmp_path):
    """The same bytes and decibels as of encoder and decoder with the files of a release."""
    copy = SphereDVC(model.config, HealpixGrid.cached(64))
    fill(copy, {name: p.detach() for name, p in model.named_parameters()}, {})
    save_model(tmp_path, "release", copy, {})
    clip, release = read_clip(film, 3), load_model(tmp_path)
    encoder = VideoEncoder(release, clip.info, quality=QUALITY, nside=64, lookahead=LowDelay())
    decoder = VideoDecoder(encoder.header, release)
    coded = [coded for frame in clip.frames for coded in encoder.encode(frame)]
    frames = [decoder.frame(decoder.decode(each.position, each.payload)) for each in coded]
    expected = compare_frames(zip(clip.frames, frames, strict=True)).mean

    assert run.found.bpp == 8 * sum(len(each.payload) for each in coded) / (3 * 256 * 128)
    assert run.found.ws_psnr_yuv == pytest.approx(expected.ws_psnr_yuv, abs=1e-9)
    assert run.found.ws_psnr_y == pytest.approx(expected.ws_psnr_y, abs=1e-9)
    assert run.found.exact and run.found.seconds > 0
    assert run.found.scene.number == 2
    assert (run.found.scene.source == yuv_to_rgb(clip.frames[-1], clip.info)).all()
    assert (run.found.scene.decoded == yuv_to_rgb(frames[-1], clip.info)).all()


def test_the_model_and_the_random_numbers_stay_as_they_are(run):
    before, after = run.before, run.after
    assert before.modes == after.modes and before.tensors.keys() == after.tensors.keys()
    assert all(torch.equal(value, after.tensors[name]) for name, value in before.tensors.items())
    assert torch.equal(before.random, after.random)


def test_a_run_comes_to_the_same_weights_whether_or_not_it_is_validated(configuration, clips, film, tmp_path):
    weights = []
    for name in ("straight", "validated"):
        trainer = Trainer(load_settings(configuration, []), tmp_path / name, clips, torch.device("cpu"), workers=0)
        for _ in range(3):
            trainer.run(until=0)
            if name == "validated" and trainer.step == 1:
                Validator(film, trainer.folder, nside=64, frames=2)(trainer.model, trainer.step)
        weights.append([p.detach().clone() for p in trainer.model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    assert (tmp_path / "validated" / "validation" / "1.png").exists()


def test_what_is_not_decoded_as_it_was_encoded_is_told(model, film, monkeypatch):
    original = SphereDVC.decode_inter

    def off_by_one_bit(self, payload, references, quality, layer):
        decoded = original(self, payload, references, quality, layer)
        x_hat = decoded.x_hat.clone()
        x_hat[0, 7, 1] = torch.nextafter(x_hat[0, 7, 1], torch.tensor(2.0))
        return decoded._replace(x_hat=x_hat)

    monkeypatch.setattr(SphereDVC, "decode_inter", off_by_one_bit)
    (found,) = validate(model, [read_clip(film, 2)], nside=64, quality=QUALITY)
    assert not found.exact and found.as_dict()["exact"] is False


def signal(rotation: torch.Tensor | None = None) -> torch.Tensor:
    """A texture, or the same turned, in grey: [1, npix, 3]."""
    p = centers(64)
    return texture(p if rotation is None else p @ rotation).expand(-1, -1, 3)


def test_the_motion_and_the_bits_are_those_of_the_bytes(network):
    """The camera's turn and what moves besides; the bits of all nodes are the bytes, but for the ends of both parts."""
    references = References(network.encode_intra(signal(), QUALITY).state)
    payload = network.encode_inter(signal(turn((0.3, -0.2, 1.0), 1.0)), references, QUALITY, 0).payload
    motion, bits = look_into(network, payload, references, QUALITY)
    used = []
    with network.inter.prediction.warp.register_forward_pre_hook(lambda module, given: used.append(given[1])):
        network.decode_inter(payload, references, QUALITY, 0)

    parts = Payload.unpack(payload)
    assert parts.turn is not None and parts.motion and parts.latents
    assert np.allclose(motion, used[0][0].numpy(), rtol=0, atol=1e-7)
    assert bits.shape == (12 * 4**2,)
    assert bits.sum() * 16**2 == pytest.approx(8 * len(parts.motion + parts.latents), rel=1e-3, abs=128)


def test_motion_between_two_pictures_is_that_of_one_frame(network):
    """A film turns by one degree a frame; the picture in the middle lies two frames behind the first one."""
    first, x, second = (signal(turn((0.0, 0.0, 1.0), angle)) for angle in (0.0, 2.0, 4.0))
    states = [network.encode_intra(each, QUALITY).state._replace(x_hat=each) for each in (first, second)]
    references = References(*states, (-2, 2))
    payload = network.encode_inter(x, references, QUALITY, 1).payload
    motion, _ = look_into(network, payload, references, QUALITY, 1)
    before = true_field(turn((0.0, 0.0, 1.0), 1.0), 64).numpy()
    assert np.linalg.norm(before, axis=-1).max() == pytest.approx(np.radians(1.0), rel=1e-3)
    assert np.linalg.norm(motion - before, axis=-1).max() < np.radians(0.1)


def test_bits_of_a_quality_map_count(network):
    """And what is decoded at the map's qualities is read."""
    quality_map = (np.arange(12) % 5 - 2).astype(np.int8)
    intra = network.encode_intra(signal(), QUALITY, quality_map)
    size = len(Payload.unpack(intra.payload).quality_map)
    _, bits = look_into(network, intra.payload, None, QUALITY)
    assert size and bits.sum() * 16**2 == pytest.approx(8 * len(intra.payload), rel=1e-3, abs=128)
    references = References(intra.state)
    inter = network.encode_inter(signal(turn((0.3, -0.2, 1.0), 1.0)), references, QUALITY, 0, quality_map)
    _, bits = look_into(network, inter.payload, references, QUALITY)
    assert bits.sum() * 16**2 == pytest.approx(8 * len(inter.payload), rel=0.02, abs=200)


def test_bits_lie_where_they_are_spent(network):
    """Brighter and darker blocks on one face, and nothing new elsewhere."""
    references = References(network.encode_intra(signal(), QUALITY).state)
    blocks = torch.randn(12 * 4**2, generator=torch.Generator().manual_seed(0)).sign().reshape(12, 4, 4)
    blocks[torch.arange(12) != 5] = 0  # one for each latent node
    x = references.first.x_hat + 0.25 * blocks.repeat_interleave(16, 1).repeat_interleave(16, 2).reshape(1, -1, 1)
    _, bits = look_into(network, network.encode_inter(x, references, QUALITY, 0).payload, references, QUALITY)
    by_face = bits.reshape(12, -1).mean(-1)
    assert by_face.argmax() == 5 and by_face[5] > 1.5 * np.delete(by_face, 5).max()


def test_a_frame_that_repeats_the_one_before_costs_nothing_and_moves_nothing(network):
    references = References(network.encode_intra(signal(), QUALITY).state)
    payload = network.encode_inter(references.first.x_hat, references, QUALITY, 0).payload
    assert len(payload) == 1
    motion, bits = look_into(network, payload, references, QUALITY)
    assert motion.shape == (12 * 64**2, 3) and not motion.any() and not bits.any()


def test_the_picture_is_of_the_last_frame_that_has_something_to_show(model, film, monkeypatch):
    """Where nothing moves, that is the I-frame, with its own bits."""
    first, *_ = read_clip(film, 2).frames
    clip = read_clip(film, 2)._replace(frames=[first, first, first])
    monkeypatch.setattr(
        SphereDVC, "encode_inter", lambda self, x, references, *_: CodedPicture(b"\0", references.repeated())
    )
    (found,) = validate(model, [clip], nside=64, quality=QUALITY)
    scene, payload = found.scene, round(found.bpp * 3 * 256 * 128 / 8) - 2
    assert found.exact and scene.number == 0 and not scene.motion.any()
    assert scene.bits_per_node.sum() * 16**2 == pytest.approx(8 * payload, rel=1e-3, abs=128)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder of five."""
    folder = tmp_path / "films"
    folder.mkdir()
    for name in "ceadb":
        make_film(folder / f"{name}.mkv", frames=3)
    (folder / "notes.txt").write_text("no film")
    return folder


def test_a_line_and_a_picture_each_time(films, model, tmp_path, monkeypatch):
    asked = []

    def found(given, clips, *, nside, quality):
        asked.append((given, [clip.name for clip in clips], [len(clip.frames) for clip in clips], nside, quality))
        return [FOUND, FOUND._replace(bpp=0.375, exact=False)]

    monkeypatch.setattr(validation, "validate", found)
    monkeypatch.setattr(picture, "DPI", 50)
    monkeypatch.setattr(picture, "PIXELS", 100)
    validator = Validator(films, tmp_path / "run", nside=128, frames=2, quality=5)
    entries = [validator(model, step) for step in (7, 7000)]

    assert asked == [(model, ["a.mkv", "c.mkv"], [2, 2], 128, 5)] * 2
    lines = (tmp_path / "run" / "validation.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == entries and [entry["step"] for entry in entries] == [7, 7000]
    clip = {"bpp": 0.125, "ws-psnr-yuv": 34.5, "ws-psnr-y": 33.25, "exact": True, "seconds": 2.0}
    assert entries[0]["clips"] == {"a.mkv": clip, "c.mkv": clip | {"bpp": 0.375, "exact": False}}
    assert entries[0]["mean"] == clip | {"bpp": 0.25, "exact": False}
    pictures = sorted((tmp_path / "run" / "validation").iterdir())
    assert [path.name for path in pictures] == ["7.png", "7000.png"], "all of them, and nothing else"
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_it_is_due_so_long_after_the_last_one(films, model, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "validate", lambda *given, **named: [FOUND] * 2)
    monkeypatch.setattr(validation, "draw", lambda scenes, title: b"")
    # A clock of whole seconds: beside one that has fractions, 600 s later can be a rounding short of 600.
    clock = [7000.0]
    monkeypatch.setattr(validation.time, "monotonic", lambda: clock[0])
    validator = Validator(films, tmp_path, nside=64, minutes=10)
    assert not validator.due(7000) and not validator.due(7590) and validator.due(7600)
    clock[0] = 12000.0
    assert validator.due(12000)
    validator(model, 1)
    assert not validator.due(12590) and validator.due(12600)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clips": "empty"}, "empty holds no films"),
        ({"clips": "nowhere"}, "nowhere is no folder; name one that holds clips"),
        ({"clips": "films/notes.txt"}, "notes.txt"),
        ({"clips": "still.mkv"}, "still.mkv has one frame: a validation needs two or more"),
        ({"nside": 96}, "nside of the validation is 96: expected a multiple of 64"),
        ({"frames": 1}, "frames of the validation are 1: expected 2 or more"),
        ({"quality": 9.0}, "quality 9 is out of range"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_before_the_first_step(films, tmp_path, change, message):
    (tmp_path / "empty").mkdir()
    make_film(tmp_path / "still.mkv", frames=1)
    given = {"clips": "films", "nside": 64} | change
    with pytest.raises(UsageError, match=message) as refused:
        Validator(tmp_path / given.pop("clips"), tmp_path / "run", **given)
    assert "\n" not in str(refused.value) and not (tmp_path / "run").exists()


def test_tensorboard_is_asked_for_in_one_line_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UsageError, match=r'pip install "deepsphere-codec\[train\]"$'):
        validation.tensorboard(tmp_path)


def test_numbers_become_curves(tmp_path, monkeypatch):
    seen = {}

    class Writer:
        def __init__(self, folder: str) -> None:
            assert folder == str(tmp_path)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            seen[name] = value, step

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    entry = {"step": 9, "clips": {"a.mkv": {"bpp": 0.5}}, "mean": {"bpp": 0.25, "exact": True}}
    validation.log(validation.tensorboard(tmp_path), "validation", entry, 9)
    assert seen == {
        "validation/clips/a.mkv/bpp": (0.5, 9),
        "validation/mean/bpp": (0.25, 9),
        "validation/mean/exact": (1.0, 9),
    }
