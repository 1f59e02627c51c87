"""Schedule of a training stage: trained part, steps, optimiser, and distortion."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from deepsphere_codec.settings import NonNegative, PartialShare, Positive, checked_dataclass
from deepsphere_codec.training.distortion import DistortionName

Part = Literal["intra", "inter", "all"]
Precision = Literal["float32", "bfloat16", "auto"]
Fall = Literal["cosine", "step"]


@checked_dataclass("train")
class Schedule:
    """Settings of the training of one stage.

    Attributes:
        part: Part of the model to train: "intra", "inter" (P- and B-frames, with fixed I-frames), or "all".
        steps: Number of steps, over which the learning rate falls from `rate` to `rate_last`.
        batch: Number of patches in a share of a step.
        shares: Number of shares of a step, whose gradients are averaged. Several processes divide them; one process
            computes them in turn, with the same result.
        rate: Highest learning rate, reached after the warm-up.
        rate_last: Learning rate at the end.
        warmup: Number of steps in which the learning rate rises to `rate`.
        optimizer: "adam", or "muon" for Muon on the weights of convolutions, as matrices, and Adam for all other
            weights.
        rate_muon: Muon's highest learning rate; it rises and falls in proportion to `rate`, which is Adam's.
        fall: "cosine", or "step": the geometric mean of `rate` and `rate_last` after 60 % of the steps that follow the
            warm-up, `rate_last` after 85 %.
        distortion: Distortion of decoded frames: squared error of "nodes", of "erp" (pixels, weighted by area), or
            "ms-ssim"; on a plane, squared error of "nodes" (pixels with equal weights) or "wmse" (weighted by area).
        margin: Width of a patch's border that is not counted in the loss, in nodes, a multiple of 16: its nodes lack
            context from beyond the patch.
        ema: Decay of the running mean of the weights per step, for example 0.999; 0 for no mean. Checkpoints also
            contain the mean, and released models use it.
        clip: Largest norm of the gradient.
        chain: Number of pictures of a GOP in the loss of a step, one after the other in coding order.
        skipped: Share of the P-frames before them that repeat their reference.
        maps: Share of the pictures with random quality maps.
        kept: Number of samples that are drawn once, with their motion trees, and used repeatedly; 0 draws new samples
            at each step.
        relocate: Number of steps after which the patch moves to another place.
        checkpoint_minutes: Minutes between checkpoints.
        seed: Seed of all random numbers.
        precision: Number format of the networks' layers: "float32"; "bfloat16" (25 % to 33 % faster where the processor
            supports it; what the entropy coder needs stays in float32); or "auto" for bfloat16 where it is not slower.
        start: Checkpoint to start from; "" for none.
        start_intra: Checkpoint for the weights of the I-frames; "" to take them from `start`.
    """

    part: Part = "intra"
    steps: PositiveInt = 10000
    batch: PositiveInt = 4
    shares: PositiveInt = 1
    rate: Positive = 5e-4
    rate_last: NonNegative = 1e-5
    warmup: NonNegativeInt = 200
    optimizer: Literal["adam", "muon"] = "adam"
    rate_muon: Positive = 5e-3
    fall: Fall = "cosine"
    distortion: DistortionName = "nodes"
    margin: Annotated[int, Field(ge=0, multiple_of=16)] = 0
    ema: PartialShare = 0.0
    clip: Positive = 1.0
    chain: PositiveInt = 1
    skipped: PartialShare = 0.0
    maps: PartialShare = 0.0
    kept: NonNegativeInt = 0
    relocate: PositiveInt = 100
    checkpoint_minutes: NonNegative = 3.0
    seed: NonNegativeInt = 1
    precision: Precision = "float32"
    start: str = ""
    start_intra: str = ""
