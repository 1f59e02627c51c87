"""The same training script for sphere-ssf."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import load_script, same_signals

from deepsphere_codec.training.settings import load_stages

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_takes_steps_and_the_scale_learns(precision, configuration, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = ["model.family=ssf", "train.steps=3", "train.relocate=1", f"train.precision={precision}"]
    arguments = [str(configuration), "--prepared", str(clips), "--device", "cpu", "--threads", "1"]
    with same_signals():
        asked = [part for change in changes for part in ("--set", change)]
        assert load_script("train").main([*arguments, *asked]) == 0
    last = load_file("runs/narrow/checkpoint.safetensors")["model.inter.motion_s.layers.5.weight"]
    assert last.shape[0] == 3 and last[2].any() and torch.isfinite(last).all()


def test_its_settings_are_sphere_dvcs_but_for_the_family():
    ssf, dvc = (load_stages(ROOT / "configs" / f"sphere-{family}.toml", [])[-1] for family in ("ssf", "dvc"))
    assert replace(ssf.model, family="dvc") == dvc.model and ssf.data.side == dvc.data.side
    assert ssf.train.part == dvc.train.part == "inter"
