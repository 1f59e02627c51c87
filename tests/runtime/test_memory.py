"""What is freed stays with the process, where the C library can be told so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PAGES = 16_384
FAULTS = f"""
import resource, sys
from deepsphere_codec.runtime.memory import keep_freed_memory

if "keep" in sys.argv:
    keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"1" * ({PAGES} * resource.getpagesize())
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def faults_of_a_large_piece(*arguments: str) -> int:
    """Page faults of memory that is as large as what was freed before it."""
    done = subprocess.run([sys.executable, "-c", FAULTS, *arguments], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="no glibc")
def test_what_is_freed_is_used_again_without_asking_the_system():
    assert faults_of_a_large_piece("keep") < PAGES / 100


def test_a_c_library_without_the_setting_is_left_as_it_is(monkeypatch):
    from deepsphere_codec.runtime import memory

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    memory.keep_freed_memory()
