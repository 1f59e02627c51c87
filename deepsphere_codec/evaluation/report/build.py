"""Building of a report: from results and a clip to the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.evaluation.anchors import ssf2020
from deepsphere_codec.evaluation.anchors.classical import ANCHORS
from deepsphere_codec.evaluation.complexity import complexity_of
from deepsphere_codec.evaluation.report.bd import bd_figure, bd_table
from deepsphere_codec.evaluation.report.bits_part import bits_parts
from deepsphere_codec.evaluation.report.gather import Gap, Gathered, gather
from deepsphere_codec.evaluation.report.installed import card_of, place_of
from deepsphere_codec.evaluation.report.look import CurveStyle, looks_of
from deepsphere_codec.evaluation.report.metric import Metric, metrics_in
from deepsphere_codec.evaluation.report.page import Page, PageFigure, render
from deepsphere_codec.evaluation.report.rd_figures import clips_figure, rd_figure, times_figure
from deepsphere_codec.evaluation.report.scene import OnCoded, Scene, make_scene
from deepsphere_codec.evaluation.report.scene_part import scene_part
from deepsphere_codec.evaluation.report.summary import summarise, write_summary
from deepsphere_codec.evaluation.report.svg import FigureFolder
from deepsphere_codec.models import DEFAULT_MODEL
from deepsphere_codec.models.macs import Complexity
from deepsphere_codec.runtime.atomic import atomic_output

ANCHOR = "x265"
FRAMES = 16


class Request(NamedTuple):
    """Inputs and outputs of a report.

    Attributes:
        results: Results files and diagnoses.
        out: Page to write; its folder also gets figures/ and scene/.
        clips: Folder of films; without it the report has no scene.
        scene: Name of the clip of the scene, with or without its ending; None for the first that all codecs have.
        frames: Number of frames of the scene; None for as many as were measured, but at most 16.
        expected: Codecs that should be included.
        anchor: Codec that BD-rates refer to.
        models: Folder of models that do not come with the package.
        default: Codec that the summary compares with each of the others.
        command: Command line that makes the report again.
        summary: JSON file for the summary; None for one beside the page.
    """

    results: Sequence[Path]
    out: Path
    clips: Path | None = None
    scene: str | None = None
    frames: int | None = None
    expected: Sequence[str] = ()
    anchor: str = ANCHOR
    models: Path | None = None
    default: str = DEFAULT_MODEL
    command: str = ""
    summary: Path | None = None


def make_report(request: Request, on_coded: OnCoded | None = None) -> list[Gap]:
    """Write the page and its figures.

    Args:
        request: Inputs and outputs.
        on_coded: Called with a line before each codec codes the scene.
    Returns:
        Data that the report lacks; the page lists it, and is complete otherwise.
    Raises:
        UsageError: results or the clip of the scene cannot be read, or there is nothing to report.
    """
    gathered = gather(request.results, request.expected)
    folder = request.out.parent
    folder.mkdir(parents=True, exist_ok=True)
    looks = looks_of(gathered.codecs)
    figures = FigureFolder(folder / "figures", looks)
    metrics = metrics_in(gathered.codecs)
    bd = bd_table(gathered, metrics, request.anchor)
    scene = _scene(request, gathered, on_coded)
    missing = [*gathered.missing, *(scene.missing if scene else ())]
    clips = figures.add("clips", clips_figure(gathered, looks, metrics[0]))
    costs = _costs(gathered, request.models)
    page = Page(
        gathered=gathered,
        looks=looks,
        metrics=metrics,
        rd=_rd_figures(gathered, looks, metrics, figures),
        bd=bd,
        bd_figure=_shown(figures, "bd", bd and bd_figure(bd, looks), "BD-rates over clips, with intervals."),
        clips=PageFigure("clips", clips, "One panel for each clip."),
        times=_shown(figures, "times", times_figure(gathered, looks), "Time against rate, mean over clips."),
        scene=scene and scene_part(scene, looks, figures),
        costs=costs,
        missing=missing,
        anchor=request.anchor,
        command=request.command,
        bits=bits_parts(gathered.diagnoses, figures),
    )
    with atomic_output(request.out, force=True) as place:
        place.write_text(render(page), encoding="utf-8")
    cards = _cards(gathered, request.models)
    summary = summarise(gathered, metrics, cards, costs, missing, request.default, request.command)
    write_summary(request.summary or request.out.with_suffix(".json"), summary)
    return missing


def _shown(figures: FigureFolder, name: str, figure: Figure | None, caption: str) -> PageFigure | None:
    return PageFigure(name, figures.add(name, figure), caption) if figure else None


def _rd_figures(
    gathered: Gathered, looks: Mapping[str, CurveStyle], metrics: Sequence[Metric], figures: FigureFolder
) -> list[PageFigure]:
    """Rate-distortion figures, one for each metric that has a mean curve."""
    found = []
    for metric in metrics:
        name = f"rd-{metric.key}"
        if figure := rd_figure(gathered, looks, metric):
            found.append(PageFigure(name, figures.add(name, figure), metric.meaning, metric.name))
    return found


def _scene(request: Request, gathered: Gathered, on_coded: OnCoded | None) -> Scene | None:
    if request.clips is None:
        return None
    clip = request.clips / _chosen(request.scene, gathered)
    if not clip.is_file():
        raise UsageError(f"{clip} is not there; name a folder that holds the clips that were measured (--clips)")
    measured = [each.settings.get("frames") for each in gathered.codecs]
    frames = request.frames or min([FRAMES, *(count for count in measured if isinstance(count, int))])
    return make_scene(gathered, clip, frames, request.out.parent / "scene", request.models, on_coded)


def _chosen(name: str | None, gathered: Gathered) -> str:
    """Name of the scene's clip in the results.

    Raises:
        UsageError: no results have it.
    """
    if name is None:
        return max(gathered.clips, key=lambda clip: sum(bool(each.clips.get(clip)) for each in gathered.codecs))
    found = [clip for clip in gathered.clips if name in (clip, Path(clip).stem)]
    if not found:
        raise UsageError(f"no results of a clip {name!r}; clips: {', '.join(gathered.clips)}")
    return found[0]


def _cards(gathered: Gathered, models: Path | None) -> dict[str, Mapping[str, Any]]:
    """Cards of the installed models."""
    cards: dict[str, Mapping[str, Any]] = {}
    for codec in {each.codec for each in gathered.codecs if each.codec not in ANCHORS}:
        try:
            cards[codec] = card_of(codec, models)
        except CodecError:
            continue
    return cards


def _costs(gathered: Gathered, models: Path | None) -> Mapping[str, Complexity]:
    """Complexity of the planar baseline, and of the installed models with any weights, on which it does not depend.

    Returns:
        Complexity by the first name that results give the codec.
    """
    first: dict[str, str] = {}
    for each in gathered.codecs:
        first.setdefault(each.codec, each.name)
    costs = {}
    for codec, name in first.items():
        if codec in ANCHORS:
            continue
        try:
            costs[name] = complexity_of(codec if codec == ssf2020.NAME else place_of(codec, models))
        except CodecError:
            continue  # already reported by the scene, if there is one
    return costs
