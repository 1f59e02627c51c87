"""Quality of a network in training on held-out patches of films, at fixed positions and qualities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from deepsphere_codec.data.patches import PatchSettings, random_block, sample_film
from deepsphere_codec.entropy.coder import SymbolWriter
from deepsphere_codec.entropy.hyperprior import Rate
from deepsphere_codec.errors import UsageError
from deepsphere_codec.models.config import QUALITIES
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.memory import References
from deepsphere_codec.models.quality import PLANE_WEIGHTS, intra_quality
from deepsphere_codec.motion.contexts import MotionTables
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.motion.syntax import Setting, write_tree
from deepsphere_codec.motion.tree import MotionTree
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.distortion import make_distortion, squared_error
from deepsphere_codec.training.loss import lmbda
from deepsphere_codec.training.order import anchors_of
from deepsphere_codec.training.stored_trees import motion_lmbda

PLACES = 6
_SEED = 360


class HeldOut(NamedTuple):
    """One position on the sphere, in every film."""

    block: PatchGrid
    x: Float[Tensor, "films frames npix 3"]


class Measured(NamedTuple):
    """Rate and distortion of one frame at one quality.

    Attributes:
        quality: Quality, 1 … 8.
        frame: 0 for an I-frame, otherwise the number of the P-frame after it.
        bits_per_node: Estimated bits per node.
        psnr: (6 Y + Cb + Cr) / 8 of the planes' PSNR over nodes, dB.
        ws_psnr: The same over ERP pixels, weighted by their area.
    """

    quality: float
    frame: int
    bits_per_node: float
    psnr: float
    ws_psnr: float


def held_out(folder: Path, settings: PatchSettings) -> list[HeldOut]:
    """Read consecutive frames of each prepared film at six random positions; the result is the same at every call.

    Args:
        folder: Folder with prepared films.
        settings: Settings of the patches.
    Returns:
        Patches of all films, one record for each position.
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


class _MeasuredFrame(NamedTuple):
    """One decoded frame of every film at one position; I-frames have no motion trees and no references."""

    number: int
    x: Float[Tensor, "films npix 3"]
    x_hat: Float[Tensor, "films npix 3"]
    rate: Rate
    trees: Sequence[MotionTree] = ()
    references: References | None = None


@torch.no_grad()
def measure(model: SphereDVC, part: str, samples: Sequence[HeldOut], qualities: Sequence[float]) -> list[Measured]:
    """Measure rate and distortion of I-frames ("intra"), or of each of the P-frames after them ("inter").

    The rate is the estimate for rounded latents. Squared errors are averaged over the positions for each film and
    plane, decibels over films, as if the positions were the whole sphere.

    Args:
        model: Network.
        part: "intra" or "inter".
        samples: Held-out patches.
        qualities: Qualities, 1 … 8.
    Returns:
        One record for each quality and frame.
    """
    errors: dict[tuple[float, int], list[tuple[Tensor, Tensor]]] = {}
    bits: dict[tuple[float, int], float] = {}
    for sample, quality, frame in _coded(model, part, samples, qualities):
        key = quality, frame.number
        pixels = make_distortion("erp", sample.block)(frame.x, frame.x_hat)
        errors.setdefault(key, []).append((squared_error(frame.x, frame.x_hat), pixels))
        bits[key] = bits.get(key, 0.0) + float(frame.rate.bits) + _motion_bits(model, frame)
    nodes = sum(x.shape[0] * x.shape[2] for _, x in samples)
    return [
        Measured(*key, bits[key] / nodes, *(_decibels(each) for each in zip(*places, strict=True)))
        for key, places in errors.items()
    ]


@torch.no_grad()
def losses(model: SphereDVC, part: str, samples: Sequence[HeldOut], qualities: Sequence[float]) -> list[float]:
    """Compute the loss of I-frames ("intra"), or of P-frames after them ("inter"), at each quality.

    loss = bits per node + lmbda · 255² · squared error (Y, Cb and Cr weighted 6 : 1 : 1). The rate is that of rounded
    latents, so the result does not depend on random numbers; the bits of the motion are not counted.

    Args:
        model: Network.
        part: "intra" or "inter".
        samples: Held-out patches.
        qualities: Qualities, 1 … 8.
    Returns:
        One loss for each quality, averaged over films, positions and frames.
    """
    found: dict[float, list[float]] = {quality: [] for quality in qualities}
    for _, quality, frame in _coded(model, part, samples, qualities):
        error = squared_error(frame.x, frame.x_hat).mean(0) @ frame.x.new_tensor(PLANE_WEIGHTS)
        bits = frame.rate.bits / (frame.x.shape[0] * frame.x.shape[1])
        found[quality].append(float(bits + lmbda(frame.x.new_tensor([quality]))[0] * error))
    return [math.fsum(each) / len(each) for each in found.values()]


def _coded(
    model: SphereDVC, part: str, samples: Sequence[HeldOut], qualities: Sequence[float]
) -> Iterator[tuple[HeldOut, float, _MeasuredFrame]]:
    """Code every sample at every quality, frame by frame."""
    model.eval()
    for sample in samples:
        model.pyramid.place(sample.block)
        model.inter.place()
        for quality in qualities:
            for frame in _frames(model, part, sample.x, sample.x.new_full((len(sample.x),), quality)):
                yield sample, quality, frame


def _frames(
    model: SphereDVC, part: str, x: Float[Tensor, "films frames npix 3"], asked: Float[Tensor, " films"]
) -> Iterator[_MeasuredFrame]:
    if part == "intra":
        picture, rate = model.intra(x[:, 0], asked, straight=True)
        yield _MeasuredFrame(0, x[:, 0], picture.x_hat, rate)
        return
    picture, _ = model.intra(x[:, 0], intra_quality(asked, model.config).clamp_max(QUALITIES))
    states = [model.inter.begin(*picture)]
    for number in range(1, x.shape[1]):
        references = anchors_of(states)
        trees = model.inter.find_motion(x[:, number], references, motion_lmbda(asked))
        out = model.inter(x[:, number], references, Motion.of(trees), asked, straight=True)
        yield _MeasuredFrame(number, x[:, number], out.x_hat, out.rate, trees, references)
        states.append(references.after(out.x_hat, out.fine))


def _motion_bits(model: SphereDVC, frame: _MeasuredFrame) -> int:
    """Bits of the trees, each rounded up to bytes, with default tables, since the model has no tables yet."""
    tables, bits = MotionTables(), 0
    tables.build_tables()
    for tree in frame.trees:
        assert frame.references
        writer = SymbolWriter()
        write_tree(tree, model.inter.blocks, Setting(frame.references.distances), tables, writer)
        bits += 8 * len(writer.finish())
    return bits


def _decibels(errors: Sequence[Tensor]) -> float:
    planes = -10 * torch.stack(list(errors)).mean(0).log10()
    psnr = float((planes @ planes.new_tensor(PLANE_WEIGHTS)).mean())
    assert math.isfinite(psnr)
    return psnr
