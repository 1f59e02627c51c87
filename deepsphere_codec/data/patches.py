"""Training samples: patches of the sphere, sampled from randomly rotated films.

A sample is drawn as a clip: consecutive frames of a film, forwards or backwards, one or several frames apart; or a
panorama and a camera path through it.
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

PLACES = 64  # patches begin at multiples of it, so that nodes have parents at all levels
BlockSize = Annotated[int, Field(gt=0, multiple_of=PLACES)]
Zoom = Annotated[float, Field(ge=1), AS_GIVEN]
_STREAMS = ("gap", "guided", "mirror", "camera", "jitter", "place", "fade")
"""Names of independent random number streams: enabling one augmentation leaves the others unchanged."""


@checked_dataclass("data")
class PatchSettings:
    """Settings of the training samples on the sphere.

    Attributes:
        nside: Resolution of the sphere, the same as the codec's.
        side: Nodes along the edge of a patch.
        frames: Frames per sample.
        spin: Share of samples with an added camera rotation, constant and random per frame; panoramas always have one.
        spin_degrees: Largest such rotation per frame, in degrees.
        guided: Share of samples of films that are rotated so that a moving object is in view, if there is one; the
            others are rotated at random.
        gap: Largest step from one frame of a sample to the next, in frames of the film.
        zoom: Largest zoom factor per frame of panoramas; 1 for none.
        spin_change: Largest change of a panorama's rotation from frame to frame, as a share of `spin_degrees`.
        jitter: Largest relative change of exposure and colour; 0 for none.
        mirror: Share of samples that are mirrored.
        fade: Share of samples with reduced contrast.
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
    """Settings used to draw clips, common to `PatchSettings` and `PlanarSettings`; see `PatchSettings`."""

    @property
    def frames(self) -> int:
        """Frames per sample."""
        ...

    @property
    def spin(self) -> float:
        """Share of samples with an added camera rotation."""
        ...

    @property
    def spin_degrees(self) -> float:
        """Largest rotation per frame, in degrees."""
        ...

    @property
    def guided(self) -> float:
        """Share of samples of films that show a moving object."""
        ...

    @property
    def gap(self) -> int:
        """Largest step between frames, in frames of the film."""
        ...

    @property
    def zoom(self) -> float:
        """Largest zoom factor per frame of panoramas."""
        ...

    @property
    def spin_change(self) -> float:
        """Largest change of a panorama's rotation, as a share of `spin_degrees`."""
        ...

    @property
    def mirror(self) -> float:
        """Share of samples that are mirrored."""
        ...


class Clip(NamedTuple):
    """Frames of a film and the augmentation drawn for a sample.

    Attributes:
        frames: Frames in the format of `sample_film`; one frame for a panorama.
        turn: Rotation, uniform over SO(3), [3, 3].
        mirror: Identity, or a reflection that is applied to the sample's directions first, [3, 3].
        toward: Direction of a moving object in the film, to be brought into view, [3]; None for no preference.
        steps: Camera motion from frame to frame as maps of the film's directions, [4, 4] each; empty for a static
            camera.
        panorama: Whether only the camera moves.
        quality: Quality that the sample is to be coded at, 1 … 8.
    """

    frames: Film
    turn: Rotation
    mirror: Rotation
    toward: Direction | None
    steps: Sequence[Conformal]
    panorama: bool
    quality: float


class PatchSample(NamedTuple):
    """Training sample on a patch.

    Attributes:
        x: Signal, [frames, npix, 3]: Y, Cb, Cr over 255.
        quality: Quality that the sample is to be coded at, 1 … 8.
        patch: Patch that the signal lies on.
    """

    x: Float[Tensor, "frames npix 3"]
    quality: float
    patch: Patch


class PatchBatch(NamedTuple):
    """Samples on one patch that are processed together; fields as in `PatchSample`, with a leading batch dimension."""

    x: Float[Tensor, "batch frames npix 3"]
    quality: Float[Tensor, " batch"]
    patch: Patch

    @classmethod
    def of(cls, samples: Sequence[PatchSample]) -> PatchBatch:
        """Stack samples that lie on the same patch."""
        patch = replace(samples[0].patch)  # without its cached arrays, which need not be sent to the device
        assert all(sample.patch == patch for sample in samples), "a step's samples share a patch"
        return cls(
            default_collate([sample.x for sample in samples]),
            torch.tensor([sample.quality for sample in samples]),
            patch,
        )

    def to(self, device: torch.device) -> PatchBatch:
        """Move the batch to a device."""
        return self._replace(x=self.x.to(device), quality=self.quality.to(device))


def stream(seed: Sequence[int], name: str) -> np.random.Generator:
    """Make the random number generator of one aspect of a sample.

    Args:
        seed: Seed of the sample.
        name: Name of the stream, one of `_STREAMS`.
    Returns:
        Generator that depends on the seed and the name only.
    """
    return np.random.default_rng([*seed, 1 + _STREAMS.index(name)])


def draw_clip(films: Sequence[Film], settings: SampleSettings, seed: Sequence[int]) -> Clip:
    """Draw a clip from one of the films, or one of the panoramas (films of a single frame).

    Args:
        films: Films with at least `settings.frames` frames, and panoramas with one frame.
        settings: Settings of the samples.
        seed: Seed of the sample; the films, the settings and the seed determine the clip.
    Returns:
        Clip with its augmentation.
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
    """Draw the frames of a sample from anywhere in the film, with a random gap that the film is long enough for."""
    room = (len(film) - 1) // max(1, s.frames - 1)
    gap = int(gaps.integers(1, max(1, min(s.gap, room)) + 1))
    span = (s.frames - 1) * gap + 1
    first = int(rng.integers(len(film) - span + 1))
    return film[first : first + span : gap]


def open_films(folder: Path, frames: int) -> list[Film]:
    """Open the prepared films of a folder that have enough frames, and its panoramas.

    Args:
        folder: Folder with prepared films, `*.npy`.
        frames: Frames per sample.
    Returns:
        Memory-mapped films, [frames, 3/2 height, width] each.
    Raises:
        UsageError: the folder holds none.
    """
    films = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))]
    if frames > 1:  # photos have only camera motion: use a share of them
        moving = [film for film in films if len(film) >= frames]
        photos = [film for film in films if len(film) == 1]
        films = moving + photos[:: max(1, 6 * len(photos) // max(1, len(moving)))]
    if not films:
        raise UsageError(f"{folder} holds no prepared film of {frames} frames, and no panorama")
    return films


def random_block(nside: int, side: int, seed: Sequence[int]) -> PatchGrid:
    """Draw a patch anywhere on the sphere, with its corner on a multiple of 64 nodes.

    Args:
        nside: Resolution of the sphere.
        side: Nodes along the edge of the patch.
        seed: Seed.
    Returns:
        Patch.
    """
    rng = np.random.default_rng(seed)
    places = (nside - side) // PLACES + 1
    x, y = (PLACES * int(rng.integers(places)) for _ in range(2))
    return PatchGrid(nside, int(rng.integers(12)), x, y, side)


class PatchDataset(Dataset):
    """Training samples on patches of the sphere; sample i is a pure function of the seed, i and its patch.

    Args:
        folder: Folder with prepared films, `*.npy` in the format of `sample_film`.
        settings: Settings of the samples.
        batch: Samples per step.
        relocate: Number of consecutive steps that share a patch.
        seed: Seed of all random numbers.
    Raises:
        UsageError: the folder holds no prepared film.
    """

    def __init__(self, folder: Path, settings: PatchSettings, batch: int, relocate: int, seed: int) -> None:
        self.settings, self.batch, self.relocate, self.seed = settings, batch, relocate, seed
        self.films = open_films(folder, settings.frames)
        self.spread = node_spread(settings.nside)

    def block(self, step: int) -> PatchGrid:
        """Return the patch of a step."""
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
        """Draw the clip of a sample."""
        return draw_clip(self.films, self.settings, [self.seed, index])

    def turn(self, clip: Clip, index: int) -> Rotation:
        """Compute the rotation from nodes to directions of the film.

        Args:
            clip: Clip of the sample.
            index: Index of the sample.
        Returns:
            Rotation, [3, 3]; a node drawn from the patch sees the direction that the clip is guided to.
        """
        if clip.toward is None:
            return clip.turn @ clip.mirror
        centers = self.block(index // self.batch).centers
        node = centers[int(stream([self.seed, index], "place").integers(len(centers)))]
        return aim(clip.turn, clip.mirror @ node, clip.toward) @ clip.mirror

    def true_field(self, index: int) -> Float64[Tensor, "steps npix 2"] | None:
        """Compute the exact motion in a sample, see `augment.true_field`; None for films, whose motion is unknown."""
        clip = self.clip(index)
        if not clip.panorama:
            return None
        return true_field(self.block(index // self.batch), self.turn(clip, index), clip.steps)
