"""The UGC360 data set, in a replica of a few clips laid out as the real one is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import make_film

from deepsphere_codec.data.prepare import prepare_films
from deepsphere_codec.data.ugc360 import Columns, prepare_ugc360, read_ugc360
from deepsphere_codec.errors import UsageError
from deepsphere_codec.video import open_video

HEADER = "video_id,clip_id,publisher,license,width,height"
ROWS = {
    "S": [
        '-aB_3,1,"Jane, and others",CC-BY,64,32',
        "-aB_3,12,someone,CC-BY,64,32",
        "107,1,someone,CC-BY-SA,64,36",  # a video of Vimeo, and a picture that is not 2:1
    ],
    "M": ["qrs,1,someone,CC-BY,128,64"],
}


def write_list(root: Path, size: str, lines: Sequence[str]) -> Path:
    path = root / f"UGC360-{size}" / f"ugc360-{size.lower()}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """S with flow in its first clip, and M."""
    root = tmp_path / "UGC360"
    for size, rows in ROWS.items():
        path = write_list(root, size, [HEADER, *rows])
        for row in rows:
            video, clip, *_, width, height = row.split(",")
            folder = path.parent / video / f"{int(clip):02d}"
            folder.mkdir(parents=True)
            for number in range(1, 10):
                picture = np.full((int(height), int(width), 3), 20 * number, np.uint8)
                Image.fromarray(picture).save(folder / f"{number:02d}.png")
    np.save(root / "UGC360-S" / "-aB_3" / "01" / "flow.npy", np.ones((4, 8), np.float32))
    return root


def test_the_lists_are_read(root: Path) -> None:
    clips = read_ugc360(root, sizes=("S", "M"))
    assert [clip.name for clip in clips] == [
        "ugc360-s_-aB_3_01",
        "ugc360-s_-aB_3_12",
        "ugc360-s_107_01",
        "ugc360-m_qrs_01",
    ]
    assert [clip.size for clip in clips] == ["S", "S", "S", "M"]
    assert [clip.licence for clip in clips] == ["CC-BY", "CC-BY", "CC-BY-SA", "CC-BY"]
    assert [(clip.width, clip.height) for clip in clips] == [(64, 32), (64, 32), (64, 36), (128, 64)]
    folder = root / "UGC360-S" / "-aB_3" / "01"
    assert clips[0].frames == tuple(folder / f"0{number}.png" for number in range(1, 10))
    assert clips[0].flow == folder / "flow.npy" and clips[1].flow is None
    assert all(path.exists() for clip in clips for path in clip.frames)


def test_sequences_may_be_shorter_and_licences_chosen(root: Path) -> None:
    (clip,) = read_ugc360(root, licences={"CC-BY-SA"}, frames=7)
    assert clip.name == "ugc360-s_107_01"
    assert [path.name for path in clip.frames] == [f"0{number}.png" for number in range(1, 8)]


def test_columns_of_other_names(root: Path) -> None:
    write_list(root, "M", ["video,clip_id,license,width,height", "qrs,1,CC-BY,128,64"])
    (clip,) = read_ugc360(root, sizes=("M",), columns=Columns(video="video"))
    assert clip.name == "ugc360-m_qrs_01"


def test_it_is_prepared_beside_films(root: Path, tmp_path: Path) -> None:
    films, out = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    make_film(films / "a.mkv", frames=20)
    assert prepare_films(films, out, frames=16) == []
    calls: list[tuple[int, int | None]] = []
    lines = prepare_ugc360(root, out, sizes=("S", "M"), frames=16, on_progress=lambda *each: calls.append(each))
    assert lines == [] and calls == [(number, 4) for number in range(1, 5)]
    clips = {path.stem: np.load(path) for path in out.glob("*.npy")}
    assert {name: clip.shape for name, clip in clips.items()} == {
        "a": (16, 48, 64),
        "ugc360-s_-aB_3_01": (9, 48, 64),
        "ugc360-s_-aB_3_12": (9, 48, 64),
        "ugc360-s_107_01": (9, 48, 64),  # 64x36 brought to 64x32
        "ugc360-m_qrs_01": (9, 96, 128),
    }
    with open_video(root / "UGC360-M" / "qrs" / "01") as reader:
        luma = [int(frame.y[0, 0]) for frame in reader]
    assert luma == sorted(set(luma)) and clips["ugc360-m_qrs_01"][:, 0, 0].tolist() == luma
    with pytest.raises(UsageError, match="frames 16, not 9"):
        prepare_ugc360(root, out)


def test_sizes_licences_and_length_count_when_it_is_prepared(root: Path, tmp_path: Path) -> None:
    assert prepare_ugc360(root, tmp_path / "out", licences=["CC-BY-SA"], frames=5, width=32) == []
    (path,) = (tmp_path / "out").glob("*.npy")
    assert path.stem == "ugc360-s_107_01" and np.load(path).shape == (5, 24, 32)


def test_a_clip_that_lacks_a_frame_is_left_out(root: Path, tmp_path: Path) -> None:
    missing = root / "UGC360-S" / "-aB_3" / "12" / "04.png"
    missing.unlink()
    assert prepare_ugc360(root, tmp_path / "out") == [f"{missing} is missing; unpack its archive again"]
    names = {path.stem for path in (tmp_path / "out").glob("*.npy")}
    assert names == {"ugc360-s_-aB_3_01", "ugc360-s_107_01"}
    assert prepare_ugc360(root, tmp_path / "three", frames=3) == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["video_id,clip_id,width,height", "a,1,64,32"], "no column license; expected video_id, clip_id, license"),
        ([HEADER, "a,1,someone,CC-BY,64,32", "a,one,someone,CC-BY,64,32"], "line 3: a clip cannot be read"),
        ([HEADER, "a,1,someone"], "line 2: a clip cannot be read"),
        ([HEADER, "..,1,someone,CC-BY,64,32"], "line 2: a clip cannot be read"),
        ([HEADER, "/tmp,1,someone,CC-BY,64,32"], "line 2: a clip cannot be read"),
    ],
)
def test_a_list_that_cannot_be_read_is_a_usage_error(tmp_path: Path, lines: list[str], message: str) -> None:
    write_list(tmp_path, "S", lines)
    with pytest.raises(UsageError, match=message):
        read_ugc360(tmp_path)


def test_a_list_that_is_no_text_is_a_usage_error(tmp_path: Path) -> None:
    write_list(tmp_path, "S", [HEADER]).write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UsageError, match="cannot be read as a list of clips"):
        read_ugc360(tmp_path)


def test_a_size_that_is_not_there_is_a_usage_error(root: Path) -> None:
    with pytest.raises(UsageError, match=r"ugc360-l.csv is not there; unpack UGC360-L into .*UGC360 first"):
        read_ugc360(root, sizes=("L",))


def test_arguments_out_of_range_are_usage_errors(root: Path) -> None:
    with pytest.raises(UsageError, match="sizes S, M, L; got XL"):
        read_ugc360(root, sizes=("XL",))
    with pytest.raises(UsageError, match="got none"):
        read_ugc360(root, sizes=())
    with pytest.raises(UsageError, match="no clip of .* has the licence 'CC0'; there are CC-BY, CC-BY-SA"):
        read_ugc360(root, licences=["CC-BY", "CC0"])
    for frames in (0, 10):
        with pytest.raises(UsageError, match=f"got {frames}, expected 1 to 9"):
            read_ugc360(root, frames=frames)
