"""What a training of the planar baseline is told: a TOML file with kind = "ssf2020"."""

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
MULTIPLE = 128  # of which a patch's sides are multiples, as `network.py` says
MAX_QUALITY = 8


@checked_dataclass("train")
class SsfSchedule:
    """How it is trained; what is not said here is as in `Schedule`.

    Attributes:
        quality: Whole, 1 … 8: each rate has a network of its own, with the trade-off that our models have there.
        aux_rate: Learning rate of the entropy bottlenecks' quantiles, the same in all steps.
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
    """A whole run; `name`, `films` and `film_frames` as in `TrainSettings`."""

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
        return asdict(self)


def is_ssf2020(path: Path, changes: list[str]) -> bool:
    """Whether a TOML file is for this trainer; those without a kind are for `Trainer`.

    Raises:
        UsageError: as `load_stages`.
    """
    return any(tree.get("kind") == KIND for tree in stage_trees(path, changes))


def load_ssf2020_stages(path: Path, changes: list[str]) -> list[SsfSettings]:
    """As `load_stages`, one stage for each rate.

    Raises:
        UsageError: as `load_stages`.
    """
    trees = stage_trees(path, changes)
    return [from_tree(SsfSettings, tree, {"data": PlanarSettings, "train": SsfSchedule}) for tree in trees]
