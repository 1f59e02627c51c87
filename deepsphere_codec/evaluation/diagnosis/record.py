"""Diagnoses of coded clips, and the JSON file that keeps them.

    {"name": "bits", "version", "description", "settings", "measured": [
        {"clip", "quality", "nside", "worked_at", "frames": [
            {"number", "type", "parts": {part: bits}, "prediction": {stage: {"ws-psnr-y", "ws-psnr-yuv"}},
             "ws-psnr-yuv", "classical": {encoder: bits or null}}, ...]}, ...], "environment"}

It has no "clips" at its top, so that it is not taken for a results file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.diagnosis.traced import NodePsnr
from deepsphere_codec.evaluation.json_file import read_json, write_json

NAME, VERSION = "bits", 1
DESCRIPTION = (
    "Bits of each part of a coded frame. prediction: WS-PSNR of the pictures along the prediction, over the nodes. "
    "ws-psnr-yuv: of the decoded ERP picture. classical: bits that encoders need for the same ws-psnr-yuv, null where "
    "they do not reach it. x265-reference: from the same decoded references, coded at QP 1; x265-prediction: from the "
    "model's prediction instead; x265-residual: intra coding of what the prediction leaves; x265-intra, svtav1-intra: "
    "the frame alone. worked_at: quality that the network was given."
)


class FrameDiagnosis(NamedTuple):
    """Bits of one frame by part.

    Attributes:
        number: Position in order of display, from 0.
        frame_type: "I", "P" or "B".
        parts: Bits of each part of the payload, by name.
        prediction: PSNR over nodes of each stage of the prediction, by name in order; the reconstruction last.
        ws_psnr_yuv: WS-PSNR of the decoded ERP picture, dB.
        classical: Bits that each classical encoder needs for this WS-PSNR, by name; None if it does not reach it.
    """

    number: int
    frame_type: str
    parts: Mapping[str, int]
    prediction: Mapping[str, NodePsnr]
    ws_psnr_yuv: float
    classical: Mapping[str, float | None]

    @property
    def bits(self) -> int:
        """Bits of the whole payload."""
        return sum(self.parts.values())

    @property
    def is_repeated(self) -> bool:
        """Whether the frame repeats its reference: only the overhead has bits."""
        return self.bits == self.parts.get("overhead", 0)


class ClipDiagnosis(NamedTuple):
    """Bits of one clip at one quality.

    Attributes:
        clip: Name of the file.
        quality: Requested quality.
        nside: Resolution that it was coded at.
        worked_at: Quality passed to the network.
        frames: One record per frame, in order of display.
    """

    clip: str
    quality: float
    nside: int
    worked_at: float
    frames: Sequence[FrameDiagnosis]

    @property
    def intra(self) -> list[FrameDiagnosis]:
        """Records of the I-frames."""
        return [frame for frame in self.frames if frame.frame_type == "I"]

    @property
    def inter(self) -> list[FrameDiagnosis]:
        """Records of the P- and B-frames."""
        return [frame for frame in self.frames if frame.frame_type != "I"]


@dataclass(frozen=True)
class Diagnosis:
    """Diagnoses of one model.

    Attributes:
        settings: Everything the measurements depend on, in JSON types; "name" is the model's.
        measured: One record for each clip and quality, sorted by both.
        environment: Machine and versions.
    """

    settings: Mapping[str, Any]
    measured: Sequence[ClipDiagnosis] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)

    def with_clip(self, clip: ClipDiagnosis) -> Diagnosis:
        """Return a copy with this record in place of any other of its clip and quality."""
        others = [each for each in self.measured if (each.clip, each.quality) != (clip.clip, clip.quality)]
        return replace(self, measured=sorted([*others, clip], key=lambda each: (each.clip, each.quality)))

    def has(self, clip: str, quality: float) -> bool:
        """Check whether a clip has been measured at a quality.

        Args:
            clip: Name of the file.
            quality: Requested quality.
        Returns:
            Whether there is such a record.
        """
        return any((each.clip, each.quality) == (clip, quality) for each in self.measured)


def part_names(frames: Iterable[FrameDiagnosis]) -> list[str]:
    """List the names of all parts that have bits in some frame, in the order of the payloads."""
    bits: dict[str, int] = {}
    for frame in frames:
        for name, count in frame.parts.items():
            bits[name] = bits.get(name, 0) + count
    return [name for name, count in bits.items() if count]


def write_diagnosis(path: str | Path, diagnosis: Diagnosis) -> None:
    """Write a diagnosis to a JSON file atomically.

    Args:
        path: File to write.
        diagnosis: Diagnosis.
    Raises:
        UsageError: the file cannot be written.
    """
    measured = [
        {**clip._asdict(), "frames": [_frame_to_json(frame) for frame in clip.frames]} for clip in diagnosis.measured
    ]
    head = {"name": NAME, "version": VERSION, "description": DESCRIPTION, "settings": dict(diagnosis.settings)}
    write_json(path, {**head, "measured": measured, "environment": dict(diagnosis.environment)})


def is_diagnosis_file(path: str | Path) -> bool:
    """Check whether a JSON file holds a diagnosis.

    Raises:
        UsageError: the file cannot be read.
    """
    data = read_json(path)
    return isinstance(data, dict) and data.get("name") == NAME and "measured" in data


def read_diagnosis(path: str | Path) -> Diagnosis:
    """Read a diagnosis from a JSON file.

    Raises:
        UsageError: the file cannot be read, a newer version wrote it, or a value is missing or of the wrong type.
    """
    if not is_diagnosis_file(path):
        raise UsageError(f"{path} holds no diagnosis; scripts/diagnose_bits.py writes such a file")
    data = read_json(path)
    if data.get("version") != VERSION:
        raise UsageError(
            f"{path} is of version {data.get('version')!r}, expected {VERSION}; measure again into another"
        )
    try:
        measured = [
            ClipDiagnosis(
                str(clip["clip"]),
                float(clip["quality"]),
                int(clip["nside"]),
                float(clip["worked_at"]),
                [_frame_from_json(frame) for frame in clip["frames"]],
            )
            for clip in data["measured"]
        ]
        return Diagnosis(dict(data["settings"]), measured, dict(data["environment"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path}: something is missing or of the wrong kind ({error!r}); measure again") from error


def _frame_to_json(frame: FrameDiagnosis) -> dict[str, Any]:
    return {
        "number": frame.number,
        "type": frame.frame_type,
        "parts": dict(frame.parts),
        "prediction": {name: {"ws-psnr-y": psnr.y, "ws-psnr-yuv": psnr.yuv} for name, psnr in frame.prediction.items()},
        "ws-psnr-yuv": frame.ws_psnr_yuv,
        "classical": dict(frame.classical),
    }


def _frame_from_json(data: Mapping[str, Any]) -> FrameDiagnosis:
    return FrameDiagnosis(
        int(data["number"]),
        str(data["type"]),
        {str(name): int(bits) for name, bits in data["parts"].items()},
        {
            name: NodePsnr(float(psnr["ws-psnr-y"]), float(psnr["ws-psnr-yuv"]))
            for name, psnr in data["prediction"].items()
        },
        float(data["ws-psnr-yuv"]),
        {str(name): None if bits is None else float(bits) for name, bits in data["classical"].items()},
    )
