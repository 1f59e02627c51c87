"""Fixtures of the studies' tests: options that make a study small enough to train in seconds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from made_up_results import make_results, run_script  # noqa: F401
from support import load_script, same_numbers_on_one_thread, same_signals  # noqa: F401
from training_runs import clips, narrow  # noqa: F401

from deepsphere_codec.data.prepare import prepare_films


@pytest.fixture(scope="session")
def study_script() -> Iterator[Callable[[str], ModuleType]]:
    """Load the command of a study."""
    with same_signals():
        yield lambda name: load_script(f"studies/{name}")


@pytest.fixture(scope="session")
def test_films(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared film to measure on."""
    folder = tmp_path_factory.mktemp("films")
    prepare_films(film.parent, folder)
    return folder


@pytest.fixture
def small(narrow: dict[str, int], clips: Path, test_films: Path, tmp_path: Path) -> list[str]:  # noqa: F811
    """Options: a narrow codec, small patches, one seed, and outputs in a temporary folder."""
    settings = {f"model.{key}": value for key, value in narrow.items()}
    settings |= {"data.nside": 128, "data.side": 64, "data.spin_degrees": 5.0}
    settings |= {"train.batch": 2, "train.warmup": 3, "train.relocate": 4}
    changes = [word for key, value in settings.items() for word in ("--set", f"settings.{key}={value}")]
    folders = ["--prepared", str(clips), "--prepared-test", str(test_films), "--runs", str(tmp_path / "runs")]
    outputs = ["--out", str(tmp_path / "out" / "results.json"), "--figure", str(tmp_path / "figure.svg")]
    return [*changes, *folders, *outputs, "--seeds", "1", "--jobs", "1"]
