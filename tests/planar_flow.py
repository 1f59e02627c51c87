"""The planar baseline's network with random weights, for tests; it takes a second to make."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from deepsphere_codec.evaluation.anchors.ssf2020.network import PlanarFlow
from deepsphere_codec.evaluation.anchors.ssf2020.weights import save_ssf


@torch.no_grad()
def lively_network(seed: int) -> PlanarFlow:
    """Random weights whose latents are not all zero, and whose pictures show it."""
    torch.manual_seed(seed)
    network = PlanarFlow((128, 128)).eval()
    for transform in (network.img_encoder, network.res_encoder, network.motion_encoder):
        transform[-1].weight.mul_(100)
    for transform in (network.img_decoder, network.res_decoder):
        transform[-1].bias.fill_(0.3)
    return network


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder `planar-ssf2020` with quality 3."""
    folder = tmp_path_factory.mktemp("models") / "planar-ssf2020"
    save_ssf(folder / "quality-3", lively_network(1), 3, {"source": "a test"})
    yield folder
    shutil.rmtree(folder)  # pytest keeps the folders of three runs, and this is 70 MiB
