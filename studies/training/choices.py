"""The choices of training that an ablation compares: one thing changed at a time."""

from __future__ import annotations

from studies.ablation.runs import Variant

ANCHOR = "baseline"
P_ONLY = ("inter",)
"""I-frames learn from single frames, each turned at random anyhow."""

VARIANTS = (
    Variant(ANCHOR),
    Variant("distortion over ERP pixels", ("train.distortion='erp'",)),
    Variant("margin of 16 nodes", ("train.margin=16",)),
    Variant("without guidance", ("data.guided=0.0",), P_ONLY),
    Variant("without spinning cameras", ("data.spin=0.0",), P_ONLY),
    Variant("up to 3 frames apart", ("data.gap=3",), P_ONLY),
    Variant("half of it mirrored", ("data.mirror=0.5",), P_ONLY),
    Variant("colours jittered by 10 %", ("data.jitter=0.1",), P_ONLY),
    Variant("chains of two", ("data.frames=3", "train.chain=2"), P_ONLY),
)
