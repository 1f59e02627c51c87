"""Sources of test files: random changes, or libFuzzer, which keeps files that reach new lines of the decoder."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

from studies.fuzzing.films import NETWORKS, Seed
from studies.fuzzing.mutate import LONGEST, mutated

SLOW_SHARE = 0.2
"""Share of files that are decoded by a network: these take 30 ms each, the others one or two."""
_FRESH, _DROPPED = 0.3, 0.6
"""Share of files made from an undamaged file instead of libFuzzer's corpus; and share of the corpus's network files
that are replaced by fast ones, since they would otherwise take nine tenths of the time.
"""
_HEADER = 200  # bytes that contain the model's name
Put = Callable[[bytes], bool]
"""Function that receives a file and returns whether more are wanted."""


def by_chance(seeds: list[Seed], seed: int, put: Put) -> None:
    """Generate files by random changes of undamaged ones.

    Args:
        seeds: Undamaged files.
        seed: Seed of the changes.
        put: Receives the files.
    """
    dice = random.Random(seed)
    others = [each.data for each in seeds]
    while put(mutated(_chosen(seeds, dice).data, dice, others)):
        pass


def by_coverage(seeds: list[Seed], seed: int, put: Put, folder: Path) -> None:
    """Generate files by libFuzzer with this package's changes and its own; does not return.

    Args:
        seeds: Undamaged files.
        seed: Seed of the changes.
        put: Receives the files.
        folder: Folder for the corpus.
    """
    import atheris

    others, quick = [each.data for each in seeds], [each.data for each in seeds if each.quick]
    slow = [name.encode() for name in NETWORKS]

    def test(data: bytes) -> None:
        if not put(data):
            sys.stderr.flush()
            os._exit(0)  # libFuzzer would treat an exception as a failure

    def change(data: bytes, size: int, number: int) -> bytes:
        dice = random.Random(number)
        if dice.random() < _FRESH:
            data = _chosen(seeds, dice).data
        elif any(name in data[:_HEADER] for name in slow) and dice.random() < _DROPPED:
            data = dice.choice(quick)
        return mutated(data, dice, others, lambda each: atheris.Mutate(each, LONGEST))[:size]

    for i, each in enumerate(seeds):
        (folder / f"{i}.dsc").write_bytes(each.data)
    flags = [
        f"-seed={seed + 1}",
        "-timeout=1000000",
        "-rss_limit_mb=0",
        f"-max_len={LONGEST}",
        "-reload=0",
        "-mutate_depth=2",
    ]
    flags += [
        "-handle_segv=0",
        "-handle_abrt=0",
        "-handle_bus=0",
        "-handle_fpe=0",
        "-handle_ill=0",
        f"-artifact_prefix={folder}/",
    ]
    atheris.Setup([sys.argv[0], *flags, str(folder)], test, custom_mutator=change)
    atheris.Fuzz()


def _chosen(seeds: list[Seed], dice: random.Random) -> Seed:
    quick = dice.random() > SLOW_SHARE
    return dice.choice([each for each in seeds if each.quick == quick])
