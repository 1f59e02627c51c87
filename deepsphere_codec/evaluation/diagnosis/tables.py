"""Tables of a diagnosis: bits of inter frames, PSNR along the prediction, and bits of I-frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np

from deepsphere_codec.evaluation.diagnosis.record import ClipDiagnosis, Diagnosis, FrameDiagnosis, part_names
from deepsphere_codec.evaluation.json_file import read_json

NONE = "–"
INTER_COLUMNS = {
    "x265-reference": "x265 from the reference",
    "x265-prediction": "x265 from the prediction",
    "x265-residual": "x265 intra on the residual",
}
INTRA_COLUMNS = {"x265-intra": "x265 intra", "svtav1-intra": "SVT-AV1 intra"}


class DiagnosisTable(NamedTuple):
    """Table with cells as text.

    Attributes:
        caption: Contents of the table, with units.
        head: Names of the columns.
        rows: Rows with one cell per column; the first cell is the row's name.
    """

    caption: str
    head: list[str]
    rows: list[list[str]]


class Rival(NamedTuple):
    """Bits of the model and of a classical encoder, means over the frames for which the encoder reaches the PSNR.

    Attributes:
        ours: Bits per frame of the model; None if there is no such frame.
        bits: Bits per frame of the encoder, at the same PSNR.
    """

    ours: float | None
    bits: float | None

    @property
    def ratio(self) -> float | None:
        """Bits of the model divided by those of the encoder."""
        return self.ours / self.bits if self.ours is not None and self.bits else None


def rival(frames: Sequence[FrameDiagnosis], name: str) -> Rival:
    """Compare a model with a classical encoder.

    Args:
        frames: Frames of one clip.
        name: Key of the encoder in `FrameDiagnosis.classical`.
    Returns:
        Mean bits of both.
    """
    pairs = [(frame.bits, bits) for frame in frames if (bits := frame.classical.get(name)) is not None]
    return Rival(fmean(ours for ours, _ in pairs), fmean(bits for _, bits in pairs)) if pairs else Rival(None, None)


def diagnosis_tables(diagnosis: Diagnosis) -> list[DiagnosisTable]:
    """Make all tables of a diagnosis, except those without rows."""
    tables = (inter_table(diagnosis), prediction_table(diagnosis), intra_table(diagnosis))
    return [table for table in tables if table.rows]


def inter_table(diagnosis: Diagnosis) -> DiagnosisTable:
    """Make the table of the bits of P- and B-frames by part, with classical encoders at equal WS-PSNR-YUV."""
    names = part_names(frame for clip in diagnosis.measured for frame in clip.inter)
    head = ["clip, quality", "frames", *names, "all", *INTER_COLUMNS.values(), "ratio to the first"]
    rows = []
    for clip in diagnosis.measured:
        if frames := clip.inter:
            parts = [_kbit(fmean(frame.parts.get(name, 0) for frame in frames)) for name in names]
            rivals = [rival(frames, name) for name in INTER_COLUMNS]
            cells = [_types(frames), *parts, _kbit(fmean(frame.bits for frame in frames))]
            rows.append([_name(clip), *cells, *(_kbit(each.bits) for each in rivals), _number(rivals[0].ratio, ".2f")])
    return DiagnosisTable("P- and B-frames, kbit a frame, at equal WS-PSNR-YUV", head, rows)


def prediction_table(diagnosis: Diagnosis) -> DiagnosisTable:
    """Make the table of the PSNR of luma along the prediction, means over P- and B-frames, and of all planes last."""
    inter = [frame for clip in diagnosis.measured for frame in clip.inter]
    stages = list(dict.fromkeys(name for frame in inter for name in frame.prediction))
    rows = []
    for clip in diagnosis.measured:
        if frames := clip.inter:
            luma = [_mean_psnr(frames, stage) for stage in stages]
            yuv = [_mean_psnr(frames, stage, "yuv") for stage in stages]
            rows.append([_name(clip), *luma, *yuv])
    head = ["clip, quality", *(f"{stage}, Y" for stage in stages), *(f"{stage}, YUV" for stage in stages)]
    return DiagnosisTable("WS-PSNR along the prediction, dB", head, rows)


def intra_table(diagnosis: Diagnosis) -> DiagnosisTable:
    """Make the table of the bits of I-frames, with classical encoders at equal WS-PSNR-YUV."""
    head = ["clip, quality", "WS-PSNR-YUV, dB", "kbit"]
    for name in INTRA_COLUMNS.values():
        head += [f"{name}, kbit", f"against {name}"]
    rows = []
    for clip in diagnosis.measured:
        if frames := clip.intra:
            cells = [f"{fmean(frame.ws_psnr_yuv for frame in frames):.2f}", _kbit(fmean(f.bits for f in frames))]
            for name in INTRA_COLUMNS:
                each = rival(frames, name)
                cells += [_kbit(each.bits), NONE if each.ratio is None else _percent(each.ratio)]
            rows.append([_name(clip), *cells])
    return DiagnosisTable("I-frames at equal WS-PSNR-YUV", head, rows)


def table_text(table: DiagnosisTable) -> str:
    """Format a table as lines of text with aligned columns."""
    lines = [table.head, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.head))]
    text = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]
    return "\n".join([table.caption, *text])


def _name(clip: ClipDiagnosis) -> str:
    return f"{Path(clip.clip).stem} {clip.quality:g}"


def _types(frames: Sequence[FrameDiagnosis]) -> str:
    kinds = [frame.frame_type for frame in frames]
    repeated = sum(frame.is_repeated for frame in frames)
    counts = [f"{kinds.count(kind)} {kind}" for kind in ("P", "B") if kind in kinds]
    return ", ".join(counts + ([f"{repeated} repeated"] if repeated else []))


def _mean_psnr(frames: Sequence[FrameDiagnosis], stage: str, planes: str = "y") -> str:
    values = [getattr(frame.prediction[stage], planes) for frame in frames if stage in frame.prediction]
    return _number(fmean(values) if values else None, ".2f")


def first_p_table(diagnosis: Diagnosis, path: Path) -> DiagnosisTable:
    """Compare the first P-frames with those of another model, at equal WS-PSNR-YUV over the nodes.

    Args:
        diagnosis: Clips at several qualities; bits in between are interpolated logarithmically.
        path: JSON file in the format of results/first-p-0.1.json, each clip's points in order of quality; the middle
            one is compared.
    Returns:
        Table.
    Raises:
        UsageError: there is no such file.
    """
    rows = []
    for clip, points in read_json(path)["films"].items():
        point = points[len(points) // 2]
        frames = [each.frames[1] for each in diagnosis.measured if each.clip == clip and len(each.frames) > 1]
        measured = sorted((frame.prediction["reconstruction"].yuv, frame.bits) for frame in frames)
        decibels, bits = ([pair[k] for pair in measured] for k in range(2))
        cells = [f"{point['ws-psnr-yuv']:.2f}", _kbit(point["bits"])]
        if measured and decibels[0] <= point["ws-psnr-yuv"] <= decibels[-1]:
            ours = float(np.exp(np.interp(point["ws-psnr-yuv"], decibels, np.log(bits))))
            cells += [_kbit(ours), f"{100 * (ours / point['bits'] - 1):+.0f} %"]
        else:
            cells += [NONE, NONE]
        rows.append([clip, *cells])
    return DiagnosisTable(
        f"First P-frame, kbit, beside {path.stem}", ["clip", "dB", "there", "here", "difference"], rows
    )


def _kbit(bits: float | None) -> str:
    return _number(None if bits is None else bits / 1000, ".1f")


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else f"{value:{form}}"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.0f} %".replace("-", "−")
