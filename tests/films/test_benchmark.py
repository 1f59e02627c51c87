"""The script that times films by one process and by several; and notices where they do not come to the same bytes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support import FakeModel, load_script

from deepsphere_codec.errors import CodecError


def test_times_and_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load_script("benchmark_workers")
    for name in ("loaded", "model_of"):
        for module in ("encode", "decode"):
            monkeypatch.setattr(f"deepsphere_codec.films.{module}.{name}", lambda *_: FakeModel(), raising=False)
    line = "x --workers 2 --frames 8 --gop 4 --size 64x32 --rounds 1 --out".split()
    monkeypatch.setattr(sys, "argv", [*line, str(tmp_path / "workers.json")])
    script.main()
    made = json.loads((tmp_path / "workers.json").read_text())
    assert [row["workers"] for row in made["rows"]] == [1, 2] and made["rows"][0]["encode_speedup"] == 1
    assert "clips" not in made and "encode_speedup" in capsys.readouterr().out


def test_other_bytes_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script("benchmark_workers")

    def encode(film: Path, stream: Path, *, workers: int, **_: object) -> None:
        stream.write_bytes(bytes([workers]))

    def decode(stream: Path, output: Path, **_: object) -> None:
        output.write_bytes(b"pictures")

    monkeypatch.setattr(script, "encode_video", encode)
    monkeypatch.setattr(script, "decode_to_file", decode)
    with pytest.raises(CodecError, match="2 processes do not come to the bytes of one"):
        script.take_turns(tmp_path / "film.mkv", (1, 2), 1, "fake", 4)
