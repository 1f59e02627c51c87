"""Orders of pictures that training draws: those of the bitstream, in groups of every span."""

from __future__ import annotations

import torch

from deepsphere_codec.bitstream import PictureOrder
from deepsphere_codec.models.memory import LatentMemory, State
from deepsphere_codec.training.order import SPANS, PicturePlace, anchors_of, random_order


def test_an_order_is_one_that_a_stream_may_have():
    """Same references and layers, picture by picture; the spans follow from the anchors."""
    spans = set()
    for seed in range(40):
        torch.manual_seed(seed)
        places = random_order(12)
        assert sorted(place.number for place in places) == list(range(1, 12))
        order, anchor = PictureOrder(), 0
        order.next("I")
        for place in places:
            span = place.number - anchor if place.layer == 0 else 1
            found = order.next("B" if place.layer else "P", span)
            assert place == PicturePlace(found.number, found.first, found.second, found.layer)
            if place.layer == 0:
                spans.add(span)
                anchor = place.number
        assert order.is_whole
    assert spans == set(SPANS)


def test_distances_are_those_of_the_references():
    assert PicturePlace(6, 4, 8, 1).distances == (-2, 2)
    assert PicturePlace(8, 4, None, 0).distances == (-4, 0)
    states = {number: state(float(number)) for number in (4, 8)}
    assert PicturePlace(6, 4, 8, 1).references(states) == (states[4], states[8])
    assert PicturePlace(8, 4, None, 0).references(states) == (states[4], None)


def state(value: float) -> State:
    return State.begin(torch.full((1, 4, 3), value), torch.zeros(1, 1, 2), LatentMemory.empty(torch.zeros(1, 1, 2), 2))


def test_p_frames_one_after_the_other_refer_to_the_last_two_pictures():
    states = [state(float(number)) for number in range(3)]
    assert anchors_of(states[:1]) == (states[0], None, (-1, 0))
    assert anchors_of(states) == (states[2], states[1], (-1, -2))
