"""Codec for P- and B-frames: camera rotation, motion tree and residual."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.hyperprior import Rate
from deepsphere_codec.models.coded_blocks import CodedBlocks, read_coded, write_coded
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.latent_codec import Decoded, LatentCodec
from deepsphere_codec.models.memory import LatentMemory, References, State
from deepsphere_codec.models.motion_context import MOTION_CHANNELS, motion_context
from deepsphere_codec.models.pyramid import LATENT_DEPTH, Pyramid
from deepsphere_codec.models.quality import Quality
from deepsphere_codec.models.rotation import (
    LARGEST_TURN,
    ROTATION_STEP,
    NoRotation,
    RotationEstimator,
    rotation_of,
    turned,
)
from deepsphere_codec.models.transforms import (
    FOLDED,
    PLANE_ENERGIES,
    Analysis,
    ContextFeatures,
    Features,
    Synthesis,
    cosine_basis,
    fold,
    unfold,
)
from deepsphere_codec.motion.contexts import MotionTables
from deepsphere_codec.motion.prediction import Motion, TreePrediction, blur_levels
from deepsphere_codec.motion.search import MEDIUM, Effort, MotionSearch, Problem, bounded
from deepsphere_codec.motion.syntax import Setting, earlier_tree, read_tree, write_tree
from deepsphere_codec.motion.tree import STEP, BlockGrid, MotionTree, still_tree
from deepsphere_codec.sphere.rotation import vector_from_rotation

_MID = 0.5
_HALF_A_CIRCLE = 3.14  # slightly less than π, since vectors are rounded


class InterOutput(NamedTuple):
    """Output of `InterCodec` in training.

    Attributes:
        x_hat: Reconstruction.
        x_pred: Prediction.
        rate: Estimated rate of the residual.
        fine: Decoded latents of the residual times FINE, integers.
    """

    x_hat: Float[Tensor, "batch npix 3"]
    x_pred: Float[Tensor, "batch npix 3"]
    rate: Rate
    fine: Float[Tensor, "batch latent m"]


class Seen(NamedTuple):
    """Prediction in the forms that the residual's transforms take.

    Attributes:
        picture: Prediction, [batch, npix, 3].
        work: Prediction, centred on zero and folded to nside / 4, [batch, work, 48].
        features: Features at the coarser resolutions; None if the model has no deep context.
    """

    picture: Float[Tensor, "batch npix 3"]
    work: Float[Tensor, "batch work 48"]
    features: Features | None


class InterCodec(nn.Module):
    """Codec for pictures that are predicted from one or two decoded pictures.

    Args:
        config: Sizes and options.
        pyramid: Operators of the grid and its parents.
    """

    def __init__(self, config: ModelConfig, pyramid: Pyramid) -> None:
        super().__init__()
        widths = config.work_channels, config.middle_channels
        basis = cosine_basis(PLANE_ENERGIES, LATENT_DEPTH, config.residual_latents)
        self.pyramid = pyramid
        self.config = config
        self.rotation = RotationEstimator(pyramid) if config.geometry == "healpix" else NoRotation()
        self.tables = MotionTables()
        self.prediction = TreePrediction(pyramid.warp(0), pyramid.padding(0))
        deep, latents = config.deep_context, config.residual_latents
        self.features = ContextFeatures(latents, widths, config, pyramid) if deep else None
        self.g_a = Analysis(2 * FOLDED, latents, widths, basis, config, pyramid, deep)
        self.g_s = Synthesis(latents, FOLDED, widths, basis, config, pyramid, deep)
        memory = 2 * config.residual_latents + config.intra_latents + MOTION_CHANNELS
        self.residual_latents = LatentCodec(config.residual_latents, memory, config, pyramid)

    @cached_property
    def search(self) -> MotionSearch:
        """Motion search on this grid, created on first use, since a decoder needs none."""
        return MotionSearch(self.pyramid.grids[0])

    @cached_property
    def blocks(self) -> BlockGrid:
        """Blocks of the motion trees."""
        return BlockGrid(self.pyramid.grids[0])

    def place(self) -> None:
        """Update what depends on the grid after the pyramid was moved to another patch."""
        self.prediction.place()
        for name in ("search", "blocks"):
            self.__dict__.pop(name, None)

    def begin(self, x_hat: Float[Tensor, "batch npix 3"], fine: Float[Tensor, "batch latent i"]) -> State:
        """Create the state after an I-frame.

        Args:
            x_hat: Decoded picture, [batch, npix, 3].
            fine: Decoded latents of the I-frame times FINE, integers, [batch, latent, intra_latents].
        Returns:
            State with an empty memory of residuals.
        """
        return State.begin(x_hat, fine, LatentMemory.empty(fine, self.config.residual_latents))

    def forward(
        self, x: Tensor, references: References, motion: Motion, quality: Quality, straight: bool = False
    ) -> InterOutput:
        """Predict and reconstruct pictures and estimate the rate of their residual, for training.

        Args:
            x: Pictures, [batch, npix, 3].
            references: Decoded pictures that they are predicted from.
            motion: Motion trees of the batch, found by `find_motion`.
            quality: Quality of each picture, [batch], or of its blocks, [batch, blocks].
            straight: Estimate the rate of the rounded latents, see `Hyperprior.forward`.
        Returns:
            Reconstruction, prediction, estimated rate of the residual, and its decoded latents.
        """
        x_pred = self.predict(references, motion)
        seen = self.see(x_pred)
        y = self.analyse_residual(x, seen)
        residual, rate = self.residual_latents(y, quality, self.context(references, motion), straight)
        return InterOutput(self.reconstruct(residual.y_hat, seen, quality), x_pred, rate, residual.fine)

    @torch.no_grad()
    def find_motion(self, x: Tensor, references: References, lmbda: np.ndarray) -> list[MotionTree]:
        """Search motion trees for a batch in training; the search ignores how costs depend on the order of the symbols.

        Args:
            x: Pictures, [batch, npix, 3].
            references: Decoded pictures that they are predicted from.
            lmbda: Weight of the squared error of luma in bits, [batch].
        Returns:
            A tree per sample.
        """
        setting, trees = Setting(references.distances), []
        blurs = self.config.blurs
        levels = [self._lumas(state.x_hat.detach().float(), blurs) for state in references.states]
        for i, weight in enumerate(lmbda):
            planes = [[blur[i] for blur in each] for each in levels]
            problem = self.search.problem(_array(x[i, :, 0].float()), planes, setting, float(weight))
            trees.append(self.search.unordered(problem))
        return trees

    def find_tree(
        self,
        x: Tensor,
        references: References,
        turn: Tensor | None,
        lmbda: np.ndarray | float,
        effort: Effort = MEDIUM,
    ) -> tuple[MotionTree, Setting]:
        """Search the motion tree of a picture that is to be coded.

        Args:
            x: Picture, [1, npix, 3].
            references: Decoded pictures that it is predicted from.
            turn: Rotation of the camera in units of ROTATION_STEP, [3], to which the tree's vectors are added; None for
                none.
            lmbda: Weight of the squared error of luma in bits, for each block of 64 x 64 nodes, [images, rows,
                columns], or one number for all.
            effort: Effort of the search.
        Returns:
            Tree, and the setting that it is coded in.
        """
        setting = self.setting(references)
        pictures, left = [state.x_hat[..., :1] for state in references.states], _HALF_A_CIRCLE
        if turn is not None:
            rotations = [rotation_of(turn.double() * share) for share in _shares(references)]
            pictures = [turned(x_ref, r, self.pyramid.warp(0)) for x_ref, r in zip(pictures, rotations, strict=True)]
            left -= max(float(vector_from_rotation(r).norm()) for r in rotations)
        blurs = min(self.config.blurs, effort.blurs)
        planes = [[blur[0] for blur in self._lumas(x_ref, blurs)] for x_ref in pictures]
        problem: Problem = self.search.problem(_array(x[0, :, 0]), planes, setting, lmbda)
        longest = float(self.prediction.steps.norm(dim=-1).max())
        return bounded(self.search(problem, self.tables, effort), left / (STEP * longest)), setting

    def find_turn(self, x: Tensor, references: References) -> Tensor | None:
        """Estimate the camera's rotation towards the first reference.

        Args:
            x: Picture, [1, npix, 3].
            references: Decoded pictures that it is predicted from.
        Returns:
            Rotation vector in units of ROTATION_STEP, [3]. None if no rotation lowers the error enough, or if it
            exceeds a right angle when it continues to the second reference: motion is added to it, and their sum must
            stay below half a circle.
        """
        turn = self.rotation(x[..., :1], references.first.x_hat[..., :1])
        near, far = references.distances
        furthest = float(turn.double().norm()) * ROTATION_STEP * max(1.0, abs(far / near))
        return turn if turn.any() and furthest <= LARGEST_TURN else None

    def setting(self, references: References) -> Setting:
        """Return the setting of a picture's tree, given its references.

        The earlier tree is that of the future reference for B-frames, else that of the first reference.
        """
        first, second, own = references
        state = second if second is not None and own[0] * own[1] < 0 else first
        if state.tree is None or not state.distances[0]:
            return Setting(own)
        return Setting(own, earlier_tree(state.tree, state.distances, own))

    def context(self, references: References, motion: Motion) -> Float[Tensor, "batch latent r"]:
        """Compute the context of the residual's entropy parameters: latents of the references, and the motion.

        Args:
            references: Decoded pictures that the picture is predicted from.
            motion: Motion trees of the batch.
        Returns:
            Context, integers from 0 to 127 (the latents from -127), [batch, latent, r].
        """
        memory = references.memory
        columns = self.pyramid.grids[LATENT_DEPTH].shape[2]
        return torch.cat([memory, motion_context(motion, columns, references.distances).to(memory)], -1)

    def _lumas(self, x_ref: Float[Tensor, "batch npix c"], blurs: int) -> list[np.ndarray]:
        """Luma at each blur level that the search tries."""
        luma = x_ref[..., :1].contiguous()
        levels = blur_levels(luma, self.pyramid.padding(0), blurs)
        return [_array(level[..., 0]) for level in levels]

    def _turns(self, turn: Tensor, references: References) -> list[Float[Tensor, "npix 3"]]:
        """Camera's rotation towards each reference, at constant speed."""
        return [self.rotation.field(turn, share) for share in _shares(references)]

    def predict(
        self, references: References, motion: Motion | None, turn: Tensor | None = None, overlap: bool = True
    ) -> Float[Tensor, "batch npix 3"]:
        """Predict pictures from their references.

        Args:
            references: One or two decoded pictures.
            motion: Motion trees of the batch; None for no motion.
            turn: Rotation of the camera towards the first reference in units of ROTATION_STEP, [3]; None for none.
            overlap: Whether to blend with the predictions of adjacent blocks.
        Returns:
            Prediction, [batch, npix, 3].
        Raises:
            DamagedStream: a vector is half a great circle long or longer.
        """
        if motion is None:
            motion = Motion.of([still_tree(self.blocks)], references.first.x_hat.device)
        turns = () if turn is None else self._turns(turn, references)
        return self.prediction([state.x_hat for state in references.states], motion, turns, overlap)

    def see(self, x_pred: Float[Tensor, "batch npix 3"]) -> Seen:
        """Prepare a prediction, [batch, npix, 3], as input of the residual's transforms."""
        work = fold(x_pred - _MID, self.pyramid)
        return Seen(x_pred, work, None if self.features is None else self.features(work))

    def analyse_residual(self, x: Tensor, seen: Seen) -> Float[Tensor, "batch latent m"]:
        """Compute the residual's latents before rounding.

        Args:
            x: Pictures, [batch, npix, 3].
            seen: Prepared prediction.
        Returns:
            Latents, [batch, latent, residual_latents].
        """
        return self.g_a(torch.cat([fold(x - seen.picture, self.pyramid), seen.work], -1), seen.features)

    def reconstruct(self, y_hat: Tensor, seen: Seen, quality: Quality) -> Float[Tensor, "batch npix 3"]:
        """Reconstruct pictures from their prediction and the decoded latents of the residual.

        Args:
            y_hat: Decoded latents, [batch, latent, residual_latents].
            seen: Prepared prediction.
            quality: Quality of each picture, [batch], or of its blocks, [batch, blocks].
        Returns:
            Reconstruction, [batch, npix, 3].
        """
        return unfold(seen.work + self.g_s(y_hat, quality, seen.work, seen.features), self.pyramid) + _MID

    def write_motion(self, tree: MotionTree, setting: Setting, writer: SymbolWriter) -> MotionTree:
        """Code a motion tree.

        Args:
            tree: The tree.
            setting: Distances of the references, and earlier tree.
            writer: Writer that receives the symbols.
        Returns:
            The tree as the decoder will have it.
        """
        return write_tree(tree, self.blocks, setting, self.tables, writer)

    def read_motion(self, reader: SymbolReader, references: References) -> MotionTree:
        """Decode a motion tree.

        Args:
            reader: Reader of the symbols.
            references: Decoded pictures that the picture is predicted from.
        Returns:
            The tree.
        Raises:
            DamagedStream: the symbols are not those of a tree.
        """
        return read_tree(self.blocks, self.setting(references), self.tables, reader)

    def write_residual(
        self,
        y: Tensor,
        context: Float[Tensor, "1 latent r"],
        seen: Seen,
        quality: Quality,
        writer: SymbolWriter,
        coded: CodedBlocks | None = None,
    ) -> tuple[Tensor, Decoded]:
        """Code the residual.

        Args:
            y: Latents before rounding, from `analyse_residual`, [1, latent, residual_latents].
            context: Context of the entropy parameters, from `context`, [1, latent, r].
            seen: Prepared prediction.
            quality: Quality of the picture, [1, 1], or of its blocks, [1, blocks].
            writer: Writer that receives the symbols.
            coded: Flags of the blocks that have a residual, [images, rows, columns]; None for all.
        Returns:
            Reconstruction, [1, npix, 3], and decoded latents.
        """
        coded = np.ones(self.blocks.shape(0), bool) if coded is None else coded
        write_coded(coded, self.blocks, self.tables, writer)
        nodes = torch.from_numpy(coded.reshape(-1))
        residual = self.residual_latents.write(y, quality, writer, context, nodes)
        return self.reconstruct(residual.y_hat, seen, quality), residual

    def read_coded(self, reader: SymbolReader) -> Bool[Tensor, " coarse"]:
        """Decode the flags of the nodes of the hyper-latents that have a residual below them, [coarse]."""
        coded = self.blocks.shape(0)
        reader.expect(self.residual_latents.hyperprior.most_symbols + int(np.prod(coded)))
        return torch.from_numpy(read_coded(reader, self.blocks, self.tables).reshape(-1))

    def read_residual(
        self, reader: SymbolReader, context: Float[Tensor, "1 latent r"], seen: Seen, quality: Quality
    ) -> tuple[Tensor, Decoded]:
        """Decode the residual.

        Args:
            reader: Reader of the symbols.
            context: Context of the entropy parameters, from `context`, [1, latent, r].
            seen: Prepared prediction.
            quality: Quality of the picture, [1, 1], or of its blocks, [1, blocks].
        Returns:
            Reconstruction, [1, npix, 3], and decoded latents.
        Raises:
            DamagedStream: the symbols are not those of a residual.
        """
        residual = self.residual_latents.read(reader, quality, context, self.read_coded(reader))
        return self.reconstruct(residual.y_hat, seen, quality), residual


def _shares(references: References) -> list[float]:
    """Distance of each reference relative to that of the first."""
    near = references.distances[0]
    return [distance / near for distance in references.distances[: len(references.states)]]


def _array(x: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x.cpu().numpy())
