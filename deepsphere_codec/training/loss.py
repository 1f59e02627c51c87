"""Rate and distortion of a patch."""

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
    """Means over the batch.

    Attributes:
        total: What is minimised, with gradient.
        mse: Weighted squared error (signal 0 … 1) of the coded frames.
        mse_y: Of luma alone.
        bits: Estimated bits per node and frame, without those of the motion.
    """

    total: Tensor
    mse: float
    mse_y: float
    bits: float


def lmbda(quality: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Trade-off of each sample, bits a node."""
    return lmbda_of(quality) * 255**2


class Measure(NamedTuple):
    """What counts of a patch.

    Attributes:
        distortion: Of the nodes that count.
        margin: Nodes along the border that do not: what they see beyond it is not what the whole sphere would show
            them. A multiple of 16, so that latents count or do not.
    """

    distortion: Distortion = squared_error
    margin: int = 0

    def inner(self, values: Float[Tensor, "batch n c"], side: int) -> Float[Tensor, "batch inner c"]:
        """Those within the margin, of a patch of `side` nodes, at its resolution or a lower one."""
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
    """Loss of the first frame alone.

    Args:
        maps: Share of the steps with random quality maps.
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
    """Loss of some pictures of a GOP, each predicted from decoded ones.

    The order is one that the encoder may choose: groups of 1 to 8 pictures of random sizes, with B-frames. A random
    number of pictures is coded first, and not learned from: otherwise errors that build up over a GOP are never seen
    (33 dB fell to 24 within 15 frames of a still film).

    Args:
        chain: Pictures learned from; x has at least one frame more.
        with_intra: Train the I-frame as well; what is learned from then begins at it.
        skipped: Share of the P-frames that repeat their reference, as the encoder has them do where little moves; a
            picture that is coded then learns to serve those after it, too.
        maps: Share of the steps whose pictures have random quality maps.
        trees: Of these samples, and the order of their pictures; None to draw an order, and to search.
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
    """Quality of each block, [batch, 1] or, for a share of the calls, with a random map."""
    if not share or torch.rand(()) >= share:
        return quality[:, None]
    blocks = model.pyramid.grids[-1].npix
    steps = torch.randn(len(quality), blocks, device=quality.device) * torch.rand(
        len(quality), 1, device=quality.device
    )
    return quality[:, None] + (steps * 1.5 / MAP_STEP).round().clamp(-MAP_LIMIT, MAP_LIMIT) * MAP_STEP


def _is_calm(x: Tensor, references: References, last: _Frame, measure: Measure) -> bool:
    """Whether the picture may repeat its reference, roughly as the encoder decides.

    A repeated frame where much moves would drown everything else in its error.
    """
    unmoved = _planes(x, references.first.x_hat, measure)
    return bool((unmoved[:, 0] < CALM * last.planes[:, 0]).all())


CALM = 2.0
"""A frame may repeat the one before it where that no more than doubles the squared error of luma."""


class _Frame(NamedTuple):
    """Of one coded frame.

    Attributes:
        planes: Squared errors.
        counted: What counts of its error, times lmbda.
        bits: Per node.
    """

    planes: Float[Tensor, "batch 3"]
    counted: Float[Tensor, "batch 3"]
    bits: Tensor


def _frame(
    model: SphereDVC, quality: Float[Tensor, "batch blocks"], x: Tensor, x_hat: Tensor, measure: Measure, rate: Rate
) -> _Frame:
    side = math.isqrt(x.shape[1])
    planes = _planes(x, x_hat, measure)
    # Squared errors count as much more as lmbda is larger there; other distortions take its mean.
    base = quality.mean(1)
    weight = at_depth(2.0 ** ((quality - base[:, None]) / 2)[..., None], model.pyramid, 0)
    counted = measure.distortion(measure.inner(x * weight, side), measure.inner(x_hat * weight, side))
    return _Frame(planes, lmbda(base)[:, None] * counted, _bits(rate, x, measure))


def _planes(x: Tensor, x_hat: Tensor, measure: Measure) -> Float[Tensor, "batch 3"]:
    side = math.isqrt(x.shape[1])
    return squared_error(measure.inner(x, side), measure.inner(x_hat, side))


def _bits(rate: Rate, x: Tensor, measure: Measure) -> Tensor:
    """Per node. Side information is so coarse that all of it counts."""
    latents = measure.inner(rate.latents[..., None], math.isqrt(x.shape[1]))
    per_node = (part.mean() * whole.shape[1] for part, whole in ((latents, rate.latents), (rate.hyper, rate.hyper)))
    return sum(per_node, x.new_zeros(())) / x.shape[1]


def _loss(frames: list[_Frame]) -> Loss:
    weights = frames[0].planes.new_tensor(PLANE_WEIGHTS)
    bits = torch.stack([frame.bits for frame in frames]).mean()
    distortion = torch.stack([(frame.counted @ weights).mean() for frame in frames]).mean()
    planes = torch.stack([frame.planes.detach().mean(0) for frame in frames]).mean(0)
    return Loss(distortion + bits, *(float(value) for value in (planes @ weights, planes[0], bits.detach())))
