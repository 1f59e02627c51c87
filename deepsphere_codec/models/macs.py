"""Complexity of a model: parameters, and multiply-accumulate operations per pixel."""

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
"""Names of the parts of a network that a decoder does not run."""

COUNTED = (
    "convolutions of every kind, channel mixes and GDN, each as often as it runs for a frame; "
    "not the search for motion, warps, blurs, resampling and the entropy coder"
)
"""Description of what is counted, for every codec."""

LAYERS = (ChebConv, DirectionalConv, ExactConv, HybridConv, SeparableChebConv, GDN, nn.Conv2d, nn.ConvTranspose2d)


class Macs(NamedTuple):
    """Multiply-accumulate operations per pixel of the ERP picture; on the sphere, of a picture 4 nside wide.

    Attributes:
        intra: Encoding an I-frame, its reconstruction by the decoder included.
        inter: Encoding a P-frame with motion, its reconstruction by the decoder included.
        intra_decoder: Decoding an I-frame.
        inter_decoder: Decoding a P-frame.
    """

    intra: float
    inter: float
    intra_decoder: float
    inter_decoder: float


class Complexity(NamedTuple):
    """Complexity of a model.

    Attributes:
        parameters: Number of parameters.
        macs: Multiply-accumulate operations per pixel.
    """

    parameters: int
    macs: Macs

    def in_words(self) -> str:
        """Format as one line of text."""
        m = self.macs
        return (
            f"{self.parameters / 1e6:.2f} M parameters; thousands of multiply-accumulates to a pixel: "
            f"I-frame {m.intra / 1e3:.1f} (decoder {m.intra_decoder / 1e3:.1f}), "
            f"P-frame {m.inter / 1e3:.1f} (decoder {m.inter_decoder / 1e3:.1f})"
        )


@torch.no_grad()
def complexity(config: ModelConfig) -> Complexity:
    """Count the parameters and operations of a configuration's networks; see COUNTED.

    Every layer does the same work at each of its nodes, so the smallest picture gives the count per pixel at all sizes.
    The P-frame has a residual everywhere; the encoder's decision which blocks need one is not counted.
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
    """Code a P-frame without motion and with a residual everywhere; its bytes are discarded.

    Args:
        network: The network.
        x: Picture, [1, npix, 3].
        state: State of the reference.
    """
    inter, references, motion = network.inter, References(state), Motion.of([still_tree(network.inter.blocks)])
    x_pred = inter.predict(references, motion)
    seen, context = inter.see(x_pred), inter.context(references, motion)
    y = inter.analyse_residual(x, seen)
    inter.write_residual(y, context, seen, x.new_full((1, 1), 4.0), SymbolWriter())


def macs_of(intra: Counter, inter: Counter, pixels: int, encoders: Sequence[str]) -> Macs:
    """Compute operations per pixel from counts made while an I-frame and a P-frame were encoded.

    Args:
        intra: Counts of the I-frame.
        inter: Counts of the P-frame.
        pixels: Number of pixels of the picture.
        encoders: Names of the parts that a decoder does not run.
    Returns:
        Operations per pixel.
    """
    counts = intra.total(), inter.total(), intra.total(encoders), inter.total(encoders)
    return Macs(*(count / pixels for count in counts))


class Counter:
    """Context manager that counts the multiply-accumulates of a network's layers.

    Args:
        network: Network whose layers are counted.
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
        """Return the operations of all layers except those in parts of the given names."""
        return sum(count for name, count in self.counts.items() if not set(name.split(".")) & set(without))

    def _noting(self, name: str):  # type: ignore[no-untyped-def]
        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.counts[name] = self.counts.get(name, 0) + _macs_of_call(module, inputs[0], output)

        return note


def _macs_of_call(module: nn.Module, x: Tensor, y: Tensor) -> int:
    """Operations of one call of a layer with input x and output y."""
    if isinstance(module, nn.Conv2d):
        return y.numel() * module.weight[0].numel()  # each output value takes the weights of its channel
    if isinstance(module, nn.ConvTranspose2d):
        return x.numel() * module.weight[0].numel()  # each input value takes the weights of its channel
    batch, npix, fout = y.shape  # an ExactConv may compute only some nodes
    return batch * npix * _macs_of_node(module, x.shape[2], fout)


def _macs_of_node(module: nn.Module, fin: int, fout: int) -> int:
    """Operations of a layer at one node."""
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
    """Number of entries in a row of the Laplacian."""
    return laplacian.index.shape[1]
