"""Figures as SVG and PNG files beside the report, and as SVG inside it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from deepsphere_codec.evaluation.report.look import CurveStyle, themed
from deepsphere_codec.figures.style import STYLE

DPI = 160
PIXELS_PER_POINT = 4 / 3  # CSS pixels


class FigureFolder:
    """Folder that figures are written to.

    Args:
        folder: Folder for NAME.svg and NAME.png.
        looks: Styles of the codecs, whose colours follow the page's theme.
    """

    def __init__(self, folder: Path, looks: Mapping[str, CurveStyle]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._looks = folder, looks

    def add(self, name: str, figure: Figure) -> str:
        """Write a figure's files.

        Args:
            name: Name of the figure, unique on the page.
            figure: Figure.
        Returns:
            SVG for the page.
        """
        with style():
            file = io.BytesIO()
            figure.savefig(file, format="svg", bbox_inches="tight", pad_inches=0.1, metadata={"Date": None})
            figure.savefig(self._folder / f"{name}.png", dpi=DPI, bbox_inches="tight", pad_inches=0.1)
        svg = file.getvalue().decode()
        (self._folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        return themed(inline(svg, name), self._looks)


@contextmanager
def style() -> Iterator[None]:
    """Context with the style of all figures of the project."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "report"}):
        yield


def inline(svg: str, name: str) -> str:
    """Convert an SVG file to an element of a page, with unique ids, scalable, and with the page's font.

    Args:
        svg: SVG as matplotlib writes it.
        name: Name of the figure, unique on the page.
    Returns:
        SVG element.
    """
    head, _, body = svg[svg.index("<svg") :].partition(">")
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.S)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'\b(?:xlink:)?href="#', f'href="#{name}-', body).replace("xlink:href", "href")
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r"font-family: [^;\"]*; ?", "", body)
    view, width = (re.search(pattern, head) for pattern in (r'viewBox="([^"]+)"', r' width="([\d.]+)pt"'))
    assert view and width, "what matplotlib writes has a size"
    pixels = float(width[1]) * PIXELS_PER_POINT
    return f'<svg viewBox="{view[1]}" style="width: {pixels:.0f}px" role="img" aria-labelledby="{name}-caption">{body}'
