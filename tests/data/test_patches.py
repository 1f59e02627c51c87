"""Training samples: the same each time, at the right place of the right film, over the seam and at the poles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from support import one_thread

from deepsphere_codec.data.augment import moving_direction
from deepsphere_codec.data.patches import (
    PatchDataset,
    PatchSettings,
    random_block,
    random_rotation,
    sample_film,
    small_rotation,
)
from deepsphere_codec.errors import UsageError
from deepsphere_codec.layers import Warp
from deepsphere_codec.sphere import erp_directions
from deepsphere_codec.sphere.patch import PatchGrid

WIDTH, HEIGHT = 256, 128


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def paint(*planes) -> np.ndarray:
    """One frame [1, 3/2 height, width]: Y, Cb, Cr are functions of direction, in grey levels."""
    full, half = erp_directions(HEIGHT, WIDTH), erp_directions(HEIGHT // 2, WIDTH // 2)
    values = [np.rint(plane(half if i else full)).astype(np.uint8).reshape(-1) for i, plane in enumerate(planes)]
    return np.concatenate(values).reshape(1, -1, WIDTH)


def compass() -> np.ndarray:
    """The direction itself, in three channels: what is sampled tells where it was sampled."""
    return paint(*(lambda d, i=i: 128 + 100 * d[..., i] for i in range(3)))


def read_compass(x: torch.Tensor) -> np.ndarray:
    return (x.numpy().astype(np.float64) * 255 - 128) / 100


@pytest.mark.parametrize("nside, side", [(256, 128), (128, 64), (64, 64), (192, 64)])
def test_blocks_lie_anywhere_on_the_raster(nside, side):
    blocks = {random_block(nside, side, [1, step]) for step in range(1500)}
    assert all(block.x0 % 64 == block.y0 % 64 == 0 and block.side == side for block in blocks)
    assert len(blocks) == 12 * ((nside - side) // 64 + 1) ** 2, "and every place is reached"


def angle(rotation: np.ndarray) -> float:
    return math.degrees(math.acos(min(1.0, (np.trace(rotation) - 1) / 2)))


def save(folder: Path, **films: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for name, film in films.items():
        np.save(folder / f"{name}.npy", film)
    return folder


def numbered(frames: int) -> np.ndarray:
    """Frame n is grey, of level 10 n + 20."""
    return np.stack([np.full((48, 64), 10 * n + 20, np.uint8) for n in range(frames)])


def dataset(folder: Path, batch: int = 2, relocate: int = 3, seed: int = 1, **settings) -> PatchDataset:
    return PatchDataset(folder, PatchSettings(nside=128, side=64, **settings), batch, relocate, seed)


@pytest.fixture
def compasses(tmp_path) -> Path:
    """A film that stands still, and a panorama."""
    return save(tmp_path / "films", film=np.repeat(compass(), 4, 0), photo=compass())


def test_a_sample_is_a_function_of_seed_and_number(compasses):
    first, again, other = (dataset(compasses, seed=seed, frames=2, spin=0.5) for seed in (1, 1, 2))
    forwards = [first[i] for i in range(12)]
    for i in reversed(range(12)):
        x, quality, _ = again[i]
        assert torch.equal(x, forwards[i][0]) and quality == forwards[i][1]
        assert not torch.equal(other[i][0], x) and other[i][1] != quality
    assert len({quality for _, quality, _ in forwards}) == 12
    assert forwards[0][0].shape == (2, 64 * 64, 3)


def test_values_and_qualities_are_in_range(tmp_path):
    rng = np.random.default_rng(3)
    samples = [dataset(save(tmp_path, noise=rng.integers(0, 256, (3, 48, 64), np.uint8)))[i] for i in range(40)]
    x = torch.stack([x for x, *_ in samples])
    assert x.min() > -0.5 and x.max() < 1.5 and x.std() > 0.1, "a cubic overshoots a little"
    qualities = np.array([quality for _, quality, _ in samples])
    assert qualities.min() >= 1 and qualities.max() <= 8 and np.ptp(qualities) > 5


def rotation_of(frame: torch.Tensor, block: PatchGrid) -> np.ndarray:
    """The camera's turn R: what node p shows lies in the direction R p of the film."""
    seen = read_compass(frame)
    u, _, v = np.linalg.svd(seen.T @ block.centers)
    rotation = u @ v
    assert np.linalg.det(rotation) > 0, "turned, not mirrored"
    assert np.abs(seen - block.centers @ rotation.T).mean() < 0.01
    return rotation


def test_the_block_seen_is_the_steps(compasses):
    """Samples of `relocate` steps share a block; each is turned on its own."""
    data = dataset(compasses)
    blocks = [data.block(step) for step in range(30)]
    assert all(blocks[step] == blocks[step - step % 3] for step in range(30)) and len(set(blocks)) > 3
    turns = [rotation_of(data[i][0][0], blocks[i // 2]) for i in range(12)]  # a batch is two samples
    assert min(angle(a.T @ b) for a, b in zip(turns, turns[1:], strict=False)) > 1


@pytest.mark.parametrize("degrees", [1.0, 5.0])
def test_a_spinning_camera_turns_by_the_same_rotation_each_frame(compasses, degrees):
    data = dataset(compasses, frames=4, spin=1.0, spin_degrees=degrees, zoom=1.0, spin_change=0.0)
    angles = []
    for i in range(8):
        turns = [rotation_of(frame, data.block(i // 2)) for frame in data[i][0]]
        steps = [b @ a.T for a, b in zip(turns, turns[1:], strict=False)]
        angles.append(angle(steps[0]))
        assert all(np.allclose(step, steps[0], atol=0.005) for step in steps)
    assert max(angles) <= degrees + 0.3 and max(angles) > degrees / 2


def test_films_do_not_turn_without_spin_but_panoramas_always_do(tmp_path):
    film, photo = save(tmp_path / "a", film=np.repeat(compass(), 3, 0)), save(tmp_path / "b", photo=compass())

    def moving(folder: Path) -> float:
        data = dataset(folder, frames=3, spin=0.0, spin_degrees=4.0)
        return float(np.mean([float((x[1:] - x[:1]).abs().max()) > 1e-3 for x, *_ in (data[i] for i in range(12))]))

    assert moving(film) == 0
    assert moving(photo) > 0.8  # by any angle up to the limit, hence now and then by next to none


def test_the_share_of_spinning_cameras(tmp_path):
    data = dataset(save(tmp_path, film=np.repeat(compass(), 2, 0)), frames=2, spin=0.25, spin_degrees=5.0)
    share = np.mean([not torch.equal(x[0], x[1]) for x, *_ in (data[i] for i in range(120))])
    assert 0.12 < share < 0.4


def test_frames_follow_one_another_forwards_or_backwards_from_anywhere(tmp_path):
    data = dataset(save(tmp_path, film=numbered(9)), frames=3, spin=0.0)
    levels = [tuple(((x[:, 0, 0] * 255 - 20) / 10).round().int().tolist()) for x, *_ in (data[i] for i in range(150))]
    assert all(step == (a, a + 1, a + 2) or step == (a, a - 1, a - 2) for step in levels for a in [step[0]])
    assert {step[0] for step in levels if step[1] > step[0]} == set(range(7))
    assert {step[0] for step in levels if step[1] < step[0]} == set(range(2, 9))


def before(data: PatchDataset, index: int) -> tuple[torch.Tensor, np.ndarray]:
    """The sample as it was drawn before there were guides, gaps, zooms, jitter and mirrors; and its directions."""
    rng, s = np.random.default_rng([data.seed, index]), data.settings
    film = data.films[int(rng.integers(len(data.films)))]
    still = len(film) == 1
    first = 0 if still else int(rng.integers(len(film) - s.frames + 1))
    frames = np.repeat(film[:1], s.frames, 0) if still else film[first : first + s.frames]
    if rng.random() < 0.5:
        frames = frames[::-1]
    turn = random_rotation(rng)
    spin = small_rotation(rng, s.spin_degrees) if still or rng.random() < s.spin else np.eye(3)
    directions = [data.block(index // data.batch).centers @ turn.T]
    for _ in range(s.frames - 1):
        directions.append(directions[-1] @ spin.T)
    assert data[index][1] == float(rng.uniform(1, 8))
    return sample_film(frames, np.stack(directions)), np.stack(directions)


def test_with_all_options_off_samples_are_what_they_were(tmp_path):
    """But for the polar caps, where the film has more columns than there are nodes."""
    rng = np.random.default_rng(3)
    films = {name: rng.integers(0, 256, (n, 96, 128), np.uint8) for name, n in (("a", 6), ("b", 4), ("photo", 1))}
    data = dataset(save(tmp_path, **films), frames=3, spin=0.5, guided=0.0, zoom=1.0, spin_change=0.0)
    for i in range(12):
        x, directions = before(data, i)
        found = data[i][0]
        away = torch.from_numpy(np.abs(directions[..., 2]).max(0) < 0.98)
        assert torch.allclose(found[:, away], x[:, away], atol=1e-3)


def test_an_option_leaves_what_the_others_draw(compasses):
    """So that what one of them is worth can be measured."""
    plain = dataset(compasses, frames=2, guided=0.0)
    for change in (
        {"jitter": 0.2},
        {"fade": 1.0},
        {"mirror": 1.0},
        {"guided": 1.0},
        {"zoom": 1.0},
        {"spin_change": 0.0},
    ):
        other = dataset(compasses, **({"frames": 2, "guided": 0.0} | change))
        for i in range(6):
            a, b = plain.clip(i), other.clip(i)
            assert np.array_equal(a.frames, b.frames) and np.array_equal(a.turn, b.turn) and a.quality == b.quality


def pebbles(d: np.ndarray) -> np.ndarray:
    """Waves of every direction."""
    waves = 20 * np.random.default_rng(3).normal(size=(12, 3))
    return np.clip(128 + 22 * np.sin(d @ waves.T + np.arange(12)).sum(-1), 16, 235)


AXIS = np.array([-0.6, 0.64, 0.48])


@cache
def disc_film() -> np.ndarray:
    """Pebbles that stand still, but for a disc of 12 degrees in which they turn; Cb and Cr say where the disc is."""

    def turning(d: np.ndarray, t: int) -> np.ndarray:
        c, s = math.cos(0.03 * t), math.sin(0.03 * t)
        return pebbles(np.where(within(d)[..., None], d @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), d))

    disc = [lambda d: 255 * within(d)] * 2
    return np.concatenate([paint(lambda d, t=t: turning(d, t), *disc) for t in range(4)])


def within(d: np.ndarray) -> np.ndarray:
    return d @ AXIS > math.cos(math.radians(12))


def test_guided_samples_see_what_moves(tmp_path):
    folder = save(tmp_path / "disc", film=disc_film())

    def seen(guided: float) -> np.ndarray:
        data = dataset(folder, frames=3, spin=0.0, guided=guided)
        return np.array([float(data[i][0][0, :, 1].max()) > 0.5 for i in range(30)])

    always, half, never = (seen(share).mean() for share in (1.0, 0.5, 0.0))
    assert always > 0.9 and never < 0.6 and never < half < always


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_what_moves_lies_anywhere_in_the_patch_and_any_way_up(tmp_path, mirror):
    data = dataset(save(tmp_path, film=disc_film()), frames=3, spin=0.0, guided=1.0, mirror=mirror)
    nodes, tops = [], []
    for i in range(120):
        clip, centers = data.clip(i), data.block(i // 2).centers
        turn = data.turn(clip, i)
        assert np.allclose(turn @ turn.T, np.eye(3)) and np.sign(np.linalg.det(turn)) == (-1 if mirror else 1)
        nearness = centers @ turn.T @ clip.toward
        assert nearness.max() == pytest.approx(1, abs=1e-9), "a node sees it"
        nodes.append(int(nearness.argmax()))
        tops.append(turn @ np.cross(centers[nodes[-1]], [0.0, 0, 1]))
    x, y = np.array(nodes) % 64, np.array(nodes) // 64
    assert max(abs(x.mean() - 31.5), abs(y.mean() - 31.5)) < 7 and min(x.std(), y.std()) > 15
    assert np.abs(np.mean(tops, 0)).max() < 0.2


def test_a_film_in_which_nothing_moves_is_seen_anyhow(tmp_path):
    folder = save(tmp_path, film=np.repeat(disc_film()[:1], 4, 0))
    guided, anyhow = (dataset(folder, frames=3, guided=share) for share in (1.0, 0.0))
    assert moving_direction(guided.films[0], np.random.default_rng(1)) is None
    assert all(torch.equal(guided[i][0], anyhow[i][0]) for i in range(6))


def test_gaps_are_even_and_as_large_as_asked_for_and_as_the_film_has_room(tmp_path):
    data = dataset(save(tmp_path, film=numbered(9)), frames=3, spin=0.0, gap=3)
    levels = [((x[:, 0, 0] * 255 - 20) / 10).round().int().tolist() for x, *_ in (data[i] for i in range(120))]
    assert all(a - b == b - c for a, b, c in levels)
    assert {abs(a - b) for a, b, _ in levels} == {1, 2, 3}
    assert {level for frames in levels for level in frames} == set(range(9)), "from the first frame to the last"
    short = dataset(save(tmp_path / "short", film=numbered(4)), frames=3, gap=5)
    assert {round(abs(float(x[0, 0, 0] - x[1, 0, 0])) * 25.5) for x, *_ in (short[i] for i in range(20))} == {1}


def test_mirrored_samples_are_reflections(compasses):
    data = dataset(compasses, mirror=0.5)
    signs = []
    for i in range(60):
        seen, block = read_compass(data[i][0][0]), data.block(i // 2)
        u, _, v = np.linalg.svd(seen.T @ block.centers)
        assert np.abs(seen - block.centers @ (u @ v).T).mean() < 0.01
        signs.append(np.linalg.det(u @ v))
    assert 0.3 < np.mean(np.array(signs) > 0) < 0.7


def test_jitter_is_the_same_in_all_frames_of_a_sample(compasses):
    plain, jittered = dataset(compasses, frames=3), dataset(compasses, frames=3, jitter=0.2)
    gains = []
    for i in range(6):
        x, y = plain[i][0], jittered[i][0]
        gain, offset = np.polyfit(x[..., 0].flatten(), y[..., 0].flatten(), 1)
        assert torch.allclose(y[..., 0], x[..., 0] * gain + offset, atol=1e-3)
        gains.append(gain)
    assert np.std(gains) > 0.02


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_a_panorama_moves_as_its_true_field_says(tmp_path, mirror):
    """Predicted by it, a frame is what was sampled; by its opposite it is worse than by no motion at all."""
    grey = [lambda d: 128 + 0 * d[..., 0]] * 2
    data = dataset(save(tmp_path, photo=paint(pebbles, *grey)), frames=3, spin_degrees=3.0, zoom=1.03, mirror=mirror)
    for i in range(4):
        x, field = data[i][0], data.true_field(i)
        block = data.block(i // 2)
        warp = Warp(block)
        e_x, e_y = (torch.from_numpy(axis) for axis in block.frame)
        for t in range(2):
            v = (field[t, :, :1] * e_x + field[t, :, 1:] * e_y).float()[None]
            inner = (slice(None), torch.arange(64 * 64).view(64, 64)[8:-8, 8:-8].flatten())
            right, none, wrong = (
                float((warp(x[None, t, :, :1], sign * v) - x[None, t + 1, :, :1])[inner].square().mean())
                for sign in (1, 0, -1)
            )
            assert right < 0.02 * none < wrong
    film = dataset(save(tmp_path / "film", film=numbered(4)), frames=3)
    assert film.true_field(0) is None


def test_every_film_is_used(tmp_path):
    films = {f"film{n}": np.full((2, 48, 64), 40 * n, np.uint8) for n in range(5)}
    data = dataset(save(tmp_path, **films))
    assert {round(float(data[i][0].mean()) * 255 / 40) for i in range(60)} == set(range(5))


def test_films_too_short_are_left_out_and_panoramas_thinned(tmp_path):
    """Chains need movement: at most about one panorama for every six films stays."""
    films = {f"film{n:02}": numbered(4) for n in range(6)} | {"short": numbered(2)}
    photos = {f"photo{n:02}": np.full((1, 48, 64), 200, np.uint8) for n in range(12)}
    folder = save(tmp_path, **films, **photos)
    assert sorted(len(film) for film in dataset(folder, frames=3).films) == [1, *[4] * 6]
    assert len(dataset(folder, frames=1).films) == 19


@pytest.mark.parametrize("films", [{}, {"short": numbered(2)}])
def test_a_folder_without_anything_to_draw_from_is_refused(tmp_path, films):
    with pytest.raises(UsageError, match="holds no prepared film of 3 frames"):
        dataset(save(tmp_path, **films), frames=3)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"side": 100}, "data.side is 100: expected a multiple of 64"),
        ({"nside": 200}, "data.nside is 200: expected a multiple of 64"),
        ({"nside": 64, "side": 128}, "data.side is 128: expected at most data.nside, 64"),
        ({"side": 0}, "data.side is 0: expected greater than 0"),
        ({"nside": -64}, "data.nside is -64: expected greater than 0"),
        ({"frames": 0}, "data.frames is 0: expected greater than 0"),
        ({"frames": True}, "data.frames is True: expected a valid integer"),
        ({"spin": 1.5}, "data.spin is 1.5: expected less than or equal to 1"),
        ({"spin_degrees": -1.0}, "data.spin_degrees is -1.0: expected greater than or equal to 0"),
        ({"guided": 1.5}, "data.guided is 1.5: expected less than or equal to 1"),
        ({"mirror": -0.5}, "data.mirror is -0.5: expected greater than or equal to 0"),
        ({"fade": 2.0}, "data.fade is 2.0: expected less than or equal to 1"),
        ({"gap": 0}, "data.gap is 0: expected greater than 0"),
        ({"zoom": 0.9}, "data.zoom is 0.9: expected greater than or equal to 1"),
        ({"spin_change": -0.1}, "data.spin_change is -0.1: expected greater than or equal to 0"),
        ({"jitter": 1.0}, "data.jitter is 1.0: expected less than 1"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        PatchSettings(**wrong)
