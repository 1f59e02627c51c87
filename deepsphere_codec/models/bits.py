"""Motion and spatial distribution of the bits of a coded frame, read from its payload."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from deepsphere_codec.entropy.coder import SymbolReader, Tables, bits_of
from deepsphere_codec.entropy.hyperprior import SKIP_LEVEL, Coding
from deepsphere_codec.layers import unpool
from deepsphere_codec.layers.fields import combine
from deepsphere_codec.models import References, SphereDVC
from deepsphere_codec.models.inter import InterCodec
from deepsphere_codec.models.latent_codec import LatentCodec
from deepsphere_codec.models.payload import Payload
from deepsphere_codec.models.pyramid import COARSEST_DEPTH, LATENT_DEPTH
from deepsphere_codec.models.quality import inter_quality, intra_quality
from deepsphere_codec.models.quality_map import mapped, read_map
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.motion.tree import A0, B0, LAST, STEP, WIDTHS, MotionTree
from deepsphere_codec.motion.tree_bits import bits_of_tree, plain_tables


class FrameContents(NamedTuple):
    """Motion of a coded frame, and the distribution of its bits over the sphere.

    Attributes:
        motion: Displacement of each node to its position one frame earlier, [npix, 3]: tangent vectors, radians, with
            the camera's rotation included; zero in an I-frame.
        bits_per_node: Bits of all parts of the frame per node of the signal, [latent]: at each node of the latents, the
            mean over the signal's nodes below it.
    """

    motion: Float[np.ndarray, "npix 3"]
    bits_per_node: Float[np.ndarray, " latent"]


@torch.inference_mode()
def look_into(
    network: SphereDVC, payload: bytes, references: References | None, quality: float, layer: int = 0
) -> FrameContents:
    """Read the motion and the distribution of the bits of a frame from its payload.

    Args:
        network: Network that the frame was coded with.
        payload: Payload of the frame.
        references: References of a P- or B-frame; None for an I-frame.
        quality: Requested quality of the film.
        layer: Layer of the frame in its group.
    Returns:
        Motion towards the first reference, scaled to one frame at constant speed, and bits per node.
    Raises:
        DamagedStream: the payload is damaged.
    """
    grids, parts, like = network.pyramid.grids, Payload.unpack(payload), network.pyramid.frame(0)
    tree: MotionTree | None = None
    motion, bits = np.zeros((grids[0].npix, 3), np.float32), torch.zeros(grids[LATENT_DEPTH].npix, dtype=torch.float64)
    quality_map = references.first.quality_map if references else None
    if parts.quality_map is not None:
        quality_map = read_map(parts.quality_map, grids[-1].npix, network.inter.tables)
        bits += 8 * len(parts.quality_map) / len(bits)
    if references is not None and parts.motion is not None:
        tree = network.inter.read_motion(SymbolReader(parts.motion), references)
        motion = _vectors(network.inter, tree, references, parts.turn)
        setting = network.inter.setting(references)
        bits += _at_latents(bits_of_tree(tree, network.inter.blocks, setting, network.inter.tables))
    if parts.latents is not None:
        asked = intra_quality(quality, network.config)
        codec, memory = network.intra.latents, None
        if references is not None:
            asked = inter_quality(quality, network.config, layer)
            codec = network.inter.residual_latents
            assert tree is not None
            memory = network.inter.context(references, Motion.of([tree]))
        reader, coded = CostedReader(parts.latents), None
        if references is not None:
            coded = network.inter.read_coded(reader)
            bits += sum(float(each.sum()) for each in reader.bits) / len(bits)
            reader.bits.clear()
        bits += _read(codec, reader, mapped(asked, quality_map, like), memory, coded)
    return FrameContents(motion, (bits / 4**LATENT_DEPTH).numpy())


def _vectors(
    inter: InterCodec, tree: MotionTree, references: References, turn: Tensor | None
) -> Float[np.ndarray, "npix 3"]:
    """Tangent vectors at all nodes, [npix, 3]; leaves of every mode hold the vector towards the first reference."""
    size = WIDTHS[LAST]
    fields = tree.leaves[..., A0 : B0 + 1].repeat(size, 1).repeat(size, 2).reshape(1, -1, 2)
    steps = torch.from_numpy(fields).float().to(inter.prediction.steps.device) * STEP
    v = combine(steps, inter.prediction.steps)[0]
    if turn is not None:
        v = v + inter.rotation.field(turn).to(v)
    return (v / -references.distances[0]).cpu().numpy()


def _at_latents(bits: Float[np.ndarray, "images rows columns"]) -> Float[Tensor, " latent"]:
    """Bits of a tree's finest blocks, summed at the nodes of the latents."""
    images, rows, columns = bits.shape
    size = (1 << LATENT_DEPTH) // WIDTHS[LAST]
    return torch.from_numpy(bits.reshape(images, rows // size, size, columns // size, size).sum((2, 4)).ravel())


def _read(
    codec: LatentCodec, reader: CostedReader, quality: Tensor, memory: Tensor | None, coded: Tensor | None = None
) -> Float[Tensor, " latent"]:
    """Decode latents and return the bits of each node: its own and its share of the hyper-latents' above it."""
    hyperprior = codec.hyperprior
    hyper, bits = (torch.zeros(count, dtype=torch.float64) for count in (hyperprior.nodes, len(hyperprior.anchors)))
    read = hyperprior.decoding(reader)

    def noting(spent: Float[Tensor, " nodes"]) -> Coding:
        def decode(level: Tensor, mean: Tensor, where: Tensor) -> Tensor:
            before = len(reader.bits)
            symbols = read(level, mean, where)
            nodes = where[:, None].expand_as(level)[level > SKIP_LEVEL]
            for costs in reader.bits[before:]:
                spent.index_add_(0, nodes, costs)
            return symbols

        return decode

    context = codec.context(quality, memory, len(bits)).to(torch.int8)
    reader.expect(hyperprior.most_symbols)
    hyperprior.coded([noting(hyper)] + [noting(bits)] * len(hyperprior.slices), context, coded)
    _, middle, coarse = hyperprior.sides
    above = hyper[None, :, None] / 4 ** (COARSEST_DEPTH - LATENT_DEPTH)
    return bits + unpool(unpool(above, coarse), middle).flatten()


class CostedReader(SymbolReader):
    """Symbol reader that records the cost of the symbols.

    Args:
        payload: Bytes written by `SymbolWriter.finish`.
    Attributes:
        bits: Cost of each symbol in bits, one tensor [n] per call of `read`.
    """

    def __init__(self, payload: bytes) -> None:
        super().__init__(payload)
        self.bits: list[Float[Tensor, " n"]] = []

    def read(self, rows: Int[Tensor, " n"], tables: Tables) -> Int[Tensor, " n"]:
        """Read the next symbols and record their costs.

        Args:
            rows: Row of the tables with the distribution of each symbol, [n].
            tables: The tables.
        Returns:
            Symbols, [n], int64.
        Raises:
            DamagedStream: the coder cannot have written this payload.
        """
        symbols = super().read(rows, tables)
        self.bits.append(bits_of(symbols, rows, plain_tables(tables)))
        return symbols
