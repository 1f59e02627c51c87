"""What a training of the planar baseline is told: a TOML file with kind = "ssf2020"."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepsphere_codec.data.planar import PlanarSettings
from deepsphere_codec.errors import UsageError
from deepsphere_codec.training.schedule import CHOICES
from deepsphere_codec.training.settings import build, stage_trees

KIND = "ssf2020"
MULTIPLE = 128  # of which a patch's sides are multiples, as `network.py` says
MAX_QUALITY = 8


@dataclass(frozen=True)
class SsfSchedule:
    """How it is trained; what is not said here is as in `Schedule`.

    Attributes:
        quality: Whole, 1 … 8: each rate has a network of its own, with the trade-off that our models have there.
        aux_rate: Learning rate of the entropy bottlenecks' quantiles, the same in all steps.
    """

    quality: int = 4
    steps: int = 10000
    batch: int = 4
    rate: float = 1e-4
    rate_last: float = 1e-5
    aux_rate: float = 1e-3
    warmup: int = 0
    fall: str = "cosine"
    ema: float = 0.0
    clip: float = 1.0
    checkpoint_minutes: float = 3.0
    seed: int = 1
    precision: str = "float32"
    start: str = ""

    def __post_init__(self) -> None:
        for name in ("fall", "precision"):
            if (value := getattr(self, name)) not in CHOICES[name]:
                raise UsageError(f"train.{name} is {value!r}: expected one of {', '.join(CHOICES[name])}")
        if not 1 <= self.quality <= MAX_QUALITY:
            raise UsageError(f"train.quality is {self.quality}: expected 1 to {MAX_QUALITY}")
        if min(self.steps, self.batch) < 1 or not 0 <= self.ema < 1:
            raise UsageError("train.steps and train.batch must be at least 1, train.ema 0 or more and below 1")


@dataclass(frozen=True)
class SsfSettings:
    """A whole run; `name`, `films` and `film_frames` as in `TrainSettings`."""

    name: str
    kind: str = KIND
    films: str = "../shared/data/train"
    film_frames: int = 32
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
    return [_settings(tree) for tree in stage_trees(path, changes)]


def _settings(tree: dict[str, Any]) -> SsfSettings:
    sections: dict[str, Any] = {"data": PlanarSettings, "train": SsfSchedule}
    values = {name: build(kind, name, tree.get(name, {})) for name, kind in sections.items()}
    return build(SsfSettings, "", tree | values)
