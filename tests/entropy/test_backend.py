"""CompressAI behind its one door, whatever torchvision is installed beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')"


@pytest.mark.parametrize("torchvision", [BROKEN, "raise ImportError('absent')"])
def test_imports_beside_a_broken_torchvision(tmp_path, torchvision):
    """PyPI's torchvision beside a CPU build of torch raises RuntimeError halfway through its own import.

    Whoever imports it afterwards is told the same as without us.
    """
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(f"import torchvision.ops\n{torchvision}\n")
    (tmp_path / "torchvision" / "ops.py").write_text("")
    done = run_beside(
        tmp_path,
        "import sys; from deepsphere_codec.entropy.backend import BufferedRansEncoder\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'torchvision']\n"
        "import compressai.zoo; print(BufferedRansEncoder().__class__, compressai.zoo.ssf2020.__name__)\n"
        "import torchvision\n",
    )
    assert done.returncode == 1 and done.stderr.rstrip().endswith(torchvision.split("'")[1]), done.stderr
    assert "BufferedRansEncoder" in done.stdout and "ssf2020" in done.stdout


def test_a_torchvision_that_works_is_the_one_that_compressai_has(tmp_path):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("")
    (tmp_path / "torchvision" / "transforms.py").write_text("class Crop: ...\n")
    done = run_beside(
        tmp_path,
        "import deepsphere_codec.entropy.backend, torchvision.transforms, compressai.zoo\n"
        "from compressai.registry import TRANSFORMS\n"
        "print(TRANSFORMS['Crop'] is torchvision.transforms.Crop)\n",
    )
    assert done.stdout.strip() == "True", done.stderr


def run_beside(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code that finds the modules of a folder first."""
    path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


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
