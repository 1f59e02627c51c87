"""Coding orders of pictures in training: groups of 1, 2, 4 or 8 pictures, as the encoder may choose them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from deepsphere_codec.models.memory import References, State

SPANS = (1, 2, 4, 8)
SHARES = (0.55, 0.15, 0.15, 0.15)
"""Probability of a group of each span."""


class PicturePlace(NamedTuple):
    """Picture of a GOP and its references.

    Attributes:
        number: Display number, relative to the I-frame.
        first: Display number of the first reference.
        second: Display number of the second reference; None if there is none.
        layer: 0 for the last picture of a group, 1 for the one in its middle, and so on.
    """

    number: int
    first: int
    second: int | None
    layer: int

    @property
    def distances(self) -> tuple[int, int]:
        """Display number of each reference minus that of the picture; 0 if there is none."""
        return self.first - self.number, 0 if self.second is None else self.second - self.number

    def references(self, states: Mapping[int, State]) -> tuple[State, State | None]:
        """Return the decoded references, given the states of decoded pictures by display number."""
        return states[self.first], None if self.second is None else states[self.second]


def anchors_of(states: Sequence[State]) -> References:
    """Return the references of the next P-frame in a GOP without B-frames: the last two of its decoded pictures."""
    if len(states) > 1:
        return References(states[-1], states[-2], (-1, -2))
    return References(states[-1])


def random_order(frames: int, generator: torch.Generator | None = None) -> list[PicturePlace]:
    """Draw a coding order of all pictures after an I-frame, in groups of random spans.

    Args:
        frames: Number of pictures, the I-frame included.
        generator: Random number generator; None for PyTorch's default.
    Returns:
        The pictures in coding order.
    """
    places: list[PicturePlace] = []
    anchor, before = 0, None
    while anchor < frames - 1:
        span = SPANS[int(torch.multinomial(torch.tensor(SHARES), 1, generator=generator))]
        while span > frames - 1 - anchor:
            span //= 2
        places.append(PicturePlace(anchor + span, anchor, before, 0))
        places += _between(anchor, anchor + span, 1)
        anchor, before = anchor + span, anchor
    return places


def _between(first: int, last: int, layer: int) -> list[PicturePlace]:
    if last - first < 2:
        return []
    middle = (first + last) // 2
    here = PicturePlace(middle, first, last, layer)
    return [here, *_between(first, middle, layer + 1), *_between(middle, last, layer + 1)]
