"""The sparse product `L̃ x` of the rescaled graph Laplacian, in several equivalent implementations.

`L̃ = 2 L / lmax - I` has at most k + 1 entries per row, so it is stored as two dense arrays, `index` and `weight`
[npix, k + 1], never as a sparse tensor: DDP and safetensors do not support sparse module buffers.

`embedding_bag` is a fused gather and weighted sum and runs at the speed of a copy; see scripts/benchmark.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from deepsphere_codec.runtime.extras import optional_imports

if TYPE_CHECKING:
    from deepsphere_codec.graph import PlaneGraph, SphereGraph

Product = Callable[[Tensor, Tensor, Tensor], Tensor]


def product_bag(x: Float[Tensor, "rows c"], index: Int[Tensor, "rows k"], weight: Float[Tensor, "rows k"]) -> Tensor:
    """Compute the sparse product with a fused gather and weighted sum, `torch.nn.functional.embedding_bag`.

    Args:
        x: Node values, [rows, c].
        index: Columns of each row's entries, [rows, k].
        weight: Values of the entries, [rows, k].
    Returns:
        Product, [rows, c].
    """
    return F.embedding_bag(index, x, per_sample_weights=weight, mode="sum")


def product_csr(x: Float[Tensor, "rows c"], index: Int[Tensor, "rows k"], weight: Float[Tensor, "rows k"]) -> Tensor:
    """Compute the sparse product with a `torch.sparse` matrix in CSR format.

    Args:
        x: Node values, [rows, c].
        index: Columns of each row's entries, [rows, k].
        weight: Values of the entries, [rows, k].
    Returns:
        Product, [rows, c].
    """
    rows, k = index.shape
    pointer = torch.arange(0, rows * k + 1, k, device=index.device)
    order = index.argsort(dim=1)  # CSR requires ascending columns
    columns, values = index.gather(1, order).flatten(), weight.gather(1, order).flatten()
    # Sorted and within bounds by construction; the check would cost more than the product.
    with warnings.catch_warnings():  # torch warns once that CSR support is "in beta state"
        warnings.filterwarnings("ignore", "Sparse CSR tensor support")
        matrix = torch.sparse_csr_tensor(pointer, columns, values, size=(rows, x.shape[0]), check_invariants=False)
    return matrix @ x


def product_scatter(
    x: Float[Tensor, "rows c"], index: Int[Tensor, "rows k"], weight: Float[Tensor, "rows k"]
) -> Tensor:
    """Compute the sparse product with a gather and torch-scatter's segmented sum (the extra `[pyg]`).

    Args:
        x: Node values, [rows, c].
        index: Columns of each row's entries, [rows, k].
        weight: Values of the entries, [rows, k].
    Returns:
        Product, [rows, c].
    """
    with optional_imports():
        from torch_scatter import segment_csr

    rows, k = index.shape
    pointer = torch.arange(0, rows * k + 1, k, device=index.device)
    return segment_csr(x[index.flatten()] * weight.flatten()[:, None], pointer, reduce="sum")


PRODUCTS: dict[str, Product] = {"bag": product_bag, "csr": product_csr, "scatter": product_scatter}


class _SymmetricProduct(torch.autograd.Function):
    """Product `M x` with a symmetric M: the gradient is the same product, so no transposed matrix is needed."""

    @staticmethod
    def forward(ctx, x: Tensor, index: Tensor, weight: Tensor, product: Product) -> Tensor:
        ctx.save_for_backward(index, weight)
        ctx.product = product
        return product(x, index, weight)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        # Through `apply` again, so that second derivatives (gradgradcheck) are correct as well.
        index, weight = ctx.saved_tensors
        return _SymmetricProduct.apply(grad.contiguous(), index, weight, ctx.product), None, None, None


class RescaledLaplacian(nn.Module):
    """Rescaled Laplacian L̃ = 2 L / lmax - I of a graph, as a module that computes `L̃ x`.

    Args:
        graph: Neighbours and weights; see `deepsphere_codec.graph.build_graph`.
        backend: "bag", "csr", "scatter", or "auto", which selects the fastest one measured ("bag").
    Raises:
        ValueError: backend is none of these.
    """

    index: Tensor
    weight: Tensor

    def __init__(self, graph: SphereGraph | PlaneGraph, backend: str = "auto") -> None:
        super().__init__()
        name = "bag" if backend == "auto" else backend
        if name not in PRODUCTS:
            raise ValueError(f"backend {backend!r} is unknown: expected auto, {', '.join(PRODUCTS)}")
        self.backend = name
        self._product = PRODUCTS[name]
        index, weight = rescaled_laplacian(graph)
        self.npix = index.shape[0]
        # Not in the state dict: the graph is data of the installation, not of the weights (architecture.md, 3).
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("weight", weight.float(), persistent=False)
        self._exact = weight  # float64, for a module that is converted to double later
        self._batched: dict[tuple[int, torch.device], tuple[Tensor, Tensor]] = {}

    def forward(self, x: Float[Tensor, "batch npix channels"]) -> Float[Tensor, "batch npix channels"]:
        """Compute `L̃ x` for a signal, [batch, npix, channels]."""
        batch, npix, channels = x.shape
        assert npix == self.npix, f"signal of {npix} nodes on a graph of {self.npix}"
        index, weight = self._tables(batch)
        flat = x.reshape(batch * npix, channels)
        return _SymmetricProduct.apply(flat, index, weight.to(x.dtype), self._product).view(batch, npix, channels)

    def set_weight(self, weight: Float[Tensor, "npix k1"]) -> None:
        """Replace the entries, [npix, k + 1], of the same sparsity; used in training to move a patch on the sphere."""
        self.weight.copy_(weight)
        self._exact = weight.detach().to("cpu", torch.float64)
        self._batched.clear()

    def _tables(self, batch: int) -> tuple[Tensor, Tensor]:
        """Block-diagonal tables for a batch, computed once per batch size."""
        if batch == 1:
            return self.index, self.weight
        key = (batch, self.index.device)
        if key not in self._batched:
            shift = torch.arange(batch, device=self.index.device)[:, None, None] * self.npix
            index = (self.index + shift).view(batch * self.npix, -1)
            self._batched = {key: (index, self.weight.repeat(batch, 1))}
        return self._batched[key]

    def _apply(self, fn, recurse: bool = True):  # called when buffers move or change their type
        self._batched.clear()
        super()._apply(fn, recurse)
        if self.weight.dtype == torch.float64:  # restores the precision lost in float32
            self.weight = self._exact.to(self.weight.device)
        return self


def rescaled_laplacian(graph: SphereGraph | PlaneGraph) -> tuple[Int[Tensor, "npix k1"], Float[Tensor, "npix k1"]]:
    """Compute the entries of `2 L / lmax - I`: (index, value), [npix, k + 1] each, the diagonal first, in float64.

    The graph's weights are float32; the degree is their sum in float64, so that rows of L sum to zero.
    """
    neighbors = torch.as_tensor(graph.neighbors).long()
    weights = torch.as_tensor(graph.weights).double()
    nodes = torch.arange(neighbors.shape[0])[:, None]
    diagonal = 2 * weights.sum(1, keepdim=True) / graph.lmax - 1
    return torch.cat([nodes, neighbors], 1), torch.cat([diagonal, -2 * weights / graph.lmax], 1)
