"""Coding of frames with a record of each step: the only module of the diagnosis that depends on the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from deepsphere_codec.entropy.coder import SymbolReader
from deepsphere_codec.evaluation.diagnosis.traced import Signal, TracedFrame
from deepsphere_codec.models import References, SphereDVC
from deepsphere_codec.models.payload import Payload
from deepsphere_codec.motion.prediction import Motion


@torch.inference_mode()
def trace(network: SphereDVC, frames: Sequence[Signal], quality: float) -> list[TracedFrame]:
    """Code frames as one GOP of P-frames, in order of display, and record the bits of each part.

    The payloads are those that `SphereDVC` writes, with its decisions; the stages of the prediction are reconstructed
    from the payloads, as in a decoder.

    Args:
        network: Network at the frames' resolution.
        frames: Sources in order of display, each [1, npix, 3], on the network's device.
        quality: Quality that the network works at, 1 ... 8.
    Returns:
        One record for each frame, in order of display.
    """
    coded = network.encode_intra(frames[0], quality)
    states = [coded.state]
    traced = [TracedFrame(0, "I", {"picture": 8 * len(coded.payload)}, {}, (), coded.state.x_hat.cpu())]
    for number, x in enumerate(frames[1:], 1):
        second = states[-2] if len(states) > 1 else None
        references = References(states[-1], second, (-1, -2 if second else 0))
        coded = network.encode_inter(x, references, quality, 0)
        payload = Payload.unpack(coded.payload)
        prediction = {name: picture.cpu() for name, picture in _prediction(network, payload, references).items()}
        parts = _part_bits(payload, len(coded.payload))
        nearer = (prediction["reference"],)
        traced.append(TracedFrame(number, "P", parts, prediction, nearer, coded.state.x_hat.cpu()))
        states.append(coded.state)
    return traced


def _part_bits(payload: Payload, size: int) -> dict[str, int]:
    """Bits of each part of a P-frame's payload of `size` bytes; the overhead consists of the parts' separators."""
    parts = {"residual" if name == "latents" else name: 8 * count for name, count in payload.sizes.items()}
    return {**parts, "overhead": 8 * size - sum(parts.values())}


def _prediction(network: SphereDVC, payload: Payload, references: References) -> dict[str, Signal]:
    """Pictures from the decoded reference to the prediction; for a repeated frame all are the reference."""
    inter, reference = network.inter, references.first.x_hat
    if payload.motion is None:
        return dict.fromkeys(("reference", "moved", "overlapped"), reference)
    tree = inter.read_motion(SymbolReader(payload.motion), references)
    motion = Motion.of([tree], reference.device)
    alone, mean = (inter.predict(references, motion, payload.turn, overlap) for overlap in (False, True))
    return {"reference": reference, "moved": alone, "overlapped": mean}
