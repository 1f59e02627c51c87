"""Rate and distortion of a patch."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from deepsphere_codec.entropy.hyperprior import Rate
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.fields import upsample_field
from deepsphere_codec.models.quality import PLANE_WEIGHTS, inter_quality, intra_quality, lmbda_of
from deepsphere_codec.training.distortion import Distortion, squared_error


class Loss(NamedTuple):
    """Means over the batch.

    Attributes:
        total: What is minimised, with gradient.
        mse: Weighted squared error (signal 0 … 1) of the coded frames.
        mse_y: Of luma alone.
        bits: Estimated bits per node and frame.
        bits_motion: The motion's part of them.
    """

    total: Tensor
    mse: float
    mse_y: float
    bits: float
    bits_motion: float


def lmbda(quality: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Trade-off of each sample."""
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
    model: SphereDVC, x: Float[Tensor, "batch frames npix 3"], quality: Tensor, measure: Measure = EVERYTHING
) -> Loss:
    """Of the first frame alone."""
    picture, rate = model.intra(x[:, 0], quality)
    return _loss([_frame(quality, x[:, 0], picture.x_hat, measure, rate)])


def motion_loss(model: SphereDVC, x: Float[Tensor, "batch frames npix 3"]) -> Loss:
    """Of the estimated field alone, from the second frame back to the first: robust error of the warped luma.

    The reference gets noise, since at work it is a decoded picture.
    """
    estimator, pyramid = model.inter.estimator, model.pyramid
    luma, luma_ref = x[:, 1, :, :1], x[:, 0, :, :1]
    noise = torch.rand(x.shape[0], 1, 1, device=x.device) * (4 / 255)
    v = estimator.estimate(estimator.stack(luma), estimator.stack(luma_ref + noise * torch.randn_like(luma_ref)))
    warped = pyramid.warp(0)(luma_ref, upsample_field(v, pyramid.padding(1), 2))
    error = (luma - warped).float()
    total = 255 * (error.square() + (1 / 255) ** 2).sqrt().mean()
    mse = float(error.detach().square().mean())
    return Loss(total, mse, mse, 0.0, 0.0)


def field_loss(
    model: SphereDVC,
    x: Float[Tensor, "batch frames npix 3"],
    quality: Tensor,
    mended: bool,
    measure: Measure = EVERYTHING,
) -> Loss:
    """Of the coded field alone, from the second frame back to the decoded first: rate, and error of what it predicts.

    Args:
        mended: Of the prediction; otherwise of the warped reference.
    """
    with torch.no_grad():
        picture, _ = model.intra(x[:, 0], intra_quality(quality, model.config))
        state = model.inter.begin(*picture)
    asked = inter_quality(quality, model.config, state.age)
    _, pred, rate = model.inter.forward_motion(x[:, 1], state, asked)
    x_hat = model.inter.picture(pred) if mended else pred.x_warp
    return _loss([_frame(asked, x[:, 1], x_hat, measure, None, rate)])


def inter_loss(
    model: SphereDVC,
    x: Float[Tensor, "batch frames npix 3"],
    quality: Tensor,
    chain: int,
    warp_weight: float,
    with_intra: bool,
    skipped: float = 0.0,
    measure: Measure = EVERYTHING,
) -> Loss:
    """Of a chain of P-frames, each after the decoded one before it.

    The chain does not always begin at the I-frame: a random number of P-frames is coded first, and not learned from.
    Otherwise errors that build up over a GOP are never seen (33 dB fell to 24 within 15 frames of a still film).

    Args:
        chain: P-frames learned from; x has at least one frame more.
        warp_weight: Of the warped reference's and the prediction's error.
        with_intra: Train the I-frame as well; the chain then begins at it.
        skipped: Share of the P-frames that repeat the frame before, as the encoder has them do where little moves; a
            frame that is coded then learns to serve those after it, too.
    """
    frames: list[_Frame] = []
    asked = intra_quality(quality, model.config)
    with torch.set_grad_enabled(with_intra):
        picture, rate = model.intra(x[:, 0], asked)
    first = _frame(asked, x[:, 0], picture.x_hat, measure, rate)
    last = first.planes
    if with_intra:
        frames.append(first)
    state = model.inter.begin(*picture)
    before = 0 if with_intra else int(torch.randint(x.shape[1] - chain, ()))
    left = chain
    for t in range(1, x.shape[1]):
        asked = inter_quality(quality, model.config, state.age)
        unmoved = _planes(x[:, t], state.x_hat, measure)
        # As the encoder decides, roughly; a repeated frame where much moves would drown everything else in its error.
        calm = bool((unmoved[:, 0] < CALM * last[:, 0]).all())
        if torch.rand(()) < skipped and calm and left < x.shape[1] - t:
            state = state.unchanged()
            if with_intra or left < chain:
                frames.append(_frame(asked, x[:, t], state.x_hat, measure))
            continue
        if not left:
            break
        with torch.set_grad_enabled(t > before):
            out = model.inter(x[:, t], state, asked)
        coded = _frame(asked, x[:, t], out.x_hat, measure, out.rate_residual, out.rate_motion)
        state, last = out.state, coded.planes
        if t > before:
            left -= 1
            aside = sum(_planes(x[:, t], way, measure) for way in (out.x_warp, out.x_pred))
            frames.append(coded._replace(counted=coded.counted + warp_weight * aside))
    return _loss(frames)


CALM = 2.0
"""A frame may repeat the one before it where that no more than doubles the squared error of luma."""


class _Frame(NamedTuple):
    """Of one coded frame.

    Attributes:
        quality: That it was coded at.
        planes: Squared errors.
        counted: What counts of its error.
        bits, bits_motion: Per node; of all of it, and of its motion.
    """

    quality: Float[Tensor, " batch"]
    planes: Float[Tensor, "batch 3"]
    counted: Float[Tensor, "batch 3"]
    bits: Tensor
    bits_motion: Tensor


def _frame(
    quality: Tensor, x: Tensor, x_hat: Tensor, measure: Measure, rate: Rate | None = None, motion: Rate | None = None
) -> _Frame:
    side = math.isqrt(x.shape[1])
    planes = _planes(x, x_hat, measure)
    plain = measure.distortion is squared_error
    counted = planes if plain else measure.distortion(measure.inner(x, side), measure.inner(x_hat, side))
    bits, bits_motion = (_bits(part, x, measure) if part else x.new_zeros(()) for part in (rate, motion))
    return _Frame(quality, planes, counted, bits + bits_motion, bits_motion)


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
    bits, bits_motion = (
        torch.stack(part).mean() for part in zip(*((f.bits, f.bits_motion) for f in frames), strict=True)
    )
    distortion = torch.stack([(lmbda(f.quality) * (f.counted @ weights)).mean() for f in frames]).mean()
    planes = torch.stack([f.planes.detach().mean(0) for f in frames]).mean(0)
    told = (planes @ weights, planes[0], bits.detach(), bits_motion.detach())
    return Loss(distortion + bits, *(float(value) for value in told))
