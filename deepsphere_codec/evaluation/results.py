"""Results of one codec on a set of clips, and their JSON file.

    {"version", "name", "description", "codec", "settings", "clips": {clip: [point, …]}, "mean": [point, …],
     "missing": [{"clip", "quality", "why"}, …], "environment"}

A file holds one such object, or a list of them. Values that could not be measured are null; decibels are at most 100.
Version 1, whose files have no "version", has fewer metrics and no missing points.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.json_file import read_json, write_json

VERSION = 2


@dataclass(frozen=True)
class Point:
    """Measurement of one clip, or a mean over clips, at one quality.

    quality is on the codec's own scale (an anchor's crf, the ceiling's nside). bpp counts all bytes of the file per
    pixel of the ERP source; bpp_i and bpp_p count the payloads per pixel of an I-frame, and of any other frame. Seconds
    are those of all frames together. The metrics are the means in `FrameMetrics`, in the order of the files; all but
    the first may be None.
    """

    quality: float
    bpp: float | None
    ws_psnr_yuv: float
    ws_psnr_y: float | None = None
    psnr_y: float | None = None
    s_psnr_nn_y: float | None = None
    ms_ssim_y: float | None = None
    ws_psnr_u: float | None = None
    ws_psnr_v: float | None = None
    psnr_yuv: float | None = None
    psnr_u: float | None = None
    psnr_v: float | None = None
    s_psnr_i_y: float | None = None
    cpp_psnr_y: float | None = None
    ssim_y: float | None = None
    ws_ssim_y: float | None = None
    seam_error_y: float | None = None
    pole_error_y: float | None = None
    viewport_psnr_y: float | None = None
    viewport_ssim_y: float | None = None
    bpp_i: float | None = None
    bpp_p: float | None = None
    encode_seconds: float | None = None
    decode_seconds: float | None = None


KEYS = {name: name if name.endswith("_seconds") else name.replace("_", "-") for name in Point.__dataclass_fields__}
REQUIRED = ("quality", "bpp", "ws_psnr_yuv")


class Missing(NamedTuple):
    """Point that could not be measured."""

    clip: str
    quality: float
    why: str  # reason, in one line


@dataclass(frozen=True)
class Results:
    """Measurements of one codec with one set of settings; `mean` is computed from `clips`."""

    name: str  # name of the curve
    description: str
    codec: str
    settings: Mapping[str, Any]  # JSON types only, so that they compare equal when read back
    clips: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    missing: Sequence[Missing] = ()

    @property
    def mean(self) -> list[Point]:
        """Means over the clips."""
        return mean_points(self.clips)

    def with_point(self, clip: str, point: Point) -> Results:
        """Return a copy with a point of a clip in place of any other, or missing, point of its quality.

        Args:
            clip: Name of the clip.
            point: New point.
        Returns:
            Copy.
        """
        others = [each for each in self.clips.get(clip, ()) if each.quality != point.quality]
        points = sorted([*others, point], key=lambda each: each.quality)
        missing = self._missing_but(clip, point.quality)
        return replace(self, clips=dict(sorted({**self.clips, clip: points}.items())), missing=missing)

    def with_missing(self, missing: Missing) -> Results:
        """Return a copy in which a point is recorded as missing."""
        return replace(self, missing=sorted([*self._missing_but(missing.clip, missing.quality), missing]))

    def _missing_but(self, clip: str, quality: float) -> list[Missing]:
        return [each for each in self.missing if (each.clip, each.quality) != (clip, quality)]

    def on_clips(self, clips: Iterable[str]) -> Results:
        """Return a copy with only these clips."""
        kept = {clip: self.clips[clip] for clip in clips}
        return replace(self, clips=kept, missing=[each for each in self.missing if each.clip in kept])


def mean_points(clips: Mapping[str, Sequence[Point]]) -> list[Point]:
    """Compute means over clips, one for each quality that every clip has; a value that one clip lacks has no mean."""
    by_quality = [{point.quality: point for point in points} for points in clips.values()]
    common = set.intersection(*(set(points) for points in by_quality)) if by_quality else set()
    return [_mean([points[quality] for points in by_quality]) for quality in sorted(common)]


def _mean(points: Sequence[Point]) -> Point:
    columns = {name: [getattr(point, name) for point in points] for name in KEYS}
    means: dict[str, Any] = {
        name: None if None in values else sum(values) / len(values) for name, values in columns.items()
    }
    return Point(**means)


def read_results(path: str | Path) -> list[Results]:
    """Read a results file.

    Raises:
        UsageError: the file cannot be read, a newer version wrote it, or a value is missing or of the wrong type; says
            where.
    """
    data = read_json(path)
    return [results_from_json(each, str(path)) for each in (data if isinstance(data, list) else [data])]


def is_results_file(path: str | Path) -> bool:
    """Check whether a JSON file is meant to hold results, and not other measurements.

    Raises:
        UsageError: the file cannot be read.
    """
    data = read_json(path)
    return all(isinstance(each, dict) and "clips" in each for each in (data if isinstance(data, list) else [data]))


def write_results(path: str | Path, results: Sequence[Results]) -> None:
    """Write a results file atomically: one object, or a list if there are several.

    Args:
        path: File to write.
        results: Results of each codec.
    Raises:
        UsageError: the file cannot be written.
    """
    data = [results_to_json(each) for each in results]
    write_json(path, data[0] if len(data) == 1 else data)


def results_to_json(results: Results) -> dict[str, Any]:
    """Convert results to the object that a results file holds."""
    return {
        "version": VERSION,
        "name": results.name,
        "description": results.description,
        "codec": results.codec,
        "settings": dict(results.settings),
        "clips": {clip: [_point_to_json(point) for point in points] for clip, points in results.clips.items()},
        "mean": [_point_to_json(point) for point in results.mean],
        "missing": [each._asdict() for each in results.missing],
        "environment": dict(results.environment),
    }


def results_from_json(data: Any, where: str = "results") -> Results:
    """Check an object of a results file and convert it; unknown keys are ignored, and the means are computed again.

    Args:
        data: Object.
        where: Name of the object, for messages.
    Returns:
        Results.
    Raises:
        UsageError: a newer version wrote it, or a value is missing or of the wrong type; says where.
    """
    _check_version(data, where)
    kinds = {"name": str, "description": str, "codec": str, "settings": dict, "clips": dict, "environment": dict}
    for key, kind in kinds.items():
        if not isinstance(data, dict) or not isinstance(data.get(key), kind):
            raise UsageError(f"{where}: {key!r} is missing or no {kind.__name__}; is this a results file?")
    clips = {}
    for clip, points in data["clips"].items():
        if not isinstance(points, list):
            raise UsageError(f"{where}: the points of {clip!r} are no list")
        clips[clip] = [_point_from_json(point, f"{where}: {clip}, point {n}") for n, point in enumerate(points)]
    missing = _missing_from_json(data.get("missing", []), where)
    return Results(**{key: data[key] for key in kinds if key != "clips"}, clips=clips, missing=missing)


def _check_version(data: Any, where: str) -> None:
    version = data.get("version", 1) if isinstance(data, dict) else 1
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UsageError(f"{where}: 'version' is {version!r}, expected a whole number from 1 on")
    if version > VERSION:
        raise UsageError(
            f"{where} holds results of version {version}, this installation reads versions up to {VERSION}; "
            f"take a newer deepsphere-codec, or measure again into another file"
        )


def _missing_from_json(data: Any, where: str) -> list[Missing]:
    try:
        missing = [Missing(each["clip"], each["quality"], each["why"]) for each in data]
    except (TypeError, KeyError) as error:
        raise UsageError(f"{where}: 'missing' is no list of clip, quality and why") from error
    for each in missing:
        if not (isinstance(each.clip, str) and _is_number(each.quality) and isinstance(each.why, str)):
            raise UsageError(f"{where}: 'missing' holds {each._asdict()!r}, expected a clip, a quality and a reason")
    return missing


def _point_to_json(point: Point) -> dict[str, float | None]:
    return {KEYS[name]: value for name, value in asdict(point).items()}


def _point_from_json(data: Any, where: str) -> Point:
    if not isinstance(data, dict):
        raise UsageError(f"{where}: got {data!r}, expected an object")
    values: dict[str, Any] = {name: data.get(key) for name, key in KEYS.items()}
    for name, value in values.items():
        absent = value is None and (name not in REQUIRED or (name == "bpp" and "bpp" in data))
        if not absent and not _is_number(value):
            raise UsageError(f"{where}: {KEYS[name]!r} is {value!r}, expected a finite number")
    return Point(**values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
