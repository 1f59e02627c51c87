#!/usr/bin/env python3
"""Time whole films coded by one process and by several, and look that the bytes are the same.

    scripts/benchmark_workers.py [--workers 2] [--frames 128] [--gop 8] [--size 1024x512] [--model NAME|DIR]
        [--rounds 2] [--out results/workers.json]

Each process has one thread. The film is generated. One process and several take turns; the figures are medians of whole
calls, which begin with starting the processes and end with the file.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from tqdm import tqdm

from deepsphere_codec.cli.arguments import size_argument
from deepsphere_codec.data.synthetic import synthetic_film
from deepsphere_codec.errors import CodecError
from deepsphere_codec.evaluation.environment import environment
from deepsphere_codec.evaluation.json_file import write_json
from deepsphere_codec.evaluation.script import check_positive, run
from deepsphere_codec.films import DecodeReport, EncodeReport, decode_to_file, encode_video
from deepsphere_codec.models import DEFAULT_MODEL
from deepsphere_codec.runtime.memory import keep_freed_memory
from deepsphere_codec.video import VideoInfo, create_video

Reports = dict[int, list[tuple[EncodeReport, DecodeReport]]]
"""Reports by the number of workers."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--frames", type=int, default=128, metavar="N")
    parser.add_argument("--gop", type=int, default=8, metavar="N")
    parser.add_argument("--size", type=size_argument, default=(1024, 512), metavar="WxH")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME|DIR")
    parser.add_argument("--rounds", type=int, default=2, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON, too")
    arguments = parser.parse_args()
    check_positive(arguments, "workers", "frames", "gop", "rounds")
    with tempfile.TemporaryDirectory(prefix="deepsphere-") as folder:
        film = make_film(Path(folder, "film.mkv"), arguments.size, arguments.frames)
        reports = take_turns(film, (1, arguments.workers), arguments.rounds, arguments.model, arguments.gop)
    figures = summary(reports)
    print(as_text(figures))
    if arguments.out:
        write(arguments.out, figures, arguments)


def make_film(path: Path, size: tuple[int, int], frames: int) -> Path:
    """Write a generated film.

    Args:
        path: File to write.
        size: Width and height in pixels.
        frames: Number of frames.
    Returns:
        Path of the film.
    """
    width, height = size
    with create_video(path, VideoInfo(width, height, Fraction(30), frames, False, "bt709")) as writer:
        for frame in synthetic_film(width, height, frames):
            writer.write(frame)
    return path


def take_turns(film: Path, counts: Sequence[int], rounds: int, model: str, gop_size: int) -> Reports:
    """Encode and decode with each number of workers, round after round.

    Args:
        film: Film to code.
        counts: Numbers of workers.
        rounds: Number of rounds.
        model: Name or folder of the model.
        gop_size: Frames from I-frame to I-frame.
    Returns:
        Reports.
    Raises:
        CodecError: the bytes differ from those of one process.
    """
    reports: Reports = {count: [] for count in counts}
    hashes = set()
    for turn in tqdm(range(rounds * len(reports)), desc="films", unit="film", leave=False):
        count = list(reports)[turn % len(reports)]
        stream, decoded = film.with_suffix(".dsc"), film.with_name("decoded.y4m")
        encoded = encode_video(film, stream, model=model, gop_size=gop_size, workers=count, threads=1, force=True)
        done = decode_to_file(stream, decoded, model=model, workers=count, threads=1, force=True)
        reports[count].append((encoded, done))
        hashes.add((_hash(stream), _hash(decoded)))
    if len(hashes) > 1:
        raise CodecError(f"{counts[-1]} processes do not come to the bytes of one")
    return reports


def summary(reports: Reports) -> list[dict[str, float]]:
    """Compute seconds of a film and the speed-up over one worker, for each number of workers."""
    rows = [
        {
            "workers": count,
            "encode_seconds": statistics.median(encoded.encode_seconds for encoded, _ in pairs),
            "decode_seconds": statistics.median(decoded.decode_seconds for _, decoded in pairs),
        }
        for count, pairs in reports.items()
    ]
    for row in rows:
        for what in ("encode", "decode"):
            row[f"{what}_speedup"] = rows[0][f"{what}_seconds"] / row[f"{what}_seconds"]
    return rows


def as_text(rows: Sequence[dict[str, float]]) -> str:
    keys = list(rows[0])
    lines = ["".join(key.rjust(16) for key in keys)]
    lines += ["".join(f"{row[key]:16.2f}" if key != "workers" else f"{row[key]:16d}" for key in keys) for row in rows]
    return "\n".join(lines)


def write(path: Path, rows: Sequence[dict[str, float]], arguments: argparse.Namespace) -> None:
    """Write the results to a JSON file.

    Args:
        path: File to write.
        rows: Results for each number of workers.
        arguments: Options.
    """
    settings = {key: getattr(arguments, key) for key in ("model", "frames", "gop", "rounds")}
    result = {
        "name": "workers",
        "description": "seconds of a whole film, by one process and by several, one thread each; medians",
        "settings": {**settings, "size": "x".join(map(str, arguments.size))},
        "rows": [{key: round(value, 3) for key, value in row.items()} for row in rows],
        "environment": environment(),
    }
    write_json(path, result)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(run(main, "benchmark_workers", "nothing is kept"))
