"""The choices of optimiser, convolution and width that are compared at equal processor time."""

from __future__ import annotations

from studies.ablation.runs import Variant
from studies.convolutions.choices import convolution


def variant(name: str, kind: str, order: int = 3, *changes: str) -> Variant:
    """Make one choice for all transforms.

    Args:
        name: Name of the choice in results.
        kind: Kind of all convolutions, see `sphere_conv`.
        order: Taps of Chebyshev filters.
        changes: Further changes of the settings, as `load_settings` takes them.
    Returns:
        The choice.
    """
    return Variant(name, (*convolution(name, kind, order).changes, *changes))


def muon(rate: float = 5e-3) -> tuple[str, ...]:
    """Changes of the settings that select Muon, at this learning rate."""
    return "train.optimizer='muon'", f"train.rate_muon={rate}"


ANCHOR = "directional, Muon"
WIDER = "model.work_channels=96", "model.middle_channels=192"
VARIANTS = (
    variant(ANCHOR, "directional", 3, *muon()),
    variant("directional, Adam", "directional"),
    variant("Chebyshev K=2, Muon", "chebyshev", 2, *muon()),
    variant("Chebyshev K=2, Adam", "chebyshev", 2),
    variant("Chebyshev K=3, Muon", "chebyshev", 3, *muon()),
    variant("separable K=3, Muon", "separable", 3, *muon()),
    variant("gated K=2, Muon", "gated", 2, *muon()),
    variant("hybrid K=2, Muon", "hybrid", 2, *muon()),
    variant("Chebyshev K=2, hybrid at nside/4, Muon", "chebyshev", 2, "model.stem='hybrid'", *muon()),
    variant(
        "Chebyshev K=2, wider, Muon", "chebyshev", 2, "model.work_channels=96", "model.middle_channels=192", *muon()
    ),
    variant("Chebyshev K=2, Muon, half the batch", "chebyshev", 2, *muon(), "train.batch=4"),
    variant("Chebyshev K=2, sees the prediction deeper, Muon", "chebyshev", 2, "model.deep_context=true", *muon()),
    variant("Chebyshev K=2, Muon 2e-3", "chebyshev", 2, *muon(2e-3)),
    variant("Chebyshev K=2, Muon 1e-2", "chebyshev", 2, *muon(1e-2)),
    variant("Chebyshev K=2, Adam 3e-4", "chebyshev", 2, "train.rate=3e-4"),
    variant("Chebyshev K=2, Adam 1.2e-3", "chebyshev", 2, "train.rate=1.2e-3"),
)
"""Learning rates of both optimisers are tried at half or less, and at twice the rate."""

PART_CHANGES = {
    "intra": ("train.kept=16000",),
    "inter": ("train.kept=800", "train.batch=4", "train.chain=3", "train.skipped=0.2", "data.frames=8", "data.gap=2"),
}
"""Further settings that all choices of a part share; a choice's own changes come after these."""


def of_part(choice: Variant, part: str) -> Variant:
    """A choice, for I-frames or for P- and B-frames."""
    return choice._replace(changes=(*PART_CHANGES[part], *choice.changes))
