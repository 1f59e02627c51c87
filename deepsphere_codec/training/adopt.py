"""Initialisation of a model from a checkpoint or from released weights, possibly of a similar architecture."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from deepsphere_codec.entropy.hyperprior import SliceParameters
from deepsphere_codec.errors import UsageError
from deepsphere_codec.layers.cheb import ChebConv
from deepsphere_codec.layers.gate import GatedChebConv
from deepsphere_codec.layers.operators import RescaledLaplacian
from deepsphere_codec.models.latent_codec import LatentCodec
from deepsphere_codec.training.checkpoint import beginning, load_checkpoint, stored_weight


@torch.no_grad()
def begin_from(path: Path, model: nn.Module, only: str = "") -> list[str]:
    """Initialise a model from a checkpoint or from released weights, of the same architecture or a similar one.

    Weights with other names or shapes are converted in three cases. A Chebyshev convolution, gated or not, takes the
    radial part of a nine-tap convolution in its place. A hyperprior with latitude as an input takes the weights of one
    without, with zero weights for the latitude. The steps of an entropy model that use neighbours one parent away take
    the weights for nearest neighbours. Parameters that the file lacks keep their values.

    Args:
        path: The file.
        model: Model to initialise, in place.
        only: Prefix of the names of the parameters to initialise; "" for all.
    Returns:
        Names of the parameters that were converted rather than copied.
    Raises:
        UsageError: the file is not a checkpoint, or a weight has another shape.
    """
    try:
        with safe_open(path, "pt") as file:
            stored = set(file.keys())
            prefix = beginning(stored, mean=True)

            def read(name: str) -> Tensor | None:
                return stored_weight(file, stored, prefix + name).float() if prefix + name in stored else None

            carried = {n: v for n, v in _carried_over(model, read) if n.startswith(only)}
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is not a checkpoint: {error}") from error
    load_checkpoint(path, model, only=only, leave=carried)
    parameters = dict(model.named_parameters())
    for name, value in carried.items():
        parameters[name].copy_(value)
    return sorted(carried)


def _carried_over(model: nn.Module, read: Callable[[str], Tensor | None]) -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = []
    bases: dict[tuple[RescaledLaplacian, int], Tensor] = {}
    for name, conv in model.named_modules():
        if not isinstance(conv, GatedChebConv | ChebConv):
            continue
        taps, bias = read(f"{name}.weight"), read(f"{name}.bias")
        if taps is not None and taps.ndim == 4:
            inner, cheb = (".filter", conv.filter) if isinstance(conv, GatedChebConv) else ("", conv)
            kind = cheb.laplacian, cheb.order
            if kind not in bases:
                bases[kind] = nine_taps_to_chebyshev(*kind)
            radial = torch.einsum("kt,oit->kio", bases[kind], taps.flatten(2)).reshape(cheb.weight.shape)
            found += [(f"{name}{inner}.weight", radial)] + ([] if bias is None else [(f"{name}{inner}.bias", bias)])
    for name, module in model.named_modules():
        if isinstance(module, SliceParameters) and module.wide is not None and read(f"{name}.wide.weight") is None:
            for what in ("weight", "bias"):
                if (value := read(f"{name}.around.{what}")) is not None:
                    found.append((f"{name}.wide.{what}", value))
        if isinstance(module, LatentCodec) and module.latitude is not None:
            key = f"{name}.hyperprior.recall.weight"
            value = read(key)
            if value is not None and value.shape[1] == module.hyperprior.recall.weight.shape[1] - 1:
                found.append((key, torch.cat([value, torch.zeros_like(value[:, :1])], 1)))
    return found


def nine_taps_to_chebyshev(laplacian: RescaledLaplacian, order: int) -> Float[Tensor, "order 9"]:
    """Compute the Chebyshev filters closest to each of nine taps, by least squares of their impulse responses.

    Args:
        laplacian: Rescaled Laplacian of a square patch (row by row) or of a sphere (face by face).
        order: Number of taps K of the filters.
    Returns:
        Coefficients of the filter for each tap, [order, 9].
    """
    nodes = laplacian.index.shape[0]
    side = math.isqrt(nodes) if math.isqrt(nodes) ** 2 == nodes else math.isqrt(nodes // 12)
    x, y = side // 2, side // 2
    impulse = torch.zeros(1, nodes, 1)
    impulse[0, y * side + x] = 1
    answers = [impulse, laplacian(impulse)][:order]
    while len(answers) < order:
        answers.append(2 * laplacian(answers[-1]) - answers[-2])
    taps = torch.zeros(impulse.shape[1], 9)
    for tap in range(9):
        taps[(y + tap // 3 - 1) * side + x + tap % 3 - 1, tap] = 1
    return torch.linalg.lstsq(torch.cat(answers, 0)[..., 0].t().double(), taps.double()).solution.float()
