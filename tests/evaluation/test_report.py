"""The report: complete, self-contained, true to its results; and what is missing is named."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from browser import chromium, open_page
from support import make_film

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.classical import AnchorCodec
from deepsphere_codec.evaluation.complexity import complexity_of
from deepsphere_codec.evaluation.curves import MODEL_COLOURS
from deepsphere_codec.evaluation.report import svg
from deepsphere_codec.evaluation.report.bd import bd_table
from deepsphere_codec.evaluation.report.build import Request, make_report
from deepsphere_codec.evaluation.report.gather import gather
from deepsphere_codec.evaluation.report.look import looks_of
from deepsphere_codec.evaluation.report.metric import metrics_in
from deepsphere_codec.evaluation.report.page import SECTIONS
from deepsphere_codec.evaluation.report.rd_figures import rd_figure
from deepsphere_codec.evaluation.report.scene import common_rate, quality_at
from deepsphere_codec.evaluation.report.sphere_figures import latitude_bits
from deepsphere_codec.evaluation.report.spread import areas, latitudes, nodes_at
from deepsphere_codec.evaluation.report.svg import inline
from deepsphere_codec.evaluation.results import Missing, Point, Results, write_results
from deepsphere_codec.models.macs import COUNTED
from deepsphere_codec.sphere import HealpixGrid, erp_directions

MakeResults = Callable[..., Results]

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 3
CEILING = Results("ceiling", "made up", "ceiling", {}, {"clip0.mp4": [Point(256, None, 66.5)]})
VOID = {"meta", "link", "img", "br", "input", "hr"}


@pytest.fixture(scope="module", autouse=True)
def _small_pictures() -> Iterator[None]:
    """Figures that are drawn in less time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(svg, "DPI", 40)
        yield


class Parsed(HTMLParser):
    """A page's ids, what it loads, its text, and elements that were not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [found["id"]] if found.get("id") else []
        self.loads += [value for key in ("src", "href", "srcset", "data") if (value := found.get(key))]
        self.open += [] if tag in VOID else [tag]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open = self.open[:-1] if tag not in VOID else self.open

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)


class Made(NamedTuple):
    page: Path
    text: str
    missing: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A report of two codecs on one film; one of them lacks a point, a third is not there at all."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "clips").mkdir()
    film = make_film(folder / "clips" / "clip0.mp4", 256, 128, FRAMES)
    for name in ("x264", "x265"):
        codec = AnchorCodec(name, FRAMES)
        points = [codec.measure(film, quality) for quality in (20.0, 30.0, 40.0)]
        results = Results(codec.name, codec.description, name, codec.settings, {film.name: points}, {"cores": 2})
        failed = [Missing(film.name, 50.0, "the encoder fell <b>silent</b>")] if name == "x264" else []
        write_results(folder / f"{name}.json", [replace(results, missing=failed)])
    write_results(folder / "ceiling.json", [CEILING])
    (folder / "benchmark.json").write_text("{}")
    request = Request(
        sorted(folder.glob("*.json")), folder / "out" / "report.html", folder / "clips", expected=["planar-twin"]
    )
    missing = make_report(request)
    return Made(request.out, request.out.read_text(encoding="utf-8"), [str(each) for each in missing])


def test_the_page_loads_nothing_and_has_all_its_sections(made: Made) -> None:
    parsed = Parsed(made.text)
    assert not parsed.open, "every element is closed"
    assert len(parsed.ids) == len(set(parsed.ids)), "ids are unique"
    assert set(SECTIONS) | {"missing"} <= set(parsed.ids)
    assert all(each.startswith(("#", "data:")) for each in parsed.loads)
    assert not re.search(r"https?://|@import|url\((?!#)", made.text)
    inside = [each[1:] for each in parsed.loads if each.startswith("#")]
    inside += re.findall(r"url\(#([^)]+)\)", made.text)
    assert inside and set(inside) <= set(parsed.ids), "what is referred to is there"


def test_every_figure_is_there_as_file_and_in_the_page(made: Made) -> None:
    names = {"rd-ws-psnr-yuv", "rd-psnr-y", "bd", "clips", "times", "cost", "errors"}
    files = {path.name for path in (made.page.parent / "figures").iterdir()}
    assert {f"{name}.{kind}" for name in names | {"views"} for kind in ("svg", "png")} <= files
    captions = {each.removesuffix("-caption") for each in Parsed(made.text).ids if each.endswith("-caption")}
    assert names <= captions


def test_what_is_missing_is_named_and_is_text(made: Made) -> None:
    assert len(made.missing) == 2
    assert "x264 medium, clip0.mp4, quality 50: the encoder fell <b>silent</b>" in made.missing[0]
    assert made.missing[1].startswith("planar-twin: no results")
    words = " ".join(Parsed(made.text).words)
    assert all(each in words for each in made.missing)


def test_numbers_come_from_the_results(made: Made) -> None:
    results = json.loads((made.page.parent.parent / "x265.json").read_text())
    words = Parsed(made.text).words
    for point in results["clips"]["clip0.mp4"]:
        assert f"{point['bpp']:.4f}" in words and f"{point['ws-psnr-yuv']:.2f}" in words
    assert "66.5 dB" in words, "the ceiling"
    assert "benchmark.json" in made.text, "what was passed over is said"


def test_the_scene_holds_every_view_of_every_film(made: Made) -> None:
    data = json.loads(re.search(r'id="shots">(.*?)</script>', made.text, re.S)[1])
    assert [film["name"] for film in data["films"]] == ["source", "x264 medium", "x265 medium"]
    assert data["frames"] == [0, 1, 2] and len(data["views"]) == 6
    for film, views in data["shots"].items():
        assert list(views) == data["views"]
        for frames in views.values():
            for shot in frames.values():
                assert shot["picture"].startswith("data:image/jpeg;base64,")
                assert (shot["decibels"] is None) == (film == "source")


@pytest.mark.slow
def test_a_second_report_codes_nothing_again(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepsphere_codec.evaluation.report import coding

    monkeypatch.setattr(coding, "_code_anchor", None)
    folder = made.page.parent.parent
    make_report(Request(sorted(folder.glob("*.json")), made.page, folder / "clips", expected=["planar-twin"]))
    assert made.page.read_text(encoding="utf-8") == made.text


@pytest.mark.slow
def test_a_codec_that_fails_in_the_scene_is_missing_and_the_rest_is_there(
    made: Made, tmp_path: Path, make_results: MakeResults
) -> None:
    broken = replace(make_results("my-model", clips=1), clips={"clip0.mp4": make_results("a").clips["clip0.mp4"]})
    write_results(tmp_path / "broken.json", [broken])
    folder = made.page.parent.parent
    paths = [folder / "x265.json", tmp_path / "broken.json"]
    missing = make_report(Request(paths, tmp_path / "report.html", folder / "clips"))
    assert [each.codec for each in missing] == ["my-model"] and "neither one of ours" in missing[0].why
    assert "x265 medium, 0." in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_without_clips_the_report_says_so(tmp_path: Path, make_results: MakeResults) -> None:
    """And what models compute is there all the same, by the one definition; the planar baseline needs no weights."""
    for codec in ("x265", "sphere-dvc", "my-model"):
        write_results(tmp_path / f"{codec}.json", [make_results(codec)])
    write_results(tmp_path / "ssf2020.json", [make_results("ssf2020 (planar)", codec="planar-ssf2020")])
    assert make_report(Request(sorted(tmp_path.glob("*.json")), tmp_path / "report.html")) == []
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    parsed = Parsed(text)
    assert "--clips names the folder" in text and set(SECTIONS) <= set(parsed.ids)
    assert f"Counted are {COUNTED}." in " ".join(parsed.words)
    words = [word for word in parsed.words if word.strip()]
    for name, codec in (("sphere-dvc", "sphere-dvc"), ("ssf2020 (planar)", "planar-ssf2020")):
        cost = complexity_of(codec)
        row = [name, f"{cost.parameters / 1e6:.2f}", *(f"{value / 1000:.1f}" for value in cost.macs)]
        assert any(words[n : n + len(row)] == row for n in range(len(words))), row
    for codec in ("sphere-dvc", "planar-ssf2020 --weights MODELS/planar-ssf2020", "MODELS/my-model"):
        assert f"scripts/evaluate.py --codec {codec} --clips CLIPS --quality 0 3 6 9" in text


def test_gaps_between_codecs_are_missing(tmp_path: Path, make_results: MakeResults) -> None:
    whole, part = make_results("x265"), make_results("sphere-dvc")
    clips = {"clip0.mp4": part.clips["clip0.mp4"], "clip1.mp4": part.clips["clip1.mp4"][:3]}
    write_results(tmp_path / "both.json", [whole, replace(part, clips=clips)])
    found = [str(each) for each in gather([tmp_path / "both.json"]).missing]
    assert found == ["sphere-dvc, clip1.mp4, quality 9: not measured", "sphere-dvc, clip2.mp4: not measured"]


def test_what_results_say_is_missing_has_its_reason(tmp_path: Path, make_results: MakeResults) -> None:
    whole, part = make_results("x265", clips=2), make_results("sphere-dvc", clips=1)
    for clip, quality in (("clip1.mp4", 0.0), ("clip1.mp4", 12.0), ("clip0.mp4", 12.0), ("clip9.mp4", 0.0)):
        part = part.with_missing(Missing(clip, quality, f"it broke at {quality:g}"))
    write_results(tmp_path / "both.json", [whole, part])
    assert [str(each).removeprefix("sphere-dvc, ") for each in gather([tmp_path / "both.json"]).missing] == [
        "clip0.mp4, quality 12: it broke at 12",
        "clip1.mp4, quality 0: it broke at 0",
        *(f"clip1.mp4, quality {quality}: not measured" for quality in (3, 6, 9)),
        "clip1.mp4, quality 12: it broke at 12",
        "clip9.mp4, quality 0: it broke at 0",
        *(f"clip9.mp4, quality {quality}: not measured" for quality in (3, 6, 9, 12)),
    ]
    part = replace(part, missing=[Missing("clip9.mp4", quality, "no film") for quality in (0.0, 3.0, 6.0, 9.0)])
    write_results(tmp_path / "one.json", [part])
    assert [str(each) for each in gather([tmp_path / "one.json"]).missing] == ["sphere-dvc, clip9.mp4: no film"]


def test_how_to_get_weights_is_said(tmp_path: Path, make_results: MakeResults) -> None:
    write_results(tmp_path / "a.json", [make_results("x265")])
    planar, mine, ours = gather([tmp_path / "a.json"], ["planar-ssf2020", "my-model", "sphere-dvc"]).missing
    assert str(planar) == (
        "planar-ssf2020: no results; its weights do not come with the package: train them with "
        "configs/planar-ssf2020.toml, or convert CompressAI's: "
        "python -m deepsphere_codec.evaluation.anchors.ssf2020 convert FILE models/planar-ssf2020"
    )
    assert str(mine) == "my-model: no results; its weights do not come with the package"
    assert str(ours) == "sphere-dvc: no results"


def test_models_come_first_and_looks_are_their_own(tmp_path: Path, make_results: MakeResults) -> None:
    names = ["x265", "planar-twin", "svtav1", "sphere-ssf", "sphere-dvc", "x264"]
    write_results(tmp_path / "all.json", [make_results(name) for name in names])
    codecs = gather([tmp_path / "all.json"]).codecs
    assert [each.codec for each in codecs] == ["sphere-dvc", "sphere-ssf", "planar-twin", "x264", "x265", "svtav1"]
    looks = looks_of(codecs)
    assert len({look.colour for look in looks.values()}) == len({look.marker for look in looks.values()}) == 6
    assert looks["sphere-dvc"].colour == MODEL_COLOURS[0]


def test_metrics_that_none_has_are_left_out_and_excesses_have_no_bd_rate(
    tmp_path: Path, make_results: MakeResults
) -> None:
    write_results(tmp_path / "all.json", [make_results("x265"), make_results("sphere-dvc", 2.0)])
    gathered = gather([tmp_path / "all.json"])
    metrics = metrics_in(gathered.codecs)
    assert [metric.key for metric in metrics] == ["ws-psnr-yuv", "ws-psnr-y"]
    seam = metrics[1]._replace(excess=True)
    table = bd_table(gathered, [metrics[0], seam], "x265")
    assert table and table.metrics == metrics[:1]
    assert table.main("sphere-dvc").mean_of_clips.pchip.estimate == pytest.approx(100)  # twice the bits
    assert rd_figure(gathered, looks_of(gathered.codecs), metrics[0]) is not None


def test_figures_can_stand_side_by_side_in_a_page() -> None:
    figure = '<?xml?><svg viewBox="0 0 9 9" width="72pt" height="72pt"><defs><style>*{a: b}</style></defs><g id="g">'
    figure += '<use xlink:href="#m" style="font-family: \'A B\', c; fill: #000"/><path clip-path="url(#m)"/></g></svg>'
    found = inline(figure, "name")
    assert "width: 96px" in found and 'id="name-g"' in found and 'href="#name-m"' in found and "url(#name-m)" in found
    assert "<style" not in found and "font-family" not in found and "fill: #000" in found


def test_the_common_rate_is_one_that_all_reach() -> None:
    assert common_rate([[0.1, 0.4], [0.2, 0.8]]) == pytest.approx((0.2 * 0.4) ** 0.5)
    assert common_rate([[0.1, 0.2], [0.4, 0.8]]) == pytest.approx((0.2 * 0.4) ** 0.5), "the gap's middle"


def test_the_quality_for_a_rate() -> None:
    points = [(40.0, 0.01), (30.0, 0.1), (20.0, 1.0)]
    assert quality_at(points, 0.01 * 10**0.5) == 35
    assert quality_at(points, 5.0) == 20 and quality_at(points, 1e-4) == 40, "not beyond what was measured"
    assert quality_at(points, 0.09) == 30.5 and quality_at(points, 0.09, "vtm") == 30
    assert quality_at(points, 0.3, "planar-ssf2020") == 30


@pytest.mark.parametrize(("order", "count"), [("face-major", 12 * 8**2), ("erp-rows", 8 * 8**2)])
def test_bits_per_area_are_even_where_bits_go_by_area(order: str, count: int) -> None:
    even = latitude_bits(areas(count, order), order)
    np.testing.assert_allclose(even[~np.isnan(even)], 1)
    north = latitude_bits(np.where(latitudes(count, order) > 0, areas(count, order), 0.0), order)
    assert np.nanmax(north[:8]) == 0 and np.nanmin(north[10:]) > 1.5


def test_erp_rows_with_equal_bits_have_more_of_them_per_area_at_the_poles() -> None:
    values = latitude_bits(np.ones(8 * 16**2), "erp-rows")
    assert values[-1] > 5 * values[len(values) // 2] and values[0] == pytest.approx(values[-1])


def test_directions_find_their_nodes() -> None:
    assert (nodes_at(erp_directions(16, 32), 512, "erp-rows").ravel() == np.arange(512)).all()
    assert (nodes_at(HealpixGrid.cached(4).centers[None], 192, "face-major")[0] == np.arange(192)).all()


def test_errors_are_one_line(tmp_path: Path, make_results: MakeResults) -> None:
    write_results(tmp_path / "a.json", [make_results("x265")])
    with pytest.raises(UsageError, match="no results of a clip 'moon'; clips: clip0.mp4"):
        make_report(Request([tmp_path / "a.json"], tmp_path / "r.html", tmp_path, "moon"))
    with pytest.raises(UsageError, match="clip0.mp4 is not there; name a folder"):
        make_report(Request([tmp_path / "a.json"], tmp_path / "r.html", tmp_path))
    with pytest.raises(UsageError, match="'x265' are there twice"):
        gather([tmp_path / "a.json", tmp_path / "a.json"])
    write_results(tmp_path / "none.json", [replace(make_results("x265"), clips={})])
    with pytest.raises(UsageError, match="nothing to report"):
        gather([tmp_path / "none.json"])


def test_the_script_ends_with_1_where_something_is_missing(tmp_path: Path, make_results: MakeResults) -> None:
    write_results(tmp_path / "x265.json", [make_results("x265")])
    line = [sys.executable, str(ROOT / "scripts" / "report.py"), str(tmp_path / "x265.json"), "--expect", "planar-twin"]
    line += ["--out", str(tmp_path / "report.html")]
    done = subprocess.run(line, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 1 and "missing: planar-twin: no results" in done.stderr, done.stderr
    assert "planar-twin" in (tmp_path / "report.html").read_text(encoding="utf-8")


STAGE = "document.getElementById('stage')"
PLACE = "document.getElementById('handle').getAttribute('aria-valuenow')"


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="no chromium on PATH")
def test_the_slider_moves_in_a_browser_and_the_console_is_silent(made: Made) -> None:
    with open_page() as page:
        page.resize(1100, 900)
        page.open(made.page)
        page.evaluate(f"document.documentElement.style.scrollBehavior = 'auto'; {STAGE}.scrollIntoView()")
        left, width, top, height = page.evaluate(
            f"(box => [box.left, box.width, box.top, box.height])({STAGE}.getBoundingClientRect())"
        )
        assert page.evaluate(PLACE) == "50"
        page.mouse("Pressed", left + width / 2, top + height / 2)
        page.mouse("Moved", left + width / 4, top + height / 2)
        page.mouse("Released", left + width / 4, top + height / 2)
        assert page.evaluate(PLACE) == "25"
        border = "(box => (box.left + box.right) / 2)(document.getElementById('handle').getBoundingClientRect())"
        assert page.evaluate(border) == pytest.approx(left + width / 4, abs=2), "the handle is where the mouse left it"
        assert "25%" in page.evaluate("getComputedStyle(document.getElementById('picture-b')).clipPath")
        for key, place in (("ArrowRight", "27"), ("End", "100"), ("Home", "0")):
            page.key(key)
            assert page.evaluate(PLACE) == place
        before = page.evaluate("document.getElementById('picture-b').src")
        page.evaluate("document.querySelector('#views button:last-child').click()")
        assert page.evaluate("document.getElementById('picture-b').src") != before
        assert page.evaluate("document.getElementById('picture-b').decode().then(() => 'shown')") == "shown"
        page.evaluate("document.querySelectorAll('[role=tab]')[1].click()")
        hidden = page.evaluate("Array.from(document.querySelectorAll('[role=tabpanel]'), each => each.hidden)")
        assert hidden[:2] == [True, False]
        assert not page.complaints
        assert all(each.startswith(("file:", "data:")) for each in page.requests)


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="no chromium on PATH")
def test_the_browser_of_these_tests_hears_complaints(tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text("<script>console.error('so'); missing();</script>")
    with open_page() as page:
        page.open(tmp_path / "bad.html")
        page.evaluate("1")
        assert len(page.complaints) == 2
