"""Rate-distortion loss of a batch of patches."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from deepsphere_codec.entropy.hyperprior import Rate
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.memory import References
from deepsphere_codec.models.quality import PLANE_WEIGHTS, at_depth, inter_quality, intra_quality, lmbda_of
from deepsphere_codec.models.quality_map import MAP_LIMIT, MAP_STEP
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.training.distortion import Distortion, squared_error
from deepsphere_codec.training.order import random_order
from deepsphere_codec.training.stored_trees import BatchTrees, motion_lmbda


class Loss(NamedTuple):
    """Loss of a batch; all values are means over the batch.

    Attributes:
        total: Loss to be minimised, with gradients.
        mse: Squared error of the coded frames (signal 0 … 1), weighted over the planes.
        mse_y: Squared error of luma.
        bits: Estimated bits per node and frame, without those of the motion.
    """

    total: Tensor
    mse: float
    mse_y: float
    bits: float


def lmbda(quality: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Compute the trade-off of each sample, [batch], in bits per node and unit of squared error (signal 0 … 1)."""
    return lmbda_of(quality) * 255**2


class Measure(NamedTuple):
    """Definition of the error of a patch.

    Attributes:
        distortion: Distortion of the counted nodes.
        margin: Width of the border whose nodes are not counted, in nodes, since they lack context from beyond the
            patch. A multiple of 16, so that it covers whole latents.
    """

    distortion: Distortion = squared_error
    margin: int = 0

    def inner(self, values: Float[Tensor, "batch n c"], side: int) -> Float[Tensor, "batch inner c"]:
        """Select the values within the margin.

        Args:
            values: Values at the nodes of the patch, or of a lower resolution of it, [batch, n, c].
            side: Nodes along the patch at the signal's resolution.
        Returns:
            Values within the margin, [batch, inner, c].
        """
        if not self.margin:
            return values
        own = math.isqrt(values.shape[1])
        edge = self.margin * own // side
        square = values.view(len(values), own, own, -1)[:, edge : own - edge, edge : own - edge]
        return square.reshape(len(values), -1, values.shape[2])


EVERYTHING = Measure()


def intra_loss(
    model: SphereDVC,
    x: Float[Tensor, "batch frames npix 3"],
    quality: Tensor,
    maps: float = 0.0,
    measure: Measure = EVERYTHING,
) -> Loss:
    """Compute the loss of the first frame, coded as an I-frame.

    Args:
        model: The model.
        x: Samples, [batch, frames, npix, 3].
        quality: Quality of each sample, [batch].
        maps: Share of the steps with random quality maps.
        measure: Definition of the error.
    Returns:
        The loss.
    """
    asked = _mapped(model, quality, maps)
    picture, rate = model.intra(x[:, 0], asked)
    return _loss([_frame(model, asked, x[:, 0], picture.x_hat, measure, rate)])


def inter_loss(
    model: SphereDVC,
    x: Float[Tensor, "batch frames npix 3"],
    quality: Tensor,
    chain: int,
    with_intra: bool,
    skipped: float = 0.0,
    maps: float = 0.0,
    measure: Measure = EVERYTHING,
    trees: BatchTrees | None = None,
) -> Loss:
    """Compute the loss of some pictures of a GOP, each predicted from decoded ones.

    The coding order is one that the encoder may choose: groups of 1 to 8 pictures with random sizes, with B-frames. A
    random number of pictures is coded first, without gradients, so that errors that accumulate over a GOP occur in
    training (without this, 33 dB fell to 24 dB within 15 frames of a static film).

    Args:
        model: The model.
        x: Samples, [batch, frames, npix, 3], with more than `chain` frames.
        quality: Quality of each sample, [batch].
        chain: Number of pictures in the loss.
        with_intra: Whether to train the I-frame as well; the pictures in the loss then begin with it.
        skipped: Share of the P-frames before those in the loss that repeat their reference where little moves, as the
            encoder lets them, so that the pictures in the loss are also predicted from repetitions.
        maps: Share of the pictures with random quality maps.
        measure: Definition of the error.
        trees: Stored motion trees of these samples and the order of their pictures; None for a random order and a
            search.
    Returns:
        The loss.
    """
    frames: list[_Frame] = []
    asked = _mapped(model, intra_quality(quality, model.config), maps)
    with torch.set_grad_enabled(with_intra):
        picture, rate = model.intra(x[:, 0], asked)
    first = _frame(model, asked, x[:, 0], picture.x_hat, measure, rate)
    if with_intra:
        frames.append(first)
    states = {0: model.inter.begin(*picture)}
    order = random_order(x.shape[1]) if trees is None else trees.order(x.shape[1])
    before = 0 if with_intra else int(torch.randint(len(order) - chain + 1, ()))
    for number, place in enumerate(order[: before + chain]):
        references = References(*place.references(states), place.distances)
        target = x[:, place.number]
        asked = _mapped(model, inter_quality(quality, model.config, place.layer), maps)
        learned = number >= before
        if (
            place.layer == 0
            and not learned
            and torch.rand(()) < skipped
            and _is_calm(target, references, first, measure)
        ):
            states[place.number] = references.repeated()
            continue
        with torch.set_grad_enabled(learned):
            if trees is None:
                found = model.inter.find_motion(target, references, motion_lmbda(asked.mean(1)))
                motion = Motion.of(found, x.device)
            else:
                motion = trees.motion(x, place, quality)
            out = model.inter(target, references, motion, asked)
        states[place.number] = references.after(out.x_hat, out.fine)
        if learned:
            frames.append(_frame(model, asked, target, out.x_hat, measure, out.rate))
    if trees is not None:
        trees.keep()
    return _loss(frames)


def _mapped(model: SphereDVC, quality: Float[Tensor, " batch"], share: float) -> Float[Tensor, "batch blocks"]:
    """Quality of each block, [batch, blocks], with a random map in a share of the calls; [batch, 1] in the others."""
    if not share or torch.rand(()) >= share:
        return quality[:, None]
    blocks = model.pyramid.grids[-1].npix
    steps = torch.randn(len(quality), blocks, device=quality.device) * torch.rand(
        len(quality), 1, device=quality.device
    )
    return quality[:, None] + (steps * 1.5 / MAP_STEP).round().clamp(-MAP_LIMIT, MAP_LIMIT) * MAP_STEP


def _is_calm(x: Tensor, references: References, last: _Frame, measure: Measure) -> bool:
    """Whether a picture may repeat its reference, roughly as the encoder decides.

    Otherwise the error of a repetition with much motion would dominate the loss.
    """
    unmoved = _planes(x, references.first.x_hat, measure)
    return bool((unmoved[:, 0] < CALM * last.planes[:, 0]).all())


CALM = 2.0
"""Largest squared error of luma of a frame that repeats its reference, relative to that of the coded I-frame."""


class _Frame(NamedTuple):
    """Error and rate of one coded frame.

    Attributes:
        planes: Squared error of Y, Cb and Cr.
        counted: Distortion of Y, Cb and Cr times lmbda.
        bits: Bits per node.
    """

    planes: Float[Tensor, "batch 3"]
    counted: Float[Tensor, "batch 3"]
    bits: Tensor


def _frame(
    model: SphereDVC, quality: Float[Tensor, "batch blocks"], x: Tensor, x_hat: Tensor, measure: Measure, rate: Rate
) -> _Frame:
    side = math.isqrt(x.shape[1])
    planes = _planes(x, x_hat, measure)
    # The signals are scaled, so that squared errors are weighted by each block's lmbda; `base` is the mean quality.
    base = quality.mean(1)
    weight = at_depth(2.0 ** ((quality - base[:, None]) / 2)[..., None], model.pyramid, 0)
    counted = measure.distortion(measure.inner(x * weight, side), measure.inner(x_hat * weight, side))
    return _Frame(planes, lmbda(base)[:, None] * counted, _bits(rate, x, measure))


def _planes(x: Tensor, x_hat: Tensor, measure: Measure) -> Float[Tensor, "batch 3"]:
    side = math.isqrt(x.shape[1])
    return squared_error(measure.inner(x, side), measure.inner(x_hat, side))


def _bits(rate: Rate, x: Tensor, measure: Measure) -> Tensor:
    """Bits per node within the margin, plus those of the side information, which is so coarse that all of it counts."""
    latents = measure.inner(rate.latents[..., None], math.isqrt(x.shape[1]))
    per_node = (part.mean() * whole.shape[1] for part, whole in ((latents, rate.latents), (rate.hyper, rate.hyper)))
    return sum(per_node, x.new_zeros(())) / x.shape[1]


def _loss(frames: list[_Frame]) -> Loss:
    weights = frames[0].planes.new_tensor(PLANE_WEIGHTS)
    bits = torch.stack([frame.bits for frame in frames]).mean()
    distortion = torch.stack([(frame.counted @ weights).mean() for frame in frames]).mean()
    planes = torch.stack([frame.planes.detach().mean(0) for frame in frames]).mean(0)
    return Loss(distortion + bits, *(float(value) for value in (planes @ weights, planes[0], bits.detach())))
