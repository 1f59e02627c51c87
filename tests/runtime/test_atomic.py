"""Outputs beside their place, renamed at the end."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.runtime.atomic import atomic_folder, atomic_output


def test_a_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    with atomic_output(path) as temporary:
        assert temporary.parent == tmp_path and temporary.read_bytes() == b""
        temporary.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_it_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with atomic_output(tmp_path / "out") as temporary:
        temporary.write_bytes(b"x")
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_one_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(UsageError, match="exists"), atomic_output(path):
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room(code: int, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="make room"), atomic_output(tmp_path / "out"):
        raise OSError(code, os.strerror(code))
    assert not list(tmp_path.iterdir())


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="pipe"), atomic_output(tmp_path / "out"):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert not list(tmp_path.iterdir())


def test_places_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for path, text in [
        (tmp_path, "is a folder"),
        (tmp_path / "file", "--force"),
        (tmp_path / "no" / "out", "does not exist"),
        (tmp_path / "file" / "out", "does not exist"),
        (tmp_path / ("x" * 300), "cannot be written"),
        (tmp_path / "pipe", "device or a pipe"),
    ]:
        with pytest.raises(UsageError, match=text), atomic_output(path):
            pytest.fail("not refused")
    with pytest.raises(UsageError, match="device or a pipe"), atomic_output(Path("/dev/null"), force=True):
        pytest.fail("not refused")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "pipe"]


def test_a_folder_appears_at_the_end(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out", suffix=".png") as temporary:
        (temporary / "1.png").write_bytes(b"one")
        assert not (tmp_path / "out").exists()
    with atomic_folder(tmp_path / "out", suffix=".png", force=True) as temporary:
        (temporary / "2.png").write_bytes(b"two")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["2.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("other", ["letter.txt", "folder", "folder.png", "link.png"])
def test_a_folder_of_other_things_is_never_replaced(other: str, tmp_path: Path) -> None:
    precious = tmp_path / "out"
    precious.mkdir()
    (precious / "1.png").touch()
    if other.startswith("folder"):
        (precious / other).mkdir()
    elif other.startswith("link"):
        (precious / other).symlink_to("1.png")
    else:
        (precious / other).touch()
    with pytest.raises(UsageError, match="other things"), atomic_folder(precious, suffix=".png", force=True):
        pytest.fail("not refused")
    assert len(list(precious.iterdir())) == 2


def test_a_link_to_a_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    with pytest.raises(UsageError), atomic_folder(tmp_path / "out", suffix=".png", force=True):
        pytest.fail("not refused")


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match="is a file"), atomic_folder(tmp_path / "out", suffix=".png", force=True):
        pytest.fail("not refused")
