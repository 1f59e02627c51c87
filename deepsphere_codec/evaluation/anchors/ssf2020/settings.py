"""Training settings of the planar baseline: a TOML file with kind = "ssf2020"."""

from __future__ import annotations

from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from deepsphere_codec.data.planar import PlanarSettings
from deepsphere_codec.errors import UsageError
from deepsphere_codec.settings import NonNegative, PartialShare, Positive, checked_dataclass
from deepsphere_codec.training.schedule import Fall, Precision
from deepsphere_codec.training.settings import from_tree, stage_trees

KIND: Final = "ssf2020"
MULTIPLE = 128  # divisor of a patch's sides, the same as in `network.py`
MAX_QUALITY = 8


@checked_dataclass("train")
class SsfSchedule:
    """Schedule of the training; for attributes not listed here see `Schedule`.

    Attributes:
        quality: Whole number, 1 … 8: each rate has its own network, with our models' trade-off at that quality.
        aux_rate: Learning rate of the entropy bottlenecks' quantiles, constant over the steps.
    """

    quality: Annotated[int, Field(ge=1, le=MAX_QUALITY)] = 4
    steps: PositiveInt = 10000
    batch: PositiveInt = 4
    rate: Positive = 1e-4
    rate_last: NonNegative = 1e-5
    aux_rate: Positive = 1e-3
    warmup: NonNegativeInt = 0
    fall: Fall = "cosine"
    ema: PartialShare = 0.0
    clip: Positive = 1.0
    checkpoint_minutes: NonNegative = 3.0
    seed: NonNegativeInt = 1
    precision: Precision = "float32"
    start: str = ""


@checked_dataclass("")
class SsfSettings:
    """Settings of a whole training; for `name`, `films` and `film_frames` see `TrainSettings`."""

    name: str
    kind: Literal["ssf2020"] = KIND
    films: str = "../shared/data/train"
    film_frames: PositiveInt = 32
    data: PlanarSettings = field(default_factory=PlanarSettings)
    train: SsfSchedule = field(default_factory=SsfSchedule)

    def __post_init__(self) -> None:
        if self.data.rows % MULTIPLE or self.data.columns % MULTIPLE:
            raise UsageError(
                f"data.rows x data.columns is {self.data.rows} x {self.data.columns}: expected multiples of {MULTIPLE}"
            )
        if self.data.frames < 2:
            raise UsageError(f"data.frames is {self.data.frames}: expected an I-frame and a P-frame, or more")

    def to_dict(self) -> dict[str, Any]:
        """Convert the settings to nested dictionaries."""
        return asdict(self)


def is_ssf2020(path: Path, changes: list[str]) -> bool:
    """Check whether a TOML file holds settings of this trainer; files without a kind are for `Trainer`.

    Args:
        path: TOML file.
        changes: Changes of single settings, see `load_stages`.
    Returns:
        Whether the kind is "ssf2020".
    Raises:
        UsageError: see `load_stages`.
    """
    return any(tree.get("kind") == KIND for tree in stage_trees(path, changes))


def load_ssf2020_stages(path: Path, changes: list[str]) -> list[SsfSettings]:
    """Load the settings of all rates; see `load_stages`.

    Args:
        path: TOML file.
        changes: Changes of single settings, see `load_stages`.
    Returns:
        Settings of one stage for each rate.
    Raises:
        UsageError: see `load_stages`.
    """
    trees = stage_trees(path, changes)
    return [from_tree(SsfSettings, tree, {"data": PlanarSettings, "train": SsfSchedule}) for tree in trees]
