"""Look-ahead: where cuts are found and where not, and which groups are chosen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from support import FakeModel, make_frame, one_thread

from deepsphere_codec.bitstream import StreamReader
from deepsphere_codec.data.synthetic import synthetic_film
from deepsphere_codec.films import encode_video
from deepsphere_codec.gop.grouping import Group, Grouping, groups_of
from deepsphere_codec.gop.lookahead import (
    FLASH,
    ContentLookahead,
    Lookahead,
    LowDelay,
    SmallPicture,
    is_cut,
    small_picture,
)
from deepsphere_codec.video import TimedFrame, VideoInfo, YuvFrame, create_video, open_video

WIDTH, HEIGHT = 256, 128
LENGTHS = (13, 9, 18)
"""Frames of the scenes of a film of three."""
CUTS = [13, 22]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def scenes() -> list[YuvFrame]:
    """Three scenes that move, each another picture."""
    starts = [synthetic_film(WIDTH, HEIGHT, 40), map(mirrored, synthetic_film(WIDTH, HEIGHT, 40)), clouds(40)]
    return [
        frame
        for film, length in zip(starts, LENGTHS, strict=True)
        for frame, _ in zip(film, range(length), strict=False)
    ]


def mirrored(frame: YuvFrame) -> YuvFrame:
    """Upside down and negative."""
    return YuvFrame(*(255 - plane[::-1].copy() for plane in frame))


def clouds(count: int) -> Iterator[YuvFrame]:
    """Soft noise that turns by three columns a frame."""
    noise = np.random.default_rng(5).integers(0, 255, (HEIGHT // 8, WIDTH // 8)).repeat(8, 0).repeat(8, 1)
    for number in range(count):
        y = np.roll(noise, 3 * number, 1).astype(np.uint8)
        yield YuvFrame(y, *(np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8) for _ in "uv"))


def groups(frames: Sequence[YuvFrame], lookahead: Lookahead | None = None, gop_size: int = 32) -> list[Group]:
    timed = [TimedFrame(frame, number) for number, frame in enumerate(frames)]
    return list(groups_of(timed, Grouping(gop_size, lookahead or ContentLookahead())))


def keys(found: Sequence[Group]) -> list[int]:
    """Numbers of the I-frames."""
    return [group.frames[0].pts for group in found if group.is_key]


def spans(found: Sequence[Group]) -> list[int]:
    return [len(group.frames) for group in found if not group.is_key]


def looks(frames: Sequence[YuvFrame]) -> list[SmallPicture]:
    return [small_picture(frame) for frame in frames]


# Cuts


@pytest.mark.parametrize("lookahead", [ContentLookahead(), LowDelay()], ids=["look-ahead", "low delay"])
def test_a_cut_begins_a_gop(lookahead: Lookahead, scenes: list[YuvFrame]) -> None:
    found = groups(scenes, lookahead)
    assert keys(found) == [0, *CUTS]
    assert [frame.pts for group in found for frame in group.frames] == list(range(sum(LENGTHS)))
    if isinstance(lookahead, LowDelay):
        assert set(spans(found)) == {1}


def test_the_longest_gop_counts_from_the_cut(scenes: list[YuvFrame]) -> None:
    assert keys(groups(scenes, gop_size=10)) == [0, 10, 13, 22, 32]
    assert keys(groups(scenes, gop_size=1)) == list(range(len(scenes)))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_film_of_three_scenes_is_coded_in_three_gops(workers: int, scenes: list[YuvFrame], tmp_path: Path) -> None:
    """Divided in the first process, whoever codes."""
    with create_video(tmp_path / "film.mkv", VideoInfo(WIDTH, HEIGHT, Fraction(25), None, False, "bt709")) as writer:
        for frame in scenes:
            writer.write(frame)
    encode_video(tmp_path / "film.mkv", tmp_path / "film.dsc", model=FakeModel(), nside=16, workers=workers)
    with StreamReader(tmp_path / "film.dsc") as stream:
        frames = list(stream.frames())
    assert [frame.number for frame in frames if frame.kind == "I"] == [0, *CUTS]
    assert [frame.position.span for frame in frames if frame.kind == "P"] == spans(groups(scenes))


def test_a_gop_is_divided_alike_wherever_one_begins_to_look(scenes: list[YuvFrame]) -> None:
    """So an encode that goes on at an I-frame comes to the same bytes."""
    whole = groups(scenes, gop_size=7)
    for key in keys(whole)[1:]:
        behind = groups(scenes[key:], gop_size=7)
        assert [frame.pts + key for group in behind for frame in group.frames][0] == key
        start = next(i for i, group in enumerate(whole) if group.frames[0].pts == key)
        assert [len(group.frames) for group in whole[start:]] == [len(group.frames) for group in behind]


@pytest.mark.parametrize("length", range(1, FLASH + 1))
def test_a_flash_is_no_cut(length: int, scenes: list[YuvFrame]) -> None:
    frames = scenes[:12]
    for number in range(5, 5 + length):
        frames[number] = scenes[CUTS[1] + number]
    assert keys(groups(frames)) == [0]


def test_fades_and_fast_turns_are_no_cuts(scenes: list[YuvFrame]) -> None:
    fade = [YuvFrame((frame.y * (1 - n / 12)).astype(np.uint8), *frame[1:]) for n, frame in enumerate(scenes[:12])]
    turn = [YuvFrame(*(np.roll(plane, n * plane.shape[1] // 16, 1) for plane in scenes[0])) for n in range(12)]
    assert keys(groups(fade)) == keys(groups(turn)) == [0]


def test_no_clip_holds_a_cut(footage: Path) -> None:
    _check_no_cuts(footage / "test" / "video")


@pytest.mark.slow
def test_no_clip_for_training_holds_a_cut(footage: Path) -> None:
    _check_no_cuts(footage / "train" / "video")


def _check_no_cuts(folder: Path) -> None:
    clips = sorted(folder.glob("*.mp4"))
    assert clips
    for clip in clips:
        with open_video(clip) as reader:
            pictures = looks(list(reader))
        assert not [i for i in range(len(pictures) - 1) if is_cut([pictures[i]], [pictures[i + 1]])], clip.name


def test_most_cuts_between_clips_are_found(footage: Path) -> None:
    first = []
    for clip in sorted((footage / "test" / "video").glob("*_clip01.mp4")):
        with open_video(clip, frames=(0, 1)) as reader:
            first.append(small_picture(next(reader)))
    pairs = [(a, b) for a in range(len(first)) for b in range(len(first)) if a != b]
    found = [is_cut([first[a]], [first[b]]) for a, b in pairs if {a, b} != {0, 1}]  # the two eyes of one film
    assert sum(found) > 0.9 * len(found)


# Groups


def test_a_film_that_stands_still_is_coded_frame_by_frame() -> None:
    """Each frame repeats the one before it, which costs a byte in any order."""
    assert set(spans(groups([make_frame(WIDTH, HEIGHT)] * 20))) == {1}


def test_noise_over_a_place_that_stands_still_is_coded_in_long_groups() -> None:
    """The mean of two references has half of the noise."""
    generator = np.random.default_rng(3)
    y = next(synthetic_film(WIDTH, HEIGHT, 1)).y // 2
    noisy = [make_frame(WIDTH, HEIGHT)._replace(y=y + generator.integers(0, 9, y.shape, np.uint8)) for _ in range(17)]
    assert spans(groups(noisy)) == [8, 8]


def test_every_frame_is_in_one_group_whatever_the_length(scenes: list[YuvFrame]) -> None:
    for count in range(1, 20):
        found = groups(scenes[:count], gop_size=12)
        assert [frame.pts for group in found for frame in group.frames] == list(range(count))
        assert set(spans(found)) <= {1, 2, 4, 8}


@pytest.mark.parametrize(
    ("clip", "longest"), [("x360station_clip01", 8), ("diver_clip01", 8), ("overpass_clip01", 2), ("plaza_clip02", 2)]
)
def test_groups_are_as_long_as_they_pay(clip: str, longest: int, footage: Path) -> None:
    """Measured with a codec: groups of 4 and 8 save a fifth of the bits on the first two, and none on the others."""
    with open_video(footage / "test" / "video" / f"{clip}.mp4", frames=(0, 33)) as reader:
        found = spans(groups(list(reader), gop_size=33))
    mean = sum(found) / len(found)
    assert mean > 3.5 if longest == 8 else mean < 2


def test_films_of_any_size_are_looked_at() -> None:
    for width, height in ((8, 4), (12, 8), (64, 32), (100, 50), (256, 144), (1000, 500), (1920, 960)):
        look = small_picture(make_frame(width, height))
        assert look.fine.shape[0] % 8 == look.fine.shape[1] % 8 == 0 and look.fine.shape[1] <= 128
        assert not is_cut([look], [small_picture(make_frame(width, height, 1))])


def test_looking_ahead_takes_little_time(scenes: list[YuvFrame]) -> None:
    """30 ms a frame of 1024x512 on one thread, on a machine that does nothing else; here twice that."""
    frames = [YuvFrame(*(plane.repeat(4, 0).repeat(4, 1) for plane in frame)) for frame in scenes[:20]]
    start = time.process_time()
    groups(frames)
    assert torch.get_num_threads() == 1 and (time.process_time() - start) / len(frames) < 0.06
