"""The UGC360 data set: 6,866 clips of 9 frames from 1,321 user-generated films on Vimeo and YouTube.

It is unpacked by the user (nothing is downloaded here), and then lies on disk as

    ROOT/UGC360-S/ugc360-s.csv                           one row per clip; S is 0.5K … 2.5K, M 3K … 6K, L 8K
    ROOT/UGC360-S/<video_id>/<clip_id>/01.png … 09.png   the frames; <clip_id> in two digits
    ROOT/UGC360-S/<video_id>/<clip_id>/flow.npy          magnitude of motion, [rows, columns], pixels

and likewise for M and L. Every picture is a whole sphere; some are not 2:1 (2560x1440, 7680x4320). The set is under CC
BY-SA 4.0, each clip under the Creative Commons licence of its film, which its row names.

Folders, file names and the columns read here (video_id, clip_id, license, width, height) are those of the authors' own
loader. Two facts are unknown without the archives, and the code does not depend on them: the spelling of licences in
the lists (an unknown one is refused with a message that names the existing ones), and whether flow.npy is included (the
loader needs it, the card does not mention it; without it `flow` is None). Other columns are not read.

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
FRAMES = 9  # frames of every clip


class Columns(NamedTuple):
    """Names of the columns that are read from the lists."""

    video: str = "video_id"
    clip: str = "clip_id"
    licence: str = "license"
    width: str = "width"
    height: str = "height"


class UgcClip(NamedTuple):
    """One row of a list, and the files of its clip."""

    name: str
    """Name of the clip, "ugc360-s_<video_id>_01"."""
    size: str
    """Part of the data set: "S", "M" or "L"."""
    licence: str
    width: int
    height: int
    frames: tuple[Path, ...]
    """Paths of the first frames in order, whether they exist or not."""
    flow: Path | None
    """Array of magnitudes of motion, [rows, columns], in pixels of the frames but coarser; None if absent."""

    @property
    def folder(self) -> Path:
        """Folder of the frames."""
        return self.frames[0].parent


def read_ugc360(
    root: Path,
    *,
    sizes: Sequence[str] = ("S",),
    licences: Collection[str] | None = None,
    frames: int = FRAMES,
    columns: Columns = Columns(),  # noqa: B008 (it cannot be changed)
) -> list[UgcClip]:
    """Read the clips of the lists, in their order.

    Args:
        root: Folder that UGC360-S, UGC360-M and UGC360-L were unpacked in.
        sizes: Parts of the data set to read.
        licences: Licences of the clips to read, spelled as in the lists; None for all.
        frames: Frames per clip, 1 … 9.
        columns: Names of the columns.
    Returns:
        Clips.
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
    """Convert clips of UGC360 to prepared clips in `out`, as `prepare_films` does for films.

    A clip has at most 9 frames, whatever `frames` is; to add clips to a folder of prepared films, pass the settings of
    that folder.

    Args:
        root: See `read_ugc360`.
        out: Folder to write to.
        sizes: See `read_ugc360`.
        licences: See `read_ugc360`.
        frames: See `ClipSettings`.
        width: See `ClipSettings`.
        clips_per_film: See `ClipSettings`.
        stride: See `ClipSettings`.
        columns: See `read_ugc360`.
        on_progress: Called with (clips done, clips in all).
    Returns:
        One line for each clip that was left out because frames are missing or cannot be read.
    Raises:
        UsageError: see `read_ugc360` and `prepare_films`.
    """
    settings = ClipSettings(frames, width, clips_per_film, stride)
    clips = read_ugc360(root, sizes=sizes, licences=licences, frames=min(frames, FRAMES), columns=columns)
    missing = {clip: [path for path in clip.frames if not path.exists()] for clip in clips}
    films = [_film(clip) for clip in clips if not missing[clip]]
    left_out = [f"{paths[0]} is missing; unpack its archive again" for paths in missing.values() if paths]
    return left_out + prepare(films, out, settings, on_progress)


def _film(clip: UgcClip) -> SourceFilm:
    folder = clip.folder
    source = "/".join(folder.parts[-3:])  # UGC360-S/<video_id>/<clip_id>, independent of the data set's location
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
