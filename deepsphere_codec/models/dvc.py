"""Spherical DVC codec: one network for I-, P- and B-frames at one resolution."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.hyperprior import Hyperprior
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.layers import mean_pool
from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.models.coded_blocks import CodedBlocks
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.inter import InterCodec, Seen
from deepsphere_codec.models.intra import IntraCodec, Picture
from deepsphere_codec.models.memory import QualityMap, References, State
from deepsphere_codec.models.payload import Payload
from deepsphere_codec.models.pyramid import COARSEST_DEPTH, LATENT_DEPTH, Patch, Pyramid
from deepsphere_codec.models.quality import PLANE_WEIGHTS, at_depth, inter_quality, intra_quality, lmbda_of
from deepsphere_codec.models.quality_map import MAP_STEP, mapped, read_map, write_map
from deepsphere_codec.motion.contexts import MotionTables
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.motion.search import MEDIUM, Effort
from deepsphere_codec.motion.tree import MotionTree

MOTION_SHARE = 0.75
"""Factor of the prediction's squared error in the motion search: the residual corrects a part of that error."""


class CodedPicture(NamedTuple):
    """Coded picture.

    Attributes:
        payload: Bytes of the picture.
        state: State that encoder and decoder share after the picture.
    """

    payload: bytes
    state: State


class SphereDVC(nn.Module):
    """Codec for I-, P- and B-frames at one resolution, on the sphere or, as its planar twin, on an ERP picture.

    Signals are [batch, npix, 3]: Y, Cb and Cr as stored, divided by 255. The encoding and decoding methods take one
    picture at a time and compute no gradients.

    Args:
        config: Sizes and options.
        grid: Grid of the signals: the sphere (nside a multiple of 64) or the ERP picture of the planar twin; or a patch
            of one of them, for training.
    Raises:
        ValueError: the grid has no parents down to nside / 64.
    """

    def __init__(self, config: ModelConfig, grid: Grid) -> None:
        super().__init__()
        self.config = config
        self.pyramid = Pyramid(grid, config.neighbors)
        self.intra = IntraCodec(config, self.pyramid)
        self.inter = InterCodec(config, self.pyramid)

    def place(self, patch: Patch) -> None:
        """Move to another patch of the same size; does nothing if it is the current one."""
        if patch != self.pyramid.grids[0]:
            self.pyramid.place(patch)
            self.inter.place()

    @torch.no_grad()
    def encode_intra(
        self, x: Float[Tensor, "1 npix 3"], quality: float, quality_map: QualityMap | None = None
    ) -> CodedPicture:
        """Code an I-frame.

        Args:
            x: Picture, [1, npix, 3].
            quality: Requested quality of the film.
            quality_map: Offsets of the blocks' quality in units of MAP_STEP, [blocks]; None for none.
        Returns:
            Payload, and the state after the picture.
        """
        quality_map = _unless_flat(quality_map)
        writer = SymbolWriter()
        picture = self.intra.write(x, mapped(intra_quality(quality, self.config), quality_map, x), writer)
        payload = Payload(quality_map=self._map_bytes(quality_map, None), latents=writer.finish()).pack()
        state = self.inter.begin(*picture)._replace(quality_map=quality_map)
        return CodedPicture(payload, state.sealed(0, *_numbers(picture.fine, None, quality_map)))

    @torch.no_grad()
    def decode_intra(self, payload: bytes, quality: float) -> State:
        """Decode an I-frame.

        Args:
            payload: Bytes written by `encode_intra`.
            quality: Requested quality of the film.
        Returns:
            State after the picture.
        Raises:
            DamagedStream: `encode_intra` cannot have written these bytes, or the picture has values that are not
                finite.
        """
        parts = Payload.unpack(payload)
        if parts.latents is None or parts.turn is not None or parts.motion is not None or parts.repeats_second:
            raise DamagedStream("an I-frame has parts that it cannot have, or lacks those that it must have")
        quality_map = self._read_map(parts, None)
        asked = mapped(intra_quality(quality, self.config), quality_map, self.pyramid.frame(0))
        picture = _checked(self.intra.read(SymbolReader(parts.latents), asked))
        state = self.inter.begin(*picture)._replace(quality_map=quality_map)
        return state.sealed(0, *_numbers(picture.fine, None, quality_map))

    @torch.no_grad()
    def encode_inter(
        self,
        x: Float[Tensor, "1 npix 3"],
        references: References,
        quality: float,
        layer: int,
        quality_map: QualityMap | None = None,
        effort: Effort = MEDIUM,
    ) -> CodedPicture:
        """Code a P- or B-frame.

        Parts that do not lower rate + lmbda · distortion are omitted: the residual, of some blocks or altogether, or
        all parts of the picture, which then repeats a reference. The camera's rotation is omitted unless it lowers the
        prediction error.

        Args:
            x: Picture, [1, npix, 3].
            references: Decoded pictures that it is predicted from.
            quality: Requested quality of the film.
            layer: Layer of the picture in its group, which determines its quality.
            quality_map: Offsets of the blocks' quality in units of MAP_STEP, [blocks]; None for none.
            effort: Effort of the motion search.
        Returns:
            Payload, and the state after the picture.
        """
        quality, quality_map = inter_quality(quality, self.config, layer), _unless_flat(quality_map)
        asked = mapped(quality, quality_map, x)
        x_ref = references.first.x_hat
        turn = self.inter.find_turn(x, references)
        tree, setting = self.inter.find_tree(x, references, turn, self.motion_lmbda(quality, quality_map), effort)
        writer = SymbolWriter()
        tree = self.inter.write_motion(tree, setting, writer)
        moved = writer.finish()
        motion = Motion.of([tree], x.device)
        x_pred, context = self.inter.predict(references, motion, turn), self.inter.context(references, motion)
        map_bytes = self._map_bytes(quality_map, references.first.quality_map)
        still = Payload(turn=turn, quality_map=map_bytes, motion=moved)
        choices = [(x_pred, still), (x_ref, Payload())]
        seen = self.inter.see(x_pred)
        y = self.inter.analyse_residual(x, seen)
        coded = self._worth_coding(x, y, context, seen, asked) if effort.chooses_blocks else None
        if coded is None or coded.any():
            writer = SymbolWriter()
            x_hat, residual = self.inter.write_residual(y, context, seen, asked, writer, coded)
            choices.append((x_hat, still._replace(latents=writer.finish())))
        if references.second is not None:
            choices.append((references.second.x_hat, Payload(repeats_second=True)))
        costs = [self._error(x, picture, asked) + 8 * len(parts.pack()) for picture, parts in choices]
        x_hat, parts = choices[int(np.argmin(costs))]
        if parts.is_repeat:
            return CodedPicture(parts.pack(), references.repeated(parts.repeats_second))
        fine = torch.zeros_like(references.first.residual.last, dtype=x.dtype)
        if parts.latents is not None:
            fine = residual.fine
        state = references.after(x_hat, fine, tree, quality_map)
        return CodedPicture(parts.pack(), state.sealed(references.check, *_numbers(fine, tree, quality_map)))

    @torch.no_grad()
    def decode_inter(self, payload: bytes, references: References, quality: float, layer: int) -> State:
        """Decode a P- or B-frame.

        Args:
            payload: Bytes written by `encode_inter`.
            references: Decoded pictures that it is predicted from.
            quality: Requested quality of the film.
            layer: Layer of the picture in its group, which determines its quality.
        Returns:
            State after the picture.
        Raises:
            DamagedStream: `encode_inter` cannot have written these bytes, or the picture has values that are not
                finite.
        """
        parts = Payload.unpack(payload)
        if parts.repeats_second and references.second is None:
            raise DamagedStream("a frame repeats its second reference, and has none")
        if parts.is_repeat:
            return references.repeated(parts.repeats_second)
        if parts.motion is None:
            raise DamagedStream("a frame has parts, but no motion")
        quality_map = self._read_map(parts, references.first.quality_map)
        asked = mapped(inter_quality(quality, self.config, layer), quality_map, references.first.x_hat)
        tree = self.inter.read_motion(SymbolReader(parts.motion), references)
        motion = Motion.of([tree], asked.device)
        x_pred = self.inter.predict(references, motion, parts.turn)
        if parts.latents is None:
            x_hat = x_pred
            fine = torch.zeros_like(references.first.residual.last, dtype=x_hat.dtype)
        else:
            context = self.inter.context(references, motion)
            seen = self.inter.see(x_pred)
            x_hat, residual = self.inter.read_residual(SymbolReader(parts.latents), context, seen, asked)
            fine = residual.fine
        state = _checked(references.after(x_hat, fine, tree, quality_map))
        return state.sealed(references.check, *_numbers(fine, tree, quality_map))

    def motion_lmbda(self, quality: float, quality_map: QualityMap | None = None) -> np.ndarray | float:
        """Compute the weight of the prediction's squared error of luma in the motion search, in bits.

        Args:
            quality: Quality of the picture, its layer's step included.
            quality_map: Offsets of the blocks' quality in units of MAP_STEP, [blocks]; None for none.
        Returns:
            Weight for each block of 64 x 64 nodes, [images, rows, columns]; one number without a map.
        """
        scale = MOTION_SHARE * PLANE_WEIGHTS[0] * 255**2
        if quality_map is None:
            return scale * lmbda_of(quality)
        blocks = scale * lmbda_of(1.0) * 2.0 ** (quality - 1 + MAP_STEP * quality_map.astype(np.float64))
        return blocks.reshape(self.inter.blocks.shape(0))

    def _map_bytes(self, quality_map: QualityMap | None, earlier: QualityMap | None) -> bytes | None:
        """Code a quality map; None if it equals that of the first reference."""
        if _same_map(quality_map, earlier):
            return None
        flat = np.zeros(self.pyramid.grids[-1].npix, np.int8) if quality_map is None else quality_map
        return write_map(flat, self.inter.tables)

    def _read_map(self, parts: Payload, earlier: QualityMap | None) -> QualityMap | None:
        if parts.quality_map is None:
            return earlier
        quality_map = read_map(parts.quality_map, self.pyramid.grids[-1].npix, self.inter.tables)
        return _unless_flat(quality_map)

    def _worth_coding(
        self, x: Tensor, y: Tensor, context: Tensor, seen: Seen, asked: Float[Tensor, "1 blocks"]
    ) -> CodedBlocks:
        """Flags of the blocks whose residual lowers rate + lmbda · distortion.

        The estimated rate is that of the residual of all blocks.
        """
        pyramid = self.pyramid
        residual, rate = self.inter.residual_latents.estimate(y, asked, context)
        x_hat = self.inter.reconstruct(residual.y_hat, seen, asked)
        bits = rate.hyper + _block_sums(rate.latents[..., None], pyramid, LATENT_DEPTH)
        gain = self._block_errors(x, seen.picture, asked) - self._block_errors(x, x_hat, asked) - bits
        return (gain[0] > 0).cpu().numpy().reshape(self.inter.blocks.shape(0))

    def _error(self, x: Tensor, x_hat: Tensor, quality: Float[Tensor, "1 blocks"]) -> float:
        """Squared error of the whole picture, weighted as in the loss, in bits."""
        return float(self._block_errors(x, x_hat, quality).double().sum())

    def _block_errors(self, x: Tensor, x_hat: Tensor, quality: Float[Tensor, "1 blocks"]) -> Float[Tensor, "1 blocks"]:
        """Squared error of each block of 64 x 64 nodes, weighted as in the loss, in bits."""
        squares = (x - x_hat).square() * at_depth(lmbda_of(quality)[..., None], self.pyramid, 0)
        if self.config.latitude_quality:
            squares = squares * self.pyramid.latitude(0).area
        weighted = squares @ squares.new_tensor(PLANE_WEIGHTS) * 255**2
        return _block_sums(weighted[..., None], self.pyramid, 0)

    def build_tables(self) -> None:
        """Build the integer tables of all distributions, after training."""
        for module in self.modules():
            if isinstance(module, Hyperprior | MotionTables):
                module.build_tables()


def _block_sums(values: Float[Tensor, "1 n 1"], pyramid: Pyramid, depth: int) -> Float[Tensor, "1 blocks"]:
    """Sums of values at a resolution over blocks of 64 x 64 nodes."""
    for level in range(depth, COARSEST_DEPTH):
        values = mean_pool(values, pyramid.side(level)) * 4
    return values[..., 0]


def _numbers(fine: Tensor, tree: MotionTree | None, quality_map: QualityMap | None) -> list[Tensor | np.ndarray]:
    """Integers of a picture that encoder and decoder must agree on."""
    parts: list[Tensor | np.ndarray] = [fine]
    if tree is not None:
        parts += [tree.leaves, tree.level]
    if quality_map is not None:
        parts.append(quality_map)
    return parts


def _unless_flat(quality_map: QualityMap | None) -> QualityMap | None:
    """Replace a map of zeros by None; neither encoder nor decoder uses such a map."""
    return None if quality_map is None or not quality_map.any() else quality_map


def _same_map(one: QualityMap | None, other: QualityMap | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other))


_Decoded = TypeVar("_Decoded", Picture, State)


def _checked(decoded: _Decoded) -> _Decoded:
    """Raise DamagedStream if the picture has values that are not finite."""
    if not decoded.x_hat.isfinite().all():
        raise DamagedStream("a frame decodes to numbers beyond all bounds")
    return decoded
