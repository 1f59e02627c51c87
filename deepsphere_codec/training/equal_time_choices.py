"""The choices of optimiser, convolution and width that are compared at equal processor time."""

from __future__ import annotations

from deepsphere_codec.training.ablation import Variant
from deepsphere_codec.training.convolutions import convolution

ANCHOR = "directional, Adam"


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


VARIANTS = (
    variant(ANCHOR, "directional"),
    variant("directional, Muon", "directional", 3, *muon()),
    variant("Chebyshev K=2, Adam", "chebyshev", 2),
    variant("Chebyshev K=2, Muon", "chebyshev", 2, *muon()),
    variant("Chebyshev K=3, Muon", "chebyshev", 3, *muon()),
    variant("Chebyshev K=2, Muon 2e-3", "chebyshev", 2, *muon(2e-3)),
    variant("Chebyshev K=2, Muon 1e-2", "chebyshev", 2, *muon(1e-2)),
    variant("Chebyshev K=2, Muon, batch 8", "chebyshev", 2, *muon(), "train.batch=8"),
    variant("Chebyshev K=2, Muon, wider at nside/8", "chebyshev", 2, *muon(), "model.middle_channels=192"),
)
