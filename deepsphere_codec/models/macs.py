"""How much a model computes: parameters, and multiply-accumulate operations to a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.entropy.coder import SymbolWriter
from deepsphere_codec.entropy.exact import ExactConv
from deepsphere_codec.layers import GDN, ChebConv, DirectionalConv, HybridConv, SeparableChebConv
from deepsphere_codec.layers.operators import RescaledLaplacian
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.geometry import nside_multiple, whole_grid
from deepsphere_codec.models.memory import References, State
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.motion.tree import still_tree

ENCODERS = ("g_a", "h_a")
"""Parts of a network that a decoder does not run."""

COUNTED = (
    "convolutions of every kind, channel mixes and GDN, each as often as it runs for a frame; "
    "not the search for motion, warps, blurs, resampling and the entropy coder"
)
"""What a count holds, of every codec."""

LAYERS = (ChebConv, DirectionalConv, ExactConv, HybridConv, SeparableChebConv, GDN, nn.Conv2d, nn.ConvTranspose2d)


class Macs(NamedTuple):
    """Multiply-accumulate operations to a pixel of the ERP picture, on the sphere at a width of four nside.

    Attributes:
        intra, inter: To encode an I-frame, or a P-frame with motion; its decoding is a part of that.
        intra_decoder, inter_decoder: To decode one.
    """

    intra: float
    inter: float
    intra_decoder: float
    inter_decoder: float


class Complexity(NamedTuple):
    """Of a model."""

    parameters: int
    macs: Macs

    def in_words(self) -> str:
        """In a line."""
        m = self.macs
        return (
            f"{self.parameters / 1e6:.2f} M parameters; thousands of multiply-accumulates to a pixel: "
            f"I-frame {m.intra / 1e3:.1f} (decoder {m.intra_decoder / 1e3:.1f}), "
            f"P-frame {m.inter / 1e3:.1f} (decoder {m.inter_decoder / 1e3:.1f})"
        )


@torch.no_grad()
def complexity(config: ModelConfig) -> Complexity:
    """Count what the networks of a configuration compute: see COUNTED.

    Every layer does the same work at each of its nodes, so the smallest picture tells of all sizes. A P-frame is one
    that has a residual everywhere; that the encoder looks for the blocks that need one does not count.
    """
    nside = nside_multiple(config.geometry)
    with torch.random.fork_rng(devices=[]):
        network = SphereDVC(config, whole_grid(config.geometry, nside)).eval()
        network.build_tables()
        x = torch.rand(2, 1, network.pyramid.grids[0].npix, 3)
        with Counter(network) as intra:
            state = network.encode_intra(x[0], 4.0).state
        with Counter(network) as inter:
            write_p_frame(network, x[1], state)
    return Complexity(sum(p.numel() for p in network.parameters()), macs_of(intra, inter, 8 * nside * nside, ENCODERS))


def write_p_frame(network: SphereDVC, x: Float[Tensor, "1 npix 3"], state: State) -> None:
    """Have a P-frame without motion coded, with a residual everywhere."""
    inter, references, motion = network.inter, References(state), Motion.of([still_tree(network.inter.blocks)])
    x_pred = inter.predict(references, motion)
    seen, context = inter.see(x_pred), inter.context(references, motion)
    y = inter.analyse_residual(x, seen)
    inter.write_residual(y, context, seen, x.new_full((1, 1), 4.0), SymbolWriter())


def macs_of(intra: Counter, inter: Counter, pixels: int, encoders: Sequence[str]) -> Macs:
    """Of an I-frame and a P-frame that were counted as they were encoded.

    Args:
        pixels: Of the picture.
        encoders: Names of the parts that a decoder does not run.
    """
    counts = intra.total(), inter.total(), intra.total(encoders), inter.total(encoders)
    return Macs(*(count / pixels for count in counts))


class Counter:
    """Notes the multiply-accumulates of a network's layers while it is open.

    Args:
        network: Whose layers run.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.counts: dict[str, int] = {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Counter:
        for name, module in self.network.named_modules():
            if isinstance(module, LAYERS):
                self._hooks.append(module.register_forward_hook(self._noting(name)))
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def total(self, without: Sequence[str] = ()) -> int:
        """Of all layers but those that lie in parts of these names."""
        return sum(count for name, count in self.counts.items() if not set(name.split(".")) & set(without))

    def _noting(self, name: str):  # type: ignore[no-untyped-def]
        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.counts[name] = self.counts.get(name, 0) + _macs_of_call(module, inputs[0], output)

        return note


def _macs_of_call(module: nn.Module, x: Tensor, y: Tensor) -> int:
    """Of one layer, from x to y."""
    if isinstance(module, nn.Conv2d):
        return y.numel() * module.weight[0].numel()  # each value that comes out has weights of its own channel
    if isinstance(module, nn.ConvTranspose2d):
        return x.numel() * module.weight[0].numel()  # each value that goes in
    batch, npix, fout = y.shape  # an ExactConv may be asked for some nodes alone
    return batch * npix * _macs_of_node(module, x.shape[2], fout)


def _macs_of_node(module: nn.Module, fin: int, fout: int) -> int:
    """Of one layer at one node."""
    if isinstance(module, ChebConv):
        narrow = fout if module.order > 1 and 2 * fout <= fin else fin  # channels that pass the sparse product
        return module.order * fin * fout + (module.order - 1) * narrow * _entries(module.laplacian)
    if isinstance(module, HybridConv):
        return (module.order + 2) * fin * fout + (module.order - 1) * fin * _entries(module.laplacian)
    if isinstance(module, SeparableChebConv):
        return fin * fout + fin * (module.order + (module.order - 1) * _entries(module.laplacian))
    if isinstance(module, GDN):
        return fin * fin
    assert isinstance(module, DirectionalConv | ExactConv)
    return module.weight.shape[2] * module.weight.shape[3] * fin * fout


def _entries(laplacian: RescaledLaplacian) -> int:
    """Of a row."""
    return laplacian.index.shape[1]
