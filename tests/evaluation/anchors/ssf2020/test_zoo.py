"""CompressAI's own weights: taken as they are, downloaded whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from support import bare_weights

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.ssf2020 import zoo
from deepsphere_codec.evaluation.anchors.ssf2020.__main__ import main
from deepsphere_codec.evaluation.anchors.ssf2020.weights import load_ssf, quality_folders
from deepsphere_codec.evaluation.anchors.ssf2020.zoo import convert_zoo

Fails = Callable[..., str]


@pytest.fixture(scope="module")
def file(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """As CompressAI's files are: with their names of layers, tables included, and named by its bytes."""
    old = {"matrices.": "_matrix", "biases.": "_bias", "factors.": "_factor"}
    stored = {}
    for name, value in load_ssf(weights / "quality-3").network.state_dict().items():
        for new, before in old.items():
            name = name.replace(f"entropy_bottleneck.{new}", f"entropy_bottleneck.{before}")
        stored[f"module.{name}"] = value
    place = tmp_path_factory.mktemp("zoo") / "file"
    torch.save(stored, place)
    begins = hashlib.sha256(place.read_bytes()).hexdigest()[:8]
    place = place.rename(place.with_name(f"ssf2020-mse-6-{begins}.pth.tar"))
    yield place
    place.unlink()  # pytest keeps the folders of three runs, and this is 130 MiB


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command line that must fail; returns its line on standard error."""

    def run(*arguments: str | Path) -> str:
        assert main([str(each) for each in arguments]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("ssf2020: error: ") and err.count("\n") == 1
        return err

    return run


def remove_weights(folder: Path) -> None:
    for path in folder.rglob("*.safetensors"):
        path.unlink()


def test_a_file_is_taken_as_it_is(weights: Path, file: Path, tmp_path: Path) -> None:
    assert convert_zoo(file, tmp_path / "zoo") == 6
    loaded = load_ssf(quality_folders(tmp_path / "zoo")[6])
    assert loaded.network.unit is None and loaded.card["parameters"] == 34_209_609
    for name, value in load_ssf(weights / "quality-3").network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name
    remove_weights(tmp_path)


def test_weights_are_fetched_one_by_one_and_once(
    file: Path, fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second download fails: the first is there, whole; it is not downloaded again, and gone on from there."""
    nowhere = (tmp_path / "ssf2020-mse-7-4d867411.pth.tar").as_uri()
    monkeypatch.setattr(zoo, "ZOO_URLS", {"mse": {6: file.as_uri(), 7: nowhere}})
    line = fails("zoo", tmp_path / "fetched", "--quality", "6", "7")
    assert f"{nowhere} cannot be downloaded: " in line and "No such file" in line and "convert ssf2020-mse-7" in line
    folders = quality_folders(tmp_path / "fetched")
    assert list(folders) == [6] and load_ssf(folders[6]).card["source"] == f"CompressAI, {file.name}"
    assert [each.name for each in (tmp_path / "fetched").iterdir()] == ["quality-6"]
    monkeypatch.setattr(zoo, "ZOO_URLS", {"mse": {6: (tmp_path / file.name).as_uri()}})  # which is not there
    assert main(["zoo", str(tmp_path / "fetched"), "--quality", "6"]) == 0
    assert json.loads(capsys.readouterr().out) == {"downloaded": [], "kept": [6]}
    remove_weights(tmp_path)


def test_without_a_network_nothing_is_written(fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://127.0.0.1:9/ssf2020-mse-1-c1ac1a47.pth.tar"
    monkeypatch.setattr(zoo, "ZOO_URLS", {"mse": dict.fromkeys((1, 3, 5, 7), url)})
    assert f"{url} cannot be downloaded: " in fails("zoo", tmp_path / "fetched")
    assert not any(tmp_path.iterdir())


def test_other_bytes_than_its_name_says_are_refused(
    fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = tmp_path / "ssf2020-mse-1-c1ac1a47.pth.tar"
    served.write_bytes(b"something else")
    monkeypatch.setattr(zoo, "ZOO_URLS", {"mse": {1: served.as_uri()}})
    assert 'cannot be downloaded: invalid hash value (expected "c1ac1a47"' in fails(
        "zoo", tmp_path / "fetched", "--quality", "1"
    )
    assert [each.name for each in tmp_path.iterdir()] == [served.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quality", "10"], "no weights of ssf2020 of quality 10; it has 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        (["--metric", "ms-ssim"], "no weights of ssf2020 for ms-ssim; it has mse"),
        (["--quality", "2", "3"], "quality-3 holds other weights than those of ssf2020-mse-3-9c8b998d.pth.tar"),
    ],
)
def test_what_cannot_be_fetched_is_refused_before_any_download(
    arguments: list[str], message: str, fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "download_url_to_file", None)
    bare_weights(tmp_path, [3])
    assert message in fails("zoo", tmp_path, *arguments)
    assert [each.name for each in tmp_path.iterdir()] == ["quality-3"]


class Nasty:
    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def test_nothing_is_unpickled_but_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ssf2020-mse-1-x.pth.tar").write_bytes(pickle.dumps(Nasty()))
    with pytest.raises(UsageError, match="holds no weights of CompressAI's ssf2020"):
        convert_zoo(Path("ssf2020-mse-1-x.pth.tar"), Path("out"))
    torch.save({"a": torch.zeros(2)}, "ssf2020-mse-2-x.pth.tar")
    with pytest.raises(UsageError, match="holds no weights of CompressAI's ssf2020"):
        convert_zoo(Path("ssf2020-mse-2-x.pth.tar"), Path("out"))
    assert not Path("unpickled").exists() and not Path("out").exists()
