"""CompressAI behind its one door, whatever torchvision is installed beside it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')"


@pytest.mark.parametrize("torchvision", [BROKEN, "raise ImportError('absent')"])
def test_imports_beside_a_broken_torchvision(tmp_path, torchvision):
    """PyPI's torchvision beside a CPU build of torch raises RuntimeError halfway through its own import."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(f"import torchvision.ops\n{torchvision}\n")
    (tmp_path / "torchvision" / "ops.py").write_text("")
    code = "from deepsphere_codec.entropy.backend import BufferedRansEncoder; print(BufferedRansEncoder().__class__)"
    path = os.pathsep.join([str(tmp_path), *(entry for entry in sys.path if entry)])
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert b"BufferedRansEncoder" in done.stdout
