"""Stencils kept on disk: found again, and built again whenever something is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from deepsphere_codec.sphere import erp_directions, stencil, stencil_store
from deepsphere_codec.sphere.interpolation import Stencil
from deepsphere_codec.sphere.stencil_store import load_erp_stencil

HEIGHT, WIDTH, NSIDE = 8, 16, 4


@pytest.fixture
def fresh() -> Stencil:
    return stencil(erp_directions(HEIGHT, WIDTH), NSIDE)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """The one file that a first use leaves behind."""
    load_erp_stencil(HEIGHT, WIDTH, NSIDE, tmp_path / "new" / "folder")
    (path,) = (tmp_path / "new" / "folder").iterdir()
    return path


def refuse_to_build(*_: object) -> Stencil:
    raise AssertionError("built again")


def same(a: Stencil, b: Stencil) -> bool:
    return torch.equal(a.index, b.index) and torch.equal(a.weights, b.weights)


def test_second_use_reads_the_file(stored: Path, fresh: Stencil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stencil_store, "stencil", refuse_to_build)
    assert same(load_erp_stencil(HEIGHT, WIDTH, NSIDE, stored.parent), fresh)
    with pytest.raises(AssertionError, match="built again"):
        load_erp_stencil(HEIGHT, WIDTH, NSIDE + 1, stored.parent)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(data)


def retag(path: Path) -> None:
    """Sound data under another version."""
    digest = stencil_store._digest(Stencil(**load_file(path)))
    tags = {"version": "0", "height": str(HEIGHT), "width": str(WIDTH), "nside": str(NSIDE), "sha256": digest}
    save_file(load_file(path), path, tags)


def strip_tags(path: Path) -> None:
    save_file(load_file(path), path)


@pytest.mark.parametrize("damage", [cut, empty, flip_a_bit, retag, strip_tags, Path.unlink])
def test_anything_else_is_built_again(damage, stored: Path, fresh: Stencil, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(stored)
    assert same(load_erp_stencil(HEIGHT, WIDTH, NSIDE, stored.parent), fresh)
    assert list(stored.parent.iterdir()) == [stored]
    monkeypatch.setattr(stencil_store, "stencil", refuse_to_build)
    assert same(load_erp_stencil(HEIGHT, WIDTH, NSIDE, stored.parent), fresh)


def test_works_without_a_place_to_keep_it(tmp_path: Path, fresh: Stencil) -> None:
    (tmp_path / "file").write_text("in the way")
    assert same(load_erp_stencil(HEIGHT, WIDTH, NSIDE, tmp_path / "file"), fresh)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, fresh: Stencil, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stencil_store, "save_file", disk_full)
    assert same(load_erp_stencil(HEIGHT, WIDTH, NSIDE, tmp_path), fresh)
    assert list(tmp_path.iterdir()) == []


def test_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path / "mine"))
    load_erp_stencil(HEIGHT, WIDTH, NSIDE)
    assert [path.suffix for path in (tmp_path / "mine").iterdir()] == [".safetensors"]
    monkeypatch.delenv("DEEPSPHERE_CACHE")
    assert stencil_store.default_cache_dir().name == "deepsphere-codec"
