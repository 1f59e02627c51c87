"""The baseline through a command that stands in for the real one: its bytes count, and its decoder's pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support import bare_weights, make_film

from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.evaluation.anchors.ssf2020 import NAME, measure
from deepsphere_codec.evaluation.anchors.ssf2020.measure import SsfCodec
from deepsphere_codec.evaluation.evaluate import evaluate
from studies.rotation.measure import RotationOptions, measure_rotations, neighbours_of

# Its stream is 100 bytes and the name of the film, its decoded film a copy of that, one grey level brighter.
STAND_IN = """
import json, sys
from pathlib import Path
from deepsphere_codec.video import YuvFrame, create_video, open_video

command, source, out, *flags = sys.argv[1:]
assert Path(flags[flags.index("--weights") + 1]).name.startswith("quality-") and "--force" in flags
if command == "encode":
    assert {"--frames=4", "--gop=2", "--threads=1"} < set(flags)
    Path(out).write_bytes(bytes(100))
    Path(out).with_suffix(".source").write_text(source)
    report = {"width": 64, "height": 32, "bpp_i": 0.125, "bpp_p": None, "encode_seconds": 2.0, "pictures": "same"}
    print(json.dumps(report))
else:
    source = Path(source).with_suffix(".source").read_text()
    with open_video(source, frames=(0, 4)) as reader, create_video(out, reader.info) as writer:
        for frame in reader:
            writer.write(YuvFrame(*(plane + 1 for plane in frame)))
    print(json.dumps({"decode_seconds": 1.0, "pictures": "other" if "drifting" in source else "same"}))
"""


@pytest.fixture
def codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SsfCodec:
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    folder = bare_weights(tmp_path / "weights", (1, 3, 5))
    monkeypatch.setattr(measure, "COMMAND", (sys.executable, str(tmp_path / "stand_in.py")))
    return SsfCodec(folder, frames=4, gop=2)


def test_all_bytes_of_the_file_count(codec: SsfCodec, tmp_path: Path) -> None:
    (results,) = evaluate([codec], [make_film(tmp_path / "a.mkv")], tmp_path / "out.json", qualities=[3])
    (point,) = results.mean
    assert point.quality == 3 and point.bpp == 100 * 8 / (4 * 64 * 32)
    assert (point.bpp_i, point.bpp_p) == (0.125, None)
    assert point.ws_psnr_y == pytest.approx(48.13, abs=0.01), "one level of 255"
    assert (point.encode_seconds, point.decode_seconds) == (2.0, 1.0)
    hashes = {"1": "bare 1", "3": "bare 3", "5": "bare 5"}
    assert results.settings == {"weights_hash": hashes, "frames": 4, "gop": 2, "threads": 1}


def test_other_pictures_than_the_encoders_are_an_error(codec: SsfCodec, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="decoded other pictures of .*drifting.mkv than it encoded"):
        codec.measure(make_film(tmp_path / "drifting.mkv"), 3)


def test_films_can_be_turned(codec: SsfCodec, tmp_path: Path) -> None:
    """The neighbours that the slope is taken from are qualities that there are weights of."""
    film, options = make_film(tmp_path / "film.mkv"), RotationOptions(frames=4, rotations=1)
    results = measure_rotations({NAME: (codec, 3.0)}, [film], tmp_path / "rotation.json", options)
    found = results.codecs[NAME].clips["film.mkv"]
    assert [each.quality for each in found.neighbours] == [1, 5]
    (identity,) = found.rotations
    assert identity.ws_psnr_y == identity.rotated_ws_psnr_y == pytest.approx(48.13, abs=0.01)
    assert neighbours_of(codec, 1.0) == (1, 3) and neighbours_of(codec, 5.0) == (3, 5)


def test_a_quality_without_weights_is_refused(codec: SsfCodec, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no weights of quality 4; it has 1, 3, 5"):
        codec.measure(tmp_path / "a.mkv", 4)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"holds no weights of planar-ssf2020 .*ssf2020 convert FILE {tmp_path}"):
        SsfCodec(tmp_path)
