"""Section of a report on how a model's bits are distributed over the parts of its stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from deepsphere_codec.evaluation.diagnosis.figure import diagnosis_figure
from deepsphere_codec.evaluation.diagnosis.record import Diagnosis
from deepsphere_codec.evaluation.diagnosis.tables import DiagnosisTable, diagnosis_tables
from deepsphere_codec.evaluation.report.page import PageFigure
from deepsphere_codec.evaluation.report.svg import FigureFolder, style

CAPTION = (
    "Bars: bits of the model's parts, means over frames. Marks: what classical encoders need for the same WS-PSNR-YUV. "
    "In the middle, luma's WS-PSNR over the nodes from the decoded reference to the reconstruction."
)


class BitsPart(NamedTuple):
    """Bits of one model: figure and tables.

    Attributes:
        name: Name of the model.
        figure: Bits and prediction of all clips.
        tables: The same data in numbers.
    """

    name: str
    figure: PageFigure
    tables: list[DiagnosisTable]


def bits_parts(diagnoses: Sequence[Diagnosis], figures: FigureFolder) -> list[BitsPart]:
    """Draw diagnoses; those without measurements are left out.

    Args:
        diagnoses: Diagnoses, one per model.
        figures: Folder that the figures are written to.
    Returns:
        Figure and tables of each model.
    """
    parts = []
    for number, diagnosis in enumerate(each for each in diagnoses if each.measured):
        name = f"bits-{number + 1}"
        with style():
            figure = diagnosis_figure(diagnosis)
        shown = PageFigure(name, figures.add(name, figure), CAPTION)
        parts.append(BitsPart(str(diagnosis.settings["name"]), shown, diagnosis_tables(diagnosis)))
    return parts
