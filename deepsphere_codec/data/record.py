"""Settings and names of clips, and the record of them that is stored beside the clips."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

from deepsphere_codec.errors import UsageError

FILMS = {".mp4", ".mkv", ".webm", ".mov", ".y4m"}
PHOTOS = {".jpg", ".jpeg", ".png"}
RECORD = "prepared.json"

Stereo = Literal["none", "top-bottom", "side-by-side"]
EYES: dict[Stereo, tuple[str, ...]] = {"none": ("",), "top-bottom": ("_L", "_R"), "side-by-side": ("_L", "_R")}
"""Suffixes of a film's name per eye; the left eye is above or on the left. Source: Google, Spherical Video V2, st3d."""


@dataclass(frozen=True)
class ClipSettings:
    """Settings for cutting films into clips; all clips of a folder share them.

    Attributes:
        frames: Frames per clip; fewer only if the film has fewer.
        width: Width of the pictures in pixels; larger pictures are averaged down to it.
        clips_per_film: Largest number of clips per film, from its beginning; a later clip that the film's end would cut
            short is dropped.
        stride: Frames from the beginning of a clip to that of the next; None for `frames`.
    """

    frames: int = 32
    width: int = 1024
    clips_per_film: int = 1
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.frames < 1 or self.clips_per_film < 1:
            raise UsageError(f"{self.clips_per_film} clips of {self.frames} frames are none; expected at least 1 of 1")
        if self.width < 4 or self.width % 4:
            raise UsageError(f"the width of clips is {self.width}; expected a multiple of 4")
        if self.step < self.frames:
            raise UsageError(f"the stride is {self.stride}; expected at least a clip's {self.frames} frames")
        if self.stride is not None and self.clips_per_film == 1:
            raise UsageError("a stride lies between clips; expected clips_per_film of at least 2 with it")

    @property
    def step(self) -> int:
        """Stride in frames."""
        return self.frames if self.stride is None else self.stride

    @property
    def reach(self) -> int:
        """Number of frames that are read from a film."""
        return (self.clips_per_film - 1) * self.step + self.frames


class SourceFilm(NamedTuple):
    """Film or panorama to be converted to clips."""

    path: Path
    """File, or folder of PNG frames."""
    source: str
    """Identifier of the film in the record."""
    name: str
    """Name of its clips."""
    stereo: Stereo = "none"
    assume_erp: bool = False
    """Whether it shows the whole sphere regardless of its aspect ratio."""

    def clips(self, most: int) -> list[list[str]]:
        """List the array names of each clip, one per eye, for at most `most` clips."""
        photo = PurePath(self.source).suffix.lower() in PHOTOS
        numbers = [""] if photo or most == 1 else [f"_{number:03d}" for number in range(most)]
        return [[f"{self.name}{eye}{number}" for eye in EYES[self.stereo]] for number in numbers]


def name_apart(
    films: Sequence[SourceFilm], out: Path, settings: ClipSettings, unfinished: Path
) -> dict[str, SourceFilm]:
    """Give each film a unique name and write the record; films of earlier runs keep their names.

    Args:
        films: Films to convert.
        out: Folder of the clips and their record.
        settings: Settings of the clips.
        unfinished: Folder for unfinished files.
    Returns:
        Films by source.
    Raises:
        UsageError: two films have the same source, the folder was prepared with other settings, or its record cannot
            be read.
    """
    begun = any(out.glob("*.npy"))
    recorded = _recorded(out / RECORD, settings) if begun else {}
    sources = Counter(film.source for film in films)
    for film in films:
        if sources[film.source] > 1:
            raise UsageError(f"there are two films {film.source}; rename one folder, or name the folder above both")
    named = recorded | _named_apart(films, recorded, settings.clips_per_film)
    if named != recorded and (not begun or (out / RECORD).exists()):  # older folders have no record of their settings
        _record(named.values(), settings, unfinished / RECORD)
        os.replace(unfinished / RECORD, out / RECORD)
    return named


def _named_apart(films: Sequence[SourceFilm], recorded: dict[str, SourceFilm], most: int) -> dict[str, SourceFilm]:
    """Choose names for the new films so that no two films write the same array."""

    def arrays(film: SourceFilm) -> set[str]:
        return set(chain.from_iterable(film.clips(most)))

    taken = set(chain.from_iterable(map(arrays, recorded.values())))
    new = [film for film in films if film.source not in recorded]
    wishes = Counter(chain.from_iterable(map(arrays, new)))
    named = {film.source: film for film in new if all(wishes[a] == 1 and a not in taken for a in arrays(film))}
    taken.update(chain.from_iterable(map(arrays, named.values())))
    for film in new:
        if film.source not in named:
            choices = (film._replace(name=name) for name in _longer_names(film))
            named[film.source] = next(choice for choice in choices if taken.isdisjoint(arrays(choice)))
            taken |= arrays(named[film.source])
    return named


def _longer_names(film: SourceFilm) -> Iterator[str]:
    source = PurePath(film.source)
    ending = source.suffix if source.suffix.lower() in FILMS | PHOTOS else ""
    name = film.source.removesuffix(ending).replace("/", "_")
    name = f"photo_{name}" if ending.lower() in PHOTOS else name
    return chain([name], (f"{name}_{number}" for number in count(2)))


def _record(films: Iterable[SourceFilm], settings: ClipSettings, path: Path) -> None:
    names = {film.source: {"name": film.name, "stereo": film.stereo} for film in films}
    path.write_text(json.dumps({"settings": _described(settings), "films": names}, indent=1) + "\n")


def _recorded(path: Path, settings: ClipSettings) -> dict[str, SourceFilm]:
    """Films of earlier runs by source; empty if there is no record."""
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text())
        was, now = dict(record["settings"]), _described(settings)
        films = {
            each: SourceFilm(Path(), each, known["name"], known["stereo"]) for each, known in record["films"].items()
        }
        if was.keys() != now.keys() or not all(film.stereo in EYES for film in films.values()):
            raise ValueError("settings, or ways to hold two eyes, that this version does not know")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} cannot be read; delete it to go on without what it says") from error
    if was != now:
        key = next(key for key in now if was[key] != now[key])
        raise UsageError(
            f"{path.parent} holds clips with {key} {was[key]}, not {now[key]}; choose another folder, or delete them"
        )
    return films


def _described(settings: ClipSettings) -> dict[str, int]:
    return asdict(settings) | {"stride": settings.step}
