"""The speed of training is measured on steps that really train."""

from __future__ import annotations

import pytest

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.training.speed import precisions, training_speed


@pytest.mark.slow
def test_each_precision_is_timed_with_its_wait_for_samples():
    runs = training_speed(rounds=1, workers=0, data=PatchSettings(nside=128, side=64))
    assert [run["precision"] for run in runs] == precisions("cpu")
    for run in runs:
        assert 0 < run["sample_seconds"] < run["step_seconds"]
        # Without another process nothing is made meanwhile: every sample is waited for.
        assert run["waited"] * run["step_seconds"] > run["sample_seconds"] / 4
