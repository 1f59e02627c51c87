"""Training samples: a patch of the sphere, seen in a film that is turned at random while it is sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from deepsphere_codec.errors import UsageError
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.sphere.rotation import rotation_from_quaternion, rotation_from_vector

_WRAP = 8  # columns repeated across the seam, more than a cubic kernel needs
_PLACES = 64  # patches begin at multiples of it, so that all parents exist


@dataclass(frozen=True)
class PatchSettings:
    """Which samples are drawn.

    Attributes:
        nside: Resolution of the sphere, as the codec runs at.
        side: Nodes along the patch.
        frames: Consecutive frames in a sample.
        spin: Share of samples whose camera turns as well, by a constant random rotation a frame.
        spin_degrees: Largest such rotation.
    """

    nside: int = 256
    side: int = 128
    frames: int = 1
    spin: float = 0.25
    spin_degrees: float = 1.0

    def __post_init__(self) -> None:
        if self.nside % _PLACES or self.side % _PLACES or not 0 < self.side <= self.nside:
            raise UsageError(
                f"data.side is {self.side}, data.nside {self.nside}: expected multiples of {_PLACES}, side <= nside"
            )
        if self.frames < 1 or not 0 <= self.spin <= 1 or self.spin_degrees < 0:
            raise UsageError("data.frames must be at least 1, data.spin in 0..1 and data.spin_degrees at least 0")


def random_block(nside: int, side: int, seed: Sequence[int]) -> PatchGrid:
    """A block anywhere on the sphere, its corner on a multiple of 64."""
    rng = np.random.default_rng(seed)
    places = (nside - side) // _PLACES + 1
    x, y = (_PLACES * int(rng.integers(places)) for _ in range(2))
    return PatchGrid(nside, int(rng.integers(12)), x, y, side)


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Uniform over SO(3), [3, 3], from a uniform unit quaternion."""
    return rotation_from_quaternion(torch.from_numpy(rng.normal(size=4))).numpy()


def small_rotation(rng: np.random.Generator, degrees: float) -> np.ndarray:
    """About a random axis, by an angle uniform up to the given one, [3, 3]."""
    axis = rng.normal(size=3)
    axis *= math.radians(degrees) * rng.random() / np.linalg.norm(axis)
    return rotation_from_vector(torch.from_numpy(axis)).numpy()


def sample_film(
    film: UInt8[np.ndarray, "frames rows width"], directions: Float[np.ndarray, "frames npix 3"]
) -> Float[Tensor, "frames npix 3"]:
    """Look up Y, Cb, Cr (0 … 1) of each frame in its directions, bicubic, across the seam.

    Args:
        film: Planar 4:2:0 frames, [frames, 3/2 height, width]: Y, then Cb and Cr.
    """
    frames, rows, width = film.shape
    height = rows * 2 // 3
    quarter = height * width // 4
    flat = torch.from_numpy(np.array(film)).view(frames, -1)
    luma = flat[:, : 4 * quarter].view(frames, 1, height, width)
    chroma = flat[:, 4 * quarter :].view(frames, 2, height // 2, width // 2)
    d = torch.from_numpy(directions).float()
    lon, lat = torch.atan2(d[..., 1], d[..., 0]) / math.pi, -torch.asin(d[..., 2].clamp(-1, 1)) * (2 / math.pi)
    return torch.cat([_look_up(plane, lon, lat) for plane in (luma, chroma)], 1).permute(0, 2, 1) / 255


def _look_up(plane: Tensor, lon: Tensor, lat: Tensor) -> Float[Tensor, "frames c npix"]:
    width = plane.shape[-1]
    wrapped = F.pad(plane.float(), (_WRAP, _WRAP, 0, 0), mode="circular")
    place = torch.stack([lon * (width / (width + 2 * _WRAP)), lat], -1)[:, None]
    return F.grid_sample(wrapped, place, mode="bicubic", padding_mode="border", align_corners=False)[:, :, 0]


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
        self.films = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))]
        if settings.frames > 1:  # photos move only where the camera is turned: keep a share of them
            moving = [film for film in self.films if len(film) >= settings.frames]
            photos = [film for film in self.films if len(film) == 1]
            self.films = moving + photos[:: max(1, 6 * len(photos) // max(1, len(moving)))]
        if not self.films:
            raise UsageError(f"{folder} holds no prepared film of {settings.frames} frames, and no panorama")

    def block(self, step: int) -> PatchGrid:
        """The block of a step."""
        s = self.settings
        return random_block(s.nside, s.side, [self.seed, step // self.relocate])

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "frames npix 3"], float]:
        rng = np.random.default_rng([self.seed, index])
        s = self.settings
        film = self.films[int(rng.integers(len(self.films)))]
        still = len(film) == 1
        first = 0 if still else int(rng.integers(len(film) - s.frames + 1))
        frames = np.repeat(film[:1], s.frames, 0) if still else film[first : first + s.frames]
        if rng.random() < 0.5:
            frames = frames[::-1]
        turn = random_rotation(rng)
        spin = small_rotation(rng, s.spin_degrees) if still or rng.random() < s.spin else np.eye(3)
        directions = [self.block(index // self.batch).centers @ turn.T]
        for _ in range(s.frames - 1):
            directions.append(directions[-1] @ spin.T)
        quality = float(rng.uniform(1, 8))
        return sample_film(frames, np.stack(directions)), quality
