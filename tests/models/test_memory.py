"""What is remembered from frame to frame: whole numbers, the same in every decoder, and fading."""

from __future__ import annotations

import pytest
import torch

from deepsphere_codec.models.memory import LatentMemory, State

LATENTS, INTRA, NODES = 3, 5, 12


def frames(count: int, scale: float = 300.0) -> list[torch.Tensor]:
    """Latents times FINE, some of them out of range."""
    return [(scale * torch.randn(2, NODES, LATENTS)).round() for _ in range(count)]


def empty() -> LatentMemory:
    return LatentMemory.empty(torch.zeros(2, NODES, 7), LATENTS)


def start(fine: torch.Tensor | None = None) -> State:
    fine = torch.zeros(2, NODES, INTRA) if fine is None else fine
    return State.begin(torch.rand(2, 48, 3), fine, empty(), empty())


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
        last = [max(-255, min(255, int(value))) for value in fine.flatten().tolist()]
        activity = [(3 * a + abs(value)) // 4 for a, value in zip(activity, last, strict=True)]
        assert memory.last.flatten().tolist() == last
        assert memory.activity.flatten().tolist() == activity


@pytest.mark.parametrize("value", [255.0, -255.0, 1e7, -1e7])
def test_stays_within_eight_bits(value):
    memory = empty()
    for _ in range(40):
        memory = memory.after(torch.full((2, NODES, LATENTS), value))
    assert memory.last.abs().unique().tolist() == [255]
    assert 252 <= memory.activity.min() and memory.activity.max() <= 255, "rounded down, it ends up to three below"


def test_fades_by_a_quarter_a_frame_and_is_gone_in_time():
    memory = LatentMemory(*(torch.full((2, NODES, LATENTS), 255.0).double() for _ in range(2)))
    nothing, seen = torch.zeros(2, NODES, LATENTS), [255.0]
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
    fine = torch.tensor([-1000.0, -255, -3, 0, 254.0]).expand(2, NODES, INTRA)
    state = start(fine)
    assert state.intra[1, 3].tolist() == [255, 255, 3, 0, 254] and state.intra.dtype == torch.float64
    assert state.age == 0 and not state.motion.both.any() and not state.residual.both.any()


def test_a_p_frame_changes_all_but_the_i_frames_magnitudes():
    state, (motion, residual), x_hat = start(frames(1)[0][..., [0, 1, 2, 0, 1]]), frames(2), torch.rand(2, 48, 3)
    after = state.after(x_hat, motion, residual)
    assert torch.equal(after.x_hat, x_hat) and torch.equal(after.intra, state.intra) and after.age == 1
    assert torch.equal(after.motion.last, motion.double().clamp(-255, 255))
    assert torch.equal(after.residual.last, residual.double().clamp(-255, 255))
    assert after.after(x_hat, motion, residual).age == 2


def test_a_frame_that_repeats_the_one_before_counts_as_nothing_decoded():
    state = start().after(torch.rand(2, 48, 3), *frames(2))
    nothing = torch.zeros(2, NODES, LATENTS)
    repeated, expected = state.unchanged(), state.after(state.x_hat, nothing, nothing)
    assert torch.equal(repeated.x_hat, state.x_hat) and repeated.age == 2
    for a, b in zip((*repeated.motion, *repeated.residual), (*expected.motion, *expected.residual), strict=True):
        assert torch.equal(a, b)


def test_what_the_residual_sees_are_its_own_memory_and_the_i_frame():
    state = start(torch.ones(2, NODES, INTRA)).after(torch.rand(2, 48, 3), *frames(2))
    seen = state.for_residual
    assert torch.equal(seen[..., :LATENTS], state.residual.last)
    assert torch.equal(seen[..., LATENTS : 2 * LATENTS], state.residual.activity)
    assert torch.equal(seen[..., 2 * LATENTS :], state.intra)


def test_only_the_picture_carries_a_gradient():
    x_hat = torch.rand(2, 48, 3, requires_grad=True)
    state = start().after(2 * x_hat, *frames(2))
    assert state.x_hat.requires_grad and not state.for_residual.requires_grad
    assert not state.detach().x_hat.requires_grad and torch.equal(state.detach().for_residual, state.for_residual)
