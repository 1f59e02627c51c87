"""P- and B-frames: the camera's rotation, a tree of motion, residual."""

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
_HALF_A_CIRCLE = 3.14  # a little less, for what is rounded


class InterOutput(NamedTuple):
    """What training looks at."""

    x_hat: Float[Tensor, "batch npix 3"]
    x_pred: Float[Tensor, "batch npix 3"]
    rate: Rate
    fine: Float[Tensor, "batch latent m"]


class Seen(NamedTuple):
    """The prediction, as the transforms of the residual see it.

    Attributes:
        picture: The prediction itself.
        work: The same, folded to nside / 4.
        features: At the coarser resolutions, where the model looks there.
    """

    picture: Float[Tensor, "batch npix 3"]
    work: Float[Tensor, "batch work 48"]
    features: Features | None


class InterCodec(nn.Module):
    """Codes a picture from one or two decoded ones."""

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
        """The search for trees on this grid, made when it is first asked for: a decoder needs none."""
        return MotionSearch(self.pyramid.grids[0])

    @cached_property
    def blocks(self) -> BlockGrid:
        """The blocks of the trees."""
        return BlockGrid(self.pyramid.grids[0])

    def place(self) -> None:
        """Follow the pyramid to another patch."""
        self.prediction.place()
        for name in ("search", "blocks"):
            self.__dict__.pop(name, None)

    def begin(self, x_hat: Float[Tensor, "batch npix 3"], fine: Float[Tensor, "batch latent i"]) -> State:
        """State after an I-frame: its picture, and its latents as whole numbers."""
        return State.begin(x_hat, fine, LatentMemory.empty(fine, self.config.residual_latents))

    def forward(
        self, x: Tensor, references: References, motion: Motion, quality: Quality, straight: bool = False
    ) -> InterOutput:
        """Training: reconstruction, its way there, and the estimated rate of the residual.

        Args:
            motion: Trees of the batch, as `find_motion` finds them.
        """
        x_pred = self.predict(references, motion)
        seen = self.see(x_pred)
        y = self.analyse_residual(x, seen)
        residual, rate = self.residual_latents(y, quality, self.context(references, motion), straight)
        return InterOutput(self.reconstruct(residual.y_hat, seen, quality), x_pred, rate, residual.fine)

    @torch.no_grad()
    def find_motion(self, x: Tensor, references: References, lmbda: np.ndarray) -> list[MotionTree]:
        """Trees of a batch for training: not adapted to what their symbols cost in order.

        Args:
            lmbda: Bits that a unit of squared error of luma is worth, [batch].
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
        """The tree of a picture, to be written next.

        Args:
            turn: The camera's rotation, which the tree's vectors are added to.
            lmbda: As in `find_motion`, of each block of 64 nodes or of all.
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
        """The camera's rotation towards the first reference; None where none pays.

        Nor where one goes on towards the second for more than a right angle: motion is added, and the sum stays below
        half a circle.
        """
        turn = self.rotation(x[..., :1], references.first.x_hat[..., :1])
        near, far = references.distances
        furthest = float(turn.double().norm()) * ROTATION_STEP * max(1.0, abs(far / near))
        return turn if turn.any() and furthest <= LARGEST_TURN else None

    def setting(self, references: References) -> Setting:
        """Setting of a tree; the earlier tree is the future reference's for B-frames, else the first's."""
        first, second, own = references
        state = second if second is not None and own[0] * own[1] < 0 else first
        if state.tree is None or not state.distances[0]:
            return Setting(own)
        return Setting(own, earlier_tree(state.tree, state.distances, own))

    def context(self, references: References, motion: Motion) -> Float[Tensor, "batch latent r"]:
        """Whole numbers for the residual's entropy parameters: latents of the references, and the motion."""
        memory = references.memory
        columns = self.pyramid.grids[LATENT_DEPTH].shape[2]
        return torch.cat([memory, motion_context(motion, columns, references.distances).to(memory)], -1)

    def _lumas(self, x_ref: Float[Tensor, "batch npix c"], blurs: int) -> list[np.ndarray]:
        """Luma at the blur levels that are tried."""
        luma = x_ref[..., :1].contiguous()
        levels = blur_levels(luma, self.pyramid.padding(0), blurs)
        return [_array(level[..., 0]) for level in levels]

    def _turns(self, turn: Tensor, references: References) -> list[Float[Tensor, "npix 3"]]:
        """The camera's rotation towards each reference: what it is towards the first goes on at the same speed."""
        return [self.rotation.field(turn, share) for share in _shares(references)]

    def predict(
        self, references: References, motion: Motion | None, turn: Tensor | None = None, overlap: bool = True
    ) -> Float[Tensor, "batch npix 3"]:
        """Predict a picture from its references, their motion (None where nothing moves) and the camera's turn.

        Raises:
            DamagedStream: a vector leads half way round the sphere or further.
        """
        if motion is None:
            motion = Motion.of([still_tree(self.blocks)], references.first.x_hat.device)
        turns = () if turn is None else self._turns(turn, references)
        return self.prediction([state.x_hat for state in references.states], motion, turns, overlap)

    def see(self, x_pred: Float[Tensor, "batch npix 3"]) -> Seen:
        """Make of a prediction what encoder and decoder look at."""
        work = fold(x_pred - _MID, self.pyramid)
        return Seen(x_pred, work, None if self.features is None else self.features(work))

    def analyse_residual(self, x: Tensor, seen: Seen) -> Float[Tensor, "batch latent m"]:
        return self.g_a(torch.cat([fold(x - seen.picture, self.pyramid), seen.work], -1), seen.features)

    def reconstruct(self, y_hat: Tensor, seen: Seen, quality: Quality) -> Float[Tensor, "batch npix 3"]:
        return unfold(seen.work + self.g_s(y_hat, quality, seen.work, seen.features), self.pyramid) + _MID

    def write_motion(self, tree: MotionTree, setting: Setting, writer: SymbolWriter) -> MotionTree:
        """Code a tree; the tree that the decoder will have."""
        return write_tree(tree, self.blocks, setting, self.tables, writer)

    def read_motion(self, reader: SymbolReader, references: References) -> MotionTree:
        """Decode a tree."""
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
        """Code the rest; the decoder's reconstruction, and the latents.

        Args:
            y: Latents before rounding, of `analyse_residual`.
            context: As `context` gives it.
            coded: The blocks that have a residual; None for all.
        """
        coded = np.ones(self.blocks.shape(0), bool) if coded is None else coded
        write_coded(coded, self.blocks, self.tables, writer)
        nodes = torch.from_numpy(coded.reshape(-1))
        residual = self.residual_latents.write(y, quality, writer, context, nodes)
        return self.reconstruct(residual.y_hat, seen, quality), residual

    def read_coded(self, reader: SymbolReader) -> Bool[Tensor, " coarse"]:
        """Which nodes of the hyper-latents have a residual below them."""
        coded = self.blocks.shape(0)
        reader.expect(self.residual_latents.hyperprior.most_symbols + int(np.prod(coded)))
        return torch.from_numpy(read_coded(reader, self.blocks, self.tables).reshape(-1))

    def read_residual(
        self, reader: SymbolReader, context: Float[Tensor, "1 latent r"], seen: Seen, quality: Quality
    ) -> tuple[Tensor, Decoded]:
        """Decode the rest."""
        residual = self.residual_latents.read(reader, quality, context, self.read_coded(reader))
        return self.reconstruct(residual.y_hat, seen, quality), residual


def _shares(references: References) -> list[float]:
    """Distance of each reference, over that of the first."""
    near = references.distances[0]
    return [distance / near for distance in references.distances[: len(references.states)]]


def _array(x: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x.cpu().numpy())
