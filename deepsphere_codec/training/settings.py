"""What a training run is told: a TOML file, refused where it cannot work."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.errors import UsageError
from deepsphere_codec.models.config import ModelConfig

PARTS = ("intra", "motion", "inter", "all")
PRECISIONS = ("float32", "bfloat16")
_TYPES: dict[Any, tuple[Any, str]] = {
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "str": (str, "text"),
    "tuple[str, str]": ((list, tuple), "a list of two"),
}


@dataclass(frozen=True)
class Schedule:
    """How it is trained.

    Attributes:
        part: Which weights move: "intra", "motion" (the estimator's), "inter" (P-frames', behind I-frames that stand
            still) or "all".
        steps: Of the whole run; the learning rate falls along a cosine from `rate` to `rate_last` over them.
        batch: Patches a step.
        rate, rate_last, warmup: Learning rate, its end, and steps until it is reached.
        clip: Largest norm of the gradient.
        warp_steps: Until then the warped reference and the prediction count in the loss as well (weight 0.1).
        chain: P-frames that a step learns from, each after the one before it.
        skipped: Share of the P-frames of a chain that repeat the frame before.
        relocate: Steps after which the patch moves to another place of the sphere.
        checkpoint_minutes: Between checkpoints.
        seed: Of everything random.
        precision: Of the networks' layers: "float32", or "bfloat16" (a quarter to a third faster where the processor
            has it; what the entropy coder needs stays in float32).
        start: Checkpoint to start from; "" for none.
        start_intra: Checkpoint that the I-frames' weights are taken from instead; "" for the same.
    """

    part: str = "intra"
    steps: int = 10000
    batch: int = 4
    rate: float = 5e-4
    rate_last: float = 1e-5
    warmup: int = 200
    clip: float = 1.0
    warp_steps: int = 2000
    chain: int = 1
    skipped: float = 0.0
    relocate: int = 100
    checkpoint_minutes: float = 3.0
    seed: int = 1
    precision: str = "float32"
    start: str = ""
    start_intra: str = ""

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise UsageError(f"train.part is {self.part!r}: expected one of {', '.join(PARTS)}")
        if self.precision not in PRECISIONS:
            raise UsageError(f"train.precision is {self.precision!r}: expected one of {', '.join(PRECISIONS)}")
        if not 0 <= self.skipped < 1:
            raise UsageError(f"train.skipped is {self.skipped}: expected 0 or more, below 1")
        if min(self.steps, self.batch, self.chain, self.relocate) < 1:
            raise UsageError("train.steps, train.batch, train.chain and train.relocate must be at least 1")


@dataclass(frozen=True)
class TrainSettings:
    """A whole run.

    Attributes:
        name: Of the run; its checkpoint and log lie in `runs/name`.
        films: Folder of films and photographs to train on.
        film_frames: Frames kept of each film when it is prepared.
    """

    name: str
    films: str = "../shared/data/train"
    film_frames: int = 32
    model: ModelConfig = field(default_factory=ModelConfig)
    data: PatchSettings = field(default_factory=PatchSettings)
    train: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        needed = self.train.chain + 1 if self.train.part != "intra" else 1
        if self.data.frames < needed:
            raise UsageError(f"data.frames is {self.data.frames}: a chain of {self.train.chain} needs {needed} or more")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"model": self.model.to_dict()}


def load_settings(path: Path, changes: list[str]) -> TrainSettings:
    """Read a TOML file and apply `section.key=value` changes (values in TOML's spelling; bare words are strings).

    Raises:
        UsageError: not a file, not TOML, an unknown name, or a value that cannot work.
    """
    try:
        tree = tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    for change in changes:
        _apply(tree, change)
    sections: dict[str, Any] = {"model": ModelConfig, "data": PatchSettings, "train": Schedule}
    values = {name: _build(kind, name, tree.pop(name, {})) for name, kind in sections.items()}
    values = {"name": path.stem} | tree | values
    return _build(TrainSettings, "", values)


def _apply(tree: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals:
        raise UsageError(f"--set {change}: expected section.key=value")
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text
    *sections, last = key.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise UsageError(f"--set {change}: {section} is not a section")
    tree[last] = value


def _build(kind: Any, section: str, values: Any) -> Any:
    place = f"[{section}] " if section else ""
    if not isinstance(values, dict):
        raise UsageError(f"{section} is {values!r}: expected a section, such as {section}.{fields(kind)[0].name}")
    known = {f.name: f.type for f in fields(kind)}
    if unknown := sorted(set(values) - set(known)):
        raise UsageError(f"{place}{unknown[0]} is unknown: expected one of {', '.join(sorted(known))}")
    for name, value in values.items():
        accepted, what = _TYPES.get(known[name], (object, ""))
        if not isinstance(value, accepted) or (isinstance(value, bool) and what):
            raise UsageError(f"{place}{name} is {value!r}: expected {what}")
    return kind(**values)
