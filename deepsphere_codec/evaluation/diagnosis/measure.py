"""Diagnosis of a model on clips: frames are coded and traced, then classical encoders code the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from deepsphere_codec.codec import (
    PIXEL_ORDERS,
    Resampler,
    check_quality,
    frame_from_signal,
    make_resampler,
    signal_from_frame,
)
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.diagnosis.classical import (
    AV1_CRF,
    QP,
    Encode,
    Levels,
    bits_at,
    encode_from_references,
    encode_intra,
    encode_residual,
    frame_psnr,
    points_around,
)
from deepsphere_codec.evaluation.diagnosis.record import ClipDiagnosis, Diagnosis, FrameDiagnosis
from deepsphere_codec.evaluation.diagnosis.trace import trace
from deepsphere_codec.evaluation.diagnosis.traced import Signal, TracedFrame, node_psnr
from deepsphere_codec.evaluation.environment import environment
from deepsphere_codec.evaluation.report.spread import areas
from deepsphere_codec.models import LoadedModel
from deepsphere_codec.models.resolution import RULE, choose_resolution
from deepsphere_codec.video import VideoInfo, YuvFrame, open_video

RECONSTRUCTION = "reconstruction"
FRAMES = 3


class Options(NamedTuple):
    """Frames and settings that each clip is coded with.

    Attributes:
        qualities: Qualities, 1 ... 8.
        frames: Number of frames from the first of the clip on, one GOP.
        nside: Resolution; None to choose it by quality, as the command does.
    """

    qualities: Sequence[float]
    frames: int = FRAMES
    nside: int | None = None


class Progress(NamedTuple):
    """Progress of a diagnosis: one more clip measured at one quality.

    Attributes:
        diagnosis: All measurements so far.
        clip: Latest measurement.
        done: Number of measurements done.
        total: Number of measurements in all.
    """

    diagnosis: Diagnosis
    clip: ClipDiagnosis
    done: int
    total: int


class ClipGeometry(NamedTuple):
    """Relation of a clip's pictures to the nodes.

    Attributes:
        info: Size and rate of the film.
        resampler: Resampling from pictures to nodes and back.
        areas: Area of each node relative to their mean, [npix].
    """

    info: VideoInfo
    resampler: Resampler
    areas: Float[np.ndarray, " npix"]

    def picture(self, x: Signal) -> YuvFrame:
        """Convert a signal, [1, npix, 3], to an ERP picture of 8 bits."""
        return frame_from_signal(x, self.resampler)


def diagnose(
    model: LoadedModel,
    clips: Sequence[Path],
    options: Options,
    before: Diagnosis | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Diagnosis:
    """Measure a model on clips at all qualities.

    Args:
        model: Model to measure.
        clips: Films.
        options: Frames and settings to code.
        before: Earlier measurements with the same settings, which are not repeated.
        on_progress: Called after each clip and quality.
    Returns:
        Earlier and new measurements.
    Raises:
        UsageError: a quality or nside is out of range, a clip cannot be read, or the earlier measurements have other
            settings.
    """
    for quality in options.qualities:
        check_quality(quality)
    diagnosis = Diagnosis(_settings(model, options), (), environment())
    if before is not None:
        _check_settings(before.settings, diagnosis.settings)
        diagnosis = Diagnosis(diagnosis.settings, before.measured, diagnosis.environment)
    wanted = [(clip, float(quality)) for clip in clips for quality in options.qualities]
    todo = [(clip, quality) for clip, quality in wanted if not diagnosis.has(clip.name, quality)]
    for done, (clip, quality) in enumerate(todo, 1):
        measured = diagnose_clip(model, clip, quality, options.frames, options.nside)
        diagnosis = diagnosis.with_clip(measured)
        if on_progress:
            on_progress(Progress(diagnosis, measured, done, len(todo)))
    return diagnosis


def diagnose_clip(
    model: LoadedModel, clip: Path, quality: float, frames: int = FRAMES, nside: int | None = None
) -> ClipDiagnosis:
    """Measure a model on one clip at one quality.

    Args:
        model: Model to measure.
        clip: Film.
        quality: Quality, 1 ... 8.
        frames: Number of frames from the first on, one GOP.
        nside: Resolution; None to choose it by quality.
    Returns:
        Measurement of the clip.
    Raises:
        UsageError: the clip cannot be read, or the model does not support this nside.
    """
    with open_video(clip, frames=(0, frames)) as source:
        info, pictures = source.info, list(source)
    nside, worked_at = choose_resolution(model, info.width, quality, nside)
    resampler = make_resampler(model.geometry, info.height, info.width, nside)
    with torch.inference_mode():
        signals = [signal_from_frame(picture, resampler) for picture in pictures]
        traced = trace(model.network(nside), [x.to(model.device) for x in signals], worked_at)
    view = ClipGeometry(info, resampler, areas(signals[0].shape[1], PIXEL_ORDERS[model.geometry]))
    measured = [
        diagnose_frame(frame, pictures[frame.number], signals[frame.number], view)
        for frame in sorted(traced, key=lambda frame: frame.number)
    ]
    return ClipDiagnosis(clip.name, quality, nside, worked_at, measured)


def diagnose_frame(traced: TracedFrame, source: YuvFrame, x: Signal, view: ClipGeometry) -> FrameDiagnosis:
    """Measure a traced frame, and classical encoders at its WS-PSNR.

    Args:
        traced: Record of the coded frame.
        source: Source, ERP.
        x: Source on the nodes, [1, npix, 3].
        view: Relation of the pictures to the nodes.
    Returns:
        Measurement of the frame.
    """
    decibels = frame_psnr(source, view.picture(traced.x_hat))
    pictures = {**traced.prediction, RECONSTRUCTION: traced.x_hat}
    classical = {
        name: bits_at(points_around(encode, decibels, levels), decibels)
        for name, (encode, levels) in _encoders(traced, source, view).items()
    }
    return FrameDiagnosis(
        traced.number,
        traced.frame_type,
        traced.parts,
        {name: node_psnr(x, picture, view.areas) for name, picture in pictures.items()},
        decibels,
        classical,
    )


def _encoders(traced: TracedFrame, source: YuvFrame, view: ClipGeometry) -> dict[str, tuple[Encode, Levels]]:
    """Classical encoders to compare a frame with, by name."""
    info = view.info
    if not traced.references:
        return {
            "x265-intra": (partial(encode_intra, source, info, "x265"), QP),
            "svtav1-intra": (partial(encode_intra, source, info, "svtav1"), AV1_CRF),
        }
    references = [view.picture(x_ref) for x_ref in traced.references]
    prediction = view.picture(list(traced.prediction.values())[-1])
    return {
        "x265-reference": (partial(encode_from_references, source, references, info), QP),
        "x265-prediction": (partial(encode_from_references, source, [prediction], info), QP),
        "x265-residual": (partial(encode_residual, source, prediction, info), QP),
    }


def _settings(model: LoadedModel, options: Options) -> dict[str, Any]:
    return {
        "name": model.name,
        "weights_hash": model.weights_hash,
        "tables_hash": model.tables_hash,
        "frames": options.frames,
        "nside": options.nside,
        "resolution": RULE if options.nside is None else None,
    }


def _check_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differ = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    if differ:
        key = differ[0]
        raise UsageError(
            f"the diagnosis there has {key} {before.get(key)}, not {now.get(key)}; name another --out, or remove it"
        )
