"""Measurement of codecs on a folder of clips with stored results; an interrupted run can be continued.

A point that cannot be measured is stored as missing, with the reason, and tried again in the next run; the other points
are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.evaluation.environment import environment
from deepsphere_codec.evaluation.results import Missing, Point, Results, read_results, write_results

WEIGHTS = {"weights_hash", "tables_hash"}  # settings that change with training: points with other values are outdated


class Codec(Protocol):
    """Codec that can be measured on a clip: `AnchorCodec`, `ModelCodec`, `CeilingCodec`."""

    codec: str  # name on the command line
    name: str  # name of its curve
    description: str
    settings: dict[str, Any]  # everything the points depend on, in JSON types: points of other settings are not reused
    qualities: tuple[float, ...]  # default qualities

    def measure(self, clip: Path, quality: float) -> Point:
        """Measure one clip at one quality.

        Args:
            clip: Film to code.
            quality: Quality on the codec's own scale.
        Returns:
            Rate, metrics and seconds.
        Raises:
            CodecError: the point cannot be measured.
        """
        ...


class PointProgress(NamedTuple):
    """Progress of a measurement, for a progress bar: one more point measured or missing."""

    codec: str
    clip: str
    point: Point | Missing
    done: int
    total: int


OnPoint = Callable[[PointProgress], None]


def evaluate(
    codecs: Sequence[Codec],
    clips: Sequence[Path],
    out: str | Path,
    *,
    qualities: Sequence[float] | None = None,
    jobs: int = 1,
    on_point: OnPoint | None = None,
) -> list[Results]:
    """Measure codecs on clips and write results JSON after each point.

    Existing points of the same codec with the same settings are reused; those of other weights are dropped.

    Args:
        codecs: Codecs to measure.
        clips: Films, identified by their file names.
        out: Results file for all codecs together, or a folder for one file per codec.
        qualities: Qualities on the codecs' own scale; None for each codec's default.
        jobs: Number of points measured in parallel; they share the processor, so give models one thread each.
        on_point: Called after each point that was measured or found to be missing.
    Returns:
        Results of each codec, including missing points.
    Raises:
        UsageError: two clips have the same name, or `out` is no results file or one of other settings (apart from
            weights).
    """
    _check_names(clips)
    files = _files(codecs, Path(out))
    kept = {path: _read_if_there(path) for path in set(files.values())}
    finished = []
    for codec in codecs:
        path = files[codec.codec]

        def save(results: Results, path: Path = path) -> None:
            kept[path][results.codec] = results
            write_results(path, list(kept[path].values()))

        finished.append(_evaluate_one(codec, clips, kept[path].get(codec.codec), qualities, jobs, save, on_point))
    return finished


def _evaluate_one(
    codec: Codec,
    clips: Sequence[Path],
    before: Results | None,
    qualities: Sequence[float] | None,
    jobs: int,
    save: Callable[[Results], None],
    on_point: OnPoint | None,
) -> Results:
    results = Results(codec.name, codec.description, codec.codec, codec.settings, {}, environment() | {"jobs": jobs})
    results = replace(results, clips=_reusable(before, codec.settings), missing=_still_missing(before, codec.settings))
    # All clips at one quality before the next, so that points of the mean curve are complete early.
    wanted = [(clip, float(quality)) for quality in qualities or codec.qualities for clip in clips]
    todo = [(clip, quality) for clip, quality in wanted if not _has(results.clips, clip.name, quality)]
    for done, (clip, point) in enumerate(_side_by_side(codec, todo, jobs), 1):
        if isinstance(point, Missing):
            results = results.with_missing(point)
        else:
            results = results.with_point(clip.name, point)
        save(results)
        if on_point:
            on_point(PointProgress(codec.codec, clip.name, point, done, len(todo)))
    return results


def _side_by_side(
    codec: Codec, wanted: Sequence[tuple[Path, float]], jobs: int
) -> Iterator[tuple[Path, Point | Missing]]:
    """Points in order of completion, `jobs` in parallel."""
    with ThreadPoolExecutor(jobs) as pool:  # threads suffice: the work is done by other processes and in libraries
        clip_of = {pool.submit(_measured, codec, clip, quality): clip for clip, quality in wanted}
        place = {future: i for i, future in enumerate(clip_of)}
        pending = set(clip_of)
        try:
            while pending:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in sorted(finished, key=place.__getitem__):
                    yield clip_of[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _measured(codec: Codec, clip: Path, quality: float) -> Point | Missing:
    """A point, or the reason for its absence, whatever the exception: one clip must not stop a long run."""
    try:
        return codec.measure(clip, quality)
    except CodecError as error:
        why = str(error)
    except Exception as error:
        why = f"unexpected {type(error).__name__}: {error}"
    return Missing(clip.name, quality, " ".join(why.split()))


def _reusable(before: Results | None, settings: Mapping[str, Any]) -> Mapping[str, Sequence[Point]]:
    """Earlier points with these settings; none if the weights differ."""
    if before is None:
        return {}
    differ = {key for key in {*before.settings, *settings} if before.settings.get(key) != settings.get(key)}
    if differ - WEIGHTS:
        key = min(differ - WEIGHTS)
        raise UsageError(
            f"the results of {before.codec} there have {key} {before.settings.get(key)}, not {settings.get(key)}; "
            f"name another --out, or remove them first"
        )
    return {} if differ else before.clips


def _still_missing(before: Results | None, settings: Mapping[str, Any]) -> Sequence[Missing]:
    """Points missing in an earlier run with these settings; they stay unless this run tries them again."""
    return before.missing if before and before.settings == settings else ()


def _has(clips: Mapping[str, Sequence[Point]], clip: str, quality: float) -> bool:
    return any(point.quality == quality for point in clips.get(clip, ()))


def _files(codecs: Sequence[Codec], out: Path) -> dict[str, Path]:
    if out.suffix == ".json":
        return {codec.codec: out for codec in codecs}
    if out.is_file():
        raise UsageError(f"{out} is a file that does not end in .json; name a results file, or a folder for them")
    return {codec.codec: out / f"{Path(codec.codec).name}.json" for codec in codecs}


def _read_if_there(path: Path) -> dict[str, Results]:
    return {results.codec: results for results in read_results(path)} if path.exists() else {}


def _check_names(clips: Sequence[Path]) -> None:
    names = [clip.name for clip in clips]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UsageError(f"two clips are called {sorted(twice)[0]}; rename one, results are kept by file name")
