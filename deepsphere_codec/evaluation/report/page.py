"""HTML page of the report: all contents in one file without external resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from deepsphere_codec import __version__
from deepsphere_codec.evaluation.anchors import ssf2020
from deepsphere_codec.evaluation.report import tables
from deepsphere_codec.evaluation.report.bd import BdTable, interval_text
from deepsphere_codec.evaluation.report.gather import Gap, Gathered, comes_along
from deepsphere_codec.evaluation.report.look import CurveStyle, variable_of, variables
from deepsphere_codec.evaluation.report.metric import Metric
from deepsphere_codec.models.macs import COUNTED, Complexity
from deepsphere_codec.runtime.extras import optional_imports

if TYPE_CHECKING:
    from deepsphere_codec.evaluation.report.bits_part import BitsPart
    from deepsphere_codec.evaluation.report.scene_part import ScenePart

FOLDER = Path(__file__).parent
TITLE = "360° video codecs compared"
SECTIONS = {
    "summary": "At a glance",
    "rd": "Rate and quality",
    "bd": "BD-rate",
    "clips": "Clips",
    "scene": "Views",
    "frames-cost": "P-frames",
    "sphere": "On the sphere",
    "time": "Time",
    "complexity": "Computation",
    "method": "Method",
}
BITS = {"bits": "Where the bits go"}
"""Section before the times, present if there is a diagnosis."""
NO_SCENE = "No clip was coded for this report: --clips names the folder of the films."


class PageFigure(NamedTuple):
    """Figure on the page."""

    name: str  # unique on the page
    svg: str
    caption: str
    title: str = ""


class Card(NamedTuple):
    """Number at the top of the page."""

    value: str
    range: str
    text: str


class Page(NamedTuple):
    """Contents of the page; None for contents that are absent."""

    gathered: Gathered
    looks: Mapping[str, CurveStyle]
    metrics: Sequence[Metric]
    rd: list[PageFigure]
    bd: BdTable | None
    bd_figure: PageFigure | None
    clips: PageFigure
    times: PageFigure | None
    scene: ScenePart | None
    costs: Mapping[str, Complexity]
    missing: Sequence[Gap]
    anchor: str
    command: str
    bits: Sequence[BitsPart] = ()


def render(page: Page) -> str:
    """Render the page as HTML.

    Raises:
        UsageError: Jinja is not installed.
    """
    with optional_imports():
        from jinja2 import Environment, StrictUndefined
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((FOLDER / "template.html").read_text(encoding="utf-8"))
    return template.render(**_head(page), **_results(page), **_scene(page), **_method(page))


def _head(page: Page) -> dict[str, Any]:
    light, dark = variables(page.looks)
    return {
        "title": TITLE,
        "lead": _lead(page),
        "sections": _sections(page),
        "light": light,
        "dark": dark,
        "css": (FOLDER / "style.css").read_text(encoding="utf-8"),
        "js": (FOLDER / "viewer.js").read_text(encoding="utf-8"),
        "swatches": {name: variable_of(look.colour) for name, look in page.looks.items()},
        "missing": [str(each) for each in page.missing],
        "cards": _cards(page),
    }


def _sections(page: Page) -> list[tuple[str, str]]:
    """Ids and names of the page's sections, in order."""
    sections = list(SECTIONS.items())
    if page.bits:
        place = list(SECTIONS).index("time")
        sections[place:place] = BITS.items()
    return [*({"missing": "Missing"}.items() if page.missing else ()), *sections]


def _results(page: Page) -> dict[str, Any]:
    bd, gathered = page.bd, page.gathered
    return {
        "codecs": tables.codecs_table(gathered, page.metrics[0]),
        "rd": page.rd,
        "bd_anchor": bd.anchor if bd else "",
        "bd_figure": page.bd_figure,
        "bd_rows": tables.bd_rows(bd) if bd else None,
        "bd_metrics": tables.bd_metrics(bd) if bd else None,
        "bd_clips": tables.bd_clips(bd, gathered.clips) if bd else None,
        "bd_none": f"There are none: they need results of {page.anchor} and of another codec.",
        "main_metric": page.metrics[0].name,
        "clips": page.clips,
        "clip_tables": tables.clip_tables(gathered, page.metrics),
        "times_figure": page.times,
        "bits": page.bits,
    }


def _scene(page: Page) -> dict[str, Any]:
    part = page.scene
    return {
        "scene": part and _scene_texts(part),
        "scene_none": NO_SCENE,
        "cost_figure": part and part.cost,
        "globes": part.globes if part else [],
        "latitude_figure": part and part.latitude,
        "errors_figure": part and part.errors,
    }


def _scene_texts(part: ScenePart) -> dict[str, Any]:
    from deepsphere_codec.evaluation.report.views import FIELD

    scene = part.scene
    return {
        "text": f"{scene.frames} frames of {scene.clip.stem}, coded by each codec at the quality that its measured "
        f"points put nearest to {scene.target:.3f} bits per pixel; what it came to stands beside its name.",
        "field": f"{FIELD:g}",
        "jpeg": part.jpeg_quality,
        "json": part.json,
        "table": tables.scene_table(scene),
        "left_out": "; ".join(f"{each.codec} ({each.why})" for each in scene.left_out),
    }


def _method(page: Page) -> dict[str, Any]:
    return {
        "costs": tables.costs_table(page.costs),
        "counted": COUNTED,
        "environments": tables.environments_table(page.gathered),
        "commands": "\n".join([*_commands(page.gathered), page.command]),
        "passed_over": ", ".join(page.gathered.passed_over),
        "made_with": f"Made by deepsphere-codec {__version__}. This file loads nothing from anywhere.",
    }


def _lead(page: Page) -> str:
    gathered = page.gathered
    names = [each.name for each in gathered.codecs]
    listed = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
    frames = sorted({each.settings.get("frames") or 0 for each in gathered.codecs} - {0})
    each_of = f", {' or '.join(map(str, frames))} frames each" if frames else ""
    return f"{listed} on {len(gathered.clips)} clips{each_of}."


def _cards(page: Page) -> list[Card]:
    """Numbers of the default codec against the anchor, and of the ceilings."""
    cards = []
    if page.bd:
        for name in page.bd.rows:
            row = page.bd.main(name)
            if page.looks[name].is_model and row.mean_of_clips.pchip:
                value, ends = interval_text(row.mean_of_clips.pchip)
                cards.append(
                    Card(value, ends, f"bits of {name} against {page.bd.anchor}, at equal {page.metrics[0].name}")
                )
    for each in page.gathered.ceilings:
        if each.mean:
            cards.append(Card(tables.ceiling_text(each.mean), "", f"{each.name}: nothing coded"))
    return cards


def _commands(gathered: Gathered) -> list[str]:
    """Command lines that measured the files, as far as their settings are recorded."""
    from deepsphere_codec.evaluation.anchors.classical import ANCHORS

    lines = []
    for each in gathered.all:
        qualities = " ".join(f"{point.quality:g}" for point in each.mean)
        script = "run_anchors.py --codecs" if each.codec in ANCHORS else "evaluate.py --codec"
        flags = [
            f"--{key} {each.settings[key]}" for key in ("frames", "gop", "nside", "threads") if each.settings.get(key)
        ]
        asked = [f"--quality {qualities}"] if each not in gathered.ceilings else []
        jobs = [f"--jobs {each.environment['jobs']}"] if each.environment.get("jobs", 1) != 1 else []
        words = [
            f"scripts/{script} {_asked_for(each.codec)} --clips CLIPS",
            *asked,
            *flags,
            *jobs,
            f"--out {each.codec}.json",
        ]
        lines.append(" ".join(words))
    return lines


def _asked_for(codec: str) -> str:
    """Arguments that name a codec on the command line."""
    if comes_along(codec):
        return codec
    return f"{codec} --weights MODELS/{codec}" if codec == ssf2020.NAME else f"MODELS/{codec}"
