"""The benchmark runs every case, and prints the ratios that the project asks for."""

from __future__ import annotations

import json

import pytest
from support import load_script


@pytest.fixture(scope="module")
def benchmark():
    return load_script("benchmark")


def test_measures_prints_and_writes(benchmark, tmp_path, monkeypatch):
    table = benchmark.measure(4, 8, "cpu", rounds=2)
    assert all(milliseconds > 0 for milliseconds in table["milliseconds"].values())
    assert {benchmark.BAG, benchmark.PYG, benchmark.OURS} < table["milliseconds"].keys()
    text = benchmark.as_text([table])
    assert "nside 4, 8 ch" in text and f"{benchmark.PYG} / {benchmark.OURS}: " in text
    codecs = [{"codec": "one", "encode_seconds": 1.25, "decode_seconds": 0.5, "peak_gib": 1.0}]
    assert "1.25        0.50    1.00" in benchmark.as_text_of_codecs(codecs)
    training = [{"precision": "float32", "step_seconds": 0.5, "waited": 0.25, "sample_seconds": 0.011}]
    assert "0.50       25.0%\na sample, one thread: 11 ms" in benchmark.as_text_of_training(training)
    metrics = [{"metrics": "quick", "frames_per_second": 61.25}, {"metrics": "all", "frames_per_second": 15.5}]
    assert "quick 61.2, all 15.5 (goal: at least 20" in benchmark.as_text_of_metrics(metrics)
    benchmark.write(tmp_path / "results" / "benchmark.json", "cpu", shapes=[table], codecs=codecs, training=training)
    written = json.loads((tmp_path / "results" / "benchmark.json").read_text())
    assert written["shapes"] == [table] and written["codecs"] == codecs and written["training"] == training
    assert {"cpu", "threads", "torch", "device"} <= written["environment"].keys()


def test_the_matrix_made_beforehand_is_the_operators(benchmark):
    import torch

    from deepsphere_codec.graph import build_graph
    from deepsphere_codec.layers import RescaledLaplacian

    graph = build_graph(4)
    x = torch.randn(1, graph.npix, 3)
    assert torch.allclose(benchmark.csr(graph) @ x[0], RescaledLaplacian(graph)(x)[0], atol=1e-5)
