"""Motion compensation: identity, sign convention, borders between faces, accuracy, gradients, equivariance."""

from __future__ import annotations

import pytest
import torch

from deepsphere_codec.layers import Warp, warp
from deepsphere_codec.sphere import HealpixGrid, exp_map, log_map, project, rotation_from_vector


def centers(nside: int, dtype=torch.float64) -> torch.Tensor:
    return torch.from_numpy(HealpixGrid(nside).centers).to(dtype)


def smooth(p: torch.Tensor) -> torch.Tensor:
    """A function of direction, in three channels, of degree 3."""
    x, y, z = p.unbind(-1)
    return torch.stack([x + 0.5 * y * z, x * y * z + z, (x - 0.3 * y) ** 2 - z * x], -1)


def random_field(nside: int, length: float) -> torch.Tensor:
    p = centers(nside)
    return length * project(p, torch.randn(1, 12 * nside**2, 3, dtype=torch.float64))


@pytest.mark.parametrize("nside", [1, 2, 8, 12])
def test_zero_field_is_the_identity_bit_for_bit(nside):
    x = torch.randn(2, 12 * nside**2, 3)
    assert torch.equal(warp(x, torch.zeros_like(x), HealpixGrid(nside)), x)
    assert torch.equal(warp(x, -torch.zeros_like(x), HealpixGrid(nside)), x)


@pytest.mark.parametrize("direction", range(8))
def test_a_vector_to_a_neighbour_fetches_its_value_over_every_border(direction):
    """Pins the sign: warp(x_ref, v)(p) = x_ref(exp_p(v(p)))."""
    grid = HealpixGrid(8)
    p, neighbor = centers(8), torch.from_numpy(grid.neighbors[:, direction])
    itself = torch.arange(grid.npix)
    neighbor = torch.where(neighbor < 0, itself, neighbor)
    v = log_map(p, p[neighbor])[None]
    x = torch.randn(1, grid.npix, 2, dtype=torch.float64)
    assert (warp(x, v, grid) - x[:, neighbor]).abs().max() < 1e-4
    assert (warp(x.float(), v.float(), grid) - x[:, neighbor]).abs().max() < 1e-4


def test_sign_convention_on_a_turning_sphere():
    """The content of x_ref turns by R to make x: x(p) = x_ref(R⁻¹ p), so v points from p back to R⁻¹ p."""
    p = centers(16)
    rotation = rotation_from_vector(torch.tensor([0.02, -0.03, 0.05], dtype=torch.float64))
    source = p @ rotation  # rows: R⁻¹ p
    x_ref, x = smooth(p), smooth(source)
    right = (warp(x_ref[None], log_map(p, source)[None], HealpixGrid(16))[0] - x).abs()
    wrong = (warp(x_ref[None], -log_map(p, source)[None], HealpixGrid(16))[0] - x).abs()
    assert right.mean() < 0.001 and wrong.mean() > 0.05


def errors(nside: int, steps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Error at each node for random vectors of some steps' length, and |z| of where they lead."""
    v = random_field(nside, steps / nside)
    target = exp_map(centers(nside), v)
    error = (warp(smooth(centers(nside))[None], v, HealpixGrid(nside)) - smooth(target)).abs().amax(-1)
    return error, target[..., 2].abs()


@pytest.mark.parametrize("steps", [0.5, 3.0])
def test_accuracy_is_of_third_order_in_the_belt_over_face_borders_too(steps):
    coarse, fine = ([error[z < 0.5] for error, z in [errors(nside, steps)]][0] for nside in (16, 32))
    assert fine.mean() < coarse.mean() / 7
    assert fine.max() < 1e-5


@pytest.mark.parametrize("steps", [0.5, 3.0])
def test_accuracy_is_of_first_order_at_worst(steps):
    """At the meridians between polar faces x and y bend, which costs up to a fifth of a node of displacement there."""
    for nside in (16, 32):
        error, _ = errors(nside, steps)
        assert error.max() < 0.6 / nside
        assert error.mean() < 0.25 / nside**2


def test_gradients_in_signal_and_field():
    grid = HealpixGrid(2)
    layer = Warp(grid)
    x = torch.randn(1, 48, 2, dtype=torch.float64, requires_grad=True)
    v = random_field(2, 0.1).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x, v))
    assert torch.autograd.gradcheck(lambda x: layer(x, v.detach()), x)


def test_gradient_in_the_field_at_rest_is_the_signals_slope():
    """Motion starts at zero, so it is there that the gradient has to be right."""
    grid, p = HealpixGrid(32), centers(32)
    v = torch.zeros(1, grid.npix, 3, dtype=torch.float64, requires_grad=True)
    signal = p @ torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    warp(signal[None, :, None], v, grid).sum().backward()
    slope = project(p, torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64))
    error = (project(p, v.grad[0]) - slope).norm(dim=-1)
    assert error.mean() < 0.02  # of a slope of up to 2.3
    assert error[p[:, 2].abs() < 0.6].max() < 0.005  # the polar faces' borders are less accurate, see above


def test_gradients_are_finite_at_rest_and_at_the_poles():
    grid = HealpixGrid(4)
    p = centers(4, torch.float32)
    to_pole = log_map(p, torch.tensor([0.0, 0, 1]).expand_as(p))[None]
    for field in (torch.zeros_like(to_pole), to_pole, 3 * to_pole, 1e-20 * to_pole):
        x, v = torch.randn(1, 192, 2, requires_grad=True), field.clone().requires_grad_()
        y = warp(x, v, grid)
        y.square().sum().backward()
        assert all(torch.isfinite(t).all() for t in (y, x.grad, v.grad))


def test_equivariant_under_yaw_by_90_degrees(yaw_nside8):
    x, v = torch.randn(1, 768, 2, dtype=torch.float64), random_field(8, 0.3)
    quarter = rotation_from_vector(torch.tensor([0, 0, torch.pi / 2], dtype=torch.float64))
    moved = warp(yaw_nside8(x), yaw_nside8(v) @ quarter.t(), HealpixGrid(8))
    error = (moved - yaw_nside8(warp(x, v, HealpixGrid(8)))).abs()
    assert error.flatten().quantile(0.99) < 1e-5 and error.max() < 1e-3


def test_batches_are_warped_each_by_its_own_field():
    grid = HealpixGrid(4)
    x, v = torch.randn(3, 192, 2), torch.cat([random_field(4, s) for s in (0.0, 0.1, 0.5)]).float()
    layer = Warp(grid)
    assert torch.equal(layer(x, v), torch.cat([layer(x[i : i + 1], v[i : i + 1]) for i in range(3)]))


def test_a_constant_stays_constant():
    x = torch.full((1, 768, 1), 0.7)
    assert (warp(x, random_field(8, 0.5).float(), HealpixGrid(8)) - 0.7).abs().max() < 1e-6


def test_tables_are_not_in_the_state_dict():
    assert Warp(HealpixGrid(1)).state_dict() == {}


@pytest.mark.parametrize("learning", [False, True])
def test_each_node_looks_at_its_own_layer(learning):
    """Layers lie one behind the other; the result is, node by node, that of a warp of the layer alone."""
    grid = HealpixGrid(16)
    layers = [torch.randn(2, grid.npix, 3, requires_grad=learning) for _ in range(3)]
    v = random_field(16, 0.2).float().expand(2, -1, -1)
    layer = torch.randint(3, (2, grid.npix))
    found = Warp(grid)(torch.cat(layers, 1), v, layer)
    for number, signal in enumerate(layers):
        alone = Warp(grid)(signal, v)
        assert torch.equal(found[layer == number], alone[layer == number])
    if learning:
        found.sum().backward()
        assert all(signal.grad is not None and signal.grad.any() for signal in layers)
