"""Results of codecs under rotations, and their JSON file.

    {"name": "rotation", "description", "settings",
     "codecs": {codec: {"name", "quality", "settings",
                        "clips": {clip: {"busiest", "neighbours", "rotations": [point, …], "slope", "summary"}},
                        "summary"}},
     "environment"}

Slopes and summaries are computed from the rest. There is no "clips" at the top level, which marks results files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.json_file import read_json, write_json
from studies.rotation.summary import (
    Neighbour,
    RotationPoint,
    Summary,
    mean_summary,
    slope_of,
    summarise,
)

NAME = "rotation"
DESCRIPTION = (
    "A film, turned on the sphere, coded, decoded and turned back, under many rotations. ws-psnr-*: against the same "
    "film turned and turned back without coding; rotated-*: decoded against source, both turned; resampling-*: turned "
    "and turned back without coding, against the source. equal-rate-*: dB less slope x log2(bpp / bpp of the "
    "identity), the slope in dB per doubling of the rate, from the two neighbouring qualities at the identity. Spread: "
    "max - min; of bpp, relative to the mean. Summary: over all rotations, and over those that resample (neither the "
    "identity nor a turn by whole columns)."
)

Record = TypeVar("Record", Neighbour, RotationPoint)


@dataclass(frozen=True)
class ClipRotations:
    """Results of one codec on one clip."""

    busiest: tuple[float, float]  # longitude and latitude, degrees
    neighbours: tuple[Neighbour, ...] = ()
    rotations: tuple[RotationPoint, ...] = ()

    @property
    def slope(self) -> float | None:
        """Slope in dB per doubling of the rate; None if unknown."""
        return slope_of(self.neighbours)

    @property
    def summary(self) -> Summary:
        """Spreads of the clip."""
        return summarise(self.rotations, self.slope)


@dataclass(frozen=True)
class CodecRotations:
    """Results of one codec at one quality."""

    name: str
    quality: float
    settings: Mapping[str, Any]  # JSON types only
    clips: Mapping[str, ClipRotations] = field(default_factory=dict)

    @property
    def summary(self) -> Summary:
        """Means over clips."""
        return mean_summary([clip.summary for clip in self.clips.values()])


@dataclass(frozen=True)
class RotationResults:
    """Results of all codecs."""

    settings: Mapping[str, Any]
    codecs: Mapping[str, CodecRotations] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)

    def with_clip(self, codec: str, clip: str, rotations: ClipRotations) -> RotationResults:
        """Return a copy with the results of one codec on one clip.

        Args:
            codec: Name of the codec.
            clip: Name of the clip.
            rotations: Results.
        Returns:
            Copy.
        """
        changed = replace(self.codecs[codec], clips={**self.codecs[codec].clips, clip: rotations})
        return replace(self, codecs={**self.codecs, codec: changed})


def write_rotations(path: str | Path, results: RotationResults) -> None:
    """Write results to a JSON file atomically.

    Args:
        path: File to write.
        results: Results.
    """
    write_json(path, rotations_to_json(results))


def read_rotations(path: str | Path) -> RotationResults:
    """Read results from a JSON file.

    Raises:
        UsageError: it cannot be read, or a value is missing or of the wrong type; says where.
    """
    return rotations_from_json(read_json(path), str(path))


def rotations_to_json(results: RotationResults) -> dict[str, Any]:
    """Convert results to the object that the file holds."""
    return {
        "name": NAME,
        "description": DESCRIPTION,
        "settings": dict(results.settings),
        "codecs": {name: _codec_to_json(codec) for name, codec in results.codecs.items()},
        "environment": dict(results.environment),
    }


def rotations_from_json(data: Any, where: str = "rotations") -> RotationResults:
    """Check an object and convert it to results; derived values are computed again.

    Args:
        data: Object.
        where: Name of the object, for messages.
    Returns:
        Results.
    Raises:
        UsageError: a value is missing or of the wrong type; says where.
    """
    if not isinstance(data, dict) or data.get("name") != NAME:
        raise UsageError(f"{where}: its name is not {NAME!r}; python -m studies.rotation makes such a file")
    codecs = {
        name: _codec_from_json(codec, f"{where}: {name}") for name, codec in _get(data, "codecs", dict, where).items()
    }
    return RotationResults(_get(data, "settings", dict, where), codecs, _get(data, "environment", dict, where))


def _codec_to_json(codec: CodecRotations) -> dict[str, Any]:
    clips = {name: _clip_to_json(clip) for name, clip in codec.clips.items()}
    head = {"name": codec.name, "quality": codec.quality, "settings": dict(codec.settings)}
    return {**head, "clips": clips, "summary": _summary_to_json(codec.summary)}


def _clip_to_json(clip: ClipRotations) -> dict[str, Any]:
    return {
        "busiest": list(clip.busiest),
        "neighbours": [_record_to_json(each) for each in clip.neighbours],
        "rotations": [_record_to_json(each) for each in clip.rotations],
        "slope": clip.slope,
        "summary": _summary_to_json(clip.summary),
    }


def _summary_to_json(summary: Summary) -> dict[str, Any]:
    return {name: None if each is None else _record_to_json(each) for name, each in summary._asdict().items()}


def _codec_from_json(data: Any, where: str) -> CodecRotations:
    clips = {name: _clip_from_json(clip, f"{where}, {name}") for name, clip in _get(data, "clips", dict, where).items()}
    quality = _number(_get(data, "quality", (int, float), where), "quality", where)
    return CodecRotations(_get(data, "name", str, where), quality, _get(data, "settings", dict, where), clips)


def _clip_from_json(data: Any, where: str) -> ClipRotations:
    lon, lat = (_number(each, "busiest", where) for each in _get(data, "busiest", list, where, length=2))
    neighbours = [_record_from_json(Neighbour, each, where) for each in _get(data, "neighbours", list, where)]
    rotations = [_record_from_json(RotationPoint, each, where) for each in _get(data, "rotations", list, where)]
    return ClipRotations((lon, lat), tuple(neighbours), tuple(rotations))


def _record_to_json(record: Any) -> dict[str, Any]:
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(record).items()}
    return {name.replace("_", "-"): value for name, value in values.items()}


def _record_from_json(kind: type[Record], data: Any, where: str) -> Record:
    values: dict[str, Any] = {}
    for name in (each.name for each in fields(kind)):
        key = name.replace("_", "-")
        if name == "label":
            values[name] = _get(data, key, str, where)
        elif name == "quaternion":
            values[name] = tuple(_number(each, key, where) for each in _get(data, key, list, where, length=4))
        else:
            values[name] = _number(_get(data, key, (int, float), where), key, where)
    return kind(**values)


def _get(data: Any, key: str, kind: type | tuple[type, ...], where: str, length: int | None = None) -> Any:
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, kind) or (isinstance(value, list) and length not in (None, len(value))):
        raise UsageError(f"{where}: {key!r} is missing or of the wrong kind ({value!r}); remove the file or mend it")
    return value


def _number(value: Any, key: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{where}: {key!r} is {value!r}, expected a finite number; remove the file or mend it")
    return value
