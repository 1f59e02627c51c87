"""Networks of integers: equal to arithmetic in Python's integers, in any order and by any product; and trainable."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pytest
import torch

from deepsphere_codec.entropy import exact
from deepsphere_codec.entropy.exact import (
    ACTIVATION_LIMIT,
    PRODUCTS,
    WEIGHT_LIMIT,
    ExactConv,
    integer_product,
    product_float32,
    product_float64,
    product_int8,
    round_straight,
    with_gradient_of,
)
from deepsphere_codec.layers import FacePadding
from deepsphere_codec.layers.padding import Padding, make_padding
from deepsphere_codec.sphere import ErpGrid, HealpixGrid
from deepsphere_codec.sphere.grid import NEIGHBOR_STEPS
from deepsphere_codec.sphere.patch import PatchGrid


class Place(NamedTuple):
    """A grid that a layer works at."""

    npix: int
    padding: Padding | None = None
    neighbors: np.ndarray | None = None


def place(name: str) -> Place:
    """One tap, or nine on the whole sphere, on a patch with its border repeated, on a picture with poles."""
    if name == "node":
        return Place(100)
    if name == "sphere":
        sphere = HealpixGrid.cached(8)
        return Place(sphere.npix, FacePadding(sphere), sphere.neighbors)
    patch, plane = PatchGrid(16, 5, 3, 2, 9), ErpGrid(8, 16)
    grid = patch if name == "patch" else plane
    _, rows, columns = grid.shape

    def index(y: int, x: int) -> int:
        inside = min(max(y, 0), rows - 1)
        if grid is patch:
            return inside * columns + min(max(x, 0), columns - 1)
        return inside * columns + (x + (y != inside) * columns // 2) % columns

    nodes = [(y, x) for y in range(rows) for x in range(columns)]
    neighbors = np.array([[index(y + dy, x + dx) for dx, dy in NEIGHBOR_STEPS] for y, x in nodes])
    return Place(rows * columns, make_padding(grid), neighbors)


PLACES = {name: place(name) for name in ("node", "sphere", "patch", "plane")}
NODE, SPHERE = PLACES["node"], PLACES["sphere"]
both = pytest.mark.parametrize("at", [NODE, SPHERE], ids=["node", "sphere"])
everywhere = pytest.mark.parametrize("at", list(PLACES.values()), ids=list(PLACES))
every_product = pytest.mark.parametrize("product", list(PRODUCTS.values()), ids=list(PRODUCTS))


def layer(
    at: Place, fin: int = 12, fout: int = 7, scale: float = 1.0, low: int = 0, limit: int = ACTIVATION_LIMIT
) -> ExactConv:
    """Its sums fall below, inside and above the clamp."""
    conv = ExactConv(fin, fout, at.padding, limit=limit, low=low).requires_grad_(False)
    conv.weight *= scale
    conv.bias.copy_(torch.linspace(-30, 30, fout))
    return conv


def activations(at: Place, channels: int = 12) -> torch.Tensor:
    a = torch.randint(-ACTIVATION_LIMIT, ACTIVATION_LIMIT + 1, (1, at.npix, channels))
    return torch.where(torch.rand(a.shape) < 0.2, ACTIVATION_LIMIT, a).to(torch.int8)


def pythons(a: torch.Tensor) -> np.ndarray:
    """As Python's own integers, without the batch."""
    return np.array(a[0].tolist(), object)


@everywhere
@pytest.mark.parametrize("scale", [3e-4, 1.0, 100.0])  # the finest steps; those of each channel; weights up to ±63.5
@pytest.mark.parametrize("low, limit", [(0, 127), (-127, 127), (-(2**30), 2**30)])
def test_numbers_of_8_bits_equal_pythons_integers(at, scale, low, limit, by_integers):
    conv, a = layer(at, scale=scale, low=low, limit=limit), activations(at)
    y = conv(a)
    assert y.shape == (1, at.npix, 7)
    assert (pythons(y) == by_integers(conv, pythons(a), at.neighbors)).all()
    assert scale != 1 or y.unique().numel() > 100


@everywhere
def test_nodes_that_are_asked_for_are_those_of_all(at):
    conv, a = layer(at), activations(at)
    whole = conv(a)
    for where in (torch.arange(at.npix), torch.randperm(at.npix)[:31], torch.tensor([7]), torch.tensor([3, 50, 3])):
        assert torch.equal(conv(a, where), whole[:, where])


@both
@pytest.mark.parametrize(
    "low, limit, dtype",
    [(0, 63, torch.int8), (-127, 127, torch.int8), (0, 128, torch.int32), (-128, 0, torch.int32)],
)
def test_what_comes_out_is_in_range_and_no_wider_than_it_must_be(at, low, limit, dtype):
    y = layer(at, low=low, limit=limit)(activations(at))
    assert y.dtype == dtype and y.min() == low and y.max() == limit
    assert ((y > low) & (y < limit)).double().mean() > 0.1, "some of it lies inside"


@pytest.mark.parametrize("sign", [1, -1])
@every_product
def test_the_largest_sums_fit_32_bits(sign, product, by_integers, monkeypatch):
    """As wide a layer as there may be, all weights, inputs and the bias at their limits; one wider is refused."""
    monkeypatch.setattr(exact, "integer_product", lambda device: product)
    widest = (2**31 - 1 - 4097 * 2**16) // (WEIGHT_LIMIT * ACTIVATION_LIMIT)
    conv = ExactConv(widest, 1, limit=2**30, low=-(2**30)).requires_grad_(False)
    conv.weight.fill_(sign * 126.75 / 2**16)
    conv.bias.fill_(sign * 1e9)
    a = torch.full((1, 4, widest), ACTIVATION_LIMIT, dtype=torch.int8)
    expected = by_integers(conv, pythons(a))
    assert abs(expected).max() >= 2**15 - 1, "in steps of 2^-16"
    assert (pythons(conv(a)) == expected).all()
    with pytest.raises(AssertionError):
        ExactConv(widest + 1, 1)


# Any product, any order


def extremes(rows: int, columns: int) -> torch.Tensor:
    """±127; nine of ten are positive, so that sums become large."""
    return torch.where(torch.rand(rows, columns) < 0.9, 127, -127).to(torch.int8)


SIZES = [(1, 1, 1), (1, 9, 3), (17, 8, 8), (37, 1040, 19), (5, 1041, 3), (33, 2083, 21), (3, 4999, 10)]


@pytest.mark.parametrize("rows, k, columns", SIZES)
def test_products_agree_on_the_largest_numbers(rows, k, columns):
    a, b = extremes(rows, k), extremes(k, columns)
    expected = a.numpy().astype(np.int64) @ b.numpy().astype(np.int64)
    if k > 4000:
        assert (expected > 2**24).any(), "more than float32 counts"
    order = torch.randperm(rows), torch.randperm(k), torch.randperm(columns)
    for product in PRODUCTS.values():
        found = product(a, b)
        assert found.dtype == torch.int32 and (found.numpy() == expected).all()
        assert torch.equal(product(b.t(), a.t()), found.t()), "however they lie in memory"
        shuffled = product(a[order[0]][:, order[1]], b[order[1]][:, order[2]])
        assert torch.equal(shuffled, found[order[0]][:, order[2]])
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(product(a, b), found)


def saturating(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """As some processors multiply 8 bits: the first without a sign, 128 more; and sums of two products end at 16."""
    pairs = ((a.int() + 128)[:, :, None] * b.int()).unflatten(1, (-1, 2)).sum(2)
    return pairs.clamp(-(2**15), 2**15 - 1).sum(1).int() - 128 * b.int().sum(0).int()


def raising(error: type[Exception]) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        raise error("not on this device")

    return product


def one_less(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return product_float64(a, b) - 1


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Which product is exact here is found out anew, before a test and behind it."""
    integer_product.cache_clear()
    yield
    integer_product.cache_clear()


def delayed(product, seconds: float):
    def wait(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        time.sleep(seconds)
        return product(a, b)

    return wait


FAILING = [saturating, one_less, raising(RuntimeError), raising(NotImplementedError), raising(AttributeError)]


@pytest.mark.parametrize("failing", FAILING)
def test_a_product_that_is_not_exact_is_not_taken(failing, forgotten, monkeypatch):
    small = torch.ones(2, 2, dtype=torch.int8)
    assert failing is not saturating or torch.equal(saturating(small, small), product_float64(small, small))
    monkeypatch.setattr(exact, "least_seconds", lambda compute: 1.0)
    monkeypatch.setitem(PRODUCTS, "int8", failing)
    assert integer_product("cpu") is product_float32
    monkeypatch.setitem(PRODUCTS, "float32", failing)
    integer_product.cache_clear()
    assert integer_product("cpu") is product_float64


def test_the_fastest_product_that_is_exact_is_taken(forgotten, monkeypatch):
    for slow, other in (("int8", "float32"), ("float32", "int8")):
        integer_product.cache_clear()
        with monkeypatch.context() as patch:
            for name in PRODUCTS:
                patch.setitem(PRODUCTS, name, delayed(PRODUCTS["float64"], 0.0 if name == other else 0.02))
            assert integer_product("cpu") is PRODUCTS[other] is not PRODUCTS[slow]


def test_the_product_of_this_machine_is_exact():
    a, b = extremes(100, 2000), extremes(2000, 50)
    assert torch.equal(integer_product("cpu")(a, b), product_float64(a, b))


@both
@every_product
def test_the_product_changes_nothing(at, product, by_integers, monkeypatch):
    conv, a = layer(at, 192, 5, low=-(2**30), limit=2**30), activations(at, 192)
    monkeypatch.setattr(exact, "integer_product", lambda device: product)
    assert (conv(a)[0].numpy() == by_integers(conv, a[0].numpy().astype(np.int64), at.neighbors)).all()


@both
@pytest.mark.parametrize("threads", [2, 4])
def test_threads_change_nothing(at, threads, on_threads):
    conv, a = layer(at, 48, 48), activations(at, 48)
    assert torch.equal(conv(a), on_threads(threads, lambda: conv(a)))


@both
def test_the_order_of_summation_changes_nothing(at):
    conv, a = layer(at, 48, 48), activations(at, 48)
    order, order_out = torch.randperm(48), torch.randperm(48)
    other = copy.deepcopy(conv)
    other.weight.copy_(conv.weight[order_out][:, order])
    other.bias.copy_(conv.bias[order_out])
    assert torch.equal(other(a[..., order]), conv(a)[..., order_out])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("rows, k, columns", SIZES)
def test_products_of_a_gpu_are_those_of_a_cpu(rows, k, columns):
    a, b = extremes(rows, k), extremes(k, columns)
    expected = product_float64(a, b)
    for product in PRODUCTS.values():
        assert torch.equal(product(a.cuda(), b.cuda()).cpu(), expected)
    assert integer_product("cuda") is product_int8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@everywhere
def test_a_gpu_changes_nothing(at):
    conv, a = layer(at, 192, 48), activations(at, 192)
    there, where = copy.deepcopy(conv).cuda(), torch.randperm(at.npix)[:31]
    assert torch.equal(there(a.cuda()).cpu(), conv(a))
    assert torch.equal(there(a.cuda(), where.cuda()).cpu(), conv(a, where))


# Weights


def change(conv: ExactConv, how: str) -> None:
    if how == "in place":
        conv.weight.mul_(-1.7)
    elif how == "bias":
        conv.bias.add_(9)
    elif how == "load_state_dict":
        conv.load_state_dict({name: -value for name, value in conv.state_dict().items()})
    elif how == "another parameter":
        conv.weight = torch.nn.Parameter(-conv.weight)
    else:
        conv.requires_grad_(True)
        optimizer = torch.optim.SGD(conv.parameters(), 0.1)
        conv(torch.full((1, SPHERE.npix, 12), 20.0)).sum().backward()
        optimizer.step()


CHANGES = ["in place", "bias", "load_state_dict", "another parameter", "a step of training"]


@pytest.mark.parametrize("how", CHANGES)
def test_integers_are_those_of_the_weights_of_now(how, by_integers):
    conv, a = layer(SPHERE), activations(SPHERE)
    before = conv(a)
    change(conv, how)
    after = conv(a)
    assert (after[0].numpy() == by_integers(conv, a[0].numpy().astype(np.int64), SPHERE.neighbors)).all()
    assert not torch.equal(after, before)


def test_a_copy_has_integers_of_its_own():
    conv, a = layer(NODE), activations(NODE)
    before = conv(a)
    other = copy.deepcopy(conv)
    other.weight.neg_()
    assert not torch.equal(other(a), before) and torch.equal(conv(a), before)


def test_a_layer_may_be_made_where_nothing_is_learned():
    a = activations(NODE)
    with torch.inference_mode():
        conv = layer(NODE)
        inside = conv(a)
    assert torch.equal(conv(a), inside)


@both
def test_float32_weights_and_their_float64_copies_give_the_same(at):
    """Rounding to the grid is the same in either type."""
    conv, a = layer(at), activations(at)
    assert torch.equal(conv(a), copy.deepcopy(conv).double()(a))


def unpack(conv: ExactConv) -> ExactConv:
    other = copy.deepcopy(conv)
    other.weight.copy_(ExactConv.unpacked(*conv.packed()))
    return other


@both
@pytest.mark.parametrize("scale", [3e-4, 1.0, 100.0])
def test_packed_weights_give_the_same_layer_again(at, scale):
    conv, a = layer(at, scale=scale, fout=200), activations(at)
    conv.weight[0] = 0
    other = unpack(conv)
    weight, exponent = conv.packed()
    assert weight.dtype == exponent.dtype == torch.int8 and weight.shape == conv.weight.shape
    assert exponent.min() >= -16 and exponent.max() <= -1
    assert torch.equal(other(a), conv(a)) and torch.equal(other(a.double()), conv(a.double()))
    assert all(torch.equal(x, y) for x, y in zip(other.packed(), (weight, exponent), strict=True))


@pytest.mark.parametrize("largest", [63.4, 63.5, 63.6, 100.0, 126.4, 126.5, 126.6, 126.99, 127.0])
def test_weights_on_the_grid_stay_as_they_are(largest):
    """Wherever the largest one lies between two powers of two: one that rounds to 127 steps is not beyond them."""
    conv, a = layer(NODE, fout=1, low=-(2**30), limit=2**30), activations(NODE)
    conv.weight[0, :, 0, 0] = torch.linspace(-largest, largest, 12) / 2**7
    once = unpack(conv)
    twice = unpack(once)
    assert torch.equal(twice.weight, once.weight) and torch.equal(twice(a), conv(a))


# Training


@everywhere
def test_training_sees_the_same_numbers(at):
    conv, a = layer(at, low=-127), activations(at)
    y = conv(a)
    assert ((y > -127) & (y < 127)).double().mean() > 0.1
    for dtype in (torch.float32, torch.float64):
        seen = conv(a.to(dtype))
        assert seen.dtype == dtype and torch.equal(seen, y.to(dtype))
    batch = torch.cat([a, a.flip(1)]).float()
    assert torch.equal(conv(batch), torch.cat([conv(one[None]) for one in batch]))


@both
def test_training_sees_the_same_numbers_as_wide_as_the_networks_are(at):
    """In float32 unless the library goes by way of a transform for nine taps: then one off where a sum is at a half."""
    conv, a = layer(at, 192, 48, scale=0.2), activations(at, 192)
    y, seen = conv(a).float(), conv(a.float())
    assert ((y > 0) & (y < ACTIVATION_LIMIT)).double().mean() > 0.1
    if at.padding is None:
        assert torch.equal(seen, y)
    else:
        assert (seen == y).double().mean() > 0.999 and (seen - y).abs().max() <= 1
    assert torch.equal(conv(a.double()).float(), y)


def test_straight_through_gradients_are_the_weights_on_the_grid():
    conv = ExactConv(1, 1)
    with torch.no_grad():
        conv.weight.fill_(0.7003)  # 89.6 steps of 2^-7
        conv.bias.fill_(3.0)
    a = torch.tensor([[[2.0]]], requires_grad=True)
    y = conv(a)
    y.backward()
    assert y.item() == 4  # 4.4 rounded
    assert a.grad.item() == 90 / 128
    assert conv.weight.grad.item() == pytest.approx(2.0) and conv.bias.grad.item() == pytest.approx(1.0)


@pytest.mark.parametrize("weight, value", [(30.0, 127), (-30.0, 0)])
def test_saturated_units_still_learn(weight, value):
    conv = ExactConv(1, 1)
    with torch.no_grad():
        conv.weight.fill_(weight)
    a = torch.tensor([[[100.0]]], requires_grad=True)
    y = conv(a)
    y.backward()
    assert y.item() == value
    assert conv.weight.grad.item() == pytest.approx(0.01 * 100) and conv.bias.grad.item() == pytest.approx(0.01)
    assert a.grad.item() == pytest.approx(0.01 * weight)


@everywhere
def test_gradients_reach_weights_biases_and_inputs(at):
    conv, a = layer(at).requires_grad_(True), activations(at).float().requires_grad_(True)
    conv(a).sum().backward()
    for p in (*conv.parameters(), a):
        assert torch.isfinite(p.grad).all() and (p.grad != 0).double().mean() > 0.9


def test_with_gradient_of_is_the_value_to_the_last_bit():
    x = torch.randn(1000) * 1e6
    value = torch.randn(1000) * 1e-3
    assert not torch.equal(x + (value - x), value), "the usual way rounds"
    x.requires_grad_()
    y = with_gradient_of(value, x)
    assert torch.equal(y, value)
    (3 * y).sum().backward()
    assert torch.equal(x.grad, torch.full((1000,), 3.0))


def test_round_straight():
    x = torch.tensor([-1.6, -0.5, 0.4, 0.5, 1.5, 7.0], requires_grad=True)
    y = round_straight(x)
    assert y.tolist() == [-2, 0, 0, 0, 2, 7]
    y.sum().backward()
    assert torch.equal(x.grad, torch.ones(6))
