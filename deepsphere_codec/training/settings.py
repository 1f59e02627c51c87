"""Settings of a training run, read from a TOML file and checked."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, field, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, PositiveInt

from deepsphere_codec.data.patches import PLACES, PatchSettings
from deepsphere_codec.data.planar import PlanarSettings
from deepsphere_codec.errors import UsageError
from deepsphere_codec.models.config import QUALITIES, ModelConfig
from deepsphere_codec.settings import AS_GIVEN, NonNegative, checked_dataclass, did_you_mean
from deepsphere_codec.training.distortion import DISTORTIONS, LEAST_SIDES
from deepsphere_codec.training.schedule import Schedule

T = TypeVar("T")
GENERATED = "generated"
"""Value of a folder of films that selects generated films."""


@checked_dataclass("validation")
class Validation:
    """Settings of the validation during training.

    Attributes:
        clips: A film, or a folder of which two films are used; "generated" for a generated film, "" for no validation.
        minutes: Minutes between validations.
        frames: Number of frames of each clip.
        quality: Quality that the clips are coded with, on the whole sphere.
    """

    clips: str = ""
    minutes: NonNegative = 30.0
    frames: PositiveInt = 4
    quality: Annotated[float, Field(ge=1, le=QUALITIES), AS_GIVEN] = 4.0


@checked_dataclass("")
class TrainSettings:
    """Settings of a training run or of one of its stages.

    Attributes:
        name: Name of the run, or RUN/STAGE; its checkpoint and log are in `runs/NAME`.
        films: Folder of films and photographs to train on, or "generated".
        film_frames: Number of frames kept of each film when it is prepared.
        model: Configuration of the model.
        data: Samples to draw: patches of the sphere or, for a planar model, of the ERP picture.
        train: Schedule.
        validation: Validation during training.
    Raises:
        UsageError: a value, or a combination of values, is not valid.
    """

    name: str
    films: str = "../shared/data/train"
    film_frames: PositiveInt = 32
    model: ModelConfig = field(default_factory=ModelConfig)
    data: PatchSettings | PlanarSettings = field(default_factory=PatchSettings)
    train: Schedule = field(default_factory=Schedule)
    validation: Validation = field(default_factory=Validation)

    def __post_init__(self) -> None:
        needed = self.train.chain + 1 if self.train.part != "intra" else 1
        if self.data.frames < needed:
            raise UsageError(f"data.frames is {self.data.frames}: a chain of {self.train.chain} needs {needed} or more")

        _check_geometry(self)
        side = min(self.data.rows, self.data.columns) if isinstance(self.data, PlanarSettings) else self.data.side
        least, inner = LEAST_SIDES.get(self.train.distortion, 16), side - 2 * self.train.margin
        if inner < least:
            raise UsageError(f"train.margin is {self.train.margin}: expected to leave {least} of {side} nodes or more")

    def to_dict(self) -> dict[str, Any]:
        """Convert to a dictionary of JSON types."""
        return asdict(self) | {"model": self.model.to_dict()}


def _check_geometry(s: TrainSettings) -> None:
    """Raise UsageError if data or distortion do not match the model's geometry."""
    geometry, data = s.model.geometry, s.data
    if s.train.distortion not in DISTORTIONS[geometry]:
        known = ", ".join(DISTORTIONS[geometry])
        raise UsageError(
            f"train.distortion is {s.train.distortion!r}: expected one of {known} where geometry is {geometry!r}"
        )
    if isinstance(data, PlanarSettings) != (geometry == "erp"):
        raise UsageError(f"model.geometry is {geometry!r}, but data are those of another: give its sizes in [data]")
    if not isinstance(data, PlanarSettings):
        return
    if data.rows % PLACES or data.columns % PLACES or data.width % (2 * PLACES) or data.width != 2 * data.height:
        raise UsageError(
            f"data.rows x data.columns is {data.rows} x {data.columns} of {data.height} x {data.width}: expected "
            f"multiples of {PLACES}, of a picture twice as wide as high"
        )
    if s.train.margin and data.rows != data.columns:
        raise UsageError(f"data.rows x data.columns is {data.rows} x {data.columns}: a margin needs a square")


def load_settings(path: Path, changes: list[str]) -> TrainSettings:
    """Read a TOML file with a single stage and apply changes, see `load_stages`.

    Args:
        path: The file.
        changes: Changes, `section.key=value`.
    Returns:
        Settings of the stage.
    Raises:
        UsageError: as for `load_stages`, or the file has several stages.
    """
    stages = load_stages(path, changes)
    if len(stages) > 1:
        names = ", ".join(stage.name.rpartition("/")[2] for stage in stages)
        raise UsageError(f"{path} has several stages, {names}: expected one")
    return stages[0]


def load_stages(path: Path, changes: list[str]) -> list[TrainSettings]:
    """Read the stages of a TOML file and apply changes.

    `[stages.NAME]` tables are trained one after the other, in `runs/RUN/NAME`. Each stage uses the file's [data] and
    [train] with its own `data.key` and `train.key` in place of theirs, and starts from the checkpoint of the stage
    before. A file without stages is one stage, in `runs/RUN`.

    Args:
        path: The file.
        changes: Changes `section.key=value`, values in TOML's syntax, or bare words for strings.
            `stages.NAME.train.key` changes one stage, `train.key` all of them.
    Returns:
        Settings of each stage, in order.
    Raises:
        UsageError: the file cannot be read or is not TOML, a name is unknown, or a value is not valid.
    """
    return [_settings(tree) for tree in stage_trees(path, changes)]


def stage_trees(path: Path, changes: list[str]) -> list[dict[str, Any]]:
    """Read the stages of a TOML file and apply changes as `load_stages` does, without checking the values.

    Args:
        path: The file.
        changes: Changes, `section.key=value`.
    Returns:
        Values of each stage by name, with a dictionary for each section.
    Raises:
        UsageError: the file cannot be read or is not TOML, or a section is not valid.
    """
    tree = {"name": path.stem} | _read(path)
    tables = tree.pop("stages", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise UsageError(f"{path}: stages is {tables!r}: expected sections, such as [stages.intra]")
    own = [change for change in changes if change.startswith("stages.")]
    common = [change for change in changes if not change.startswith("stages.")]
    for change in own:
        if (name := change.split(".")[1].split("=")[0]) not in tables:
            raise UsageError(f"--set {change}: {path} has no stage {name}{did_you_mean(name, tables)}")
    if not tables:
        return [_changed(tree, common)]
    tables = _changed({"stages": tables}, own)["stages"]
    stages: list[dict[str, Any]] = []
    for name, table in tables.items():
        merged = _changed(_merged(tree, name, table), common)
        if stages and isinstance(merged.setdefault("train", {}), dict):
            merged["train"].setdefault("start", f"runs/{stages[-1]['name']}/checkpoint.safetensors")
        stages.append(merged | {"name": f"{merged['name']}/{name}"})
    return stages


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error


def _merged(given: dict[str, Any], stage: str, table: dict[str, Any]) -> dict[str, Any]:
    """Settings of all stages, overridden by those of one stage."""
    merged = copy.deepcopy(given)
    for section, values in table.items():
        before = merged.get(section, {})
        if section not in ("data", "train") or not isinstance(values, dict) or not isinstance(before, dict):
            raise UsageError(f"[stages.{stage}] {section} is unknown: expected data.KEY or train.KEY")
        merged[section] = before | values
    return merged


def _settings(tree: dict[str, Any]) -> TrainSettings:
    data = PlanarSettings if _is_planar(tree) else PatchSettings
    sections = {"model": ModelConfig, "data": data, "train": Schedule, "validation": Validation}
    return from_tree(TrainSettings, tree, sections)


def from_tree(kind: type[T], tree: dict[str, Any], sections: Mapping[str, type]) -> T:
    """Create settings from the contents of a file.

    Args:
        kind: Class of the settings.
        tree: Values by name, with a dictionary for each section.
        sections: Class of each section.
    Returns:
        The settings.
    Raises:
        UsageError: a name is unknown, or a value is not valid.
    """
    made = {}
    for name, section in sections.items():
        values = tree.get(name, {})
        if not isinstance(values, dict):
            raise UsageError(f"{name} is {values!r}: expected a section, such as {name}.{fields(section)[0].name}")
        made[name] = section(**values)
    return kind(**tree | made)


def _is_planar(tree: dict[str, Any]) -> bool:
    model = tree.get("model", {})
    return isinstance(model, dict) and model.get("geometry") == "erp"


def _changed(tree: dict[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    tree = copy.deepcopy(tree)
    for change in changes:
        _apply(tree, change)
    return tree


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
