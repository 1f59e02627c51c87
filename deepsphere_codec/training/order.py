"""Orders of pictures that training meets: groups of 1, 2, 4 or 8, as the encoder may choose them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from deepsphere_codec.models.memory import References, State

SPANS = (1, 2, 4, 8)
SHARES = (0.55, 0.15, 0.15, 0.15)
"""How often a group of each span is drawn."""


class PicturePlace(NamedTuple):
    """A picture of a GOP, and what it is predicted from.

    Attributes:
        number: Display number behind the I-frame's.
        first, second: Display numbers of its references; the second is None where there is none.
        layer: 0 for the last picture of a group, 1 for the one in its middle, and so on.
    """

    number: int
    first: int
    second: int | None
    layer: int

    @property
    def distances(self) -> tuple[int, int]:
        """Display numbers of the references less the picture's own; 0 for none."""
        return self.first - self.number, 0 if self.second is None else self.second - self.number

    def references(self, states: Mapping[int, State]) -> tuple[State, State | None]:
        """The decoded pictures."""
        return states[self.first], None if self.second is None else states[self.second]


def anchors_of(states: Sequence[State]) -> References:
    """References of the next P-frame of a GOP whose groups are single pictures: the last two of its pictures."""
    if len(states) > 1:
        return References(states[-1], states[-2], (-1, -2))
    return References(states[-1])


def random_order(frames: int, generator: torch.Generator | None = None) -> list[PicturePlace]:
    """All pictures behind an I-frame, in coding order, in groups of random spans.

    Args:
        generator: Of the random numbers; None for torch's own.
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
