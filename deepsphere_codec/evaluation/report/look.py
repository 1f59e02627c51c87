"""Consistent colours and markers of codecs in all figures of a report, and colours that follow the page's theme."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.colors import to_hex, to_rgb

from deepsphere_codec.evaluation.curves import Curve, curves_of
from deepsphere_codec.evaluation.results import Point, Results
from deepsphere_codec.figures.style import GRID, INK, SOFT

MARKERS = "osD^vPXp"
PAPER = {"--paper": "#ffffff", "--ink": INK, "--soft": SOFT, "--grid": GRID}
NIGHT = {"--paper": "#161b22", "--ink": "#e6edf3", "--soft": "#9aa7b4", "--grid": "#2f3843"}
DARK, LIGHT_ENOUGH = 0.35, 0.6  # lightness of colours invisible on a dark page, and of visible ones


class CurveStyle(NamedTuple):
    """Style of a codec in figures."""

    colour: str
    marker: str
    is_model: bool


def looks_of(codecs: Sequence[Results]) -> dict[str, CurveStyle]:
    """Choose the styles of codecs, by name of their curves."""
    somewhere = {each.name: [Point(0.0, 1.0, 0.0)] for each in codecs}
    curves = curves_of(codecs, somewhere)
    return {
        curve.name: CurveStyle(curve.colour, MARKERS[n % len(MARKERS)], curve.is_model)
        for n, curve in enumerate(curves)
    }


def curves_with(
    looks: Mapping[str, CurveStyle], codecs: Sequence[Results], points: Mapping[str, Sequence[Point]]
) -> list[Curve]:
    """Make the curves to draw, with the given styles.

    Args:
        looks: Styles of the codecs by name.
        codecs: Results of the codecs.
        points: Points of each codec by name.
    Returns:
        Curves.
    """
    return [
        curve._replace(colour=looks[curve.name].colour, marker=looks[curve.name].marker)
        for curve in curves_of(codecs, points)
    ]


def variables(looks: Mapping[str, CurveStyle]) -> tuple[dict[str, str], dict[str, str]]:
    """List the CSS variables for light and dark pages: the page's own colours, and those of the codecs."""
    own = {variable_of(look.colour): look.colour for look in looks.values()}
    return PAPER | own, NIGHT | {name: on_dark(colour) for name, colour in own.items()}


def variable_of(colour: str) -> str:
    """Return the name of the CSS variable of a codec's colour."""
    return f"--c-{colour.lstrip('#').lower()}"


def on_dark(colour: str) -> str:
    """Lighten a colour for a dark page, with the same hue; colours that were emphasised by being dark become light."""
    hue, light, saturation = colorsys.rgb_to_hls(*to_rgb(colour))
    lighter = 1 - LIGHT_ENOUGH * light if light < DARK else max(light, LIGHT_ENOUGH)
    return to_hex(colorsys.hls_to_rgb(hue, lighter, saturation))


def themed(svg: str, looks: Mapping[str, CurveStyle]) -> str:
    """Replace ink, paper and codec colours in an SVG by the page's variables.

    Args:
        svg: SVG as text.
        looks: Styles of the codecs by name.
    Returns:
        SVG as text.
    """
    names = {value: name for name, value in PAPER.items()}
    names |= {look.colour: variable_of(look.colour) for look in looks.values()}
    return re.sub(r"#[0-9a-fA-F]{6}\b", lambda found: _variable(found[0], names), svg)


def _variable(colour: str, names: Mapping[str, str]) -> str:
    name = names.get(colour.lower())
    return f"var({name})" if name else colour
