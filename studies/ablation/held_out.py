"""How good a network in training is: patches of films that it does not see, at fixed places and qualities."""

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
from deepsphere_codec.models.quality import PLANE_WEIGHTS
from deepsphere_codec.motion.contexts import MotionTables
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.motion.syntax import Setting, write_tree
from deepsphere_codec.motion.tree import MotionTree
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.distortion import make_distortion, squared_error
from deepsphere_codec.training.order import anchors_of
from deepsphere_codec.training.stored_trees import motion_lmbda

PLACES = 6
_SEED = 360


class HeldOut(NamedTuple):
    """One place on the sphere, in every film."""

    block: PatchGrid
    x: Float[Tensor, "films frames npix 3"]


class Measured(NamedTuple):
    """One frame at one quality.

    Attributes:
        frame: 0 for an I-frame, else the number of the P-frame behind it.
        bits_per_node: Estimated.
        psnr: (6 Y + Cb + Cr) / 8 of the planes' decibels, over nodes.
        ws_psnr: The same over ERP pixels, weighted by their area.
    """

    quality: float
    frame: int
    bits_per_node: float
    psnr: float
    ws_psnr: float


def held_out(folder: Path, settings: PatchSettings) -> list[HeldOut]:
    """The same patches whenever it is called: of each prepared film, random frames in a row at each of six places.

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


class _Coded(NamedTuple):
    """One frame of every film at one place: squared errors of the planes over nodes and over pixels, bits of all."""

    nodes: Float[Tensor, "films 3"]
    pixels: Float[Tensor, "films 3"]
    bits: float


@torch.no_grad()
def measure(model: SphereDVC, part: str, samples: Sequence[HeldOut], qualities: Sequence[float]) -> list[Measured]:
    """Rate and distortion of I-frames ("intra"), or of each of the P-frames after them ("inter").

    The rate is that of rounded latents, estimated. Squared errors are averaged over the places for each film and
    plane, decibels over films, as if the places were the whole sphere.
    """
    model.eval()
    found: dict[tuple[float, int], list[_Coded]] = {}
    for sample in samples:
        model.pyramid.place(sample.block)
        model.inter.place()
        for quality in qualities:
            for frame, coded in _coded(model, part, sample, quality):
                found.setdefault((quality, frame), []).append(coded)
    nodes = sum(x.shape[0] * x.shape[2] for _, x in samples)
    return [_measured(*key, places, nodes) for key, places in found.items()]


def _measured(quality: float, frame: int, places: list[_Coded], nodes: int) -> Measured:
    bits = sum(place.bits for place in places)
    decibels = (_decibels([place.nodes for place in places]), _decibels([place.pixels for place in places]))
    return Measured(quality, frame, bits / nodes, *decibels)


def _coded(model: SphereDVC, part: str, sample: HeldOut, quality: float) -> Iterator[tuple[int, _Coded]]:
    """Frames and their numbers, one after the other."""
    x, asked = sample.x, sample.x.new_full((len(sample.x),), quality)
    pixels = make_distortion("erp", sample.block)

    def coded(frame: int, x_hat: Tensor, *rates: Rate) -> tuple[int, _Coded]:
        target, bits = x[:, frame], sum(float(rate.bits) for rate in rates)
        return frame, _Coded(squared_error(target, x_hat), pixels(target, x_hat), bits)

    if part == "intra":
        picture, rate = model.intra(x[:, 0], asked, straight=True)
        yield coded(0, picture.x_hat, rate)
        return
    picture, _ = model.intra(x[:, 0], (asked + model.config.intra_step).clamp_max(QUALITIES))
    states = [model.inter.begin(*picture)]
    for frame in range(1, x.shape[1]):
        references = anchors_of(states)
        trees = model.inter.find_motion(x[:, frame], references, motion_lmbda(asked))
        out = model.inter(x[:, frame], references, Motion.of(trees), asked, straight=True)
        number, found = coded(frame, out.x_hat, out.rate)
        yield number, found._replace(bits=found.bits + _motion_bits(model, trees, references))
        states.append(references.after(out.x_hat, out.fine))


def _motion_bits(model: SphereDVC, trees: Sequence[MotionTree], references: References) -> float:
    """Bits of the trees, each in bytes of its own, by tables that are not the model's: in training it has none."""
    tables, setting, bits = MotionTables(), Setting(references.distances), 0
    tables.build_tables()
    for tree in trees:
        writer = SymbolWriter()
        write_tree(tree, model.inter.blocks, setting, tables, writer)
        bits += 8 * len(writer.finish())
    return bits


def _decibels(errors: list[Tensor]) -> float:
    planes = -10 * torch.stack(errors).mean(0).log10()
    psnr = float((planes @ planes.new_tensor(PLANE_WEIGHTS)).mean())
    assert math.isfinite(psnr)
    return psnr
