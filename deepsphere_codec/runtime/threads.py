"""Configuration of waiting OpenMP threads, which is read from the environment when torch is first imported."""

from __future__ import annotations

import os

SPINS = 600


def spin_briefly() -> None:
    """Make idle OpenMP threads spin a few hundred times, then sleep, unless the user has set another policy.

    By default libgomp's threads spin for milliseconds, and on a busy machine prevent each other from working; threads
    that sleep immediately lose time on an idle machine. Seconds to code and decode a P-frame of 1024×512 on two threads
    and two cores (`GOMP_SPINCOUNT=N scripts/benchmark.py --threads 2`):

        spins       both cores idle    one busy with other work of higher priority
        default     1.6   0.6          more than 10
        1000        2.0   0.7          4.5   2.7
        600         2.1   0.7          3.6   1.9
        300         2.8   1.3          3.6   1.6
        none        3.7   2.2          3.0   1.0

    To be called before torch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
