"""The choices of convolution that an ablation compares."""

from __future__ import annotations

from studies.ablation.runs import Variant

ANCHOR = "directional"


def convolution(name: str, kind: str, order: int = 3, neighbors: int = 8) -> Variant:
    """One choice for all convolutions of the transforms.

    Args:
        kind: See `sphere_conv`.
        order: Taps of Chebyshev filters.
        neighbors: k of the graphs.
    """
    changes = (
        f"model.kinds=['{kind}', '{kind}']",
        f"model.stem='{kind}'",
        f"model.cheb_order={order}",
        f"model.neighbors={neighbors}",
    )
    return Variant(name, changes)


VARIANTS = (
    convolution(ANCHOR, "directional"),
    convolution("Chebyshev K=2", "chebyshev", 2),
    convolution("Chebyshev K=3", "chebyshev", 3),
    convolution("Chebyshev K=5", "chebyshev", 5),
    convolution("Chebyshev K=3, k=20", "chebyshev", 3, 20),
    convolution("gated Chebyshev K=3", "gated", 3),
    convolution("hybrid K=3", "hybrid", 3),
)
