"""The boxes of an .mp4, and the one that says that its sound comes from all around; made by hand."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from deepsphere_codec.video.ambisonics import ambisonic_tracks
from deepsphere_codec.video.boxes import find, inside, make_box, top_level


def sa3d(order: int, channels: int, **change: int) -> bytes:
    """Source: Google, Spatial Audio RFC."""
    values = {"version": 0, "kind": 0, "ordering": 0, "normalisation": 0} | change
    numbers = (values["version"], values["kind"], order, values["ordering"], values["normalisation"], channels)
    return make_box(b"SA3D", struct.pack(f">BBIBBI{channels}I", *numbers, *range(channels)))


def film(path: Path, *tracks: tuple[int, bytes], version: int = 0) -> Path:
    """Tracks with an id and what lies in their sample entry."""
    index = b""
    for number, entry in tracks:
        head = make_box(
            b"tkhd", bytes([version]) + bytes(19 if version else 11) + struct.pack(">I", number) + bytes(60)
        )
        table = make_box(b"stsd", struct.pack(">II", 0, 1) + make_box(b"mp4a", bytes(28) + entry))
        index += make_box(b"trak", head + make_box(b"mdia", make_box(b"minf", make_box(b"stbl", table))))
    path.write_bytes(make_box(b"ftyp", b"isom") + make_box(b"mdat", b"SA3D" * 9) + make_box(b"moov", index))
    return path


@pytest.mark.parametrize("version", [0, 1])
def test_layouts(version: int, tmp_path: Path) -> None:
    tracks = [
        (3, sa3d(1, 4)),
        (7, b"esds"),
        (9, make_box(b"esds", bytes(20)) + sa3d(3, 16)),
        (10, sa3d(1, 6, kind=0x80)),
    ]
    assert ambisonic_tracks(film(tmp_path / "film.mp4", *tracks, version=version)) == {
        3: "ambisonic 1",
        9: "ambisonic 3",
        10: "ambisonic 1+stereo",
    }


@pytest.mark.parametrize("box", [
    sa3d(1, 4, version=1), sa3d(1, 4, kind=1), sa3d(1, 4, ordering=1), sa3d(1, 4, normalisation=1), sa3d(1, 5),
    sa3d(1, 6), sa3d(1, 4)[:-4], sa3d(1, 4)[:-1] + b"\0", sa3d(0xFFFFFFFF, 4),
], ids=range(9))  # fmt: skip
def test_what_is_told_in_another_way_is_not_read(box: bytes, tmp_path: Path) -> None:
    assert ambisonic_tracks(film(tmp_path / "film.mp4", (1, box))) == {}


def test_what_is_no_mp4_or_damaged_has_none(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", (3, sa3d(1, 4)))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert ambisonic_tracks(path) == {}
    for _ in range(300):
        bad = bytearray(whole)
        bad[int(rng.integers(len(bad)))] = int(rng.integers(256))
        path.write_bytes(bad)
        assert all(layout.startswith("ambisonic ") for layout in ambisonic_tracks(path).values())
    assert ambisonic_tracks(tmp_path / "missing.mp4") == {}


def test_boxes() -> None:
    data = make_box(b"moov", make_box(b"trak", b"") + make_box(b"udta", b"abc")) + make_box(b"free", b"")
    assert [(box.kind, box.offset, box.size) for box in top_level(io.BytesIO(data))] == [
        (b"moov", 0, 27),
        (b"free", 27, 8),
    ]
    assert (
        find(data, b"moov", b"udta") == b"abc" and find(data, b"moov", b"none") is None and find(data, b"none") is None
    )
    large = struct.pack(">I4sQ", 1, b"mdat", 20) + b"abcd" + struct.pack(">I4s", 0, b"free") + b"to the end"
    assert [(box.kind, box.size) for box in top_level(io.BytesIO(large))] == [(b"mdat", 20), (b"free", 18)]
    for bad in (b"\0\0\0", struct.pack(">I4s", 7, b"free"), struct.pack(">I4s", 9, b"free")):
        with pytest.raises(ValueError):
            list(inside(bad))
