"""What is remembered from frame to frame: whole numbers, the same in every decoder, and fading."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsphere_codec.entropy.exact import ACTIVATION_LIMIT as LIMIT
from deepsphere_codec.models.memory import LatentMemory, References, State

LATENTS, INTRA, NODES = 3, 5, 12


def frames(count: int, scale: float = 300.0) -> list[torch.Tensor]:
    """Latents times FINE, some of them out of range."""
    return [(scale * torch.randn(2, NODES, LATENTS)).round() for _ in range(count)]


def empty() -> LatentMemory:
    return LatentMemory.empty(torch.zeros(2, NODES, 7), LATENTS)


def start(fine: torch.Tensor | None = None) -> State:
    fine = torch.zeros(2, NODES, INTRA) if fine is None else fine
    return State.begin(torch.rand(2, 48, 3), fine, empty())


def test_begins_with_nothing():
    memory = empty()
    for part in memory:
        assert part.shape == (2, NODES, LATENTS) and part.dtype == torch.float64 and not part.any()
    assert memory.both.shape == (2, NODES, 2 * LATENTS)


def test_counts_as_pythons_integers_do():
    memory = empty()
    last = activity = [0] * (2 * NODES * LATENTS)
    for fine in frames(12):
        memory = memory.after(fine)
        last = [max(-LIMIT, min(LIMIT, int(value))) for value in fine.flatten().tolist()]
        activity = [(3 * a + abs(value)) // 4 for a, value in zip(activity, last, strict=True)]
        assert memory.last.flatten().tolist() == last
        assert memory.activity.flatten().tolist() == activity


@pytest.mark.parametrize("value", [LIMIT, -LIMIT, 1e7, -1e7])
def test_stays_within_eight_bits(value):
    memory = empty()
    for _ in range(40):
        memory = memory.after(torch.full((2, NODES, LATENTS), float(value)))
    assert memory.last.abs().unique().tolist() == [LIMIT]
    assert LIMIT - 3 <= memory.activity.min() and memory.activity.max() <= LIMIT, (
        "rounded down, it ends up to three below"
    )


def test_fades_by_a_quarter_a_frame_and_is_gone_in_time():
    memory = LatentMemory(*(torch.full((2, NODES, LATENTS), LIMIT).double() for _ in range(2)))
    nothing, seen = torch.zeros(2, NODES, LATENTS), [float(LIMIT)]
    while memory.activity.any():
        memory = memory.after(nothing)
        assert not memory.last.any()
        seen.append(float(memory.activity.unique()))
        assert 0.75 * seen[-2] - 1 < seen[-1] <= 0.75 * seen[-2]
    assert len(seen) < 25


def test_latents_of_any_precision_give_the_same():
    memory = [empty(), empty()]
    for fine in frames(5):
        memory = [m.after(f) for m, f in zip(memory, (fine, fine.double()), strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(*memory, strict=True))


def test_a_state_begins_with_the_magnitudes_of_the_i_frame():
    fine = torch.tensor([-1000.0, -LIMIT, -3, 0, LIMIT - 1]).expand(2, NODES, INTRA)
    state = start(fine)
    assert state.intra[1, 3].tolist() == [LIMIT, LIMIT, 3, 0, LIMIT - 1] and state.intra.dtype == torch.float64
    assert state.tree is None and state.check == 0 and not state.residual.both.any()


def later(references: References) -> State:
    """A picture with latents of chance."""
    return references.after(torch.rand(2, 48, 3), frames(1)[0]).sealed(references.check, torch.rand(3) * 1000)


def test_a_p_frame_changes_all_but_the_i_frames_magnitudes():
    state, fine, x_hat = start(frames(1)[0][..., [0, 1, 2, 0, 1]]), frames(1)[0], torch.rand(2, 48, 3)
    quality_map = np.array([1, 2], np.int8)
    after = References(state, None, (-3, 0)).after(x_hat, fine, None, quality_map)
    assert torch.equal(after.x_hat, x_hat) and torch.equal(after.intra, state.intra)
    assert torch.equal(after.residual.last, fine.double().clamp(-LIMIT, LIMIT))
    assert after.distances == (-3, 0) and after.quality_map is quality_map and after.tree is None


def test_a_picture_that_repeats_counts_as_nothing_decoded():
    state = later(References(start()))
    nothing = torch.zeros(2, NODES, LATENTS)
    repeated, expected = References(state).repeated(), References(state).after(state.x_hat, nothing)
    assert torch.equal(repeated.x_hat, state.x_hat)
    for a, b in zip(repeated.residual, expected.residual, strict=True):
        assert torch.equal(a, b)


def test_what_the_residual_sees_are_the_memory_of_both_and_the_i_frame():
    """Latents of the nearer picture, activity of both, in whole numbers."""
    first, second = (later(References(later(References(start(torch.ones(2, NODES, INTRA)))))) for _ in range(2))
    seen = References(first, second, (-1, 1)).memory
    assert torch.equal(seen[..., :LATENTS], first.residual.last)
    mean = (first.residual.activity + second.residual.activity) / 2
    assert torch.equal(seen[..., LATENTS : 2 * LATENTS], mean.floor()) and (mean != mean.floor()).any()
    assert torch.equal(seen[..., 2 * LATENTS :], first.intra)
    assert torch.equal(References(first).memory[..., LATENTS : 2 * LATENTS], first.residual.activity)


def test_memories_of_a_hierarchy_stay_whole_numbers_of_eight_bits():
    states = [start(frames(1)[0][..., [0, 1, 2, 0, 1]])]
    for _ in range(12):
        states.append(later(References(states[-1], states[len(states) // 2], (-1, 2))))
        memory = References(states[-1], states[0], (-1, 3)).memory
        assert torch.equal(memory, memory.round()) and memory.abs().max() <= LIMIT and memory.dtype == torch.float64


def test_the_check_is_of_the_references_and_of_what_is_new():
    """And of their order: the mean of both is the same, the pictures' places are not."""
    one, other = start(), start()
    one, other = one.sealed(0, torch.ones(3)), other.sealed(0, torch.zeros(3))
    checks = {References(*pair).check for pair in ((one,), (other,), (one, other), (other, one), (one, one))}
    assert len(checks) == 5
    after = References(one).after(one.x_hat, torch.zeros(2, NODES, LATENTS))
    numbers = [torch.tensor([1, 2]), np.array([[1, 2]], np.int16), np.array([2, 1], np.int8)]
    sealed = {after.sealed(References(one).check, number).check for number in numbers}
    assert len(sealed) == 2, "values count, not their type"
    assert after.sealed(5, numbers[0], numbers[2]).check != after.sealed(5, numbers[2], numbers[0]).check


def test_states_are_those_that_are_there():
    one, other = start(), start()
    assert References(one).states == [one] and len(References(one, other, (-1, 1)).states) == 2


def test_only_the_picture_carries_a_gradient():
    x_hat = torch.rand(2, 48, 3, requires_grad=True)
    state = References(start()).after(2 * x_hat, frames(1)[0])
    assert state.x_hat.requires_grad and not References(state).memory.requires_grad
    assert not state.detach().x_hat.requires_grad
    assert torch.equal(References(state.detach()).memory, References(state).memory)
