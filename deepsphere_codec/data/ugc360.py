"""The UGC360 data set: 6,866 clips of 9 frames out of 1,321 films that users put on Vimeo and YouTube.

It is unpacked by hand (nothing here downloads), and then lies on disk as

    ROOT/UGC360-S/ugc360-s.csv                           a row a clip; S is 0.5K … 2.5K, M 3K … 6K, L 8K
    ROOT/UGC360-S/<video_id>/<clip_id>/01.png … 09.png   the frames; <clip_id> in two digits
    ROOT/UGC360-S/<video_id>/<clip_id>/flow.npy          how far each place moves, [rows, columns], pixels

and so on for M and L. Every picture is a whole sphere; some are not 2:1 (2560x1440, 7680x4320). The set is under CC
BY-SA 4.0, each clip under the Creative Commons licence of its film, which its row names.

Folders, file names and the columns read here (video_id, clip_id, license, width, height) are those that the authors'
own loader reads. Two things cannot be known without the archives, and nothing rests on them: how the lists spell a
licence (an unknown one is refused, and those that there are are told), and whether flow.npy is in them (the loader
needs it, the card does not show it; without it `flow` is None). What else the lists hold is not read.

Source: A. Regensky, M. Windsheimer, F. Brand, A. Kaup, "Beyond Perspective: Neural 360-Degree Video Compression", ICCV
2025; datasets/ugc360.py in github.com/FAU-LMS/NVC360; the card of huggingface.co/datasets/FAU-LMS/UGC360.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from deepsphere_codec.data.prepare import prepare
from deepsphere_codec.data.record import ClipSettings, SourceFilm
from deepsphere_codec.errors import UsageError
from deepsphere_codec.runtime.progress import Progress

SIZES = ("S", "M", "L")
FRAMES = 9  # of every clip


class Columns(NamedTuple):
    """What the lists call what is read from them."""

    video: str = "video_id"
    clip: str = "clip_id"
    licence: str = "license"
    width: str = "width"
    height: str = "height"


class UgcClip(NamedTuple):
    """A row of a list, and the files that it stands for."""

    name: str
    """As in "ugc360-s_<video_id>_01"."""
    size: str
    """"S", "M" or "L": which part of the data set it is in."""
    licence: str
    width: int
    height: int
    frames: tuple[Path, ...]
    """The first ones, in order, whether they are there or not."""
    flow: Path | None
    """An array [rows, columns], how far each place moves in pixels of the frames; coarser than they are."""

    @property
    def folder(self) -> Path:
        return self.frames[0].parent


def read_ugc360(
    root: Path,
    *,
    sizes: Sequence[str] = ("S",),
    licences: Collection[str] | None = None,
    frames: int = FRAMES,
    columns: Columns = Columns(),  # noqa: B008 (it cannot be changed)
) -> list[UgcClip]:
    """The clips that the lists name, in their order.

    Args:
        root: The folder that UGC360-S, UGC360-M and UGC360-L were unpacked in.
        sizes: Which of them.
        licences: Only clips under these, spelled as in the lists; all unless given.
        frames: Of each clip, 1 … 9.
        columns: For lists that call their columns otherwise.
    Raises:
        UsageError: an argument is out of range, a list is absent or cannot be read, or no clip has one of the licences.
    """
    if not 1 <= frames <= FRAMES:
        raise UsageError(f"clips of UGC360 have {FRAMES} frames; got {frames}, expected 1 to {FRAMES}")
    if not sizes or not set(sizes) <= set(SIZES):
        raise UsageError(f"UGC360 comes in the sizes {', '.join(SIZES)}; got {', '.join(sizes) or 'none'}")
    clips = [clip for size in dict.fromkeys(sizes) for clip in _clips(root, size, frames, columns)]
    if licences is None:
        return clips
    there = {clip.licence for clip in clips}
    if unknown := sorted(set(licences) - there):
        raise UsageError(f"no clip of {root} has the licence {unknown[0]!r}; there are {', '.join(sorted(there))}")
    return [clip for clip in clips if clip.licence in licences]


def prepare_ugc360(
    root: Path,
    out: Path,
    *,
    sizes: Sequence[str] = ("S",),
    licences: Collection[str] | None = None,
    frames: int = FRAMES,
    width: int = 1024,
    clips_per_film: int = 1,
    stride: int | None = None,
    columns: Columns = Columns(),  # noqa: B008 (it cannot be changed)
    on_progress: Progress | None = None,
) -> list[str]:
    """Bring clips of UGC360 into `out`, as `prepare_films` brings films there.

    A clip has 9 frames, however many are asked for: to put it beside films, give the settings that they have.

    Args:
        root, sizes, licences, columns: See `read_ugc360`.
        frames, width, clips_per_film, stride: See `ClipSettings`.
        on_progress: Called with (clips done, clips in all).
    Returns:
        One line for each clip that was left out, because frames are missing or cannot be read.
    Raises:
        UsageError: as `read_ugc360` and `prepare_films`.
    """
    settings = ClipSettings(frames, width, clips_per_film, stride)
    clips = read_ugc360(root, sizes=sizes, licences=licences, frames=min(frames, FRAMES), columns=columns)
    missing = {clip: [path for path in clip.frames if not path.exists()] for clip in clips}
    films = [_film(clip) for clip in clips if not missing[clip]]
    left_out = [f"{paths[0]} is missing; unpack its archive again" for paths in missing.values() if paths]
    return left_out + prepare(films, out, settings, on_progress)


def _film(clip: UgcClip) -> SourceFilm:
    folder = clip.folder
    source = "/".join(folder.parts[-3:])  # UGC360-S/<video_id>/<clip_id>, wherever the data set lies
    return SourceFilm(folder, source, clip.name, assume_erp=True)


def _clips(root: Path, size: str, frames: int, columns: Columns) -> Iterator[UgcClip]:
    name = f"ugc360-{size.lower()}"
    path = root / f"UGC360-{size}" / f"{name}.csv"
    for number, row in enumerate(_rows(path, columns), start=2):
        try:
            video, clip = row[columns.video], int(row[columns.clip])
            if "/" in video or not video.strip("."):
                raise ValueError("not the name of a folder")
            folder = path.parent / video / f"{clip:02d}"
            width, height = (round(float(row[each])) for each in (columns.width, columns.height))
        except (TypeError, ValueError) as error:
            raise UsageError(f"{path}, line {number}: a clip cannot be read from it; repair or remove it") from error
        pictures = tuple(folder / f"{index:02d}.png" for index in range(1, frames + 1))
        flow = folder / "flow.npy"
        entry = f"{name}_{video}_{clip:02d}"
        yield UgcClip(entry, size, row[columns.licence], width, height, pictures, flow if flow.exists() else None)


def _rows(path: Path, columns: Columns) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            rows, there = list(reader), reader.fieldnames or ()
    except FileNotFoundError as error:
        raise UsageError(f"{path} is not there; unpack {path.parent.name} into {path.parent.parent} first") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as a list of clips ({error}); unpack it again") from error
    if absent := [each for each in columns if each not in there]:
        raise UsageError(f"{path} has no column {absent[0]}; expected {', '.join(columns)}")
    return rows
