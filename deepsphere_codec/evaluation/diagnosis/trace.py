"""Coding frames with a network and recording each step: the one module of the diagnosis that knows the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from deepsphere_codec.entropy.coder import SymbolReader
from deepsphere_codec.evaluation.diagnosis.traced import Signal, TracedFrame
from deepsphere_codec.models import SphereDVC, State
from deepsphere_codec.models.payload import InterPayload
from deepsphere_codec.models.quality import inter_quality
from deepsphere_codec.models.rotation import ROTATION_BYTES


@torch.inference_mode()
def trace(network: SphereDVC, frames: Sequence[Signal], quality: float) -> list[TracedFrame]:
    """Code frames as one GOP and record where the bits go.

    The payloads are those that `SphereDVC` writes, with its decisions; the pictures along the prediction are made
    again from the payloads, as a decoder makes them.

    Args:
        network: At the frames' resolution.
        frames: Sources in order of display, each [1, npix, 3], on the network's device.
        quality: Quality that the network works at, 1 ... 8.
    Returns:
        One record for each frame, in order of display.
    """
    coded = network.encode_intra(frames[0], quality)
    traced = [TracedFrame(0, "I", {"picture": 8 * len(coded.payload)}, {}, (), coded.state.x_hat.cpu())]
    for number, x in enumerate(frames[1:], 1):
        state = coded.state
        coded = network.encode_inter(x, state, quality)
        payload = InterPayload.unpack(coded.payload)
        prediction = {name: picture.cpu() for name, picture in _prediction(network, payload, state, quality).items()}
        references = (prediction["reference"],)
        parts = _part_bits(payload, len(coded.payload))
        traced.append(TracedFrame(number, "P", parts, prediction, references, coded.state.x_hat.cpu()))
    return traced


def _part_bits(payload: InterPayload, size: int) -> dict[str, int]:
    """Bits of each part of a P-frame's payload of `size` bytes; the overhead is what separates the parts."""
    parts = {
        "rotation": 0 if payload.turn is None else 8 * ROTATION_BYTES,
        "motion": 8 * len(payload.motion or b""),
        "residual": 8 * len(payload.residual or b""),
    }
    return {**parts, "overhead": 8 * size - sum(parts.values())}


def _prediction(network: SphereDVC, payload: InterPayload, state: State, quality: float) -> dict[str, Signal]:
    """Pictures from the decoded reference to the prediction; a repeated frame keeps the reference throughout."""
    inter, reference = network.inter, state.x_hat
    if payload.residual is None:
        return dict.fromkeys(("reference", "moved", "compensated"), reference)
    y_hat = None
    if payload.motion is not None:
        worked_at = reference.new_tensor([inter_quality(quality, network.config, state.age)])
        y_hat = inter.read_motion(SymbolReader(payload.motion), state, worked_at).y_hat
    pred = inter.predict(y_hat, reference, payload.turn)
    return {"reference": reference, "moved": pred.x_warp, "compensated": inter.picture(pred)}
