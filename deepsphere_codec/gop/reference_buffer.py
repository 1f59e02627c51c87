"""Buffers of decoded pictures: references of later pictures, and pictures waiting to be shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from deepsphere_codec.bitstream import Position
from deepsphere_codec.errors import LostReference
from deepsphere_codec.models import References, State

Item = TypeVar("Item")


class ReferenceBuffer:
    """States of the decoded pictures of a GOP that later ones may refer to; at most five, whatever its length."""

    def __init__(self) -> None:
        self._states: dict[int, State] = {}

    def __len__(self) -> int:
        return len(self._states)

    def clear(self) -> None:
        """Remove all pictures, so that only an I-frame can come next."""
        self._states = {}

    def references(self, position: Position) -> References:
        """Return the references of a P- or B-frame.

        Args:
            position: Position of the frame.
        Raises:
            LostReference: a reference is not in the buffer.
        """
        distances = [0 if each is None else each - position.number for each in position[2:4]]
        first = self._state(position, position.first)
        second = None if position.second is None else self._state(position, position.second)
        return References(first, second, (distances[0], distances[1]))

    def keep(self, position: Position, state: State) -> None:
        """Add a decoded picture, and remove those that can no longer be references.

        Args:
            position: Position of the picture.
            state: State of the network after the picture.
        """
        first = position.first
        if position.kind == "B" and first is not None:
            anchor = min(self._states)
            states = {number: each for number, each in self._states.items() if number == anchor or number >= first}
        else:  # the group is complete: of its pictures only the anchor is still a reference
            states = {number: each for number, each in self._states.items() if number == first}
        self._states = states | {position.number: state}

    def _state(self, position: Position, number: int | None) -> State:
        if number not in self._states:
            raise LostReference(f"a {position.kind}-frame refers to frame {number}, which is lost")
        return self._states[number]


class DisplayOrder(Generic[Item]):
    """Reordering of items that belong to pictures from order of coding to order of display, with minimal delay."""

    def __init__(self) -> None:
        self._due = 0
        self._waiting: dict[int, Item] = {}

    def push(self, position: Position, item: Item) -> Iterator[Item]:
        """Add the item of the next picture in order of coding.

        Args:
            position: Position of the picture.
            item: Item that belongs to it.
        Yields:
            Items that can be shown now: all that precede an I-frame, and those up to the first missing picture.
        """
        if position.kind == "I":
            yield from self.rest()
            self._due = position.number
        self._waiting[position.number] = item
        while self._due in self._waiting:
            yield self._waiting.pop(self._due)
            self._due += 1

    def rest(self) -> Iterator[Item]:
        """Iterate over the remaining items, in order of display."""
        while self._waiting:
            yield self._waiting.pop(min(self._waiting))
