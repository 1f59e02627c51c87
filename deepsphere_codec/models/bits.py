"""What the bytes of a frame hold: its motion, and where on the sphere its bits went."""

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
    """What the bytes of a frame hold, and where on the sphere they went.

    Attributes:
        motion: Where each node lies a frame before: tangent vectors, radians, the camera's turn included; zero in an
            I-frame.
        bits_per_node: Of all parts, over the nodes below each latent node.
    """

    motion: Float[np.ndarray, "npix 3"]
    bits_per_node: Float[np.ndarray, " latent"]


@torch.inference_mode()
def look_into(
    network: SphereDVC, payload: bytes, references: References | None, quality: float, layer: int = 0
) -> FrameContents:
    """The motion and the bits of a frame, from its bytes.

    Args:
        network: That coded it.
        payload: Its bytes.
        references: Of a P- or B-frame; None of an I-frame.
        quality: Asked of the film.
        layer: Of the frame in its group.
    Returns:
        Motion towards the first reference, at an even speed.
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
    """Tangent vectors at all nodes; the tree tells those towards the first reference in every mode."""
    size = WIDTHS[LAST]
    fields = tree.leaves[..., A0 : B0 + 1].repeat(size, 1).repeat(size, 2).reshape(1, -1, 2)
    steps = torch.from_numpy(fields).float().to(inter.prediction.steps.device) * STEP
    v = combine(steps, inter.prediction.steps)[0]
    if turn is not None:
        v = v + inter.rotation.field(turn).to(v)
    return (v / -references.distances[0]).cpu().numpy()


def _at_latents(bits: Float[np.ndarray, "images rows columns"]) -> Float[Tensor, " latent"]:
    """Sums of what the finest blocks of a tree cost, at the latents' nodes."""
    images, rows, columns = bits.shape
    size = (1 << LATENT_DEPTH) // WIDTHS[LAST]
    return torch.from_numpy(bits.reshape(images, rows // size, size, columns // size, size).sum((2, 4)).ravel())


def _read(
    codec: LatentCodec, reader: CostedReader, quality: Tensor, memory: Tensor | None, coded: Tensor | None = None
) -> Float[Tensor, " latent"]:
    """Bits spent on each node: its own, and its share of those of the hyper-latents above it."""
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
    """Notes what the symbols cost.

    Attributes:
        bits: Of each time that symbols were read, one number a symbol.
    """

    def __init__(self, payload: bytes) -> None:
        super().__init__(payload)
        self.bits: list[Float[Tensor, " n"]] = []

    def read(self, rows: Int[Tensor, " n"], tables: Tables) -> Int[Tensor, " n"]:
        symbols = super().read(rows, tables)
        self.bits.append(bits_of(symbols, rows, plain_tables(tables)))
        return symbols
