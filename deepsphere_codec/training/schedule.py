"""Settings of a training stage: its part, its steps, its optimiser, and what counts as an error."""

from __future__ import annotations

from dataclasses import dataclass

from deepsphere_codec.errors import UsageError
from deepsphere_codec.training.distortion import DISTORTIONS

PARTS = ("intra", "inter", "all")
CHOICES = {
    "part": PARTS,
    "precision": ("float32", "bfloat16", "auto"),
    "fall": ("cosine", "step"),
    "optimizer": ("adam", "muon"),
    "distortion": tuple(dict.fromkeys(kind for kinds in DISTORTIONS.values() for kind in kinds)),
}


@dataclass(frozen=True)
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

    part: str = "intra"
    steps: int = 10000
    batch: int = 4
    shares: int = 1
    rate: float = 5e-4
    rate_last: float = 1e-5
    warmup: int = 200
    optimizer: str = "adam"
    rate_muon: float = 5e-3
    fall: str = "cosine"
    distortion: str = "nodes"
    margin: int = 0
    ema: float = 0.0
    clip: float = 1.0
    chain: int = 1
    skipped: float = 0.0
    maps: float = 0.0
    kept: int = 0
    relocate: int = 100
    checkpoint_minutes: float = 3.0
    seed: int = 1
    precision: str = "float32"
    start: str = ""
    start_intra: str = ""

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise UsageError(f"train.{name} is {value!r}: expected one of {', '.join(known)}")
        if self.optimizer == "muon" and min(self.rate, self.rate_muon) <= 0:
            raise UsageError(f"train.rate is {self.rate}, rate_muon {self.rate_muon}: Muon needs both above 0")
        for name in ("skipped", "maps", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"train.{name} is {getattr(self, name)}: expected 0 or more, below 1")
        if min(self.steps, self.batch, self.shares, self.chain, self.relocate) < 1:
            raise UsageError("train.steps, batch, shares, chain and relocate must be at least 1")
