"""Nodes of the first slice in several steps: who knows of whom, and training as the coder does it."""

from __future__ import annotations

import pytest
import torch

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.hyperprior import Hyperprior, Steps, slice_sizes
from deepsphere_codec.sphere import HealpixGrid

NSIDE, CHANNELS, MEMORY = 16, 8, 12
SIZES = slice_sizes(CHANNELS)


@pytest.fixture
def lead_steps() -> int:
    return 3


@pytest.fixture
def hyperprior(make_hyperprior, lead_steps) -> Hyperprior:
    return make_hyperprior(MEMORY, lead_steps)


def test_every_fourth_node_comes_first_then_those_diagonal_to_four_of_them(hyperprior):
    _, x, y = HealpixGrid.cached(NSIDE).face_xy
    first, second, third = (group.numpy() for group in hyperprior.groups(hyperprior.slices[0]))
    assert (first == ((x % 2 == 0) & (y % 2 == 0))).all() and first.sum() * 4 == len(first)
    assert (second == ((x % 2 == 1) & (y % 2 == 1))).all() and second.sum() * 4 == len(first)
    assert (third == ((x + y) % 2 == 1)).all()
    assert all(len(hyperprior.groups(part)) == 2 for part in (hyperprior.hyper, *hyperprior.slices[1:]))


@pytest.mark.parametrize("lead_steps", [5])
def test_five_steps_begin_with_every_sixteenth_node(hyperprior):
    _, x, y = HealpixGrid.cached(NSIDE).face_xy
    groups = [group.numpy() for group in hyperprior.groups(hyperprior.slices[0])]
    assert sum(map(int, [group.sum() for group in groups])) == len(x) and not (groups[0] & groups[1]).any()
    assert (groups[0] == ((x % 4 == 0) & (y % 4 == 0))).all() and (groups[1] == ((x % 4 == 2) & (y % 4 == 2))).all()
    assert (groups[2] == ((x % 2 == 0) & (y % 2 == 0) & ((x + y) % 4 == 2))).all()
    assert (groups[3] == ((x % 2 == 1) & (y % 2 == 1))).all() and (groups[4] == ((x + y) % 2 == 1)).all()
    assert [len(hyperprior.groups(part)) for part in (hyperprior.hyper, *hyperprior.slices[1:])] == [2] * len(SIZES)
    assert (hyperprior.first_children.numpy() == ((x % 2 == 0) & (y % 2 == 0)).nonzero()[0]).all()


@pytest.mark.parametrize(("lead_steps", "step"), [*((3, step) for step in range(3)), *((5, step) for step in range(5))])
def test_a_step_knows_of_all_before_it_and_of_nothing_after(hyperprior, context, record, lead_steps, step):
    symbols = [(3 * torch.randn(len(hyperprior.hyper_anchors), 6)).round().int()]
    symbols += [(3 * torch.randn(len(hyperprior.anchors), size)).round().int() for size in SIZES]
    before = record(hyperprior, context, symbols)
    symbols[1] += 20 * hyperprior.groups(hyperprior.slices[0])[step][:, None]
    after = record(hyperprior, context, symbols)
    assert len(before) == 2 + lead_steps + 2 * (len(SIZES) - 1)
    for number, (a, b) in enumerate(zip(before, after, strict=True)):
        same = (a.level == b.level) & (a.mean == b.mean)
        assert same.all() if number <= 2 + step else same.double().mean() < 0.95


@pytest.mark.parametrize("lead_steps", [2, 3, 5])
def test_training_counts_what_the_coder_writes(hyperprior, context):
    for part in (hyperprior.hyper, *hyperprior.slices):  # a scale of 18 for all: nothing is skipped
        part.level.weight.zero_()
        part.level.bias.fill_(52)
    y = 3 * torch.randn(1, len(hyperprior.anchors), CHANNELS)
    writer = SymbolWriter()
    written = hyperprior.write(y, writer, context)
    payload = writer.finish()
    trained, rate = hyperprior(y, context.float(), straight=True)
    assert torch.equal(hyperprior.read(SymbolReader(payload), torch.empty(1), context), written)
    close = (trained - written).abs() < 1e-3
    assert close.double().mean() > 0.999, "but for whole numbers that float sums round otherwise"
    estimated, counted = hyperprior.estimate(y, context)
    assert torch.equal(estimated, written)
    assert abs(float(rate.bits) - float(counted.bits)) < 0.03 * float(counted.bits)


@pytest.mark.parametrize("lead_steps", [3, 5])
def test_steps_are_put_together_as_they_were(hyperprior):
    steps = Steps.of(hyperprior.groups(hyperprior.slices[0]))
    x = torch.randn(2, len(hyperprior.anchors), 3)
    parts = [x[:, nodes] for nodes in steps.nodes]
    assert torch.equal(steps.whole(parts), x)
    known = hyperprior.groups(hyperprior.slices[0])[0][:, None]
    assert torch.equal(steps.whole(parts[:1]), torch.where(known, x, 0))
