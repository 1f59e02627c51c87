"""Measure codecs on a folder of clips and keep what was measured: a run that was broken off goes on where it was.

A point that cannot be measured is kept as missing, with its reason, and tried again in the next run; the rest is done.
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

WEIGHTS = {"weights_hash", "tables_hash"}  # settings that new training changes: their old points are outdated


class Codec(Protocol):
    """Something that can be measured on a clip: `AnchorCodec`, `ModelCodec`, `CeilingCodec`."""

    codec: str  # as on the command line
    name: str  # of its curve
    description: str
    settings: dict[str, Any]  # all that the points depend on, in JSON's types: points of other settings are not reused
    qualities: tuple[float, ...]  # measured unless others are asked for

    def measure(self, clip: Path, quality: float) -> Point: ...


class PointProgress(NamedTuple):
    """One point more, or one that is missing; for a progress bar."""

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

    Points that OUT already holds of the same codec with the same settings are kept; those of other weights are dropped.

    Args:
        codecs: What to measure.
        clips: Films, known by their file names.
        out: A results file for all codecs together; or a folder, which gets one file for each codec.
        qualities: On the codecs' own scale; each codec's default unless given.
        jobs: Points that are measured side by side; they share the processor, so give models one thread each.
        on_point: Called after each point that was measured, or found to be missing.
    Returns:
        The results of each codec, with what is missing in them.
    Raises:
        UsageError: two clips have one name, or OUT is no results file or one of other settings (other weights aside).
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
    # All clips at one quality before the next: what is there after an hour is a whole point of the mean curve.
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
    """Points as they come, `jobs` at a time."""
    with ThreadPoolExecutor(jobs) as pool:  # threads: the work is done by processes and libraries of their own
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
    """A point; or why there is none, whatever it was: one clip must not cost a night's run."""
    try:
        return codec.measure(clip, quality)
    except CodecError as error:
        why = str(error)
    except Exception as error:
        why = f"unexpected {type(error).__name__}: {error}"
    return Missing(clip.name, quality, " ".join(why.split()))


def _reusable(before: Results | None, settings: Mapping[str, Any]) -> Mapping[str, Sequence[Point]]:
    """Earlier points with these settings; none where the weights are others."""
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
    """What an earlier run with these settings did not get; it stays, where this run does not try it again."""
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
