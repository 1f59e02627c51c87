"""Description of a study in its file study.toml, and the options of its command."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.script import check_positive

Json = dict[str, Any]


class Variant(NamedTuple):
    """One variant of a study.

    Attributes:
        name: Name in results.
        changes: Changes of the study's settings, in the same sections.
        parts: Parts of the codec that differ from the anchor.
    """

    name: str
    changes: Json
    parts: tuple[str, ...]


class Films(NamedTuple):
    """Folders of films to train on and to measure on, and numbers of frames used of each film."""

    train: str = "../shared/data/train"
    train_frames: int = 32
    test: str = "../shared/data/test"
    test_frames: int = 32


class Study(NamedTuple):
    """Variants that are trained alike and compared with one of them.

    Attributes:
        name: Name of the folder and of the results.
        description: Description of the method, for the results.
        anchor: Variant that the others are compared with.
        variants: All variants including the anchor.
        parts: Parts of the codec that are trained separately; each may have its own "steps", "seconds", and "settings".
        settings: Settings that all variants share.
        seeds: Seeds; each variant is trained once with each.
        jobs: Number of parallel trainings.
        films: Films to train and to measure on.
        frames: Frames of a sample that P-frames are measured on; the first is the I-frame.
        qualities: Qualities of the points of a rate-distortion curve.
        loss_qualities: Qualities of the held-out loss; if empty, each moment has points in place of a loss.
        moments: Seconds of training after which a run is measured.
        rate_falls: Whether the learning rate falls to a hundredth before each moment.
        figure: File of the figure, "" for none.
    """

    name: str
    description: str
    anchor: Variant
    variants: tuple[Variant, ...]
    parts: dict[str, Json]
    settings: Json
    seeds: list[int]
    jobs: int = 1
    films: Films = Films()
    frames: int = 2
    qualities: tuple[float, ...] = (1.0, 3.0, 5.0, 7.0)
    loss_qualities: tuple[float, ...] = ()
    moments: tuple[float, ...] = ()
    rate_falls: bool = False
    figure: str = ""

    @property
    def by_name(self) -> dict[str, Variant]:
        """Variants by name."""
        return {variant.name: variant for variant in self.variants}


def load_study(path: Path, changes: Sequence[str] = ()) -> Study:
    """Read a study.

    Args:
        path: TOML file.
        changes: Changes of it, each a line of TOML such as "settings.train.batch = 2".
    Returns:
        Study.
    Raises:
        UsageError: a change is not valid TOML, or there is no such key.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        for change in changes:
            _merge(table, tomllib.loads(change))
        for name, each in table["variants"].items():
            parts = tuple(each.pop("parts", table["parts"]))
            table["variants"][name] = Variant(name, each, parts)
        variants, films = table.pop("variants"), Films(**table.pop("films"))
        anchor = variants[table.pop("anchor")]
        return Study(**table, anchor=anchor, variants=tuple(variants.values()), films=films)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{' '.join(['--set', *changes])}: not a change of {path}: {error}") from error


def _merge(table: Json, change: Json) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            _merge(table[key], value)
        else:
            table[key] = value


def as_changes(settings: Mapping[str, Any], section: str = "") -> list[str]:
    """Format settings as changes for `load_settings`, such as "train.batch=2".

    Args:
        settings: Settings by key, nested by section.
        section: Name of the section; empty at the top level.
    Returns:
        Changes.
    """
    lines = []
    for key, value in settings.items():
        if isinstance(value, dict):
            lines += as_changes(value, f"{section}{key}.")
        else:
            lines.append(f"{section}{key}={str(value).lower() if isinstance(value, bool) else repr(value)}")
    return lines


def read_arguments(
    script: str,
    about: str,
    arguments: Sequence[str] | None,
    add: Callable[[argparse.ArgumentParser], object] | None = None,
) -> tuple[Study, argparse.Namespace]:
    """Read the study beside a script and the command line; options override the study's values.

    Args:
        script: Script in the folder of the study.
        about: First line of the help.
        arguments: Command line; None for that of this process.
        add: Function that adds options specific to this study.
    Returns:
        Study with the chosen variants (the anchor is always included), seeds and steps; all options.
    Raises:
        UsageError: a number is not greater than 0, or --set is not a change of the study.
    """
    path = Path(script).parent / "study.toml"
    study = load_study(path)
    names, runs = [variant.name for variant in study.variants], Path("runs") / study.name
    parser = argparse.ArgumentParser(prog=f"python -m studies.{study.name}", description=about)
    option = parser.add_argument
    option("--set", action="append", default=[], metavar="KEY=VALUE", help="change study.toml, in TOML's spelling")
    option("--variants", nargs="+", default=names, choices=names, metavar="NAME", help="some of them, and the anchor")
    option("--seeds", type=int, nargs="+", default=study.seeds, help=f"one training with each ({study.seeds})")
    option("--jobs", type=int, default=study.jobs, help=f"runs side by side, one thread each ({study.jobs})")
    option("--steps", type=int, help="of each run, in place of the study's")
    option("--clips", type=Path, default=Path(study.films.test), help=f"films to measure on ({study.films.test})")
    option("--prepared", type=Path, default=Path("runs/clips"), help="where films to train on are kept (runs/clips)")
    option("--prepared-test", type=Path, help=f"where films to measure on are kept ({runs}/clips)")
    option("--runs", type=Path, default=runs, help=f"where finished runs are kept ({runs})")
    option("--finished", action="store_true", help="train nothing: take the runs that are there")
    option("--draw", action="store_true", help="only print the table of OUT, and draw its figure")
    option("--out", type=Path, default=Path(f"results/{study.name}.json"), help="results")
    option("--figure", type=Path, default=Path(study.figure) if study.figure else None, help=argparse.SUPPRESS)
    parser.set_defaults(parts=list(study.parts))
    if add:
        add(parser)
    args = parser.parse_args(arguments)
    check_positive(args, "jobs", "steps")
    study = load_study(path, args.set)
    args.prepared_test = args.prepared_test or args.runs / "clips"
    if args.steps:
        study.parts.update({part: own | {"steps": args.steps} for part, own in study.parts.items()})
    chosen = tuple(each for each in study.variants if each.name in (study.anchor.name, *args.variants))
    return study._replace(variants=chosen, seeds=args.seeds), args
