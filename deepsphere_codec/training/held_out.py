"""How good a network in training is: patches of films that it does not see, at fixed places and qualities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from deepsphere_codec.data.patches import PatchSettings, random_block, sample_film
from deepsphere_codec.errors import UsageError
from deepsphere_codec.models.config import QUALITIES
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.quality import PLANE_WEIGHTS
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.distortion import squared_error

PLACES = 6
_SEED = 360


class HeldOut(NamedTuple):
    """One place on the sphere, in every film."""

    block: PatchGrid
    x: Float[Tensor, "films frames npix 3"]


class Measured(NamedTuple):
    """At one quality: estimated bits per node, and (6 Y + Cb + Cr) / 8 of the planes' PSNR in dB."""

    quality: float
    bits_per_node: float
    psnr: float


def held_out(folder: Path, settings: PatchSettings) -> list[HeldOut]:
    """The same patches whenever it is called: of each prepared film, a random pair of frames at each of six places.

    Raises:
        UsageError: no film in the folder has enough frames.
    """
    found = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))]
    films = [film for film in found if len(film) >= settings.frames]
    if not films:
        raise UsageError(f"{folder} holds no prepared film of {settings.frames} frames or more")
    samples = []
    for place in range(PLACES):
        block = random_block(settings.nside, settings.side, [_SEED, place])
        directions = np.repeat(block.centers[None], settings.frames, 0)
        rng = np.random.default_rng([_SEED, place])
        first = [int(rng.integers(len(film) - settings.frames + 1)) for film in films]
        frames = [sample_film(film[t : t + settings.frames], directions) for film, t in zip(films, first, strict=True)]
        samples.append(HeldOut(block, torch.stack(frames)))
    return samples


@torch.no_grad()
def measure(model: SphereDVC, part: str, samples: Sequence[HeldOut], qualities: Sequence[float]) -> list[Measured]:
    """Rate and distortion of I-frames ("intra"), or of the P-frames after them ("inter").

    The rate is that of rounded latents, estimated. Squared errors are averaged over the places for each film and
    plane, decibels over films, as if the places were the whole sphere.
    """
    model.eval()
    errors: dict[float, list[Tensor]] = {quality: [] for quality in qualities}
    bits = dict.fromkeys(qualities, 0.0)
    for block, x in samples:
        model.pyramid.place(block)
        model.inter.estimator.place()
        for quality in qualities:
            error, spent = _coded(model, part, x, x.new_full((len(x),), quality))
            errors[quality].append(error)
            bits[quality] += spent
    nodes = sum(x.shape[0] * x.shape[2] for _, x in samples)
    return [Measured(quality, bits[quality] / nodes, _decibels(errors[quality])) for quality in qualities]


def _coded(
    model: SphereDVC, part: str, x: Float[Tensor, "films frames npix 3"], quality: Float[Tensor, " films"]
) -> tuple[Float[Tensor, "films 3"], float]:
    """Squared error of each plane, and bits of all."""
    if part == "intra":
        picture, rate = model.intra(x[:, 0], quality, straight=True)
        return squared_error(x[:, 0], picture.x_hat), float(rate.bits)
    picture, _ = model.intra(x[:, 0], (quality + model.config.intra_step).clamp_max(QUALITIES))
    out = model.inter(x[:, 1], model.inter.begin(*picture), quality, straight=True)
    rates = out.rate_motion, out.rate_residual
    return squared_error(x[:, 1], out.x_hat), sum(float(rate.bits) for rate in rates)


def _decibels(errors: list[Tensor]) -> float:
    planes = -10 * torch.stack(errors).mean(0).log10()
    psnr = float((planes @ planes.new_tensor(PLANE_WEIGHTS)).mean())
    assert math.isfinite(psnr)
    return psnr
