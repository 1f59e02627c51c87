"""Two processes that torchrun starts train as one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from deepsphere_codec.errors import UsageError
from deepsphere_codec.training.parallel import World

ROOT = Path(__file__).resolve().parents[2]


def trained(folder: Path, processes: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    script = [str(ROOT / "scripts" / "train.py"), *arguments]
    run = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    folder.mkdir()
    command = [sys.executable, *run, *script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def arguments(configuration: Path, clips: Path) -> list[str]:
    words = ["--prepared", str(clips), "--device", "cpu", "--threads", "1", "--workers", "0"]
    changes = ["train.shares=2", "train.batch=1", "train.skipped=0.3", "train.steps=24", "train.ema=0.5"]
    return [str(configuration), *words, *(part for change in changes for part in ("--set", change))]


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_two_processes_come_to_the_same_losses_as_one_with_twice_the_batch(arguments, tmp_path, optimizer):
    arguments = [*arguments, "--set", f"train.optimizer={optimizer}"]
    runs = [trained(tmp_path / str(processes), processes, arguments) for processes in (1, 2)]
    assert [run.returncode for run in runs] == [0, 0], runs[-1].stderr
    folders = [tmp_path / str(processes) / "runs" / "narrow" for processes in (1, 2)]
    logs = [[json.loads(line) for line in (f / "log.jsonl").read_text().splitlines()] for f in folders]
    assert [line["step"] for line in logs[0]] == [line["step"] for line in logs[1]] == [20, 24]
    for one, two in zip(*logs, strict=True):
        for key in ("loss", "bits_per_node", "psnr-y"):
            assert two[key] == pytest.approx(one[key], rel=1e-4), key
    one, two = (load_file(folder / "checkpoint.safetensors") for folder in folders)
    assert one.keys() == two.keys()
    for name in (name for name in one if name.startswith(("model.", "mean."))):
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4, msg=name)


def test_shares_that_cannot_be_shared_out_are_refused():
    assert list(World(1, 2).shares(4)) == [1, 3] and list(World().shares(3)) == [0, 1, 2]
    with pytest.raises(UsageError, match="train.shares is 3: 2 processes need a multiple of 2"):
        World(0, 2).shares(3)


def test_a_process_that_is_alone_agrees_with_itself():
    alone = World()
    assert alone.first and alone.agreed(True) and not alone.agreed(False)
    assert torch.equal(alone.mean(torch.tensor([1.0, 2.0])), torch.tensor([1.0, 2.0]))
