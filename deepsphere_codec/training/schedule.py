"""Settings of a training stage: its part, its steps, its optimiser, and what counts as an error."""

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
    """How it is trained.

    Attributes:
        part: Which weights move: "intra", "inter" (P- and B-frames, behind I-frames that stand still), or "all".
        steps: Of the stage; the learning rate falls from `rate` to `rate_last` over them.
        batch: Patches of a share of a step.
        shares: Of a step; several processes share them out, one takes them in turn, to the same numbers.
        rate, rate_last, warmup: Learning rate, its end, and steps until it is reached.
        optimizer: "adam"; or "muon" for the weights of convolutions, as matrices, and Adam for all other weights.
        rate_muon: Muon's learning rate after the warm-up; it rises and falls in proportion to `rate`, which is Adam's.
        fall: "cosine", or "step": halfway between the two (in logarithms) after 60 % of the steps, the last after 85 %.
        distortion: Of decoded frames: squared error of "nodes", of "erp" (pixels, weighted by area), or "ms-ssim";
            on a plane of "nodes" (pixels, all alike), or "wmse" (weighted by area).
        margin: Nodes along a patch's border that do not count, a multiple of 16: they see what is not there.
        ema: Memory of the running mean of the weights, from step to step, say 0.999; 0 for no mean. Checkpoints then
            hold the mean as well, and what is released is the mean.
        clip: Largest norm of the gradient.
        chain: Pictures of a GOP that a step learns from, one after the other in coding order.
        skipped: Share of the P-frames before them that repeat their reference.
        maps: Share of the steps with random quality maps.
        kept: Samples that are drawn once, with their trees of motion, and come again and again; 0 draws each anew.
        relocate: Steps after which the patch moves to another place of the sphere.
        checkpoint_minutes: Between checkpoints.
        seed: Of everything random.
        precision: Of the networks' layers: "float32"; "bfloat16" (a quarter to a third faster where the processor has
            it; what the entropy coder needs stays in float32); or "auto": bfloat16 where it is no slower.
        start: Checkpoint to start from; "" for none.
        start_intra: Checkpoint that the I-frames' weights are taken from instead; "" for the same.
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
