"""Weights on disk: CompressAI's own are taken as they are, what is something else is refused."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.ssf2020.weights import convert_zoo, load_ssf, weights_hash


@pytest.fixture(scope="module")
def file(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Write a file of weights as CompressAI publishes them: its name, its layers' names, and its tables."""
    old = {"matrices.": "_matrix", "biases.": "_bias", "factors.": "_factor"}
    stored = {}
    for name, value in load_ssf(weights / "quality-3")[0].state_dict().items():
        for new, before in old.items():
            name = name.replace(f"entropy_bottleneck.{new}", f"entropy_bottleneck.{before}")
        stored[f"module.{name}"] = value
    place = tmp_path_factory.mktemp("zoo") / "ssf2020-mse-6-59dfb6f9.pth.tar"
    torch.save(stored, place)
    yield place
    place.unlink()  # pytest keeps the folders of three runs, and this is 130 MiB


def test_a_file_is_taken_as_it_is(weights: Path, file: Path, tmp_path: Path) -> None:
    assert convert_zoo(file, tmp_path / "zoo") == 6
    network, quality, digest = load_ssf(tmp_path / "zoo" / "quality-6")
    card = json.loads((tmp_path / "zoo" / "quality-6" / "card.json").read_text())
    assert network.unit is None and quality == 6 and card["parameters"] == 34_209_609
    assert card["weights_hash"] == digest and card["source"] == f"CompressAI, {file.name}"
    for name, value in load_ssf(weights / "quality-3")[0].state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name
    (tmp_path / "zoo" / "quality-6" / "weights.safetensors").unlink()


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
    with pytest.raises(UsageError, match="does not say its quality"):
        convert_zoo(Path("ours.pth.tar"), Path("out"))
    assert not Path("unpickled").exists() and not Path("out").exists()


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    card = {"name": "planar-ssf2020", "quality": 3, "flow_unit": None}
    for missing in ("No such file", "No such file", "Missing key"):
        with pytest.raises(UsageError, match=f"{tmp_path.name} does not hold weights of planar-ssf2020: .*{missing}"):
            load_ssf(tmp_path)
        if (tmp_path / "card.json").exists():
            save_file({"a": torch.zeros(2)}, tmp_path / "weights.safetensors")
        (tmp_path / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize("text", ["{}", "[]", "{"])
def test_cards_of_something_else_are_refused(text: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "weights.safetensors")
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(UsageError, match="does not hold weights of planar-ssf2020"):
        load_ssf(tmp_path)


def test_the_unit_of_flow_is_part_of_what_a_stream_names() -> None:
    tensors = {"a": torch.ones(2)}
    assert len({weights_hash(tensors, unit) for unit in (None, (128, 128), (256, 128))}) == 3
