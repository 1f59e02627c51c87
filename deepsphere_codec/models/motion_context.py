"""Context of a residual's entropy parameters that describes the picture's motion, in integers."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from deepsphere_codec.entropy.exact import ACTIVATION_LIMIT
from deepsphere_codec.models.pyramid import LATENT_DEPTH
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.motion.tree import A0, A1, BLUR, BLURS, LAST, MODE, SECOND, WIDTHS

_ACROSS = (1 << LATENT_DEPTH) // WIDTHS[LAST]
_SHARE = 7  # factor of counts of up to 16 blocks, so that they use most of the range of 8 bits
_FRAME = 8  # value per frame of distance
MOTION_CHANNELS = LAST + 1 + 3 + BLURS - 1 + 2 + 2


def motion_context(
    motion: Motion, columns: int, distances: tuple[int, int]
) -> Int[Tensor, "batch latent MOTION_CHANNELS"]:
    """Describe the motion at each node of the latents: how finely it is split, its modes, its speed and its spread.

    Args:
        motion: Motion trees of a batch, with 16 blocks per node of the latents, row by row.
        columns: Nodes of the latents along a row.
        distances: Display number of each reference minus that of the picture, in frames; 0 for none.
    Returns:
        Integers 0 … 127, [batch, latent, MOTION_CHANNELS]: counts of the blocks of each level, mode and blur; mean
        speed and spread of the vectors; distances.
    """
    mode, blur = (_by_node(motion.fields[..., field], columns) for field in (MODE, BLUR))
    level = _by_node(motion.level, columns)
    counts = [level == number for number in range(LAST + 1)]
    counts += [mode == number for number in range(3)] + [blur == number for number in range(1, BLURS)]
    told = [_SHARE * count.sum(-1) for count in counts]
    first, second = (motion.fields[..., column : column + 2] for column in (A0, A1))
    used = torch.where((motion.fields[..., MODE] == SECOND)[..., None], second, first)
    x, y = (_by_node(used[..., axis], columns) for axis in (0, 1))
    told.append((x.abs() + y.abs()).sum(-1).div(_ACROSS**2, rounding_mode="floor"))
    told.append(x.amax(-1) - x.amin(-1) + y.amax(-1) - y.amin(-1))
    told += [torch.full_like(told[0], _FRAME * abs(distance)) for distance in distances]
    return torch.stack(told, -1).clamp_max(ACTIVATION_LIMIT)


def _by_node(values: Int[Tensor, "batch blocks"], columns: int) -> Int[Tensor, "batch latent 16"]:
    """Values of the blocks, grouped by the node of the latents that they lie in."""
    rows = values.view(len(values), -1, _ACROSS, columns, _ACROSS)
    return rows.transpose(2, 3).reshape(len(values), -1, _ACROSS**2)
