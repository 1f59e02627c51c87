"""What is set for threads that wait, and what the user's own settings keep of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from deepsphere_codec.runtime.threads import SPINS, spin_briefly


@pytest.mark.parametrize(
    ("own", "spins"),
    [({}, str(SPINS)), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_the_users_own_settings_stay(own, spins, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    spin_briefly()
    assert os.environ.get("GOMP_SPINCOUNT") == spins


@pytest.mark.parametrize("module", ["deepsphere_codec.cli", "deepsphere_codec.runtime.threads"])
def test_it_is_set_before_torch_reads_it(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
