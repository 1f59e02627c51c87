"""Atomic outputs: written to a temporary file beside the output, renamed at the end, removed on failure."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from deepsphere_codec.errors import CodecError, UsageError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def atomic_output(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Create a temporary file beside `path`, which replaces `path` when the block ends without an exception.

    Args:
        path: The output file.
        force: Replace an existing file.
    Yields:
        Path of the temporary file, which exists and is empty.
    Raises:
        UsageError: the output exists, is not a regular file, or its folder is missing or cannot be written.
        CodecError: the disk is full; nothing is left of the output.
    """
    path = Path(path)
    with _errors_as_usage(path):
        _check_file(path, force)
    temporary = _beside(path)
    with _removed_on_failure(path, temporary):
        with _errors_as_usage(path):
            temporary.touch(exist_ok=False)
        yield temporary
        _flush_to_disk(temporary)
        _check_still_free(path, force)
        os.replace(temporary, path)


@contextmanager
def resumable_output(path: str | Path, *, force: bool = False) -> Iterator[tuple[BinaryIO, str]]:
    """Open PATH.part, which replaces `path` when the block ends; after a failure it stays, to be resumed later.

    Args:
        path: The output file.
        force: Replace an existing output file.
    Yields:
        The file PATH.part, open for reading and writing at its beginning, and its name.
    Raises:
        UsageError: the output exists, is not a regular file, its folder is missing or cannot be written, or another
            process writes PATH.part.
        CodecError: the disk is full.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    with _errors_as_usage(path):
        _check_file(path, force)
        file = open(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
    with file:
        _lock(file, part)
        with _resumable_on_failure(path, part), file:
            yield file, str(part)
            file.flush()
            os.fsync(file.fileno())
            _check_still_free(path, force)
            os.replace(part, path)


@contextmanager
def atomic_folder(path: str | Path, *, force: bool = False, suffix: str) -> Iterator[Path]:
    """Create a temporary folder, which replaces `path` when the block ends without an exception.

    An existing folder is replaced only if it holds nothing but files with the suffix, so that nothing else can be
    removed by mistake.

    Args:
        path: The output folder.
        force: Replace an existing folder.
        suffix: Suffix of the files that will be written.
    Yields:
        Path of the temporary folder.
    Raises:
        UsageError: the output exists, holds other files, or its parent is missing or cannot be written.
        CodecError: the disk is full; nothing is left of the output.
    """
    path = Path(path)
    with _errors_as_usage(path):
        _check_folder(path, force, suffix)
    temporary = _beside(path)
    with _removed_on_failure(path, temporary):
        with _errors_as_usage(path):
            temporary.mkdir()
        yield temporary
        _check_still_free(path, force)
        _replace_folder(temporary, path)


def _check_file(path: Path, force: bool) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is a device or a pipe; name a file")
    _check_place(path, force)


def _check_folder(path: Path, force: bool, suffix: str) -> None:
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; name a folder, or an output that ends in .mkv, .mp4 or .y4m")
    _check_place(path, force)
    if path.is_symlink() or (path.is_dir() and any(not _is_frame(file, suffix) for file in path.iterdir())):
        raise UsageError(f"{path} holds other things than {suffix} files and is not replaced; name a new folder")


def _check_place(path: Path, force: bool) -> None:
    _check_still_free(path, force)
    if not path.parent.is_dir():
        raise UsageError(f"the folder {path.parent} does not exist; create it first")


def _check_still_free(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise UsageError(f"{path} exists; use --force to replace it")


def _is_frame(file: Path, suffix: str) -> bool:
    return file.suffix.lower() == suffix and file.is_file() and not file.is_symlink()


def _beside(path: Path) -> Path:
    return path.parent / f".{path.name}.{secrets.token_hex(4)}.part"


@contextmanager
def _removed_on_failure(path: Path, temporary: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise CodecError(
                f"{path} cannot be written: {os.strerror(error.errno or 0).lower()}; nothing of it was kept, "
                f"make room or choose another place"
            ) from error
        raise


@contextmanager
def _resumable_on_failure(path: Path, part: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if part.stat().st_size == 0:
            part.unlink()
            raise
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise CodecError(
                f"{path} cannot be written: {os.strerror(error.errno or 0).lower()}; {part} holds what is done, make "
                f"room and go on with --resume"
            ) from error
        if not isinstance(error, CodecError):
            error.add_note(f"{part} holds what is done; go on with --resume")
        raise


def _lock(file: BinaryIO, part: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UsageError(f"{part} is being written by another process; wait for it, or end it") from error


@contextmanager
def _errors_as_usage(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise UsageError(
            f"{path} cannot be written: {(error.strerror or str(error)).lower()}; choose another place"
        ) from error


def _remove(temporary: Path) -> None:
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)


def _flush_to_disk(file: Path) -> None:
    """Flush a file to the disk; some file systems report a full disk only then."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def _replace_folder(temporary: Path, path: Path) -> None:
    """Replace a folder; the old one is renamed first, since a folder with files cannot be the target of a rename."""
    if not path.exists():
        temporary.rename(path)
        return
    aside = _beside(path)
    path.rename(aside)
    try:
        temporary.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    shutil.rmtree(aside)
