"""Hyperpriors without one part of the entropy parameters, trained separately on recorded latents.

All variants begin with the same weights, samples and noise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor, nn

from deepsphere_codec.entropy.exact import ExactConv, with_gradient_of
from deepsphere_codec.entropy.hyperprior import EMBEDDED, SLICES, Hyperprior, SliceParameters
from deepsphere_codec.errors import CodecError
from deepsphere_codec.evaluation.json_file import write_json
from deepsphere_codec.evaluation.model import CURVE_QUALITIES
from deepsphere_codec.layers import RescaledLaplacian
from deepsphere_codec.layers.nine_taps import nine_taps
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.motion_context import MOTION_CHANNELS
from deepsphere_codec.models.pyramid import COARSEST_DEPTH, LATENT_DEPTH, Pyramid
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.optimizer import make_optimizer
from deepsphere_codec.training.schedule import Schedule
from studies.ablation.runs import kept_result, slug
from studies.ablation.study import Json, Variant
from studies.entropy.latents import CODECS, Latents, Plan, places, weights_of

WARMUP = 100
_DEPTHS = range(LATENT_DEPTH, COARSEST_DEPTH + 1)


class RelaxedConv(nn.Module):
    """Floating-point version of `ExactConv`: parameters off the grid, sums without rounding, with the same clamp.

    Args:
        conv: Convolution to copy parameters, padding and clamp from.
    """

    def __init__(self, conv: ExactConv) -> None:
        super().__init__()
        self.padding, self.low, self.limit = conv.padding, conv.low, conv.limit
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, a: Float[Tensor, "batch npix fin"]) -> Float[Tensor, "batch npix fout"]:
        """Compute the convolution of activations, [batch, npix, fin], [batch, npix, fout]."""
        return self.activated(self.total(a))

    def total(self, a: Float[Tensor, "batch npix c"], first: int = 0) -> Float[Tensor, "batch npix fout"]:
        """Compute the contribution of some of the input channels to the sums; see `ExactConv.total`.

        Args:
            a: Activations of these channels, [batch, npix, c].
            first: Number of the first of these channels.
        Returns:
            Partial sums, [batch, npix, fout].
        """
        weight = self.weight[:, first : first + a.shape[-1]]
        if self.padding is None:
            return F.linear(a, weight[:, :, 0, 0])
        return self.padding.flatten(nine_taps(self.padding(a), weight))

    def activated(self, total: Float[Tensor, "batch n fout"]) -> Float[Tensor, "batch n fout"]:
        """Compute the output from the sums over all channels; see `ExactConv.activated`."""
        total = total + self.bias
        bounded = total.clamp(self.low, self.limit)
        return with_gradient_of(bounded, bounded + 0.01 * (total - bounded))


def in_one_step(hyperprior: Hyperprior) -> None:
    """Assign all nodes to the first half, so that no node has latents of its own slice as context."""
    hyperprior.anchors.fill_(True)
    hyperprior.hyper_anchors.fill_(True)


def in_three_steps(hyperprior: Hyperprior) -> None:
    """Code every fourth node of the first slice first, then the rest of the first half, then the second half."""
    hyperprior.lead_steps = 3


def in_five_steps(hyperprior: Hyperprior) -> None:
    """Split the first of the steps of `in_three_steps` into three, whose contexts are neighbours one parent away."""
    first, parents = hyperprior.slices[0], hyperprior.h_s[1]
    assert isinstance(first, SliceParameters) and isinstance(parents, ExactConv)
    hidden = first.around.weight.shape[0]
    first.wide = ExactConv(EMBEDDED, hidden, parents.padding, gain=1.4, bias=4.0)
    hyperprior.lead_steps = 5


def without_means(hyperprior: Hyperprior) -> None:
    """Fix all means at zero."""
    for part in (hyperprior.hyper, *hyperprior.slices):
        assert isinstance(part, SliceParameters)
        for p in part.mean.parameters():
            p.requires_grad_(False).zero_()


def hyper_latents_alone(hyperprior: Hyperprior) -> None:
    """Give each channel of the hyper-latents a single distribution, without context or neighbours."""
    hyperprior.hyper_anchors.fill_(True)
    for p in hyperprior.up.parameters():
        p.requires_grad_(False).zero_()


def relax(module: nn.Module) -> None:
    """Replace every `ExactConv` in a module by a `RelaxedConv`."""
    for name, child in list(module.named_children()):
        if isinstance(child, ExactConv):
            module.add_module(name, RelaxedConv(child))
        else:
            relax(child)


CHANGES = {
    change.__name__: change
    for change in (in_one_step, in_three_steps, in_five_steps, without_means, hyper_latents_alone, relax)
}


class Change(NamedTuple):
    """Changes of one variant, with the keys of study.toml.

    Attributes:
        change: Name of a function that changes a hyperprior before training, "" for none.
        left_out: Parts of the context that are set to zero: "last" (latents of the previous frame), "older" (their
            activity, and the I-frame's magnitudes), "motion" and "quality".
        hidden: Width of the networks; None for the model's.
        shares: Shares of the slices in the channels.
    """

    change: str = ""
    left_out: Sequence[str] = ()
    hidden: int | None = None
    shares: Sequence[float] = SLICES

    def remember(self, context: Tensor, channels: int) -> Tensor:
        """Set the left-out parts of a context to zero.

        Args:
            context: Context, [n, latent, r].
            channels: Number of channels of y.
        Returns:
            Context of the same shape.
        """
        end = context.shape[-1]
        motion = max(0, end - 1 - MOTION_CHANNELS)  # an I-frame's context is the quality alone
        ends = {"last": (0, min(channels, motion)), "older": (min(channels, motion), motion)}
        ends |= {"motion": (motion, end - 1), "quality": (end - 1, end)}
        context = context.clone()
        for name in self.left_out:
            first, last = ends[name]
            context[..., first:last] = 0
        return context


FULL = Change()


class Site(NamedTuple):
    """Block of the sphere, and the latents recorded there."""

    block: PatchGrid
    latents: Latents


class Job(NamedTuple):
    """One training."""

    plan: Plan
    variant: Variant
    part: str
    seed: int

    @property
    def result(self) -> Path:
        """File of the result."""
        return self.plan.folder / f"{self.part}-{slug(self.variant.name)}-{self.seed}.json"

    @property
    def heading(self) -> Json:
        """Beginning of the result; a result with other settings does not belong to this job."""
        settings = json.loads(json.dumps(self.plan.settings))
        return {"variant": self.variant.name, "part": self.part, "seed": self.seed, "settings": settings}

    def sites(self, role: str) -> list[Site]:
        """Read the samples of a role, with the contexts that this variant uses."""
        return [self._site(place.path) for place in places(self.plan) if place.role == role]

    def _site(self, path: Path) -> Site:
        with safe_open(path, "pt") as file:
            block = PatchGrid(**json.loads(file.metadata()["block"]))
            latents = Latents(*(file.get_tensor(f"{self.part}.{name}") for name in Latents._fields))
        context = Change(**self.variant.changes).remember(latents.context, latents.y.shape[-1])
        return Site(block, latents._replace(context=context))


def run_job(job: Job) -> Json:
    """Train, measure, and write the result, unless it exists.

    Args:
        job: Training.
    Returns:
        {"variant", "part", "seed", "settings", "points": [{"quality", "bits_per_node", "rounding_db"}]}.
    Raises:
        UsageError: the job ran before with other settings.
        CodecError: the rate became NaN.
    """
    if found := kept_result(job):
        return found
    torch.manual_seed(job.seed)
    sites = job.sites("train")
    hyperprior = build(job.plan.config, sites[0], Change(**job.variant.changes))
    train(hyperprior, job, sites)
    result = {**job.heading, "points": measure(hyperprior, job.plan.config, job.sites("test"))}
    write_json(job.result, result)
    return result


def build(config: ModelConfig, site: Site, change: Change = FULL) -> Hyperprior:
    """Make a hyperprior with initial weights that equals the model's apart from the variant's changes.

    Args:
        config: Configuration of the model.
        site: Block and latents, which give the sizes.
        change: Changes of the variant.
    Returns:
        Hyperprior.
    """
    at = Pyramid(site.block, config.neighbors).at
    channels, context = site.latents.y.shape[-1], site.latents.context.shape[-1]
    fine, middle, coarse = (at[depth] for depth in _DEPTHS)
    sizes = channels, config.hyper_channels, change.hidden or config.hyper_hidden, context
    hyperprior = Hyperprior(*sizes, fine, middle, coarse, tuple(change.shares))
    if change.change:
        with torch.no_grad():
            CHANGES[change.change](hyperprior)
    return hyperprior


def measure_own(job: Job) -> list[Json]:
    """Measure the model's own hyperprior at the same positions, as a reference for training from scratch."""
    plan, sites = job.plan, job.sites("test")
    weights = weights_of(plan.model)
    hyperprior = build(plan.config, sites[0])
    for name, p in hyperprior.named_parameters():
        p.detach().copy_(weights[f"{CODECS[job.part]}.hyperprior.{name}"])
    return measure(hyperprior, plan.config, sites)


def train(hyperprior: Hyperprior, job: Job, sites: Sequence[Site]) -> None:
    """Train a hyperprior; each step uses samples of one site, and seed and step determine the samples and the noise.

    Args:
        hyperprior: Hyperprior to train.
        job: Training.
        sites: Samples.
    Raises:
        CodecError: the rate became NaN.
    """
    plan, batch = job.plan, job.plan.training["batch"]
    learned = [p for p in hyperprior.parameters() if p.requires_grad]
    schedule = Schedule(optimizer="muon", rate=plan.training["rate"], rate_muon=plan.training["rate_muon"])
    optimizer = make_optimizer(hyperprior, learned, schedule)
    hyperprior.train()
    for step in range(plan.training["steps"]):
        torch.manual_seed(job.seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = _rate(plan, step) * group["relative_rate"]
        block, latents = sites[int(torch.randint(len(sites), ()))]
        _, bits = coded(hyperprior, plan.config, block, latents.at(torch.randint(len(latents.y), (batch,))))
        loss = bits / (batch * block.npix)
        if not math.isfinite(loss.item()):
            raise CodecError(
                f"{job.result.stem}: the rate is {loss.item()} at step {step}; use another settings.training.rate"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in learned if p.grad is not None], 1.0)
        optimizer.step()


def _rate(plan: Plan, step: int) -> float:
    done = step / plan.training["steps"]
    return plan.training["rate"] * min((step + 1) / WARMUP, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def coded(
    hyperprior: Hyperprior, config: ModelConfig, block: PatchGrid, latents: Latents
) -> tuple[Float[Tensor, "n latent m"], Tensor]:
    """Code latents with a hyperprior: noisy latents in training, rounded ones otherwise.

    Args:
        hyperprior: Hyperprior.
        config: Configuration of the model.
        block: Block that the latents lie on.
        latents: Samples.
    Returns:
        Decoded latents, [n, latent, m], and bits.
    """
    for layer, laplacian in zip(hyperprior.h_a, _laplacians(block, config.neighbors), strict=True):
        layer.laplacian = laplacian
    y_hat, rate = hyperprior(latents.y, latents.context.float(), straight=not hyperprior.training)
    return y_hat, rate.bits


@lru_cache(maxsize=256)
def _laplacians(block: PatchGrid, neighbors: int) -> list[RescaledLaplacian]:
    pyramid = Pyramid(block, neighbors)
    return [pyramid.laplacian(depth) for depth in _DEPTHS]


@torch.no_grad()
def measure(hyperprior: Hyperprior, config: ModelConfig, sites: Sequence[Site]) -> list[Json]:
    """Measure bits per node of the signal and frame, and the signal-to-noise ratio of the rescaled latents in dB.

    The latter measures the change of the synthesis' input by rounding; null if there is none.

    Args:
        hyperprior: Hyperprior.
        config: Configuration of the model.
        sites: Samples.
    Returns:
        One point for each quality.
    """
    hyperprior.eval()
    points = []
    for quality in CURVE_QUALITIES:
        bits = nodes = energy = error = 0.0
        for block, latents in sites:
            chosen = latents.at(latents.quality == quality)
            y_hat, spent = coded(hyperprior, config, block, chosen)
            bits, nodes = bits + float(spent), nodes + len(y_hat) * block.npix
            energy += float((chosen.step * chosen.y).square().sum())
            error += float((chosen.step * (y_hat - chosen.y)).square().sum())
        ratio = round(10 * math.log10(energy / error), 4) if energy > 0 and error > 0 else None
        points.append({"quality": quality, "bits_per_node": round(bits / nodes, 7), "rounding_db": ratio})
    return points
