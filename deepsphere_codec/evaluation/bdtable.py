"""BD-rates as text: one line for each codec, optionally one for each clip, and one for each omission."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deepsphere_codec.evaluation.bdrate import MIN_OVERLAP, BdRate
from deepsphere_codec.evaluation.bootstrap import LEVEL, BdIntervals, Interval
from deepsphere_codec.evaluation.results import KEYS, Results

_COLUMNS = "{:<24}  {:>7}  {:>8}  {:<24}  {:>7}  {:>5}"


def bd_table(anchor: Results, rows: Sequence[BdIntervals], *, per_clip: bool = False) -> str:
    """Format the BD-rates of codecs against one anchor in one metric: of the mean curves, and means over clips.

    Args:
        anchor: Results of the codec to compare with.
        rows: Results of `bd_intervals` for one metric.
        per_clip: Whether to add a line for each clip.
    Returns:
        Lines of text.
    """
    metric = KEYS[rows[0].metric] if rows else ""
    clips = {clip for row in rows for clip in row.per_clip} if per_clip else set()
    width = max(map(len, ("codec", *(row.name for row in rows), *(f"  {clip}" for clip in clips))))
    heads = _COLUMNS.format("mean curve: PCHIP", "Akima", "overlap ", "mean of clips: PCHIP", "Akima", "clips")
    lines = [
        f"BD-rate against {anchor.name}, {metric}, per cent (negative: fewer bits), {LEVEL:.0%} intervals over clips",
        f"{'codec':<{width}}  {heads}",
    ]
    for row in rows:
        lines.append(f"{row.name:<{width}}  {_figures(row)}")
        lines += _clip_lines(row, width) if per_clip else ()
        lines += _left_out_lines(row)
    shown = [bd for row in rows for bd in (row.mean_curve, *(row.per_clip.values() if per_clip else ()))]
    if any(map(_is_part, shown)):
        lines.append(f"! the curves overlap by less than {MIN_OVERLAP:.0%} of their dB: it speaks for a part of them")
    return "\n".join(lines)


def _figures(row: BdIntervals) -> str:
    curve, means = row.mean_curve, row.mean_of_clips
    akima = means.akima.estimate if means.akima else None
    on_curve = _interval(row.of_mean_curve), _number(curve.akima), _overlap(curve)
    return _COLUMNS.format(*on_curve, _interval(means.pchip), _number(akima), len(row.per_clip))


def _clip_lines(row: BdIntervals, width: int) -> Iterator[str]:
    for clip, bd in row.per_clip.items():
        yield f"  {clip:<{width - 2}}  {_number(bd.pchip):<24}  {_number(bd.akima):>7}  {_overlap(bd):>8}".rstrip()


def _left_out_lines(row: BdIntervals) -> Iterator[str]:
    if row.per_clip and row.mean_curve.pchip is None:
        yield f"  no BD-rate of the mean curves: {row.mean_curve.note}"
    for why in dict.fromkeys(row.left_out.values()):
        yield f"  without {', '.join(clip for clip, each in row.left_out.items() if each == why)}: {why}"


def _overlap(bd: BdRate) -> str:
    return f"{bd.overlap:.0%}{'!' if _is_part(bd) else ' '}"


def _is_part(bd: BdRate) -> bool:
    return bd.pchip is not None and bd.overlap < MIN_OVERLAP


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    ends = "" if interval.low is None else f" [{interval.low:+.1f}, {interval.high:+.1f}]"
    return f"{interval.estimate:+.1f}{ends}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"
