"""CompressAI's own weights: downloaded from where it keeps them, and brought into our folders, all as they are."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import torch
from torch.hub import download_url_to_file

from deepsphere_codec.entropy.planar import ZOO_URLS, renamed_for_compressai
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.ssf2020.network import PlanarFlow, count_parameters
from deepsphere_codec.evaluation.anchors.ssf2020.weights import card_of, write_network
from deepsphere_codec.runtime.atomic import atomic_folder

QUALITIES = (1, 3, 5, 7)
METRIC = "mse"


class Fetched(NamedTuple):
    """Qualities that were downloaded, and those that were there already."""

    downloaded: list[int]
    kept: list[int]


def fetch_zoo(
    folder: Path, qualities: Sequence[int] = QUALITIES, metric: str = METRIC, show_progress: bool = False
) -> Fetched:
    """Download CompressAI's weights into `folder/quality-N`; each appears whole or not at all.

    Args:
        qualities: Of CompressAI's; what is there of the same file already is kept.
        metric: What they were trained for.
        show_progress: Draw a bar on standard error.
    Raises:
        UsageError: there are no such weights, other weights are in the folder, or a download fails.
    """
    urls = {quality: _url(metric, quality) for quality in qualities}
    kept = [quality for quality, url in urls.items() if _is_there(folder / f"quality-{quality}", _file_of(url))]
    downloaded = [quality for quality in urls if quality not in kept]
    for quality in downloaded:
        with tempfile.TemporaryDirectory(prefix="deepsphere-") as place:
            file = _download(urls[quality], Path(place), folder, show_progress)
            _make(folder)
            with atomic_folder(folder / f"quality-{quality}", suffix=".safetensors") as half_written:
                _convert(file, half_written, quality)
    return Fetched(downloaded, kept)


def convert_zoo(file: Path, folder: Path, quality: int | None = None) -> int:
    """Bring CompressAI's weights (`ssf2020-mse-N-….pth.tar`) into `folder/quality-N`.

    Args:
        quality: Of the weights; in the file's name unless given.
    Returns:
        The quality.
    Raises:
        UsageError: it cannot be read without unpickling code, or holds other weights.
    """
    said = re.match(r"ssf2020-[a-z-]+-(\d+)", file.name)
    if quality is None and said is None:
        raise UsageError(f"{file} does not say its quality as ssf2020-mse-N-… does; give it with --quality")
    quality = quality or int(said[1] if said else 0)
    _convert(file, folder / f"quality-{quality}", quality)
    return quality


def _convert(file: Path, folder: Path, quality: int) -> None:
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
        stored = renamed_for_compressai(stored.get("state_dict", stored))
        network = PlanarFlow()
        network.load_state_dict(stored)
    except Exception as error:  # torch raises whatever a file of another kind leads it to
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"{file} holds no weights of CompressAI's ssf2020: {first}") from error
    network.update()  # only where the file has no tables
    card = {"source": _source(file.name), "parameters": count_parameters(network)}
    write_network(folder, dict(network.state_dict()), None, quality, card)


def _url(metric: str, quality: int) -> str:
    if metric not in ZOO_URLS:
        raise UsageError(f"CompressAI has no weights of ssf2020 for {metric}; it has {', '.join(ZOO_URLS)}")
    if quality not in ZOO_URLS[metric]:
        there = ", ".join(map(str, ZOO_URLS[metric]))
        raise UsageError(f"CompressAI has no weights of ssf2020 of quality {quality}; it has {there}")
    return ZOO_URLS[metric][quality]


def _is_there(folder: Path, file: str) -> bool:
    """Whether a folder holds what this file is converted to; an error where it holds anything else."""
    if not folder.exists():
        return False
    if card_of(folder).get("source") != _source(file):
        raise UsageError(f"{folder} holds other weights than those of {file}; name another folder, or remove it first")
    return True


def _download(url: str, place: Path, folder: Path, show_progress: bool) -> Path:
    file = place / _file_of(url)
    said = re.search(r"-([0-9a-f]{8,})\.", file.name)
    assert said, "CompressAI's files are named by how their SHA-256 begins"
    try:
        download_url_to_file(url, str(file), hash_prefix=said[1], progress=show_progress)
    except (OSError, HTTPException, RuntimeError) as error:  # torch says by a RuntimeError that the hash is another
        why = str(error).removeprefix("<urlopen error ").removesuffix(">") or type(error).__name__
        raise UsageError(
            f"{url} cannot be downloaded: {why}; where there is a network, fetch it by hand, then take "
            f"python -m {__package__} convert {file.name} {folder}"
        ) from error
    return file


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {(error.strerror or str(error)).lower()}") from error


def _file_of(url: str) -> str:
    return url.rpartition("/")[2]


def _source(file: str) -> str:
    return f"CompressAI, {file}"
