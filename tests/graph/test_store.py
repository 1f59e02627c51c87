"""Graph files: where they are looked for, and what a damaged or foreign one gets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from deepsphere_codec.errors import UsageError
from deepsphere_codec.graph import build_graph, compute_graph, load_graph, store
from deepsphere_codec.graph.laplacian import kernel_width

REPOSITORY = Path(__file__).resolve().parents[2]
COMMITTED = [(1, 8), (2, 8), (4, 8), (8, 8), (16, 8), (32, 8), (64, 8), (4, 20), (8, 20), (16, 20), (32, 20)]
FINGERPRINTS_OF_20 = {
    4: "195281019fd36d6a6412c04b14de82245c9d073eda4af8b67861563fe1129f64",
    8: "6553c8de0941cf5ee953553ce6ce537b41c24ba9e7b9e78e50ec853548ee5b1d",
    16: "ce788090bf0c00de11744a8e96b916bd2d5490f56f2b7e81e0056b397f83fe9b",
    32: "a2709d3c1fb7b2bb36aa403f419f61d435076ba47bf94b34bba08fb2ebf04c34",
    64: "7d2a1d0d4a8ca55d3defe813d355176cc71f9249da2b3a6c1433d57b2804928b",
}
"""Fingerprints of the graphs with 20 neighbours, which films coded with them name."""


@pytest.mark.parametrize(("nside", "k"), COMMITTED)
def test_packaged_files_hold_what_is_computed(nside, k, cache):
    packaged, computed = load_graph(nside, k), compute_graph(nside, k)
    assert packaged.fingerprint == computed.fingerprint
    assert np.array_equal(packaged.neighbors, computed.neighbors)
    # exp may differ in the last bit between machines.
    assert np.allclose(packaged.weights, computed.weights, rtol=2e-7, atol=0)
    assert not cache.exists()


@pytest.mark.parametrize("nside", FINGERPRINTS_OF_20)
def test_graphs_with_20_neighbours_stay(nside, cache):
    graph = load_graph(nside, 20)
    assert graph.fingerprint == FINGERPRINTS_OF_20[nside] and graph.width == kernel_width(nside, 20)
    assert not cache.exists()


def test_another_resolution_is_made_once_and_kept(cache, monkeypatch):
    seen: list[int] = []
    made = build_graph(3, on_progress=lambda done, total: seen.append(done))
    assert seen[-1] == 100
    assert [path.name for path in cache.iterdir()] == ["healpix_nside0003_k8.safetensors"]
    monkeypatch.setattr(store, "compute_graph", None)
    read = build_graph(3)
    assert read.fingerprint == made.fingerprint
    assert np.array_equal(read.neighbors, made.neighbors) and np.array_equal(read.weights, made.weights)
    assert read.neighbors.flags.writeable  # torch warns about arrays that are not


def test_cache_lies_where_the_platform_keeps_caches(monkeypatch):
    monkeypatch.delenv("DEEPSPHERE_CACHE", raising=False)
    monkeypatch.setattr(store.platformdirs, "user_cache_dir", lambda name: f"/caches/{name}")
    assert store.cache_directory() == Path("/caches/deepsphere-codec/graphs")


def test_a_cache_that_cannot_be_written_costs_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="could not be stored"):
        assert load_graph(3).nside == 3


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        store.write_graph(compute_graph(2), tmp_path / "new" / "graph.safetensors")
    assert list((tmp_path / "new").iterdir()) == []


def altered(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def with_text(data: bytes, old: str, new: str) -> bytes:
    assert len(old) == len(new) and data.count(old.encode()) == 1
    return data.replace(old.encode(), new.encode())


DAMAGE = {
    "empty": (lambda data: b"", "not a graph file"),
    "truncated": (lambda data: data[:-100], "not a graph file"),
    "header cut": (lambda data: data[:100], "not a graph file"),
    "text": (lambda data: b"nside 3 please" * 100, "not a graph file"),
    "one bit of the last weight": (lambda data: altered(data, len(data) - 1), "SHA-256"),
    "one bit of a neighbour": (lambda data: altered(data, len(data) - 8 * 108 * 4), "SHA-256"),
    "foreign tensors": (lambda data: save({"weight": np.zeros(3, np.float32)}), "not a graph file"),
    "foreign metadata": (lambda data: save({"weight": np.zeros(3)}, {"format": "pt"}), "not a graph file"),
    "another lmax": (lambda data: with_text(data, '"lmax":"2.452"', '"lmax":"2.453"'), "parameters"),
    "a newer version": (lambda data: with_text(data, '"version":"1"', '"version":"2"'), "version 2, expected 1"),
    "another nside": (lambda data: store.encode_graph(compute_graph(2)), "nside 2, k 8, expected nside 3, k 8"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_foreign_file_is_refused_and_rebuilt_only_on_request(damage, cache):
    graph = load_graph(3)
    path = cache / store.file_name(3, 8)
    change, said = DAMAGE[damage]
    damaged = change(path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(UsageError, match=said) as caught:
        load_graph(3)
    assert "\n" not in str(caught.value) and path.name in str(caught.value) and "--rebuild" in str(caught.value)
    assert caught.value.exit_code == 2
    assert path.read_bytes() == damaged
    assert load_graph(3, rebuild=True).fingerprint == graph.fingerprint
    assert load_graph(3).fingerprint == graph.fingerprint


def test_indices_outside_are_refused_even_with_a_right_checksum(tmp_path):
    graph = compute_graph(2)
    graph.neighbors[5, 5] = graph.npix
    path = tmp_path / "graph.safetensors"
    store.write_graph(graph, path)
    with pytest.raises(UsageError, match="damaged"):
        store.read_graph(path, 2, 8)


def test_a_folder_in_place_of_a_file_is_refused(cache):
    (cache / store.file_name(3, 8)).mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot read"):
        load_graph(3)


def test_wrong_parameters_are_refused_before_any_file_is_touched(cache):
    with pytest.raises(UsageError, match="8, 20 or 40"):
        load_graph(3, 7)
    with pytest.raises(UsageError, match="at least 1"):
        load_graph(-1)
    assert not cache.exists()


def precompute(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, REPOSITORY / "scripts" / "precompute_graphs.py", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, timeout=60)


def test_the_script_writes_refuses_and_rebuilds(tmp_path):
    assert precompute("--nside", "2", "3", "--out", tmp_path).returncode == 0
    path = tmp_path / "healpix_nside0002_k8.safetensors"
    assert store.read_graph(path, 2, 8).fingerprint == load_graph(2).fingerprint
    path.write_bytes(path.read_bytes()[:-1])
    refused = precompute("--nside", "2", "--out", tmp_path)
    assert refused.returncode == 2 and refused.stdout == "" and len(refused.stderr.splitlines()) == 1
    assert precompute("--nside", "2", "--out", tmp_path, "--rebuild").returncode == 0
    assert store.read_graph(path, 2, 8).nside == 2
    assert precompute("--nside", "0", "--out", tmp_path).returncode == 2
