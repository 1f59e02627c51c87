"""What the bytes of a frame hold: its motion, and where on the sphere its bits went."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from deepsphere_codec.entropy.coder import SymbolReader, Tables
from deepsphere_codec.entropy.hyperprior import SKIP_LEVEL
from deepsphere_codec.layers import unpool
from deepsphere_codec.models import SphereDVC, State
from deepsphere_codec.models.latent_codec import Decoded, LatentCodec
from deepsphere_codec.models.payload import InterPayload
from deepsphere_codec.models.pyramid import COARSEST_DEPTH, LATENT_DEPTH, WORK_DEPTH
from deepsphere_codec.models.quality import inter_quality, intra_quality

_TABLE_BITS = 16  # a row's frequencies sum to 2^16
_DIGIT_BITS = 4  # of what is written of a symbol beyond its row


class Inside(NamedTuple):
    """What the bytes of a frame hold, and where on the sphere they went.

    Attributes:
        motion: Tangent vectors, radians, the camera's turn included; zero in an I-frame.
        bits_per_node: Of the picture, or of motion and residual, over the nodes below each latent node.
    """

    motion: Float[np.ndarray, "npix 3"]
    bits_per_node: Float[np.ndarray, " latent"]


@torch.inference_mode()
def look_into(network: SphereDVC, payload: bytes, state: State | None, quality: float) -> Inside:
    """The motion and the bits of a frame, from its bytes and the state before it; an I-frame comes without."""
    grids, like = network.pyramid.grids, network.pyramid.frame(0)
    if state is None:
        asked = like.new_tensor([intra_quality(quality, network.config)])
        _, bits = _read(network.intra.latents, payload, asked, None)
        return _told(like.new_zeros(1, grids[0].npix, 3), bits)
    inter, parts = network.inter, InterPayload.unpack(payload)
    asked = like.new_tensor([inter_quality(quality, network.config, state.age)])
    field = like.new_zeros(1, grids[WORK_DEPTH].npix, 2)
    bits = torch.zeros(grids[LATENT_DEPTH].npix, dtype=torch.float64)
    if parts.motion is not None:
        motion, spent = _read(inter.motion_latents, parts.motion, asked, state.motion.both)
        field, bits = inter.motion_s(motion.y_hat)[..., :2], bits + spent
    if parts.residual is not None:
        _, spent = _read(inter.residual_latents, parts.residual, asked, state.for_residual)
        bits = bits + spent
    return _told(inter.field_at_nodes(field, parts.turn), bits)


def _told(v: Float[Tensor, "1 npix 3"], bits: Float[Tensor, " latent"]) -> Inside:
    return Inside(v[0].cpu().numpy(), (bits / 4**LATENT_DEPTH).numpy())


def _read(
    codec: LatentCodec, payload: bytes, quality: Tensor, memory: Tensor | None
) -> tuple[Decoded, Float[Tensor, " latent"]]:
    """Latents, and the bits spent on each node: its own, and its share of those of the hyper-latents above it."""
    hyperprior, reader = codec.hyperprior, CostedReader(payload)
    levels: list[Tensor] = []  # of the two halves of the nodes; they tell which latents are coded at all
    with hyperprior.level.register_forward_hook(lambda module, a, level: levels.append(level[0].cpu())):
        decoded = codec.read(reader, quality, memory)
    hyper, *halves = reader.bits
    above = hyper.view(1, hyperprior.nodes, -1).sum(-1, keepdim=True) / 4 ** (COARSEST_DEPTH - LATENT_DEPTH)
    _, middle, coarse = hyperprior.sides
    bits = unpool(unpool(above, coarse), middle).flatten()
    anchors = hyperprior.anchors.cpu()
    for where, level, half in zip((anchors, ~anchors), levels, halves, strict=True):
        spent = torch.zeros_like(level[where], dtype=torch.float64)
        spent[level[where] > SKIP_LEVEL] = half
        bits[where] += spent.sum(-1)
    return decoded, bits


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
        self.bits.append(bits_of(symbols, rows, tables))
        return symbols


def bits_of(symbols: Int[Tensor, " n"], rows: Int[Tensor, " n"], tables: Tables) -> Float[Tensor, " n"]:
    """What symbols cost by the tables; the coder's bytes are that, but for the rounding of a whole payload.

    A symbol beyond its row is written as the row's last entry, the number of hexadecimal digits to come, and these.
    """
    cdf, length, offset = (part.cpu().long() for part in tables)
    entry, last = symbols - offset[rows], length[rows] - 2
    outside = (entry < 0) | (entry >= last)
    beyond = torch.where(entry < 0, -2 * entry - 1, 2 * (entry - last))[outside].double()
    entry = torch.where(outside, last, entry)
    share = cdf[rows, entry + 1] - cdf[rows, entry]
    bits = _TABLE_BITS - share.double().log2()
    bits[outside] += _DIGIT_BITS * (1 + ((beyond + 1).log2() / _DIGIT_BITS).ceil())
    return bits
