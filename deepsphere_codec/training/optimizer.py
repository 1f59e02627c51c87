"""Optimisers: Adam for all weights, or Muon for the weights of convolutions and Adam for all others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from deepsphere_codec.layers import ChebConv
from deepsphere_codec.layers.hybrid import HybridConv
from deepsphere_codec.layers.separable import SeparableChebConv
from deepsphere_codec.runtime.quick import quick_bfloat16
from deepsphere_codec.training.schedule import Schedule

MOMENTUM = 0.95
_ITERATIONS = 5
_QUINTIC = (3.4445, -4.7750, 2.0315)
"""a, b and c of X ← a X + (b X Xᵀ + c (X Xᵀ)²) X, which brings singular values close to 1 in five iterations."""
_SMALL = 64  # largest number of rows for which bfloat16 saves little time


class MatrixWeight(NamedTuple):
    """Weight that Muon treats as a matrix.

    Attributes:
        parameter: The weight, [out, in, …] or [in, out].
        inputs_first: Whether its layout is [in, out].
    """

    parameter: nn.Parameter
    inputs_first: bool

    def matrix(self, values: Tensor) -> Float[Tensor, "out rest"]:
        """Reshape a tensor of the weight's shape to a matrix, [out, rest]."""
        return values.t() if self.inputs_first else values.flatten(1)

    def values(self, matrix: Float[Tensor, "out rest"]) -> Tensor:
        """Reshape a matrix, [out, rest], to the weight's shape, the inverse of `matrix`."""
        return matrix.t() if self.inputs_first else matrix.view_as(self.parameter)


class MuonAdam(Optimizer):
    """Optimiser with Muon for weights that are matrices and Adam for all others.

    Muon's step is the momentum of the gradient (Nesterov's) with singular values brought close to 1, times the learning
    rate and sqrt(max(1, out / rest)). There is no weight decay.

    Args:
        matrices: Weights for Muon.
        others: Weights for Adam.
        rate: Adam's learning rate.
        rate_muon: Muon's learning rate.
    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024. Equal to `torch.optim.Muon`
        (PyTorch 2.9 and later), which takes two-dimensional parameters only.
    """

    def __init__(
        self, matrices: Sequence[MatrixWeight], others: Sequence[nn.Parameter], rate: float, rate_muon: float
    ) -> None:
        weights = [each.parameter for each in matrices]
        groups = [
            {"params": list(others), "lr": rate, "relative_rate": 1.0},
            {"params": weights, "lr": rate_muon, "relative_rate": rate_muon / rate, "rule": "muon"},
        ]
        super().__init__(groups, {})
        self._matrices = list(matrices)
        self._adam = Adam(self.param_groups[:1])  # shares the group, hence the learning rate, and the state
        self._adam.state = self.state

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all weights that have a gradient; a closure is not supported."""
        assert closure is None
        self._adam.step()
        for weight in self._matrices:
            if weight.parameter.grad is not None:
                self._step(weight, self.param_groups[1]["lr"])

    def _step(self, weight: MatrixWeight, rate: float) -> None:
        p, gradient = weight.parameter, weight.parameter.grad
        assert gradient is not None
        state = self.state[p]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(p)
        momentum = state["momentum_buffer"].lerp_(gradient, 1 - MOMENTUM)
        direction = _orthogonal(weight.matrix(gradient.lerp(momentum, MOMENTUM)))
        out, rest = direction.shape
        p.add_(weight.values(direction), alpha=-rate * math.sqrt(max(1, out / rest)))


def make_optimizer(model: nn.Module, trained: Iterable[nn.Parameter], schedule: Schedule) -> Optimizer:
    """Create the optimiser that a schedule selects.

    Every group of weights has a "relative_rate", a factor of the schedule's learning rate.

    Args:
        model: Codec, whose layers determine which weights are matrices.
        trained: Weights to train.
        schedule: Schedule of the stage.
    Returns:
        The optimiser, at the schedule's highest learning rate.
    """
    trained = list(trained)
    if schedule.optimizer == "adam":
        return Adam([{"params": trained, "relative_rate": 1.0}], lr=schedule.rate)
    moving = {id(p) for p in trained}
    matrices = [weight for weight in matrix_weights(model) if id(weight.parameter) in moving]
    taken = {id(weight.parameter) for weight in matrices}
    others = [p for p in trained if id(p) not in taken]
    return MuonAdam(matrices, others, schedule.rate, schedule.rate_muon)


def matrix_weights(model: nn.Module) -> list[MatrixWeight]:
    """Collect the weights of a model's convolutions and linear layers.

    Biases, gains, GDN, quality banks and priors are left out.
    """
    weights = []
    for module in model.modules():
        p = dict(module.named_parameters(recurse=False)).get("weight")
        if p is not None and p.ndim >= 2:
            weights.append(MatrixWeight(p, isinstance(module, ChebConv | HybridConv | SeparableChebConv)))
    return weights


def _orthogonal(matrix: Float[Tensor, "out rest"]) -> Float[Tensor, "out rest"]:
    """Matrix with the same singular vectors and singular values of about 0.7 to 1.2.

    A large matrix is computed in bfloat16 where that is fast, all others in float32.

    All iterates are polynomials of X Xᵀ times X. For a matrix with few long rows (or columns) they are therefore
    computed as polynomials of the small X Xᵀ, and multiplied by X once. This requires float32, since the iterations on
    singular values near zero amplify the rounding errors of bfloat16.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.t() if tall else matrix
    low = quick_bfloat16(x.device.type)
    by_gram = x.shape[1] >= 2 * len(x) and (len(x) <= _SMALL or not low)
    x = x.bfloat16() if low and not by_gram else x
    x = x / x.norm().clamp_min(1e-7)
    if by_gram:
        x = _polynomial(x @ x.t()) @ x
    else:
        a, b, c = _QUINTIC
        for _ in range(_ITERATIONS):
            gram = x @ x.t()
            x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.t() if tall else x


def _polynomial(gram: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """Product of all iterations' factors, by which X is multiplied, given X Xᵀ."""
    a, b, c = _QUINTIC
    product = None
    for iteration in range(_ITERATIONS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor if product is None else factor @ product
        if iteration < _ITERATIONS - 1:
            gram = factor @ gram @ factor
    assert product is not None
    return product
