"""One clip, coded by all codecs at rates as equal as their qualities allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deepsphere_codec.errors import CodecError
from deepsphere_codec.evaluation.anchors import ssf2020
from deepsphere_codec.evaluation.anchors.classical import ANCHORS
from deepsphere_codec.evaluation.report.coding import CodedClip, CodingJob, code
from deepsphere_codec.evaluation.report.gather import Gap, Gathered
from deepsphere_codec.evaluation.report.installed import installed
from deepsphere_codec.evaluation.results import Point, Results

WHOLE_QUALITIES = {"vvenc", "vtm"}  # codecs whose QP is a whole number
MEASURED_QUALITIES = {ssf2020.NAME}  # codecs with weights for each quality
OnCoded = Callable[[str], None]


class Scene(NamedTuple):
    """Clip coded by all codecs.

    Attributes:
        clip: File of the clip.
        frames: Number of frames coded, from the first.
        target: Target rate, bits per ERP pixel.
        coded: Results by name of the curve.
        left_out: Codecs that cannot be included, with the reason; these are not failures.
        missing: Codecs that failed.
    """

    clip: Path
    frames: int
    target: float
    coded: dict[str, CodedClip]
    left_out: list[Gap]
    missing: list[Gap]


def make_scene(
    gathered: Gathered,
    clip: Path,
    frames: int,
    folder: Path,
    models: Path | None = None,
    on_coded: OnCoded | None = None,
) -> Scene:
    """Code a clip with each codec that has two points or more on it; existing results in the folder are reused.

    Args:
        gathered: Results, from which the quality for a rate is derived.
        clip: Film, identified in the results by its file name.
        frames: Number of frames from the first.
        folder: Folder for a subfolder per codec.
        models: Folder of models that do not come with the package, one subfolder per name.
        on_coded: Called with a line before each codec.
    Returns:
        Scene.
    Raises:
        CodecError: no codec was measured on the clip.
    """
    rates = {each.name: _rates(each.clips.get(clip.name, ()), frames) for each in gathered.codecs}
    known = {name: each for name, each in rates.items() if len(each) > 1}
    if not known:
        raise CodecError(f"no codec has two points on {clip.name}; choose a scene that was measured")
    target = common_rate([[rate for _, rate in each] for each in known.values()])
    coded, left_out, missing = {}, [], []
    for each in gathered.codecs:
        if each.name not in known:
            left_out.append(Gap(each.name, "fewer than two points tell of its rates on this clip", clip.name))
            continue
        try:
            job = _job(each, clip, frames, quality_at(known[each.name], target, each.codec), models)
            if _of_other_weights(each, job):
                left_out.append(Gap(each.name, "the weights that were measured are not those installed", clip.name))
                continue
            if on_coded:
                on_coded(f"{each.name} at quality {job.quality:g}")
            coded[each.name] = code(job, folder / _slug(each.name))
        except CodecError as error:
            missing.append(Gap(each.name, f"not in the scene: {error}", clip.name))
    return Scene(clip, frames, target, coded, left_out, missing)


def common_rate(rates: Sequence[Sequence[float]]) -> float:
    """Compute the geometric middle of the range of rates that all codecs reach, or of the gap if there is none."""
    low, high = max(min(each) for each in rates), min(max(each) for each in rates)
    return math.sqrt(low * high)


def quality_at(points: Sequence[tuple[float, float]], rate: float, codec: str = "") -> float:
    """Interpolate the quality for a rate between measured points (logarithm of the rate), without extrapolation.

    Args:
        points: Two or more pairs (quality, rate).
        rate: Target rate, in the same unit.
        codec: Name of the codec, to round to the qualities that it supports; empty for no rounding.
    Returns:
        Quality.
    """
    if codec in MEASURED_QUALITIES:
        return min(points, key=lambda point: abs(math.log(point[1] / rate)))[0]
    by_rate = sorted((math.log(measured), quality) for quality, measured in points)
    logs, qualities = zip(*by_rate, strict=True)
    found = float(np.interp(math.log(rate), logs, qualities))
    return round(found) if codec in WHOLE_QUALITIES else round(found, 1)


def _rates(points: Sequence[Point], frames: int) -> list[tuple[float, float]]:
    """Pairs (quality, rate) for a film of so many frames, from the rates of I- and P-frames if points have them."""
    found = []
    for point in points:
        apart = point.bpp_i is not None and point.bpp_p is not None
        rate = ((point.bpp_i or 0) + (frames - 1) * (point.bpp_p or 0)) / frames if apart else point.bpp
        found += [(point.quality, rate)] if rate else []
    return found


def _job(results: Results, clip: Path, frames: int, quality: float, models: Path | None) -> CodingJob:
    model, weights = ("", "") if results.codec in ANCHORS else installed(results.codec, models, quality)
    return CodingJob(results.codec, model, weights, str(clip), clip.stat().st_size, quality, frames)


def _of_other_weights(results: Results, job: CodingJob) -> bool:
    """Whether results were measured with other weights than the current ones; some results do not record weights."""
    measured = results.settings.get("weights_hash")
    if isinstance(measured, Mapping):  # one network per quality
        measured = measured.get(f"{job.quality:g}")
    return bool(job.weights and measured and measured != job.weights)


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in name)
