"""Preparation of films for sampling: one memory-mapped array per clip.

Clips are named after their film, `a.npy` for `indoor/a.mp4`; if two films have the same name, after the whole path from
the given folder on, `films_indoor_a.npy`. Stereo films add the eye (`a_L`), and films with several clips a number
(`a_L_000`). Photos become `photo_a.npy`.

`prepared.json` in the same folder records the settings and the film of each name, so that all clips of a folder are
prepared with the same settings, in any number of runs. A film is identified by its path from the given folder on, that
folder's name included, so that the whole folder may be moved.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import shutil
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path, PurePath

import numpy as np

from deepsphere_codec.data.packing import Packed, pack, split_eyes
from deepsphere_codec.data.record import EYES, FILMS, PHOTOS, ClipSettings, SourceFilm, Stereo, name_apart
from deepsphere_codec.errors import UsageError
from deepsphere_codec.runtime.progress import Progress
from deepsphere_codec.video import VideoInfo, VideoReader, open_video

_UNFINISHED = ".unfinished"
_EARLIER_UNFINISHED = re.compile(r"\..+\.npy\.\d+")  # unfinished files of versions before .unfinished
_HEADER_BYTES = 128  # header of an .npy file whose shape has up to 15 digits in total


def prepare_films(
    folder: Path | Sequence[Path],
    out: Path,
    *,
    frames: int = 32,
    width: int = 1024,
    clips_per_film: int = 1,
    stride: int | None = None,
    stereo: Stereo = "none",
    assume_erp: bool = False,
    on_progress: Progress | None = None,
) -> list[str]:
    """Convert all films and panoramas below one or several folders to clips in `out`; existing clips stay.

    A clip becomes `out/name.npy`, uint8 [frames, 3/2 height, width], planar 4:2:0 as `sample_film` takes it. Memory
    use is that of a few pictures. An interrupted run leaves no partial clips, and the next run continues it.

    Args:
        folder: Folder or folders with films.
        out: Folder to write to.
        frames: See `ClipSettings`.
        width: See `ClipSettings`.
        clips_per_film: See `ClipSettings`.
        stride: See `ClipSettings`.
        stereo: Layout of the two eyes in films (not photos), each a whole sphere, squeezed or not: `name_L`, `name_R`.
        assume_erp: Treat films that are not 2:1 as whole spheres too; they are scaled to 2:1.
        on_progress: Called with (films done, films in all).
    Returns:
        One line for each file that was left out because it could not be read.
    Raises:
        UsageError: a folder is absent or holds neither films nor panoramas, a setting is out of range, or `out` is
            full, cannot be written, is in use by another run or was prepared with other settings.
    """
    settings = ClipSettings(frames, width, clips_per_film, stride)
    folders = [folder] if isinstance(folder, Path) else folder
    films = [film for each in folders for film in find_films(each, stereo=stereo, assume_erp=assume_erp)]
    return prepare(films, out, settings, on_progress)


def find_films(folder: Path, *, stereo: Stereo = "none", assume_erp: bool = False) -> list[SourceFilm]:
    """Find the films below a folder: film files, photos, and folders of PNG files with consecutive numbers.

    PNG files are frames if all in their folder have the same name apart from consecutive numbers (`07.png`, `08.png`,
    …), and photos otherwise. Hidden files are skipped.

    Args:
        folder: Folder to search.
        stereo: Layout of the two eyes in the films.
        assume_erp: Treat films that are not 2:1 as whole spheres too.
    Returns:
        Films and photos.
    Raises:
        UsageError: the folder is absent or holds none, or the layout is unknown.
    """
    if stereo not in EYES:
        raise UsageError(f"stereo is {stereo!r}; expected one of {', '.join(EYES)}")
    files = [path for path in folder.rglob("*") if path.suffix.lower() in FILMS | PHOTOS and _is_seen(path)]
    pictures = defaultdict(list)
    for path in files:
        if path.suffix.lower() == ".png":
            pictures[path.parent].append(path)
    frames = {parent for parent, its in pictures.items() if _are_frames(its)}
    paths = frames.union(path for path in files if path.suffix.lower() != ".png" or path.parent not in frames)
    if not paths:
        raise UsageError(
            f"{folder} holds no films to train on; name a folder of films or panoramas (train.py: --set films=FOLDER)"
        )
    above = folder.resolve().name
    return [_film(path, PurePath(above, path.relative_to(folder)), stereo, assume_erp) for path in sorted(paths)]


def prepare(
    films: Iterable[SourceFilm], out: Path, settings: ClipSettings, on_progress: Progress | None = None
) -> list[str]:
    """Convert films to clips in `out`, as `prepare_films` does; a film listed twice is converted once.

    Args:
        films: Films to convert.
        out: Folder to write to.
        settings: Settings of the clips.
        on_progress: Called with (films done, films in all).
    Returns:
        One line for each film that was left out because it could not be read.
    Raises:
        UsageError: `out` is full, cannot be written, is in use by another run or was prepared with other settings.
    """
    by_file: dict[Path, SourceFilm] = {}
    for film in films:
        by_file.setdefault(film.path.resolve(), film)
    different, left_out = list(by_file.values()), []
    with _workplace(out) as unfinished:
        names = name_apart(different, out, settings, unfinished)
        for done, film in enumerate(different, start=1):
            try:
                _prepare(film, names[film.source], out, unfinished, settings)
            except UsageError as error:
                left_out.append(str(error))
            if on_progress:
                on_progress(done, len(different))
    return left_out


# Finding films


def _is_seen(path: Path) -> bool:
    return not path.name.startswith(".") and not path.is_dir()


def _are_frames(pictures: Sequence[Path]) -> bool:
    parts = [match for path in pictures if (match := re.fullmatch(r"(.*?)(\d+)", path.stem))]
    numbers = sorted(int(part[2]) for part in parts)
    alike = len(parts) == len(pictures) > 1 and len({part[1] for part in parts}) == 1
    return alike and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _film(path: Path, source: PurePath, stereo: Stereo, assume_erp: bool) -> SourceFilm:
    if source.suffix.lower() in PHOTOS:
        return SourceFilm(path, source.as_posix(), f"photo_{path.stem}", "none", assume_erp)
    name = source.stem if source.suffix.lower() in FILMS else source.name
    return SourceFilm(path, source.as_posix(), name, stereo, assume_erp)


# Writing clips


@contextmanager
def _workplace(out: Path) -> Iterator[Path]:
    """Provide a hidden folder in `out` for unfinished clips; it is removed when the run ends, or by the next run."""
    unfinished = out / _UNFINISHED
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _only_run(out):
            for path in out.iterdir():
                if _EARLIER_UNFINISHED.fullmatch(path.name):
                    path.unlink()
            unfinished.mkdir(exist_ok=True)
            try:
                yield unfinished
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(
            f"{out} cannot be written: {reason}; make room and run it again (clips that are whole were kept), or "
            f"choose another folder"
        ) from error


@contextmanager
def _only_run(out: Path) -> Iterator[None]:
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{out} is being prepared by another run; wait until it ends") from error
        except OSError:  # some network file systems cannot lock folders: the user must then avoid concurrent runs
            pass
        yield
    finally:
        os.close(folder)


def _prepare(film: SourceFilm, known: SourceFilm, out: Path, unfinished: Path, settings: ClipSettings) -> None:
    if known.stereo != film.stereo:
        raise UsageError(f"{film.path} is in {out} with stereo {known.stereo}; choose another folder for {film.stereo}")
    clips = known.clips(settings.clips_per_film)
    if (out / f"{clips[0][0]}.npy").exists():  # which is moved into place last
        return
    for left in unfinished.iterdir():
        left.unlink()
    assume_erp = film.assume_erp or film.stereo != "none"
    with open_video(film.path, assume_erp=assume_erp, frames=(0, settings.reach)) as reader:
        _check_halves(film, reader.info)
        whole = _cut(reader, film.stereo, [[unfinished / f"{eye}.npy" for eye in clip] for clip in clips], settings)
    for path in reversed(whole):
        os.replace(path, out / path.name)


def _check_halves(film: SourceFilm, info: VideoInfo) -> None:
    side, size = ("height", info.height) if film.stereo == "top-bottom" else ("width", info.width)
    if film.stereo != "none" and size % 4:
        raise UsageError(
            f"{film.path} is {info.width}x{info.height}; to be split {film.stereo}, its {side} must be a multiple of "
            f"4: crop or scale it first"
        )


def _cut(reader: VideoReader, stereo: Stereo, clips: list[list[Path]], settings: ClipSettings) -> list[Path]:
    """Write the clips that the film is long enough for, and return the complete ones in order."""
    full_range = reader.info.full_range
    whole: list[Path] = []
    for paths in clips:
        frames = islice(reader, settings.frames)
        eyes = ([pack(eye, settings.width, full_range) for eye in split_eyes(frame, stereo)] for frame in frames)
        if _write(paths, eyes) < settings.frames and whole:
            break
        whole += paths
        deque(islice(reader, settings.step - settings.frames), maxlen=0)
    return whole


def _write(paths: Sequence[Path], pictures: Iterator[list[Packed]]) -> int:
    """Write a clip, one file per eye, one picture at a time; return its number of frames, filled in at the end."""
    number, eyes = 0, list[Packed]()
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for file in files:
            file.write(bytes(_HEADER_BYTES))
        for eyes in pictures:
            number += 1
            for file, eye in zip(files, eyes, strict=True):
                file.write(eye.tobytes())
        for file, eye in zip(files, eyes, strict=False):  # there are no eyes if there is no picture
            file.seek(0)
            file.write(_header((number, *eye.shape)))
            file.flush()
            os.fsync(file.fileno())
    return number


def _header(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    assert header.tell() == _HEADER_BYTES
    return header.getvalue()
