#!/usr/bin/env python3
"""Train a model: `scripts/train.py CONFIG.toml [--set key=value …] [--resume auto|DIR] [--minutes N] [--device …]`.

The stages of the configuration are trained one after the other. Under torchrun, its processes train together.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from deepsphere_codec.cli.arguments import usable_device
from deepsphere_codec.errors import CodecError
from deepsphere_codec.evaluation.anchors.ssf2020.settings import SsfSettings, is_ssf2020, load_ssf2020_stages
from deepsphere_codec.evaluation.anchors.ssf2020.trainer import SsfTrainer
from deepsphere_codec.runtime.memory import keep_freed_memory
from deepsphere_codec.runtime.progress import progress_bar
from deepsphere_codec.training.checkpoint import read_state
from deepsphere_codec.training.loop import Loop
from deepsphere_codec.training.parallel import World, join_world, leave_world
from deepsphere_codec.training.settings import GENERATED, TrainSettings, load_stages
from deepsphere_codec.training.trainer import Trainer

if TYPE_CHECKING:
    from deepsphere_codec.training.validation import Validator

Stage = TrainSettings | SsfSettings

# Imports for reading films and plotting are local: training on prepared films does not need these packages.


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Train a model from a TOML file; see configs/.")
    parser.add_argument("config", type=Path)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="section.key=value, or stages.NAME.section.key"
    )
    parser.add_argument("--resume", metavar="auto|DIR", help="go on from the checkpoints in runs/NAME, or in DIR")
    parser.add_argument("--minutes", type=float, help="end cleanly after so many minutes")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--workers", type=int, default=1, help="processes that make samples; 0 for none (1)")
    parser.add_argument("--tensorboard", action="store_true", help="write event files beside the log as well")
    parser.add_argument("--prepared", type=Path, help="where prepared films are kept (runs/clips, runs/generated)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Train all stages of a configuration."""
    args = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    world = World()
    try:
        device = usable_device(args.device)
        stages = read_stages(args.config, args.set)
        world = join_world(device)
        return train(args, stages, world, device)
    except CodecError as error:
        if world.first:
            print(f"train: error: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        leave_world(world)


def read_stages(config: Path, changes: list[str]) -> Sequence[Stage]:
    """Read the stages of a configuration.

    Args:
        config: TOML file.
        changes: Changes of single settings.
    Returns:
        Stages in order.
    """
    planar = is_ssf2020(config, changes)
    return load_ssf2020_stages(config, changes) if planar else load_stages(config, changes)


def prepare(settings: Stage, out: Path) -> None:
    """Prepare the films of a stage.

    Args:
        settings: Stage, which names the films.
        out: Folder to write to.
    """
    from deepsphere_codec.data.generated import generate_films
    from deepsphere_codec.data.prepare import prepare_films

    with progress_bar("preparing films", unit="film") as show:
        if settings.films == GENERATED:
            generate_films(out, on_progress=show)
            return
        for line in prepare_films(Path(settings.films), out, frames=settings.film_frames, on_progress=show):
            print(f"train: left out: {line}", file=sys.stderr)


def train(args: argparse.Namespace, stages: Sequence[Stage], world: World, device: str) -> int:
    """Train the stages one after the other.

    Args:
        args: Options.
        stages: Stages in order.
        world: Processes that train together.
        device: Device to train on.
    Returns:
        Exit code.
    """
    if args.threads:
        torch.set_num_threads(args.threads)
    until = time.monotonic() + 60 * args.minutes if args.minutes is not None else float("inf")
    prepared = args.prepared or Path("runs") / (GENERATED if stages[0].films == GENERATED else "clips")
    if world.first and (Path(stages[0].films).is_dir() or not any(prepared.glob("*.npy"))):
        prepare(stages[0], prepared)  # existing clips stay, so that an interrupted preparation is continued
    world.wait()
    place = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if device == "cuda" else "cpu")
    for stage in stages:
        checkpoint = checkpoint_of(args.resume, stage, stages)
        if checkpoint and read_state(checkpoint)["step"] >= stage.train.steps:
            continue  # a finished stage
        trainer = make_trainer(stage, prepared, place, args.workers, world)
        if args.tensorboard and world.first:
            trainer.board = make_board(trainer.folder)
        if checkpoint:
            trainer.resume(checkpoint)
        if not run(trainer, until, make_validator(stage, trainer.folder, prepared) if world.first else None):
            return 130
        if trainer.step < stage.train.steps:
            break
    return 0


def make_trainer(stage: Stage, films: Path, place: torch.device, workers: int, world: World) -> Loop:
    """Make the trainer of a stage.

    Args:
        stage: Stage.
        films: Folder of prepared films.
        place: Device to train on.
        workers: Number of processes that draw samples.
        world: Processes that train together.
    Returns:
        Trainer.
    """
    folder = Path("runs") / stage.name
    if isinstance(stage, SsfSettings):
        return SsfTrainer(stage, folder, films, place, workers, world)
    return Trainer(stage, folder, films, place, workers, world)


def checkpoint_of(resume: str | None, stage: Stage, stages: Sequence[Stage]) -> Path | None:
    """Choose the checkpoint that a stage continues from.

    Args:
        resume: Value of --resume; with "auto", only existing checkpoints are used.
        stage: Stage.
        stages: All stages.
    Returns:
        Checkpoint; None to begin anew.
    """
    if not resume:
        return None
    folder = Path("runs") / stage.name if resume == "auto" else Path(resume)
    if resume != "auto" and len(stages) > 1:
        folder /= stage.name.rpartition("/")[2]
    path = folder / "checkpoint.safetensors"
    return path if path.exists() or (resume != "auto" and len(stages) == 1) else None


def make_validator(stage: Stage, folder: Path, prepared: Path) -> Validator | None:
    """Make the validator that codes films at intervals.

    Args:
        stage: Stage.
        folder: Folder of the run.
        prepared: Folder of prepared films.
    Returns:
        Validator; None if the stage has none.
    """
    if isinstance(stage, SsfSettings) or not stage.validation.clips:
        return None
    asked = stage.validation
    from deepsphere_codec.data.generated import generate_clip
    from deepsphere_codec.training.validation import Validator

    clips = Path(asked.clips)
    if asked.clips == GENERATED:
        clips = prepared / "validation.mkv"
        if not clips.exists():
            generate_clip(clips, frames=asked.frames, width=4 * stage.data.nside)
    nside = stage.data.nside
    return Validator(
        clips,
        folder,
        nside=nside,
        geometry=stage.model.geometry,
        frames=asked.frames,
        quality=asked.quality,
        minutes=asked.minutes,
    )


def make_board(folder: Path) -> Any:
    from deepsphere_codec.training.validation import tensorboard

    return tensorboard(folder)


def run(trainer: Loop, until: float, validator: Validator | None) -> bool:
    """Train one stage, with a progress bar.

    Args:
        trainer: Trainer.
        until: Time to stop at, seconds of the monotonic clock.
        validator: Validator; None for none.
    Returns:
        False if it was interrupted.
    """
    steps, name = trainer.settings.train.steps, trainer.settings.name
    quiet = None if trainer.world.first else True
    with tqdm(total=steps, initial=trainer.step, unit="step", desc=name, disable=quiet) as bar:

        def show(entry: dict[str, Any]) -> None:
            bar.update(entry["step"] - bar.n)
            bar.set_postfix_str(in_words(entry, trainer))

        try:
            trainer.run(until, show, validator)
        except KeyboardInterrupt:
            trainer.save()
            print(f"train: stopped at step {trainer.step} of {name}; go on with --resume auto", file=sys.stderr)
            return False
    return True


def in_words(entry: dict[str, Any], trainer: Loop) -> str:
    """Format a log entry for the terminal.

    Args:
        entry: Entry of the log.
        trainer: Trainer.
    Returns:
        Line of text.
    """
    seconds = entry["seconds"] + entry["waited"]
    shares = trainer.settings.train.shares if isinstance(trainer, Trainer) else 1
    samples = trainer.settings.train.batch * shares / seconds
    of = "node" if isinstance(trainer, Trainer) else "pixel"
    return (
        f"loss {entry['loss']:.3f}, {entry[f'bits_per_{of}']:.3f} bits/{of}, {entry['psnr-y']:.1f} dB, "
        f"{samples:.1f} samples/s, {entry['waited'] / seconds:.0%} waiting"
    )


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
