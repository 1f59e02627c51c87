"""Training samples for planar codecs: patches of the ERP picture of a randomly rotated sphere.

A planar codec sees the sphere through its projection: the same object looks different at another latitude. Therefore
the source is rotated until a point with motion lies in the patch (flow-guided reprojection), and the patch is sampled
with mip-maps, according to the true footprint of each of its pixels.

Source: Regensky et al., "Beyond Perspective" (NVC360), ICCV 2025, eq. (1)-(5), here with latitudes; points with motion
are weighted by their solid angle instead of their number of ERP pixels.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from pydantic import PositiveInt
from torch import Tensor
from torch.utils.data import Dataset

from deepsphere_codec.data.augment import Direction, Rotation, fade_contrast, fly, jitter_colours
from deepsphere_codec.data.patches import PLACES, Clip, PatchSample, Zoom, draw_clip, open_films, stream
from deepsphere_codec.data.sampling import sample_film
from deepsphere_codec.errors import UsageError
from deepsphere_codec.settings import NonNegative, PartialShare, Share, checked_dataclass
from deepsphere_codec.sphere import ErpPatch
from deepsphere_codec.sphere.erp import erp_area_weights
from deepsphere_codec.sphere.rotation import rotation_from_euler


@checked_dataclass("data")
class PlanarSettings:
    """Settings of the training samples on the ERP picture.

    Attributes:
        height: Height of the ERP picture that patches are cut from, in pixels, independent of the films' size.
        width: Width of the ERP picture, in pixels.
        rows: Height of a patch, in pixels.
        columns: Width of a patch, in pixels.
        frames: Frames per sample.
        spin: See `PatchSettings`, as for the following.
        spin_degrees: See `PatchSettings`.
        guided: See `PatchSettings`.
        gap: See `PatchSettings`.
        zoom: See `PatchSettings`.
        spin_change: See `PatchSettings`.
        jitter: See `PatchSettings`.
        mirror: See `PatchSettings`.
        fade: See `PatchSettings`.
        reprojected: Whether films are rotated to any latitude; otherwise they are only shifted along their rows, by
            whole pixels.
    """

    height: PositiveInt = 512
    width: PositiveInt = 1024
    rows: PositiveInt = 256
    columns: PositiveInt = 256
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
    reprojected: bool = True

    @property
    def nside(self) -> int:
        """HEALPix resolution that corresponds to the picture's width."""
        return self.width // 4

    def __post_init__(self) -> None:
        if self.rows > self.height or self.columns > self.width:
            raise UsageError(
                f"data.rows x data.columns is {self.rows} x {self.columns}: expected at most data.height x data.width, "
                f"{self.height} x {self.width}"
            )


class PatchOrigin(NamedTuple):
    """Row and column of a patch's first pixel in the ERP picture."""

    row: int
    column: int


class PlanarSample(NamedTuple):
    """Training sample on a patch of the ERP picture.

    Attributes:
        x: Signal, [frames, 3, rows, columns]: Y, Cb, Cr over 255, all at luma's resolution.
        place: Position of the patch in the ERP picture.
        weights: Weights of the rows' squared errors by solid angle (WMSE), cos(latitude), [rows].
        quality: Quality that the sample is to be coded at, 1 … 8.
    """

    x: Float[Tensor, "frames 3 rows columns"]
    place: PatchOrigin
    weights: Float[Tensor, " rows"]
    quality: float


def angles_of(direction: Direction) -> tuple[float, float]:
    """Compute longitude and latitude of a unit vector, [3], in radians."""
    x, y, z = direction.tolist()
    return math.atan2(y, x), math.atan2(z, math.hypot(x, y))


def reprojection(source: tuple[float, float], target: tuple[float, float]) -> Rotation:
    """Compute the rotation R = Rz(lon_target) Ry(lat_source - lat_target) Rz(-lon_source) that takes source to target.

    Args:
        source: Longitude and latitude, radians.
        target: Longitude and latitude, radians.
    Returns:
        Rotation, [3, 3].
    """
    (lon_source, lat_source), (lon_target, lat_target) = source, target
    raised = rotation_from_euler(lon_target, lat_target - lat_source, 0.0)
    return (raised @ rotation_from_euler(-lon_source, 0.0, 0.0)).numpy()


class Pixels(NamedTuple):
    """Directions of a patch's pixels row by row, unit vectors towards east, and pixel width and height in radians."""

    directions: Float64[np.ndarray, "npix 3"]
    east: Float64[np.ndarray, "npix 3"]
    across: Float64[np.ndarray, " npix"]
    down: float


def pixels_of(s: PlanarSettings, place: PatchOrigin) -> Pixels:
    """Compute directions and sizes of a patch's pixels.

    Args:
        s: Settings with the sizes of the picture and the patch.
        place: Position of the patch in the ERP picture.
    Returns:
        Directions and sizes of its rows * columns pixels.
    """
    lat = math.pi / 2 - (place.row + np.arange(s.rows) + 0.5) * (math.pi / s.height)
    lon = (place.column + np.arange(s.columns) + 0.5) * (2 * math.pi / s.width) - math.pi
    lat, lon = (angle.ravel() for angle in np.meshgrid(lat, lon, indexing="ij"))
    up, around = np.cos(lat), (np.cos(lon), np.sin(lon))
    directions = np.stack([up * around[0], up * around[1], np.sin(lat)], -1)
    east = np.stack([-around[1], around[0], np.zeros_like(lon)], -1)
    return Pixels(directions, east, up * (2 * math.pi / s.width), math.pi / s.height)


def footprint(pixels: Pixels, turn: Rotation) -> Float64[np.ndarray, "npix 2"]:
    """Compute the extent of each pixel of a patch towards the source's east and north.

    Rotating a picture rotates its pixels: the steps to the next column and the next row, which are perpendicular on the
    sphere, lie at an angle to the source's east. The footprint of the first frame is used for all frames.

    Args:
        pixels: Pixels of the patch.
        turn: Rotation from the patch's directions to the film's, [3, 3].
    Returns:
        Extent in radians, [npix, 2].
    """
    x, y, _ = (pixels.directions @ turn.T).T
    steps = pixels.east @ turn.T
    horizontal = np.maximum(np.hypot(x, y), 1e-9)
    cosine = (x * steps[:, 1] - y * steps[:, 0]) / horizontal  # towards the source's east
    sine = steps[:, 2] / horizontal  # towards its north, given by the vertical component alone
    return np.stack(
        [np.hypot(cosine * pixels.across, sine * pixels.down), np.hypot(sine * pixels.across, cosine * pixels.down)], -1
    )


class PlanarDataset(Dataset):
    """Training samples on patches of the ERP picture; sample i is a pure function of the seed and i.

    Args:
        folder: Folder with prepared films, `*.npy` in the format of `sample_film`.
        settings: Settings of the samples.
        seed: Seed of all random numbers.
    Raises:
        UsageError: the folder holds no prepared film.
    """

    def __init__(self, folder: Path, settings: PlanarSettings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.films = open_films(folder, settings.frames)
        self.weights = erp_area_weights(settings.height).astype(np.float32)

    def __getitem__(self, index: int) -> PlanarSample:
        return self.sample(index, self.place(index))

    def sample(self, index: int, place: PatchOrigin) -> PlanarSample:
        """Draw a sample at a given position.

        Args:
            index: Index of the sample.
            place: Position of the patch in the ERP picture.
        Returns:
            Sample.
        """
        s, clip = self.settings, self.clip(index)
        turn = self.turn(clip, place)
        pixels = pixels_of(s, place)
        directions = fly(pixels.directions @ turn.T, clip.steps)
        x = sample_film(clip.frames, directions, footprint(pixels, turn)[None])
        x = fade_contrast(x, s.fade, stream([self.seed, index], "fade"))
        x = jitter_colours(x, s.jitter, stream([self.seed, index], "jitter"))
        weights = torch.from_numpy(self.weights[place.row : place.row + s.rows])
        return PlanarSample(x.transpose(1, 2).unflatten(2, (s.rows, s.columns)), place, weights, clip.quality)

    def clip(self, index: int) -> Clip:
        """Draw the clip of a sample."""
        return draw_clip(self.films, self.settings, [self.seed, index])

    def place(self, index: int) -> PatchOrigin:
        """Draw the position of a sample's patch, anywhere in the picture."""
        s, rng = self.settings, stream([self.seed, index], "place")
        return PatchOrigin(int(rng.integers(s.height - s.rows + 1)), int(rng.integers(s.width - s.columns + 1)))

    def turn(self, clip: Clip, place: PatchOrigin) -> Rotation:
        """Compute the rotation from the patch's directions to the film's.

        Args:
            clip: Clip of the sample.
            place: Position of the patch in the ERP picture.
        Returns:
            Rotation, [3, 3]; the middle of the patch sees the direction that the clip is guided to, or a random one.
        """
        s = self.settings
        source = clip.turn[:, 2] if clip.toward is None else clip.toward
        lon = (place.column + s.columns / 2) / s.width * (2 * math.pi) - math.pi
        lat = math.pi / 2 - (place.row + s.rows / 2) / s.height * math.pi
        seen = (-lon, lat) if clip.mirror[1, 1] < 0 else (lon, lat)
        if not s.reprojected:
            pixel = 2 * math.pi / s.width
            columns = round((seen[0] - angles_of(source)[0]) / pixel)
            return reprojection((0.0, 0.0), (columns * pixel, 0.0)).T @ clip.mirror
        return reprojection(angles_of(source), seen).T @ clip.mirror


class PlanarPatches(Dataset):
    """Training samples for planar codecs, in the form of `PatchDataset`; all patches of a step share their position.

    Args:
        folder: Folder with prepared films, `*.npy` in the format of `sample_film`.
        settings: Settings of the samples.
        batch: Samples per step.
        relocate: Number of consecutive steps that share a position.
        seed: Seed of all random numbers.
    Raises:
        UsageError: the folder holds no prepared film.
    """

    def __init__(self, folder: Path, settings: PlanarSettings, batch: int, relocate: int, seed: int) -> None:
        self.drawn = PlanarDataset(folder, settings, seed)
        self.settings, self.batch, self.relocate, self.seed = settings, batch, relocate, seed
        self.films = self.drawn.films

    def block(self, step: int) -> ErpPatch:
        """Return the patch of a step, on a raster of 64 pixels so that nodes have parents at all levels."""
        s, rng = self.settings, np.random.default_rng([self.seed, step // self.relocate])
        row, column = (
            PLACES * int(rng.integers((whole - part) // PLACES + 1))
            for whole, part in ((s.height, s.rows), (s.width, s.columns))
        )
        return ErpPatch(s.height, s.width, row, column, s.rows, s.columns)

    def __getitem__(self, index: int) -> PatchSample:
        block = self.block(index // self.batch)
        sample = self.drawn.sample(index, PatchOrigin(block.row, block.column))
        return PatchSample(sample.x.flatten(2).transpose(1, 2).contiguous(), sample.quality, block)
