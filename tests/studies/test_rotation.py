"""Films turned on the sphere, the rotations, what is measured under them, and the figure of it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from support import bare_weights, load_script, make_film, make_frame

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.classical import AnchorCodec
from deepsphere_codec.evaluation.anchors.ssf2020.measure import SsfCodec
from deepsphere_codec.evaluation.compare import compare_videos
from deepsphere_codec.evaluation.model import CodingOptions, Identity, ModelCodec
from deepsphere_codec.evaluation.results import Point, is_results_file
from deepsphere_codec.metrics.psnr import ws_psnr_yuv
from deepsphere_codec.sphere import chroma_down, erp_directions, random_rotation, rotation_from_euler
from deepsphere_codec.sphere.rotation import rotation_from_quaternion
from deepsphere_codec.video import YuvFrame, create_video, open_video
from studies.rotation.figure import PANELS, POLE, WHOLE, dots_of, plot_rotations
from studies.rotation.film import FrameRotation, rotate_film, rotate_plane
from studies.rotation.measure import RotationOptions, clips_of, measure_rotations, neighbours_of
from studies.rotation.results import (
    ClipRotations,
    CodecRotations,
    RotationResults,
    read_rotations,
    rotations_from_json,
    rotations_to_json,
    write_rotations,
)
from studies.rotation.set import (
    IDENTITY,
    NORTH,
    SLIGHT,
    SOUTH,
    busiest_direction,
    lon_lat_deg,
    quaternion_of,
    rotation_set,
)
from studies.rotation.summary import (
    Neighbour,
    RotationPoint,
    equal_rate,
    mean_summary,
    slope_of,
    spread_table,
    summarise,
)

ROOT = Path(__file__).resolve().parents[2]
SSF = "planar-ssf2020"
EYE = torch.eye(3, dtype=torch.float64)
SOMEHOW = random_rotation(torch.Generator().manual_seed(3))


@pytest.fixture
def script() -> ModuleType:
    return load_script("studies/rotation")


def noise_frame(width: int = 64, height: int = 32, seed: int = 0) -> YuvFrame:
    rng = np.random.default_rng(seed)
    half = (height // 2, width // 2)
    return YuvFrame(*(rng.integers(0, 256, size, dtype=np.uint8) for size in ((height, width), half, half)))


# -- films


def test_no_rotation_keeps_every_bit() -> None:
    frame = noise_frame()
    for plane, same in zip(frame, FrameRotation(32, 64, EYE).apply(frame), strict=True):
        assert np.array_equal(plane, same)


def test_a_quarter_turn_of_yaw_moves_columns() -> None:
    frame = noise_frame()
    turned = FrameRotation(32, 64, rotation_from_euler(math.pi / 2, 0, 0)).apply(frame)
    for plane, moved in zip(frame, turned, strict=True):
        assert np.array_equal(np.roll(plane, plane.shape[1] // 4, axis=1), moved)


def test_there_and_back_a_smooth_film_is_what_it_was() -> None:
    frame = make_frame(128, 64)
    turned = FrameRotation(64, 128, SOMEHOW).apply(frame)
    assert ws_psnr_yuv(frame, turned) < 20
    assert ws_psnr_yuv(frame, FrameRotation(64, 128, SOMEHOW.T).apply(turned)) > 50


@pytest.mark.parametrize("shape", [(64, 128), (32, 64)])
def test_what_is_seen_in_a_direction_comes_to_where_the_rotation_takes_it(shape: tuple[int, int]) -> None:
    directions, a = erp_directions(*shape), np.array([40.0, -60.0, 80.0])
    turned = rotate_plane(directions @ a + 120, SOMEHOW)
    expected = directions @ SOMEHOW.numpy() @ a + 120  # f(R^-1 d)
    assert np.abs(turned - expected).max() < 2e-3


def test_chroma_sits_in_the_middle_of_its_pixels() -> None:
    a = np.array([40.0, -60.0, 80.0])
    luma = erp_directions(128, 256) @ a + 120
    turned = rotate_plane(chroma_down(torch.from_numpy(luma)).numpy(), SOMEHOW)
    whole = rotate_plane(luma, SOMEHOW)
    # the mean of 2 x 2 pixels is a little less than their middle: (pi / 256)^2 / 4 of 100; half a pixel off is 0.6
    assert np.abs(turned - chroma_down(torch.from_numpy(whole)).numpy()).max() < 0.02


def test_a_film_is_turned_frame_by_frame(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", frames=4)
    rotate_film(film, tmp_path / "turned.mkv", SOMEHOW, frames=3)
    with open_video(film) as source, open_video(tmp_path / "turned.mkv") as result:
        assert result.info._replace(frames=None) == source.info._replace(frames=None)
        frames = list(result)
        assert len(frames) == 3
        for frame, turned in zip(source, frames, strict=False):
            assert np.array_equal(FrameRotation(32, 64, SOMEHOW).apply(frame).y, turned.y)


# -- rotations


def patch_film(lon_deg: float, lat_deg: float, *, still: bool, width: int = 256) -> list[YuvFrame]:
    """Grey, with a disc of 8 degrees of noise that stays (`still`), or of one grey that changes."""
    middle = rotation_from_euler(math.radians(lon_deg), math.radians(lat_deg), 0)[:, 0].numpy()
    disc = erp_directions(width // 2, width) @ middle > math.cos(math.radians(8))
    frames = []
    for number in range(3):
        frame = noise_frame(width, width // 2, seed=0)
        value = frame.y if still else np.uint8(60 + 80 * (number % 2))
        frames.append(frame._replace(y=np.where(disc, value, np.uint8(100))))
    return frames


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize(("lon", "lat"), [(75.0, -20.0), (-179.0, 5.0), (30.0, 70.0)])
def test_the_busiest_region_is_found_and_comes_to_the_poles(lon: float, lat: float, still: bool) -> None:
    frames = patch_film(lon, lat, still=still)
    busiest = busiest_direction(frames)
    expected = rotation_from_euler(math.radians(lon), math.radians(lat), 0)[:, 0].numpy()
    assert math.degrees(math.acos(busiest @ expected)) < 11  # it is known to half a cell's diagonal
    turns = {turn.label: turn.rotation for turn in rotation_set(4, busiest)}
    for label, z in ((NORTH, 1.0), (SOUTH, -1.0)):
        assert np.allclose(turns[label].numpy() @ busiest, [0, 0, z], atol=1e-12)
        turned = [FrameRotation(128, 256, turns[label]).apply(frame).y.astype(float) for frame in frames]
        activity = np.abs(np.diff(turned[0], axis=1, prepend=0)) + np.abs(turned[1] - turned[0])
        rows = activity[:, 1:].mean(axis=1)[:: int(z)]
        assert rows[:16].mean() > 10 * rows[64:].mean() + 1


def test_activity_counts_by_solid_angle() -> None:
    (frame, *_) = patch_film(10, 0, still=True)
    frame.y[:3] = noise_frame(256, 128, seed=1).y[:3]  # more pixels than the disc has, on a cap of 4 degrees
    assert abs(lon_lat_deg(busiest_direction([frame]))[1]) < 15


def test_the_rotations_are_distinct_and_the_same_again() -> None:
    busiest = np.array([0.6, 0.0, 0.8])
    turns = rotation_set(24, busiest, seed=1)
    stack = torch.stack([turn.rotation for turn in turns])
    torch.testing.assert_close(stack @ stack.mT, EYE.expand_as(stack), rtol=0, atol=1e-13)
    assert (torch.linalg.det(stack) - 1).abs().max() < 1e-13
    assert torch.equal(stack[0], EYE) and turns[0].label == IDENTITY
    cosines = ((stack[:, None] * stack[None]).sum((-1, -2)) - 1) / 2 - 2 * torch.eye(24)
    assert math.degrees(math.acos(cosines.max())) > 0.9  # the slight turn is 1 degree away from none
    assert math.degrees(math.acos(cosines[6:, 6:].max())) > 45  # the even set's own
    assert len({turn.label for turn in turns}) == 24
    again, other = rotation_set(24, busiest, seed=1), rotation_set(24, busiest, seed=2)
    assert all(torch.equal(a.rotation, b.rotation) for a, b in zip(turns, again, strict=True))
    same = [torch.equal(a.rotation, b.rotation) for a, b in zip(turns, other, strict=True)]
    assert same == [True] * 6 + [False] * 18


def test_few_rotations_are_the_first_named_ones() -> None:
    assert [turn.label for turn in rotation_set(3, np.array([1.0, 0, 0]))] == [IDENTITY, SLIGHT, NORTH]
    with pytest.raises(UsageError, match="0 rotations are too few"):
        rotation_set(0, np.array([1.0, 0, 0]))


def test_quaternions_lead_back() -> None:
    for turn in rotation_set(24, np.array([0.0, 0.0, 1.0])):
        quaternion = quaternion_of(turn.rotation)
        assert quaternion[0] >= 0 and math.isclose(math.hypot(*quaternion), 1)
        back = rotation_from_quaternion(torch.tensor(quaternion, dtype=torch.float64))
        torch.testing.assert_close(back, turn.rotation, rtol=0, atol=1e-12)


# -- measuring


class FakeCodec:
    """Makes a film brighter by as many grey levels as its quality says, and takes that many tenths of bits."""

    name = "fake codec"

    def __init__(self, codec: str = "fake", fails_at: int = 99, **settings: object) -> None:
        self.codec = codec
        self.settings = settings
        self.calls: list[str] = []
        self._fails_at = fails_at

    def measure(self, clip: Path, quality: float, *, keep: Path | None = None) -> Point:
        self.calls.append(clip.name)
        if len(self.calls) == self._fails_at:
            raise UsageError("it is broken")
        level = np.uint8(quality)
        if keep:
            with open_video(clip) as source, create_video(keep, source.info) as writer:
                for frame in source:
                    writer.write(YuvFrame(*(plane + level for plane in frame)))
        decibels = 20 * math.log10(255 / quality)
        return Point(quality, quality / 10, decibels, decibels)


OPTIONS = RotationOptions(frames=2, rotations=3)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_film(tmp_path / "film.mkv", frames=4)


def test_figures_are_those_of_the_film_turned_back(clip: Path, tmp_path: Path) -> None:
    results = measure_rotations({"fake": (FakeCodec(), 2.0)}, [clip], tmp_path / "r.json", OPTIONS)
    found = results.codecs["fake"].clips["film.mkv"]
    assert [each.label for each in found.rotations] == [IDENTITY, SLIGHT, NORTH]
    assert [each.quality for each in found.neighbours] == [1.0, 3.0]
    for point in found.rotations:
        assert point.bpp == 0.2
        assert point.ws_psnr_yuv == pytest.approx(20 * math.log10(255 / 2), abs=0.3)  # 2 levels more are 2 turned back
        assert point.rotated_ws_psnr_yuv == pytest.approx(20 * math.log10(255 / 2))
    loss = [each.resampling_ws_psnr_yuv for each in found.rotations]
    assert loss[0] == 100 and 45 < loss[1] < 65
    assert read_rotations(tmp_path / "r.json") == results


def test_a_broken_run_goes_on_where_it_was(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    seen: list[str] = []
    codecs = {"one": (FakeCodec("one"), 2.0), "two": (FakeCodec("two", fails_at=4), 2.0)}
    with pytest.raises(UsageError, match="it is broken"):
        measure_rotations(codecs, [clip], out, OPTIONS)
    again = {"one": (FakeCodec("one"), 2.0), "two": (FakeCodec("two"), 2.0)}
    results = measure_rotations(
        again, [clip], out, OPTIONS, on_point=lambda each: seen.append(f"{each.codec} {each.clip} {each.done}")
    )
    assert (len(again["one"][0].calls), len(again["two"][0].calls)) == (1, 2)
    assert seen[0] == f"two film.mkv ({SLIGHT}) 1" and len(seen) == 3
    whole = measure_rotations(
        {"one": (FakeCodec("one"), 2.0), "two": (FakeCodec("two"), 2.0)}, [clip], tmp_path / "whole.json", OPTIONS
    )
    assert results == whole and out.read_text() == (tmp_path / "whole.json").read_text()
    assert list(tmp_path.rglob("*.part")) == []


def test_other_settings_are_refused_and_other_weights_measured_anew(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    measure_rotations({"a": (FakeCodec("a", weights_hash="old"), 2.0)}, [clip], out, OPTIONS)
    before = out.read_bytes()
    for codecs, options, message in (
        ({"a": (FakeCodec("a", weights_hash="old"), 2.0)}, OPTIONS._replace(seed=1), "has seed 0, not 1"),
        ({"a": (FakeCodec("a", weights_hash="old"), 3.0)}, OPTIONS, "r.json: a has quality 2.0, not 3.0"),
        ({"a": (FakeCodec("a", gop=8), 2.0)}, OPTIONS, "a has gop None, not 8; name another --out"),
    ):
        with pytest.raises(UsageError, match=message):
            measure_rotations(codecs, [clip], out, options)
    assert out.read_bytes() == before
    new, other = FakeCodec("a", weights_hash="new"), FakeCodec("b")
    results = measure_rotations({"a": (new, 2.0), "b": (other, 5.0)}, [clip], out, OPTIONS)
    assert len(new.calls) == len(other.calls) == 5
    assert [len(codec.clips["film.mkv"].rotations) for codec in results.codecs.values()] == [3, 3]


def test_another_film_of_the_same_name_is_measured_anew(clip: Path, tmp_path: Path) -> None:
    out, codec = tmp_path / "r.json", FakeCodec()
    measure_rotations({"fake": (codec, 2.0)}, [clip], out, OPTIONS)
    turned = tmp_path / "other" / "film.mkv"
    turned.parent.mkdir()
    rotate_film(clip, turned, rotation_from_euler(2.0, 0.5, 1.0))
    results = measure_rotations({"fake": (codec, 2.0)}, [turned], out, OPTIONS)
    assert len(codec.calls) == 10 and len(results.codecs["fake"].clips["film.mkv"].rotations) == 3


def test_x265_under_rotations(tmp_path: Path) -> None:
    clip = make_film(tmp_path / "film.mkv", width=128, height=64, frames=3)
    codec = AnchorCodec("x265", 2)
    results = measure_rotations({"x265": (codec, 28.0)}, [clip], tmp_path / "r.json", RotationOptions(2, 3))
    found = results.codecs["x265"].clips["film.mkv"]
    identity, _, pole = found.rotations
    assert identity.rotated_ws_psnr_yuv == identity.ws_psnr_yuv
    point = codec.measure(clip, 28.0)
    assert (identity.bpp, identity.ws_psnr_yuv) == (point.bpp, point.ws_psnr_yuv)  # of the film as it was
    assert abs(pole.ws_psnr_yuv - identity.ws_psnr_yuv) < 6 and pole.bpp > 0
    assert [each.quality for each in found.neighbours] == [25.0, 31.0]
    assert found.slope and found.slope > 0


def test_an_anchor_leaves_its_decoded_film(tmp_path: Path) -> None:
    clip = make_film(tmp_path / "film.mkv", width=128, height=64, frames=4)
    point = AnchorCodec("x265", 3).measure(clip, 30, keep=tmp_path / "kept.mkv")
    kept = compare_videos(clip, tmp_path / "kept.mkv", frames=(0, 3))
    assert (kept.frames, kept.mean.ws_psnr_yuv) == (3, point.ws_psnr_yuv)


STAND_IN = """
import json, sys
from pathlib import Path
command, *rest = sys.argv[1:]
if command == "decode":
    Path(rest[1]).write_bytes(Path(rest[0]).read_bytes())
elif command == "encode":
    Path(rest[1]).write_bytes(Path(rest[0]).read_bytes())
print(json.dumps({"width": 64, "height": 32, "encode_seconds": 1.0, "decode_seconds": 1.0}))
"""


def test_a_model_leaves_its_decoded_film(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    command = (sys.executable, str(tmp_path / "stand_in.py"))
    codec = ModelCodec("m", Identity("m", "", ""), CodingOptions(), command)
    point = codec.measure(clip, 3.0, keep=tmp_path / "kept.mkv")
    assert point.ws_psnr_yuv == 100
    assert (tmp_path / "kept.mkv").read_bytes() == clip.read_bytes()


def test_neighbouring_qualities_stay_in_range() -> None:
    x265, x264, model = (FakeCodec(name) for name in ("x265", "x264", "sphere-dvc"))
    assert neighbours_of(x265, 33.0) == (30.0, 36.0) and neighbours_of(x264, 1.0) == (0.0, 4.0)
    assert neighbours_of(model, 4.0) == (3.0, 5.0) and neighbours_of(model, 8.0) == (7.0, 8.0)


def test_clips_are_films_and_folders_of_them(clip: Path, tmp_path: Path) -> None:
    other = make_film(tmp_path / "more" / "b.y4m") if (tmp_path / "more").mkdir() is None else clip
    assert clips_of([clip, tmp_path / "more"]) == [clip, other]
    with pytest.raises(UsageError, match="two clips are called film.mkv"):
        clips_of([clip, clip])
    with pytest.raises(UsageError, match="nothing.mp4 does not exist"):
        clips_of([clip, tmp_path / "nothing.mp4"])


# -- summaries, JSON, figure


def point(label: str, bpp: float, decibels: float, rotated: float = 30.0, loss: float = 50.0) -> RotationPoint:
    return RotationPoint(label, (1.0, 0.0, 0.0, 0.0), bpp, decibels, decibels, rotated, rotated, loss)


POINTS = (
    point(IDENTITY, 0.1, 36.0, 36.0, 100.0),
    point(NORTH, 0.2, 37.0, 36.5),
    point(SOUTH, 0.05, 33.5, 33.0),
)
NEIGHBOURS = (Neighbour(3.0, 0.05, 34.0), Neighbour(5.0, 0.2, 38.0))


def test_spreads_by_hand() -> None:
    assert slope_of(NEIGHBOURS) == pytest.approx(2.0) and slope_of(NEIGHBOURS[::-1]) == pytest.approx(2.0)
    assert slope_of(NEIGHBOURS[:1]) is None and slope_of([NEIGHBOURS[0]] * 2) is None
    assert equal_rate(POINTS, 2.0) == pytest.approx([36.0, 35.0, 35.5])
    everything, resampled = summarise(POINTS, 2.0)
    assert everything and resampled and (everything.count, resampled.count) == (3, 2)
    assert everything.ws_psnr_yuv_mean == pytest.approx(35.5)
    assert everything.ws_psnr_yuv_spread == pytest.approx(3.5)
    assert everything.ws_psnr_yuv_std == pytest.approx(math.sqrt((0.25 + 2.25 + 4) / 2))
    assert everything.rotated_ws_psnr_yuv_spread == pytest.approx(3.5)
    assert everything.bpp_mean == pytest.approx(0.35 / 3)
    assert everything.bpp_spread == pytest.approx(0.15 / (0.35 / 3))
    assert everything.equal_rate_spread == pytest.approx(1.0) and everything.equal_rate_std == pytest.approx(0.5)
    assert resampled.bpp_spread == pytest.approx(0.15 / 0.125) and resampled.equal_rate_spread == pytest.approx(0.5)
    alone, none = summarise(POINTS[:1], None)
    assert alone and (alone.ws_psnr_yuv_std, alone.equal_rate_std) == (0, None) and none is None


def test_summaries_are_means_over_clips() -> None:
    other = tuple(replace(each, bpp=1.0) for each in POINTS)
    mean = mean_summary([summarise(POINTS, 2.0), summarise(other, None), summarise((), None)])
    assert mean.all and mean.all.bpp_spread == pytest.approx(0.15 / (0.35 / 3) / 2)
    assert mean.all.equal_rate_spread is None  # one clip has none
    assert mean_summary([]) == (None, None)


def made_up() -> RotationResults:
    clips = {name: ClipRotations((10.0, 20.0), NEIGHBOURS, POINTS) for name in ("a.mp4", "b.mp4")}
    codecs = {
        "x265": CodecRotations("x265 medium", 33.0, {"frames": 2}, clips),
        "sphere-dvc": CodecRotations("sphere-dvc", 4.0, {"frames": 2}, clips),
    }
    return RotationResults({"frames": 2, "rotations": 3, "seed": 0}, codecs, {"torch": "x"})


def test_the_json_is_what_is_promised(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rotation.json"
    write_rotations(path, made_up())
    assert read_rotations(path) == made_up()
    assert not is_results_file(path)  # so that plot_rd.py passes it over
    data = json.loads(path.read_text())
    assert list(data) == ["name", "description", "settings", "codecs", "environment"] and data["name"] == "rotation"
    codec = data["codecs"]["sphere-dvc"]
    assert list(codec) == ["name", "quality", "settings", "clips", "summary"]
    clip = codec["clips"]["a.mp4"]
    assert list(clip) == ["busiest", "neighbours", "rotations", "slope", "summary"] and clip["slope"] == pytest.approx(
        2
    )
    assert clip["rotations"][1] == {
        "label": NORTH,
        "quaternion": [1.0, 0.0, 0.0, 0.0],
        "bpp": 0.2,
        "ws-psnr-yuv": 37.0,
        "ws-psnr-y": 37.0,
        "rotated-ws-psnr-yuv": 36.5,
        "rotated-ws-psnr-y": 36.5,
        "resampling-ws-psnr-yuv": 50.0,
    }
    assert codec["summary"]["all"]["ws-psnr-yuv-spread"] == pytest.approx(3.5)
    assert codec["summary"]["resampled"]["count"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "sphere-dvc"}, "r.json: its name is not 'rotation'"),
        ({"codecs": []}, "'codecs' is missing or of the wrong kind"),
        ({"codecs": {"a": {"clips": {"b": {"busiest": [1]}}}}}, "r.json: a, b: 'busiest' is missing or of the wrong"),
        ({"codecs": {"a": {"clips": {}, "quality": True}}}, "r.json: a: 'quality' is True"),
    ],
)
def test_what_is_no_such_file_is_refused(change: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rotations_from_json(rotations_to_json(made_up()) | change, "r.json")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text("{")
    for name, message in (("none.json", "none.json: No such file"), ("cut.json", "cut.json is no JSON file")):
        with pytest.raises(UsageError, match=message):
            read_rotations(tmp_path / name)


def test_the_table_names_every_codec() -> None:
    text = spread_table({name: codec.summary for name, codec in made_up().codecs.items()})
    assert len(text.splitlines()) == 6 and "3.50 / 1.80" in text and "1.00 / 0.50" in text


def test_the_figure_comes_from_the_json_and_is_the_same_again(tmp_path: Path) -> None:
    write_rotations(tmp_path / "r.json", made_up())
    for name in ("new/a.svg", "b.svg", "c.png"):
        plot_rotations(read_rotations(tmp_path / "r.json"), tmp_path / name)
    text = (tmp_path / "b.svg").read_text()
    assert text == (tmp_path / "new" / "a.svg").read_text()
    for part in (
        "sphere-dvc",
        "x265 medium",
        "crf 33",
        "quality 4",
        "spread 3.50 dB",
        "spread 0.50 dB",
        "change from the film as it is (2 clips)",
    ):
        assert part in text
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_changes_are_from_the_slight_turn_where_there_is_one(tmp_path: Path) -> None:
    points = (*POINTS, point(SLIGHT, 0.1, 36.5))
    clip = ClipRotations((0.0, 0.0), NEIGHBOURS, points)
    results = RotationResults({}, {"x265": CodecRotations("x265 medium", 33.0, {}, {"a.mp4": clip})})
    plot_rotations(results, tmp_path / "r.svg")
    assert "change from a turn of 1° (a)" in (tmp_path / "r.svg").read_text()
    changes = [(dot.mark, dot.change) for dot in dots_of(clip, PANELS[0])]
    assert changes == [(WHOLE, -0.5), (POLE, 0.5), (POLE, -3.0)]


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ends in neither .svg nor .png"):
        plot_rotations(made_up(), tmp_path / "r.pdf")
    with pytest.raises(UsageError, match="nothing to draw"):
        plot_rotations(RotationResults({}), tmp_path / "r.svg")


def test_a_figure_without_slopes_leaves_their_panel_empty(tmp_path: Path) -> None:
    bare = CodecRotations("x265 medium", 33.0, {}, {"a.mp4": ClipRotations((0.0, 0.0), (), POINTS)})
    plot_rotations(RotationResults({}, {"x265": bare}), tmp_path / "r.svg")
    assert (tmp_path / "r.svg").read_text().count("spread ") == 2


# -- the script


def test_a_missing_clip_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    line = [
        sys.executable,
        "-m",
        "studies.rotation",
        "--codec",
        "x265",
        "--clips",
        "none.mp4",
        "--out",
        str(tmp_path / "r.json"),
    ]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 2
    assert done.stderr == "error: none.mp4 does not exist; name clips, or folders of clips\n"
    assert not (tmp_path / "r.json").exists()


def test_the_script_measures_prints_and_draws(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_film(tmp_path / "film.mkv", width=128, height=64, frames=2)
    line = ["x", "--codec", "x265", "--rotations", "2", "--frames", "2", "--quality", "x265=30"]
    files = ["--out", str(tmp_path / "r.json"), "--figure", str(tmp_path / "r.svg")]
    monkeypatch.setattr(sys, "argv", [*line, *files, "--clips", str(clip)])
    script.main()
    first = capsys.readouterr()
    assert "[4/4] x265 film.mkv (slight turn, 1°)" in first.err and "x265" in first.out
    assert json.loads((tmp_path / "r.json").read_text())["codecs"]["x265"]["quality"] == 30
    before = (tmp_path / "r.svg").read_text()
    monkeypatch.setattr(sys, "argv", ["x", *files])  # nothing is measured
    script.main()
    assert capsys.readouterr().out == first.out and (tmp_path / "r.svg").read_text() == before


def test_qualities_of_the_codecs(script: ModuleType, tmp_path: Path) -> None:
    bare_weights(tmp_path, (1, 3, 7))
    codecs = {name: FakeCodec(name) for name in ("sphere-dvc", "x265", "svtav1")} | {SSF: SsfCodec(tmp_path)}
    usual = {"sphere-dvc": 4, "x265": 33, "svtav1": 50, SSF: 3}
    assert script.qualities(codecs, []) == usual
    asked = ["x265=28", "sphere-dvc=2.5", f"{SSF}=7"]
    assert script.qualities(codecs, asked) == usual | {"x265": 28, "sphere-dvc": 2.5, SSF: 7}
    for wrong, message in (
        ("x264=28", f"--quality x264=28 names none of sphere-dvc, x265, svtav1, {SSF}"),
        ("28", "names none of"),
        ("x265=much", "ends in no number"),
        ("sphere-dvc=9", "quality 9 is out of range"),
        (f"{SSF}=4", f"{SSF} has no weights of quality 4; it has 1, 3, 7"),
    ):
        with pytest.raises(UsageError, match=message):
            script.qualities(codecs, [wrong])
