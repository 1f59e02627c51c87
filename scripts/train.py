"""Train a model: `scripts/train.py CONFIG.toml [--set key=value …] [--resume auto|DIR] [--minutes N] [--device …]`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

from deepsphere_codec.data.prepare import prepare_films
from deepsphere_codec.errors import CodecError
from deepsphere_codec.training.loop import LOG_EVERY, Trainer
from deepsphere_codec.training.settings import load_settings


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a model from a TOML file; see configs/.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="section.key=value")
    parser.add_argument("--resume", metavar="auto|DIR", help="go on from the checkpoint in runs/NAME, or in DIR")
    parser.add_argument("--minutes", type=float, help="end cleanly after so many minutes")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--prepared", type=Path, default=Path("runs/clips"), help="where prepared films are kept")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return train(args)
    except CodecError as error:
        print(f"train: error: {error}", file=sys.stderr)
        return error.exit_code


def prepare(films: Path, out: Path, frames: int) -> None:
    with tqdm(unit="film", desc="preparing films", disable=None) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        for line in prepare_films(films, out, frames=frames, on_progress=show):
            print(f"train: left out: {line}", file=sys.stderr)


def train(args: argparse.Namespace) -> int:
    if args.threads:
        torch.set_num_threads(args.threads)
    device = "cuda" if args.device != "cpu" and torch.cuda.is_available() else "cpu"
    settings = load_settings(args.config, args.set)
    folder = Path("runs") / settings.name
    if not any(args.prepared.glob("*.npy")):
        prepare(Path(settings.films), args.prepared, settings.film_frames)
    trainer = Trainer(settings, folder, args.prepared, torch.device(device))
    if args.resume:
        path = folder if args.resume == "auto" else Path(args.resume)
        if args.resume != "auto" or trainer.checkpoint.exists():
            trainer.resume(path / "checkpoint.safetensors")
    until = time.monotonic() + 60 * args.minutes if args.minutes is not None else float("inf")
    with tqdm(total=settings.train.steps, initial=trainer.step, unit="step", disable=None) as bar:

        def show(entry: dict) -> None:
            bar.update(LOG_EVERY)
            bar.set_postfix_str(f"loss {entry['loss']:.3f}, {entry['bits_per_node']:.3f} b, {entry['psnr-y']:.1f} dB")

        try:
            trainer.run(until, show)
        except KeyboardInterrupt:
            trainer.save()
            print(f"train: stopped at step {trainer.step}; go on with --resume auto", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
