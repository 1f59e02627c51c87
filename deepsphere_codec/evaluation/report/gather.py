"""All results of a report in one place: what is there, in what order, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors import ANCHORS
from deepsphere_codec.evaluation.curves import CEILING, CUBEMAP_CEILING
from deepsphere_codec.evaluation.results import Results, is_results_file, read_results
from deepsphere_codec.models import DEFAULT_MODEL, list_models

CEILINGS = (CEILING, CUBEMAP_CEILING)


class Missing(NamedTuple):
    """Something that the report should show and cannot."""

    codec: str
    clip: str  # empty: all of them
    quality: float | None  # None: all of them
    why: str

    def __str__(self) -> str:
        quality = "" if self.quality is None else f"quality {self.quality:g}"
        return f"{', '.join(part for part in (self.codec, self.clip, quality) if part)}: {self.why}"


class Gathered(NamedTuple):
    """What the figures and tables are made of.

    Attributes:
        codecs: Models first, the default one before the others, then classical codecs.
        ceilings: What resampling alone leaves.
        clips: All that a codec has a point of, by name.
        missing: Points that some codec lacks.
        passed_over: Files that hold other measurements.
    """

    codecs: list[Results]
    ceilings: list[Results]
    clips: list[str]
    missing: list[Missing]
    passed_over: list[str]

    @property
    def all(self) -> list[Results]:
        return [*self.codecs, *self.ceilings]

    def codec(self, name: str) -> Results | None:
        """The first with this codec."""
        return next((each for each in self.codecs if each.codec == name), None)


def gather(paths: Sequence[Path], expected: Sequence[str] = ()) -> Gathered:
    """Read results files and find out what they lack.

    Args:
        paths: Results files; others, such as benchmarks, are passed over.
        expected: Codecs that should be there.
    Raises:
        UsageError: a file cannot be read, one curve is there twice, or no codec has any point.
    """
    files = [path for path in paths if is_results_file(path)]
    every = [(results, said) for path in files for results, said in zip(read_results(path), _said(path), strict=True)]
    _check_names([results.name for results, _ in every])
    codecs = sorted((each for each, _ in every if each.codec not in CEILINGS), key=_place)
    if not any(points for each in codecs for points in each.clips.values()):
        raise UsageError("there is nothing to report: no codec has a point; measure some with scripts/evaluate.py")
    clips = sorted({clip for each in codecs for clip, points in each.clips.items() if points})
    missing = [each for results, said in every for each in _missing(results, said, clips)]
    there = {each.codec for each in codecs}
    missing += [Missing(name, "", None, f"no results{_reason(name)}") for name in expected if name not in there]
    ceilings = [each for each, _ in every if each.codec in CEILINGS]
    return Gathered(codecs, ceilings, clips, missing, [path.name for path in paths if path not in files])


def _missing(results: Results, said: Sequence[Mapping[str, Any]], clips: Sequence[str]) -> Iterator[Missing]:
    """Clips and qualities that others have, with what the file says of them."""
    reasons = {(each.get("clip"), each.get("quality")): str(each.get("why", "")) for each in said}
    points = {clip: {point.quality for point in results.clips.get(clip, ())} for clip in clips}
    told = {quality for _, quality in reasons if quality is not None}
    wanted = sorted(told.union(*points.values()))
    for clip in clips:
        absent = [quality for quality in wanted if quality not in points[clip]]
        why = {quality: reasons.get((clip, quality)) or reasons.get((clip, None)) for quality in absent}
        if not points[clip] and len(set(why.values())) <= 1:
            yield Missing(results.name, clip, None, next(iter(why.values()), None) or "not measured")
        else:
            yield from (Missing(results.name, clip, each, why[each] or "not measured") for each in absent)


def _said(path: Path) -> list[list[Mapping[str, Any]]]:
    """What each of a file's results says is missing; results of before say nothing."""
    data = json.loads(path.read_text(encoding="utf-8"))
    lists = [each.get("missing", []) for each in (data if isinstance(data, list) else [data])]
    return [[entry for entry in each if isinstance(entry, dict)] if isinstance(each, list) else [] for each in lists]


def _reason(codec: str) -> str:
    """Where a codec is a model that does not come with the package, that this is so."""
    known = codec in ANCHORS or any(card["name"] == codec for card in list_models())
    return "" if known else "; its weights do not come with the package"


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"the results of {twice[0]!r} are there twice; give each file once")


def _place(results: Results) -> tuple[Any, ...]:
    """In the order of display: the default model as it is now, others like it, planar ones, classical ones."""
    classical = list(ANCHORS).index(results.codec) if results.codec in ANCHORS else -1
    planar = results.codec.startswith("planar")
    return (results.codec in ANCHORS, classical, results.codec != DEFAULT_MODEL, planar, results.name)
