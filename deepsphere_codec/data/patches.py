"""Training samples: a patch of the sphere, seen in a film that is turned at random while it is sampled.

A sample is drawn as a clip: some frames of a film, forwards or backwards, one or several frames apart; or a panorama
and a camera's way through it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float, Float64
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from deepsphere_codec.data.augment import (
    MIRRORED,
    Conformal,
    Direction,
    Rotation,
    aim,
    fade_contrast,
    fly,
    fly_on,
    jitter_colours,
    moving_direction,
    random_rotation,
    rotating,
    small_rotation,
    true_field,
)
from deepsphere_codec.data.sampling import Film, node_spread, sample_film
from deepsphere_codec.errors import UsageError
from deepsphere_codec.models.pyramid import Patch
from deepsphere_codec.settings import AS_GIVEN, NonNegative, PartialShare, Share, checked_dataclass
from deepsphere_codec.sphere.patch import PatchGrid

__all__ = [
    "Clip",
    "PLACES",
    "SampleSettings",
    "PatchBatch",
    "PatchDataset",
    "PatchSample",
    "PatchSettings",
    "draw_clip",
    "open_films",
    "random_block",
    "random_rotation",
    "sample_film",
    "small_rotation",
    "stream",
]

PLACES = 64  # patches begin at multiples of it, so that all parents exist
BlockSize = Annotated[int, Field(gt=0, multiple_of=PLACES)]
Zoom = Annotated[float, Field(ge=1), AS_GIVEN]
_STREAMS = ("gap", "guided", "mirror", "camera", "jitter", "place", "fade")
"""Each has random numbers of its own: to switch one on leaves the others' as they were."""


@checked_dataclass("data")
class PatchSettings:
    """Which samples are drawn.

    Attributes:
        nside: Resolution of the sphere, as the codec runs at.
        side: Nodes along the patch.
        frames: Frames in a sample.
        spin: Share of samples whose camera turns as well, by a constant random rotation a frame; all panoramas do.
        spin_degrees: Largest such rotation.
        guided: Share of samples of films that are turned so that something that moves is seen, if anything does;
            the others are turned anyhow.
        gap: Largest step from one frame of a sample to the next, in frames of the film.
        zoom: Largest factor, a frame, by which panoramas are zoomed; 1 for none.
        spin_change: Largest change of a panorama's rotation from frame to frame, as a share of `spin_degrees`.
        jitter: Largest change of exposure and colour, as a share; 0 for none.
        mirror: Share of samples that are seen in a mirror.
        fade: Share of samples that have less contrast than the film.
    """

    nside: BlockSize = 256
    side: BlockSize = 128
    frames: PositiveInt = 1
    spin: Share = 0.25
    spin_degrees: NonNegative = 1.0
    guided: Share = 0.5
    gap: PositiveInt = 1
    zoom: Zoom = 1.01
    spin_change: NonNegative = 0.25
    jitter: PartialShare = 0.0
    mirror: Share = 0.0
    fade: Share = 0.0

    def __post_init__(self) -> None:
        if self.side > self.nside:
            raise UsageError(f"data.side is {self.side}: expected at most data.nside, {self.nside}")


class SampleSettings(Protocol):
    """What may be chosen about clips; `PatchSettings` says what each means."""

    @property
    def frames(self) -> int: ...
    @property
    def spin(self) -> float: ...
    @property
    def spin_degrees(self) -> float: ...
    @property
    def guided(self) -> float: ...
    @property
    def gap(self) -> int: ...
    @property
    def zoom(self) -> float: ...
    @property
    def spin_change(self) -> float: ...
    @property
    def mirror(self) -> float: ...


class Clip(NamedTuple):
    """What was drawn.

    Attributes:
        frames: As `sample_film` takes them; one frame of a panorama.
        turn: Uniform over SO(3).
        mirror: The identity, or a reflection of the directions that the sample sees, before anything else.
        toward: Direction in the film of something that moves, to be brought into view; None to look anywhere.
        steps: The camera's way from frame to frame, maps of the film's directions; none where it stands still.
        panorama: Whether nothing moves but the camera.
        quality: That the sample is to be coded at, 1 … 8.
    """

    frames: Film
    turn: Rotation
    mirror: Rotation
    toward: Direction | None
    steps: Sequence[Conformal]
    panorama: bool
    quality: float


class PatchSample(NamedTuple):
    """A sample, and where it lies.

    Attributes:
        x: Signal, Y, Cb, Cr over 255.
        quality: That it is to be coded at, 1 … 8.
        patch: Nodes that the signal is of.
    """

    x: Float[Tensor, "frames npix 3"]
    quality: float
    patch: Patch


class PatchBatch(NamedTuple):
    """Samples of one patch, for a share of a step; fields as in `PatchSample`."""

    x: Float[Tensor, "batch frames npix 3"]
    quality: Float[Tensor, " batch"]
    patch: Patch

    @classmethod
    def of(cls, samples: Sequence[PatchSample]) -> PatchBatch:
        """Stack samples of the same patch."""
        patch = replace(samples[0].patch)  # without the arrays that it holds meanwhile, which need not be sent on
        assert all(sample.patch == patch for sample in samples), "a step's samples share a patch"
        return cls(
            default_collate([sample.x for sample in samples]),
            torch.tensor([sample.quality for sample in samples]),
            patch,
        )

    def to(self, device: torch.device) -> PatchBatch:
        """The batch on a device."""
        return self._replace(x=self.x.to(device), quality=self.quality.to(device))


def stream(seed: Sequence[int], name: str) -> np.random.Generator:
    """The random numbers of one part of a sample."""
    return np.random.default_rng([*seed, 1 + _STREAMS.index(name)])


def draw_clip(films: Sequence[Film], settings: SampleSettings, seed: Sequence[int]) -> Clip:
    """A clip of one of the films, or one of the panoramas (films of a single frame).

    Args:
        films: With at least as many frames as asked for, or with one.
        seed: Of the sample; the films, the settings and it determine the clip.
    """
    s, rng = settings, np.random.default_rng(seed)
    film = films[int(rng.integers(len(films)))]
    panorama = len(film) == 1
    frames = film if panorama else _some_frames(film, s, rng, stream(seed, "gap"))
    if rng.random() < 0.5:
        frames = frames[::-1]
    turn = random_rotation(rng)
    spins = panorama or rng.random() < s.spin
    steps = [rotating(small_rotation(rng, s.spin_degrees))] * (s.frames - 1) if spins else []
    if panorama:
        steps = fly_on(steps, math.radians(s.spin_change * s.spin_degrees), s.zoom, stream(seed, "camera"))
    mirror = MIRRORED if stream(seed, "mirror").random() < s.mirror else np.eye(3)
    guide = stream(seed, "guided")
    guided = len(frames) > 1 and guide.random() < s.guided
    toward = moving_direction(frames, guide) if guided else None
    return Clip(frames, turn, mirror, toward, steps, panorama, quality=float(rng.uniform(1, 8)))


def _some_frames(film: Film, s: SampleSettings, rng: np.random.Generator, gaps: np.random.Generator) -> Film:
    """As many as a sample has, from anywhere; the gap between them is drawn as large as the film has room for."""
    room = (len(film) - 1) // max(1, s.frames - 1)
    gap = int(gaps.integers(1, max(1, min(s.gap, room)) + 1))
    span = (s.frames - 1) * gap + 1
    first = int(rng.integers(len(film) - span + 1))
    return film[first : first + span : gap]


def open_films(folder: Path, frames: int) -> list[Film]:
    """The prepared films of a folder that samples of so many frames can be drawn from, and its panoramas.

    Raises:
        UsageError: the folder holds none.
    """
    films = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))]
    if frames > 1:  # photos move only where the camera is turned: keep a share of them
        moving = [film for film in films if len(film) >= frames]
        photos = [film for film in films if len(film) == 1]
        films = moving + photos[:: max(1, 6 * len(photos) // max(1, len(moving)))]
    if not films:
        raise UsageError(f"{folder} holds no prepared film of {frames} frames, and no panorama")
    return films


def random_block(nside: int, side: int, seed: Sequence[int]) -> PatchGrid:
    """A block anywhere on the sphere, its corner on a multiple of 64."""
    rng = np.random.default_rng(seed)
    places = (nside - side) // PLACES + 1
    x, y = (PLACES * int(rng.integers(places)) for _ in range(2))
    return PatchGrid(nside, int(rng.integers(12)), x, y, side)


class PatchDataset(Dataset):
    """Sample i is a pure function of (seed, i) and of the block it is drawn for.

    Args:
        folder: Prepared films, `*.npy` as `sample_film` takes them.
        settings: What is drawn.
        batch: Samples of a step; `relocate` steps share a block.
        seed: Of everything random.
    Raises:
        UsageError: the folder holds no prepared film.
    """

    def __init__(self, folder: Path, settings: PatchSettings, batch: int, relocate: int, seed: int) -> None:
        self.settings, self.batch, self.relocate, self.seed = settings, batch, relocate, seed
        self.films = open_films(folder, settings.frames)
        self.spread = node_spread(settings.nside)

    def block(self, step: int) -> PatchGrid:
        """The block of a step."""
        s = self.settings
        return random_block(s.nside, s.side, [self.seed, step // self.relocate])

    def __getitem__(self, index: int) -> PatchSample:
        clip, block = self.clip(index), self.block(index // self.batch)
        directions = fly(block.centers @ self.turn(clip, index).T, clip.steps)
        x = sample_film(clip.frames, directions, self.spread)
        x = fade_contrast(x, self.settings.fade, stream([self.seed, index], "fade"))
        x = jitter_colours(x, self.settings.jitter, stream([self.seed, index], "jitter"))
        return PatchSample(x, clip.quality, block)

    def clip(self, index: int) -> Clip:
        """What is drawn for a sample."""
        return draw_clip(self.films, self.settings, [self.seed, index])

    def turn(self, clip: Clip, index: int) -> Rotation:
        """From nodes to directions of the film, [3, 3]; a node drawn from the block sees what the clip guides to."""
        if clip.toward is None:
            return clip.turn @ clip.mirror
        centers = self.block(index // self.batch).centers
        node = centers[int(stream([self.seed, index], "place").integers(len(centers)))]
        return aim(clip.turn, clip.mirror @ node, clip.toward) @ clip.mirror

    def true_field(self, index: int) -> Float64[Tensor, "steps npix 2"] | None:
        """The exact motion in a sample, as `augment.true_field` gives it; None of a film, which moves by itself."""
        clip = self.clip(index)
        if not clip.panorama:
            return None
        return true_field(self.block(index // self.batch), self.turn(clip, index), clip.steps)
