"""Section of the page about the scene: views to compare, bits over time, and distributions over the sphere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from deepsphere_codec.errors import CodecError
from deepsphere_codec.evaluation.report.film_figures import cost_figure, errors_figure, latitude_errors, side_by_side
from deepsphere_codec.evaluation.report.inside import StreamContents, inside_of
from deepsphere_codec.evaluation.report.look import CurveStyle
from deepsphere_codec.evaluation.report.page import PageFigure
from deepsphere_codec.evaluation.report.scene import Scene
from deepsphere_codec.evaluation.report.sphere_figures import globes_figure, latitude_figure
from deepsphere_codec.evaluation.report.svg import FigureFolder
from deepsphere_codec.evaluation.report.views import (
    SOURCE,
    VIEWS,
    FilmFrames,
    Shot,
    cut_views,
    fitting_quality,
    frames_shown,
    read_frames,
    shots_of,
)

PAPER_VIEWS = ("front", "right", "down")  # views of the figure for papers


class ScenePart(NamedTuple):
    """Contents of the section; figures are None if there is nothing to draw."""

    scene: Scene
    json: str  # data for the viewer
    jpeg_quality: int
    cost: PageFigure | None
    globes: list[PageFigure]
    latitude: PageFigure | None
    errors: PageFigure | None


def scene_part(scene: Scene, looks: Mapping[str, CurveStyle], figures: FigureFolder) -> ScenePart:
    """Read the films, cut the views and draw the figures.

    Args:
        scene: Coded clip.
        looks: Styles of the codecs by name.
        figures: Folder that the figures are written to.
    Returns:
        Contents of the section.
    Raises:
        UsageError: a film cannot be read.
    """
    numbers = frames_shown(scene.frames)
    films = {SOURCE: read_frames(scene.clip, numbers)}
    films |= {name: read_frames(each.film, numbers) for name, each in scene.coded.items()}
    cut = cut_views(films)
    jpeg_quality = fitting_quality(cut)
    shots = shots_of(cut, jpeg_quality)
    labels = {name: _label(scene, name) for name in films}
    figures.add("views", side_by_side(cut, shots, labels, PAPER_VIEWS, numbers[-1]))
    if not scene.coded:
        return ScenePart(scene, _json(labels, shots, numbers), jpeg_quality, None, [], None, None)
    inside = _insides(scene)
    source = read_frames(scene.clip, sorted({each.frame for each in inside.values()})) if inside else films[SOURCE]
    globes = [_globes(name, each, source, figures) for name, each in inside.items()]
    latitude = inside and latitude_figure(inside, looks)
    errors = errors_figure(latitude_errors(films), looks)
    return ScenePart(
        scene,
        _json(labels, shots, numbers),
        jpeg_quality,
        PageFigure(
            "cost",
            figures.add("cost", cost_figure(scene.coded, looks)),
            f"{scene.clip.stem}, all codecs near one rate.",
        ),
        globes,
        PageFigure("latitude", figures.add("latitude", latitude), "Bits per area over latitude.") if latitude else None,
        PageFigure(
            "errors", figures.add("errors", errors), "PSNR of luma over latitude, in bands of 10°, near one rate."
        ),
    )


def _insides(scene: Scene) -> dict[str, StreamContents]:
    """Stream contents of the models that work on the sphere."""
    found = {}
    for name, each in scene.coded.items():
        if not each.job.model:
            continue
        try:
            inside = inside_of(each)
        except CodecError:  # another kind of codec, whose file is not a stream of this package
            continue
        if inside:
            found[name] = inside
    return found


def _globes(name: str, inside: StreamContents, source: FilmFrames, figures: FigureFolder) -> PageFigure:
    key = f"globes-{name.replace(' ', '-')}"
    return PageFigure(
        key, figures.add(key, globes_figure(inside, source.rgb[inside.frame])), f"{name}: the stream of the scene."
    )


def _label(scene: Scene, name: str) -> str:
    each = scene.coded.get(name)
    return name if each is None else f"{name}, {each.bpp:.3f} bpp"


def _json(labels: Mapping[str, str], shots: Mapping[str, Mapping[str, Mapping[int, Shot]]], numbers: list[int]) -> str:
    """JSON for the viewer, escaped so that it cannot end its HTML element."""
    data: dict[str, Any] = {
        "films": [{"name": name, "label": label} for name, label in labels.items()],
        "first": min(1, len(labels) - 1),
        "views": [view.name for view in VIEWS],
        "frames": numbers,
        "shots": {
            film: {view: {n: shot._asdict() for n, shot in frames.items()} for view, frames in views.items()}
            for film, views in shots.items()
        },
    }
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
