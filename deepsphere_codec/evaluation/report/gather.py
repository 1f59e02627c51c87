"""Collection of all results of a report in display order, with a list of missing data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors import ssf2020
from deepsphere_codec.evaluation.anchors.classical import ANCHORS
from deepsphere_codec.evaluation.curves import CEILING, CUBEMAP_CEILING
from deepsphere_codec.evaluation.diagnosis.record import Diagnosis, is_diagnosis_file, read_diagnosis
from deepsphere_codec.evaluation.results import Results, is_results_file, read_results
from deepsphere_codec.models import DEFAULT_MODEL, list_models

CEILINGS = (CEILING, CUBEMAP_CEILING)
NOT_MEASURED = "not measured"


class Gap(NamedTuple):
    """Data that a report lacks: a point, a whole clip, or a whole codec."""

    codec: str
    why: str
    clip: str = ""  # empty for all
    quality: float | None = None  # None for all

    def __str__(self) -> str:
        quality = "" if self.quality is None else f"quality {self.quality:g}"
        return f"{', '.join(part for part in (self.codec, self.clip, quality) if part)}: {self.why}"


class Gathered(NamedTuple):
    """Results that figures and tables are made from.

    Attributes:
        codecs: Results of codecs: models first, the default one before the others, then classical codecs.
        ceilings: Results of resampling alone.
        clips: Names of all clips that any codec has a point of.
        missing: Data that some codec lacks.
        passed_over: Files that hold other measurements.
        diagnoses: Diagnoses of models.
    """

    codecs: list[Results]
    ceilings: list[Results]
    clips: list[str]
    missing: list[Gap]
    passed_over: list[str]
    diagnoses: Sequence[Diagnosis] = ()

    @property
    def all(self) -> list[Results]:
        """Results of codecs and ceilings."""
        return [*self.codecs, *self.ceilings]

    def codec(self, name: str) -> Results | None:
        """Return the first results of this codec; None if there are none."""
        return next((each for each in self.codecs if each.codec == name), None)


def gather(paths: Sequence[Path], expected: Sequence[str] = ()) -> Gathered:
    """Read results files and find missing data.

    Args:
        paths: Results files and diagnoses; others, such as benchmarks, are skipped.
        expected: Codecs that should be included.
    Returns:
        Results.
    Raises:
        UsageError: a file cannot be read, a curve occurs twice, or no codec has any point.
    """
    files = [path for path in paths if is_results_file(path)]
    diagnosed = [path for path in paths if path not in files and is_diagnosis_file(path)]
    every = [results for path in files for results in read_results(path)]
    _check_names([results.name for results in every])
    codecs = sorted((each for each in every if each.codec not in CEILINGS), key=_place)
    if not any(points for each in codecs for points in each.clips.values()):
        raise UsageError("there is nothing to report: no codec has a point; measure some with scripts/evaluate.py")
    clips = sorted({clip for each in codecs for clip, points in each.clips.items() if points})
    missing = [gap for each in every for gap in _gaps(each, clips)]
    there = {each.codec for each in codecs}
    missing += [Gap(name, f"no results{_reason(name)}") for name in expected if name not in there]
    ceilings = [each for each in every if each.codec in CEILINGS]
    passed_over = [path.name for path in paths if path not in (*files, *diagnosed)]
    return Gathered(codecs, ceilings, clips, missing, passed_over, [read_diagnosis(path) for path in diagnosed])


def _gaps(results: Results, clips: Sequence[str]) -> Iterator[Gap]:
    """Clips and qualities that these results record as missing, or that they lack and others have."""
    said = {(each.clip, each.quality): each.why for each in results.missing}
    clips = sorted({*clips, *(clip for clip, _ in said)})
    there = {clip: {point.quality for point in results.clips.get(clip, ())} for clip in clips}
    qualities = sorted({quality for _, quality in said}.union(*there.values()))
    for clip in clips:
        why = {each: said.get((clip, each), NOT_MEASURED) for each in qualities if each not in there[clip]}
        if not there[clip] and len(set(why.values())) <= 1:
            yield Gap(results.name, next(iter(why.values()), NOT_MEASURED), clip)
        else:
            yield from (Gap(results.name, reason, clip, quality) for quality, reason in why.items())


def comes_along(codec: str) -> bool:
    """Check whether a codec needs nothing but the package and libraries."""
    return codec in (*ANCHORS, *CEILINGS) or any(card["name"] == codec for card in list_models())


def _reason(codec: str) -> str:
    """Advice if a codec's weights do not come with the package."""
    if comes_along(codec):
        return ""
    hint = f": {ssf2020.how_to_get(f'models/{codec}')}" if codec == ssf2020.NAME else ""
    return f"; its weights do not come with the package{hint}"


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"the results of {twice[0]!r} are there twice; give each file once")


def _place(results: Results) -> tuple[Any, ...]:
    """Sort key of the display order: the current default model, others like it, planar ones, classical ones."""
    classical = list(ANCHORS).index(results.codec) if results.codec in ANCHORS else -1
    planar = results.codec.startswith("planar")
    return (results.codec in ANCHORS, classical, results.codec != DEFAULT_MODEL, planar, results.name)
