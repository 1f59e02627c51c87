"""Sensitivity of codecs to the orientation: a film is rotated, coded, decoded, rotated back, and compared.

For each rotation, all films being lossless with 8 bits:

    source ── turn ──> turned ── encode, decode ──> decoded ── turn back ──┐
                         └─────────────── turn back ─────────> reference ──┴─> WS-PSNR

An interrupted run can be continued.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from deepsphere_codec.codec import MAX_QUALITY, MIN_QUALITY
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.classical import ANCHORS
from deepsphere_codec.evaluation.anchors.ssf2020.measure import SsfCodec
from deepsphere_codec.evaluation.compare import compare_frames, compare_videos
from deepsphere_codec.evaluation.environment import environment
from deepsphere_codec.evaluation.evaluate import WEIGHTS, OnPoint, PointProgress
from deepsphere_codec.evaluation.results import Point
from deepsphere_codec.metrics.frame import measure_quick
from deepsphere_codec.video import YuvFrame, open_video
from deepsphere_codec.video.clips import find_clips
from studies.rotation.film import KERNEL, FrameRotation, rotate_film
from studies.rotation.results import (
    ClipRotations,
    CodecRotations,
    RotationResults,
    read_rotations,
    write_rotations,
)
from studies.rotation.set import (
    Direction,
    Turn,
    busiest_direction,
    lon_lat_deg,
    quaternion_of,
    rotation_set,
)
from studies.rotation.summary import Neighbour, RotationPoint

CRF_STEP, QUALITY_STEP = 3.0, 1.0  # distance of the neighbouring qualities that determine the slope


class FilmCodec(Protocol):
    """Codec that can keep the decoded film: `AnchorCodec`, `ModelCodec`, `SsfCodec`."""

    codec: str
    name: str
    settings: dict[str, Any]

    def measure(self, clip: Path, quality: float, *, keep: Path | None = None) -> Point:
        """Measure one clip at one quality.

        Args:
            clip: Film to code.
            quality: Quality on the codec's own scale.
            keep: File for the decoded film; None to discard it.
        Returns:
            Rate and metrics.
        """
        ...


class RotationOptions(NamedTuple):
    """Frames of each clip, number of rotations, and seed of the rotations."""

    frames: int | None = 8
    rotations: int = 24
    seed: int = 0


class TurnedFilms(NamedTuple):
    """Films of one rotation of a clip, which all codecs share."""

    turned: Path
    reference: Path
    resampling_ws_psnr_yuv: float


def clips_of(paths: Sequence[str | Path]) -> list[Path]:
    """List films, and the films in folders.

    Raises:
        UsageError: a path does not exist, a folder holds no film, or two films have the same name.
    """
    clips: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise UsageError(f"{path} does not exist; name clips, or folders of clips")
        clips += find_clips(path) if path.is_dir() else [path]
    names = [clip.name for clip in clips]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"two clips are called {twice[0]}; rename one, results are kept by file name")
    return clips


def measure_rotations(
    codecs: Mapping[str, tuple[FilmCodec, float]],
    clips: Sequence[Path],
    out: Path,
    options: RotationOptions | None = None,
    *,
    on_point: OnPoint | None = None,
) -> RotationResults:
    """Measure codecs under rotations of clips, and write the JSON file after each rotation.

    Args:
        codecs: Codecs by name, each with its quality.
        clips: Films, identified by their file names.
        out: JSON file; existing results of the same codecs with the same settings are reused.
        options: Frames of each clip, number of rotations, seed.
        on_point: Called after each rotation, and after each quality measured for the slope.
    Returns:
        Results.
    Raises:
        UsageError: `out` has other settings (apart from weights of a model), or a clip cannot be measured.
    """
    options = options or RotationOptions()
    results = _results_to_go_on_with(codecs, out, options)
    regions = {clip.name: _busiest(clip, options.frames) for clip in clips}
    run = _Run(results, out, codecs, regions, on_point)
    work = [(clip, rotation_set(options.rotations, regions[clip.name], seed=options.seed)) for clip in clips]
    run.total = sum(run.missing(clip, turns) for clip, turns in work)
    for clip, turns in work:
        run.neighbours(clip)
        for turn in turns:
            run.turn(clip, turn, options.frames)
    return run.results


def neighbours_of(codec: FilmCodec, quality: float) -> tuple[float, float]:
    """Return the next lower and higher qualities of a codec.

    Args:
        codec: Codec.
        quality: Quality on the codec's own scale.
    Returns:
        Both qualities; at an end of the scale, the quality itself.
    """
    if isinstance(codec, SsfCodec):  # it has separate weights for some qualities only
        below, above = ([q for q in codec.qualities if side * (q - quality) > 0] for side in (-1, 1))
        return max(below, default=quality), min(above, default=quality)
    if codec.codec in ANCHORS:
        return max(quality - CRF_STEP, 0.0), quality + CRF_STEP
    return max(quality - QUALITY_STEP, MIN_QUALITY), min(quality + QUALITY_STEP, MAX_QUALITY)


class _Run:
    """Results that are extended and written after each measurement."""

    def __init__(
        self,
        results: RotationResults,
        out: Path,
        codecs: Mapping[str, tuple[FilmCodec, float]],
        regions: Mapping[str, Direction],
        on_point: OnPoint | None,
    ) -> None:
        self.results = results
        self.total = self._done = 0
        self._out, self._codecs, self._on_point = out, codecs, on_point
        self._regions = {clip: lon_lat_deg(direction) for clip, direction in regions.items()}

    def missing(self, clip: Path, turns: Sequence[Turn]) -> int:
        """Count the points to measure.

        Args:
            clip: Film.
            turns: Rotations.
        Returns:
            Number of missing points.
        """
        neighbours = sum(len(self._neighbours_missing(codec, clip)) for codec in self._codecs)
        return neighbours + sum(len(self._codecs_missing(clip, turn)) for turn in turns)

    def neighbours(self, clip: Path) -> None:
        """Measure the neighbouring qualities on the original film."""
        for name, (codec, _) in self._codecs.items():
            for quality in self._neighbours_missing(name, clip):
                point = codec.measure(clip, quality)
                bpp = _rate(name, point)
                before, neighbour = self._at(name, clip), Neighbour(quality, bpp, point.ws_psnr_yuv)
                changed = replace(before, neighbours=(*before.neighbours, neighbour))
                self._keep(name, clip, changed, "neighbour for the slope", point)

    def turn(self, clip: Path, turn: Turn, frames: int | None) -> None:
        """Measure one rotation with the codecs that lack it.

        Args:
            clip: Film.
            turn: Rotation.
            frames: Number of frames; None for all.
        """
        names = self._codecs_missing(clip, turn)
        if not names:
            return
        with tempfile.TemporaryDirectory(prefix="deepsphere-") as folder:
            films = _turned_films(clip, turn, frames, Path(folder))
            for number, name in enumerate(names):
                codec, quality = self._codecs[name]
                decoded = Path(folder, f"decoded{number}.mkv")
                point = codec.measure(films.turned, quality, keep=decoded)
                measured = _rotation_point(turn, _rate(name, point), point, films, decoded)
                before = self._at(name, clip)
                changed = replace(before, rotations=(*before.rotations, measured))
                self._keep(name, clip, changed, turn.label, replace(point, ws_psnr_yuv=measured.ws_psnr_yuv))

    def _neighbours_missing(self, name: str, clip: Path) -> list[float]:
        wanted = dict.fromkeys(neighbours_of(*self._codecs[name]))
        there = {each.quality for each in self._at(name, clip).neighbours}
        return [quality for quality in wanted if quality not in there]

    def _codecs_missing(self, clip: Path, turn: Turn) -> list[str]:
        there = {name: {each.label for each in self._at(name, clip).rotations} for name in self._codecs}
        return [name for name in self._codecs if turn.label not in there[name]]

    def _at(self, name: str, clip: Path) -> ClipRotations:
        """Existing results for a clip; none if they belong to a film of the same name with another busiest region."""
        nothing = ClipRotations(self._regions[clip.name])
        there = self.results.codecs[name].clips.get(clip.name, nothing)
        return there if there.busiest == nothing.busiest else nothing

    def _keep(self, name: str, clip: Path, changed: ClipRotations, label: str, point: Point) -> None:
        self.results = self.results.with_clip(name, clip.name, changed)
        write_rotations(self._out, self.results)
        self._done += 1
        if self._on_point:
            self._on_point(PointProgress(name, f"{clip.name} ({label})", point, self._done, self.total))


def _results_to_go_on_with(
    codecs: Mapping[str, tuple[FilmCodec, float]], out: Path, options: RotationOptions
) -> RotationResults:
    settings = {**options._asdict(), "kernel": KERNEL}
    before = read_rotations(out) if out.exists() else RotationResults(settings)
    _check_same(before.settings, settings, str(out))
    kept = dict(before.codecs)
    for name, (codec, quality) in codecs.items():
        new = CodecRotations(codec.name, quality, codec.settings)
        old = before.codecs.get(name, new)
        where = f"{out}: {name}"
        _check_same({"quality": old.quality}, {"quality": quality}, where)
        _check_same(_without_weights(old.settings), _without_weights(codec.settings), where)
        kept[name] = replace(new, clips=old.clips if old.settings == codec.settings else {})
    return RotationResults(settings, kept, environment())


def _without_weights(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in WEIGHTS}


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            raise UsageError(
                f"{where} has {key} {before.get(key)}, not {now.get(key)}; name another --out, or remove it first"
            )


def _busiest(clip: Path, frames: int | None) -> Direction:
    with open_video(clip, frames=(0, frames)) as reader:
        return busiest_direction(reader)


def _turned_films(clip: Path, turn: Turn, frames: int | None, folder: Path) -> TurnedFilms:
    turned, reference = folder / f"{clip.stem}.mkv", folder / f"{clip.stem}.reference.mkv"
    rotate_film(clip, turned, turn.rotation, frames)
    rotate_film(turned, reference, turn.rotation.T)
    loss = compare_videos(clip, reference, frames=(0, frames), measure=measure_quick).mean.ws_psnr_yuv
    return TurnedFilms(turned, reference, loss)


def _rotation_point(turn: Turn, bpp: float, point: Point, films: TurnedFilms, decoded: Path) -> RotationPoint:
    with open_video(films.reference) as reference, open_video(decoded) as film:
        back = FrameRotation(film.info.height, film.info.width, turn.rotation.T)
        mean = compare_frames(_pairs(reference, film, back.apply), measure=measure_quick).mean
    assert point.ws_psnr_y is not None  # measured by every codec
    return RotationPoint(
        label=turn.label,
        quaternion=quaternion_of(turn.rotation),
        bpp=bpp,
        ws_psnr_yuv=mean.ws_psnr_yuv,
        ws_psnr_y=mean.ws_psnr_y,
        rotated_ws_psnr_yuv=point.ws_psnr_yuv,
        rotated_ws_psnr_y=point.ws_psnr_y,
        resampling_ws_psnr_yuv=films.resampling_ws_psnr_yuv,
    )


def _pairs(
    reference: Iterator[YuvFrame], decoded: Iterator[YuvFrame], back: Callable[[YuvFrame], YuvFrame]
) -> Iterator[tuple[YuvFrame, YuvFrame]]:
    for frame, frame_hat in zip(reference, decoded, strict=True):
        yield frame, back(frame_hat)


def _rate(name: str, point: Point) -> float:
    if point.bpp is None:
        raise UsageError(f"{name} codes nothing, so it has no rate to compare; name a codec that does")
    return point.bpp
