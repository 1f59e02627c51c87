"""Tests read and write a cache of their own run, never the user's."""

from __future__ import annotations

import os

import pytest

from deepsphere_codec.graph.store import cache_directory
from deepsphere_codec.sphere import ErpResampler
from deepsphere_codec.sphere.stencil_store import default_cache_dir


def test_graphs_and_stencils_are_kept_in_the_folder_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    assert os.environ["DEEPSPHERE_CACHE"] == str(run / "cache"), "processes that a test starts have it too"
    assert default_cache_dir() == run / "cache" and cache_directory() == run / "cache" / "graphs"
    ErpResampler(8, 16, 2)
    assert list((run / "cache").glob("stencil-*-16x8-nside2.safetensors"))
