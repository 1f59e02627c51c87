"""What tests in every folder may ask for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import jaxtyping
import pytest
import shapes
import torch

shapes.install()

ROOT = Path(__file__).resolve().parents[1]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were skipped, and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section(f"{len(skipped)} skipped")
        for reason, count in Counter(map(_reason, skipped)).most_common():
            terminalreporter.write_line(f"{count:5}  {reason}")


def _reason(report: pytest.TestReport) -> str:
    """Why a test was skipped, without pytest's own word before it."""
    _, _, said = report.longrepr  # file, line, reason
    return said.removeprefix("Skipped: ").splitlines()[0]


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    """Those of two processors, shared with another process where tests run side by side."""
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty cache, shared by the workers of one run: the user's may hold what older code computed."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPSPHERE_CACHE", str(folder / "cache"))
        yield


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """For a test that hands over a wrong shape on purpose, to see it refused."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def footage() -> Path:
    """The folder of real footage, $DEEPSPHERE_FOOTAGE or shared/data beside the checkout; skips where there is none."""
    folder = Path(os.environ.get("DEEPSPHERE_FOOTAGE", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no footage in {folder}; DEEPSPHERE_FOOTAGE names its folder")
    return folder


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated film, lossless, 256x128, 6 frames."""
    from deepsphere_codec.data.synthetic import synthetic_film
    from deepsphere_codec.video import VideoInfo, create_video

    path = tmp_path_factory.mktemp("film") / "film.mkv"
    with create_video(path, VideoInfo(256, 128, Fraction(30), 6, False, "bt709")) as writer:
        for frame in synthetic_film(256, 128, 6):
            writer.write(frame)
    return path
