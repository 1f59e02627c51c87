"""Figures: they come out, with every name in them; and the script that draws them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation import plots
from deepsphere_codec.evaluation.curves import TICK_GAP, rate_boxes
from deepsphere_codec.evaluation.labels import LabelledPoint, label_points, spread
from deepsphere_codec.evaluation.plots import plot_clips, plot_mean
from deepsphere_codec.evaluation.results import Missing, Point, Results, write_results

MakeResults = Callable[..., Results]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def some_results(make_results: MakeResults) -> list[Results]:
    ceiling = Results("ceiling", "made up", "ceiling", {}, {f"clip{n}.mp4": [Point(256, None, 46.5)] for n in range(3)})
    return [make_results("x265 medium", codec="x265"), make_results("sphere-dvc", 2.0), ceiling]


def test_svg_holds_every_name_as_text_and_is_the_same_again(tmp_path: Path, some_results: list[Results]) -> None:
    plot_mean(some_results, tmp_path / "new" / "rd.svg")
    text = (tmp_path / "new" / "rd.svg").read_text()
    for name in ("x265 medium", "sphere-dvc", "resampling ceiling, nside 256: 46.5 dB", "mean over 3 clips"):
        assert name in text
    plot_mean(some_results, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == text


def test_png_and_one_panel_for_each_clip(tmp_path: Path, some_results: list[Results]) -> None:
    plot_clips(some_results, tmp_path / "clips.png")
    assert (tmp_path / "clips.png").read_bytes().startswith(b"\x89PNG")
    plot_clips(some_results, tmp_path / "clips.svg")
    text = (tmp_path / "clips.svg").read_text()
    assert all(f">clip{n}<" in text for n in range(3))


def test_a_far_ceiling_leaves_the_axis_to_the_curves(tmp_path: Path, some_results: list[Results]) -> None:
    clips = {f"clip{n}.mp4": [Point(256, None, 66.0 + n)] for n in range(3)}
    results = [*some_results[:2], Results("ceiling", "made up", "ceiling", {}, clips, {})]
    plot_mean(results, tmp_path / "rd.svg")
    assert "resampling ceiling, nside 256: 67.0 dB" in (tmp_path / "rd.svg").read_text()
    plot_clips(results, tmp_path / "clips.svg")
    text = (tmp_path / "clips.svg").read_text()
    assert "ceiling 66.0 dB" in text and "ceiling: resampling alone, nside 256" in text


def test_what_cannot_be_drawn_is_refused(tmp_path: Path, some_results: list[Results]) -> None:
    with pytest.raises(UsageError, match="ends in neither .svg nor .png"):
        plot_mean(some_results, tmp_path / "rd.pdf")
    for draw in (plot_mean, plot_clips):
        with pytest.raises(UsageError, match="no curve to draw"):
            draw([], tmp_path / "rd.svg")


def test_labels_keep_their_distance() -> None:
    assert spread([0, 100], 10) == [0, 100]
    assert spread([50, 50], 10) == [45, 55]
    placed = spread([0, 1, 2, 30, 31, 90], 10)
    assert all(b - a >= 10 - 1e-9 for a, b in zip(placed, placed[1:], strict=False))
    assert placed[-1] == 90


def test_the_script_draws_and_prints_the_table(tmp_path: Path, some_results: list[Results]) -> None:
    for results in some_results:
        write_results(tmp_path / f"{results.codec}.json", [results])
    (tmp_path / "benchmark.json").write_text("{}")
    inputs = sorted(map(str, tmp_path.glob("*.json")))
    line = [sys.executable, str(ROOT / "scripts" / "plot_rd.py"), *inputs, "--out", str(tmp_path / "rd.svg")]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "sphere-dvc" in done.stdout and "+100.0 [+100.0, +100.0]" in done.stdout and "ceiling" not in done.stdout
    assert "benchmark.json holds no results" in done.stderr
    assert (tmp_path / "rd.svg").exists() and (tmp_path / "rd-clips.svg").exists()


def test_the_script_takes_any_metric_names_what_is_missing_and_refuses_what_is_none(
    tmp_path: Path, some_results: list[Results], run_script: Callable[..., Any]
) -> None:
    missed = some_results[1].with_missing(Missing("clip3.mp4", 3.0, "it is broken"))
    write_results(tmp_path / "r.json", [some_results[0], missed])
    arguments = [tmp_path / "r.json", "--out", tmp_path / "rd.svg", "--per-clip", "--metric"]
    done = run_script("plot_rd.py", *arguments, "ws-psnr-y", "psnr-y")
    assert done.code == 1 and "missing: sphere-dvc clip3.mp4 quality 3: it is broken" in done.err
    assert "x265 medium, ws-psnr-y" in done.out and "x265 medium, psnr-y" in done.out
    assert "clip2.mp4" in done.out and "x265 medium has no psnr-y of it" in done.out
    refused = run_script("plot_rd.py", *arguments, "seam-error-y")
    assert refused.code == 2 and "'seam-error-y'" in refused.err and "viewport-ssim-y" in refused.err


def test_rates_of_small_panels_do_not_touch(monkeypatch: pytest.MonkeyPatch, make_results: MakeResults) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: figures.append(figure))
    wide = make_results("sphere-dvc")
    points = [replace(wide.clips["clip0.mp4"][0], quality=q, bpp=0.003 * 10**q, ws_psnr_yuv=30.0 + q) for q in range(3)]
    plot_clips([replace(wide, clips={f"clip{n}.mp4": points for n in range(3)})], "clips.svg")
    figures[0].draw_without_rendering()
    boxes = rate_boxes(figures[0].axes[0])
    assert len(boxes) >= 3 and all(right.x0 - left.x1 >= TICK_GAP for left, right in pairwise(boxes))


def test_names_stand_at_their_own_points() -> None:
    """Points in a clump, whose names have no room side by side: none overlaps, and lines lead to those further off."""
    figure = Figure(figsize=(5, 3))
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    points = [LabelledPoint(f"variant {n}", 5 + 0.2 * (n % 3), 5 + 0.2 * (n // 3), "k") for n in range(7)]
    figure.draw_without_rendering()
    spots = [axes.transData.transform((point.x, point.y)) for point in points]
    label_points(axes, points, [Bbox([spot - 3, spot + 3]) for spot in spots])
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [point.name for point in points]
    for i, (box, text) in enumerate(zip(boxes, axes.texts, strict=True)):
        assert axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
        assert axes.bbox.containsy(box.y0) and axes.bbox.containsy(box.y1)
        assert not any(box.overlaps(other) for other in boxes[:i])
        distances = [np.hypot(*(np.clip(spot, box.min, box.max) - spot)) for spot in spots]
        assert isinstance(text, Annotation) and text.xy == (points[i].x, points[i].y)
        assert text.arrow_patch is not None or int(np.argmin(distances)) == i
