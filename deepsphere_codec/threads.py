"""How threads wait for one another, which OpenMP reads from the environment before torch is first imported."""

from __future__ import annotations

import os

SPINS = 300


def spin_briefly() -> None:
    """Let threads without work look for more a few hundred times, then sleep; what the user has set stays.

    libgomp's threads spin for milliseconds, and on a busy machine keep each other from working; threads that sleep at
    once lose time on an idle one. Seconds to code and decode a P-frame of 1024×512 on two threads and two cores:

        spins       both cores idle    one busy with other work of higher priority
        default     1.8   0.6          more than 20
        1000        1.9   0.6          5.3   3.1
        300         1.8   0.8          3.7   1.7
        none        3.4   2.1          3.1   1.1

    Call it before anything imports torch.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
