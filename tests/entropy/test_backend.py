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


def test_what_takes_long_to_import_is_left_to_those_who_use_it():
    """CompressAI is imported without it, though it asks for it; afterwards it is there for others, and for itself."""
    code = (
        "import sys; from deepsphere_codec.entropy import backend\n"
        "spared = 'torch_geometric', 'pandas', 'scipy.stats'\n"
        "assert not [name for name in sys.modules if name.startswith(spared)]\n"
        "from torch_geometric.nn import ChebConv; from torch_geometric.transforms import BaseTransform\n"
        "assert BaseTransform.__module__ == 'torch_geometric.transforms.base_transform'\n"
        "print(ChebConv(2, 3, 2), backend.planar_scale_space_flow().__class__)\n"
        "conditional = backend.GaussianConditional([0.1, 1.0, 2.0]); conditional.update()\n"
        "import pandas; from scipy.stats import norm\n"
        "print(pandas.DataFrame({'a': [1]}).shape, round(norm.ppf(0.9), 3), conditional.quantized_cdf.shape[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ChebConv(2, 3" in done.stdout and "ScaleSpaceFlow" in done.stdout and "(1, 1) 1.282 3" in done.stdout
