"""Tables of a report, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepsphere_codec.evaluation.bdrate import BdRate
from deepsphere_codec.evaluation.bootstrap import Interval
from deepsphere_codec.evaluation.report.bd import BdTable, interval_text, percent
from deepsphere_codec.evaluation.report.gather import Gathered
from deepsphere_codec.evaluation.report.metric import Metric
from deepsphere_codec.evaluation.report.scene import Scene
from deepsphere_codec.evaluation.results import Point, Results
from deepsphere_codec.models.macs import Complexity

NONE = "–"


class Table(NamedTuple):
    """Table with cells as text."""

    caption: str
    head: list[str]
    rows: list[list[str]]  # one cell per column; the first is the row's name


def codecs_table(gathered: Gathered, metric: Metric) -> Table:
    """Make the table of the measured codecs.

    Args:
        gathered: All results.
        metric: Metric to show.
    Returns:
        Table.
    """
    head = [
        "codec",
        "clips",
        "frames",
        "qualities",
        "bpp",
        metric.name,
        "encode, s/frame",
        "decode, s/frame",
    ]
    return Table("Codecs", head, [_codec_row(each, metric) for each in gathered.all])


def _codec_row(results: Results, metric: Metric) -> list[str]:
    points, frames = results.mean, results.settings.get("frames")
    columns = ("bpp", "encode_seconds", "decode_seconds")
    rates, encode, decode = ([value for p in points if (value := getattr(p, name)) is not None] for name in columns)
    quality = [value for p in points if (value := metric.value(p)) is not None]
    return [
        results.name,
        str(sum(1 for each in results.clips.values() if each)),
        NONE if frames is None else str(frames),
        " ".join(f"{p.quality:g}" for p in points) or NONE,
        _range(rates, ".3f"),
        _range(quality, ".2f"),
        *(_range([value / frames for value in each] if frames else [], ".2g") for each in (encode, decode)),
    ]


def clip_tables(gathered: Gathered, metrics: Sequence[Metric]) -> list[Table]:
    """Make the tables of all points, one for each clip.

    Args:
        gathered: All results.
        metrics: Metrics to show.
    Returns:
        Tables.
    """
    head = [
        "codec",
        "quality",
        "bpp",
        "bpp, I",
        "bpp, P",
        *(metric.name for metric in metrics),
        "encode, s",
        "decode, s",
    ]
    return [Table(Path(clip).stem, head, list(_clip_rows(gathered, clip, metrics))) for clip in gathered.clips]


def _clip_rows(gathered: Gathered, clip: str, metrics: Sequence[Metric]) -> Iterator[list[str]]:
    for each in gathered.all:
        for point in each.clips.get(clip, ()):
            rates = [_number(value, ".4f") for value in (point.bpp, point.bpp_i, point.bpp_p)]
            seconds = [_number(value, ".2f") for value in (point.encode_seconds, point.decode_seconds)]
            yield [each.name, f"{point.quality:g}", *rates, *(metric.text(point) for metric in metrics), *seconds]


def bd_rows(bd: BdTable) -> Table:
    """Make the table of all BD-rates in the first metric."""
    head = ["codec", "mean of clips, PCHIP", "mean of clips, Akima", "mean curve, PCHIP", "mean curve, Akima"]
    rows = []
    for name in bd.rows:
        row = bd.main(name)
        both = [_with_interval(each) for each in (row.mean_of_clips.pchip, row.mean_of_clips.akima, row.of_mean_curve)]
        count = f"{len(row.per_clip)} of {len(row.per_clip) + len(row.left_out)}"
        rows.append([name, *both, percent(row.mean_curve.akima), f"{row.mean_curve.overlap:.0%}", count])
    return Table(f"BD-rate against {bd.anchor} in {bd.metrics[0].name}", [*head, "overlap of dB", "clips"], rows)


def bd_metrics(bd: BdTable) -> Table:
    """Make the table of BD-rates with one column for each metric."""
    rows = [
        [name, *(_with_interval(row[metric.field].mean_of_clips.pchip) for metric in bd.metrics)]
        for name, row in bd.rows.items()
    ]
    return Table(f"BD-rate against {bd.anchor} by metric", ["codec", *(metric.name for metric in bd.metrics)], rows)


def bd_clips(bd: BdTable, clips: Sequence[str]) -> Table:
    """Make the table of BD-rates with one row for each clip.

    Args:
        bd: BD-rates.
        clips: Names of the clips.
    Returns:
        Table.
    """
    found: dict[str, Mapping[str, BdRate]] = {name: bd.main(name).per_clip for name in bd.rows}
    rows = [
        [Path(clip).stem, *(percent(each[clip].pchip) if clip in each else NONE for each in found.values())]
        for clip in clips
    ]
    return Table(f"BD-rate against {bd.anchor} by clip", ["clip", *found], rows)


def scene_table(scene: Scene) -> Table:
    """Make the table of each codec's rate and quality on the scene."""
    rows = [
        [
            name,
            f"{each.job.quality:g}",
            f"{each.bpp:.4f}",
            f"{100 * (each.bpp / scene.target - 1):+.0f} %".replace("-", "−"),
        ]
        + [f"{each.mean:.2f}", f"{each.frame_bytes[0] * 8 / 1000:.1f}", _mean_p(each.frame_bytes)]
        for name, each in scene.coded.items()
    ]
    head = ["codec", "quality", "bpp", "off the target", "WS-PSNR-YUV, dB", "I-frame, kbit", "P-frame, kbit"]
    return Table("The scene", head, rows)


def costs_table(costs: Mapping[str, Complexity]) -> Table:
    """Make the table of parameters and computation."""
    head = ["model", "parameters, M", "encode I, kMAC", "encode P, kMAC", "decode I, kMAC", "decode P, kMAC"]
    rows = [
        [name, f"{each.parameters / 1e6:.2f}", *(f"{value / 1e3:.1f}" for value in each.macs)]
        for name, each in costs.items()
    ]
    return Table("Size and computation, per ERP pixel", head, rows)


def environments_table(gathered: Gathered) -> Table:
    """Make the table of settings and environments of the measurements."""
    head = ["codec", "processor", "cores", "threads", "jobs", "python", "torch", "package", "commit", "settings"]
    return Table("Environments", head, [_environment_row(each) for each in gathered.all])


def _environment_row(results: Results) -> list[str]:
    env: Mapping[str, Any] = results.environment
    threads = results.settings.get("threads") or results.settings.get("encoder_threads") or env.get("threads")
    commit = str(env.get("commit") or NONE)
    short = commit[:10] + ("-dirty" if commit.endswith("-dirty") else "")
    others = [env.get(key, NONE) for key in ("python", "torch", "deepsphere-codec")]
    cells = [env.get("cpu", NONE), env.get("cores", NONE), threads or NONE, env.get("jobs", NONE), *others, short]
    return [results.name, *map(str, cells), _settings_text(results.settings)]


def _settings_text(settings: Mapping[str, Any]) -> str:
    """Settings that other columns do not show and that are set; hashes are shortened."""
    shown = {
        key: value for key, value in settings.items() if value not in (None, "", {}) and key not in ("name", "threads")
    }
    return ", ".join(
        f"{key} {str(value)[:10] if 'hash' in key or 'sha' in key else _flat(value)}" for key, value in shown.items()
    )


def _flat(value: Any) -> str:
    return " ".join(f"{key}={each}" for key, each in value.items()) if isinstance(value, Mapping) else str(value)


def _mean_p(frame_bytes: Sequence[int]) -> str:
    others = frame_bytes[1:]
    return f"{sum(others) * 8 / 1000 / len(others):.1f}" if others else NONE


def _with_interval(interval: Interval | None) -> str:
    return " ".join(part for part in interval_text(interval) if part)


def _range(values: Sequence[float], form: str) -> str:
    texts = [f"{value:{form}}" for value in (min(values), max(values))] if values else []
    return NONE if not texts else texts[0] if texts[0] == texts[1] else f"{texts[0]} … {texts[1]}"


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else f"{value:{form}}"


def ceiling_text(points: Sequence[Point]) -> str:
    """Format the best quality of a ceiling, in decibels."""
    return f"{max(point.ws_psnr_yuv for point in points):.1f} dB"
