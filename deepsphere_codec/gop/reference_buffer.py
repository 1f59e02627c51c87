"""Decoded pictures that later ones refer to, and those that wait until they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from deepsphere_codec.bitstream import Position
from deepsphere_codec.errors import LostReference
from deepsphere_codec.models import References, State

Item = TypeVar("Item")


class ReferenceBuffer:
    """States of the decoded pictures of a GOP that later ones may refer to; five at most, whatever its length."""

    def __init__(self) -> None:
        self._states: dict[int, State] = {}

    def __len__(self) -> int:
        return len(self._states)

    def clear(self) -> None:
        """Forget all pictures, so that only an I-frame can come next."""
        self._states = {}

    def references(self, position: Position) -> References:
        """The pictures that a P- or B-frame refers to.

        Args:
            position: Of the frame.
        Raises:
            LostReference: one of them is not here.
        """
        distances = [0 if each is None else each - position.number for each in position[2:4]]
        first = self._state(position, position.first)
        second = None if position.second is None else self._state(position, position.second)
        return References(first, second, (distances[0], distances[1]))

    def keep(self, position: Position, state: State) -> None:
        """Keep a decoded picture, and forget those that nothing refers to any more.

        Args:
            position: Of the picture.
            state: That the network came to.
        """
        first = position.first
        if position.kind == "B" and first is not None:
            anchor = min(self._states)
            kept = {number: each for number, each in self._states.items() if number == anchor or number >= first}
        else:  # a group is whole: only its anchor remains
            kept = {number: each for number, each in self._states.items() if number == first}
        self._states = kept | {position.number: state}

    def _state(self, position: Position, number: int | None) -> State:
        if number not in self._states:
            raise LostReference(f"a {position.kind}-frame refers to frame {number}, which is lost")
        return self._states[number]


class DisplayOrder(Generic[Item]):
    """Brings what belongs to pictures from the order of coding into that of display, each as early as can be."""

    def __init__(self) -> None:
        self._due = 0
        self._waiting: dict[int, Item] = {}

    def push(self, position: Position, item: Item) -> Iterator[Item]:
        """Take the next picture's.

        Args:
            position: Of the picture.
            item: That belongs to it.
        Yields:
            What is due now: all before an I-frame, then as far as no picture is missing.
        """
        if position.kind == "I":
            yield from self.rest()
            self._due = position.number
        self._waiting[position.number] = item
        while self._due in self._waiting:
            yield self._waiting.pop(self._due)
            self._due += 1

    def rest(self) -> Iterator[Item]:
        """Items that wait for pictures that never came."""
        while self._waiting:
            yield self._waiting.pop(min(self._waiting))
