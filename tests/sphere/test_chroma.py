"""Chroma planes up to full resolution and back."""

from __future__ import annotations

import math

import pytest
import torch

from deepsphere_codec.sphere import chroma_down, chroma_up, erp_directions


def test_down_is_the_mean_of_blocks() -> None:
    plane = torch.tensor([[0.0, 1.0, 4.0, 4.0], [2.0, 5.0, 4.0, 8.0]])
    assert torch.equal(chroma_down(plane), torch.tensor([[2.0, 5.0]]))


@pytest.mark.parametrize("shape", [(8, 16), (2, 2), (2, 4), (3, 5, 8)])
def test_down_undoes_up(shape: tuple[int, ...]) -> None:
    plane = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    up = chroma_up(plane)
    assert up.shape == (*shape[:-2], 2 * shape[-2], 2 * shape[-1])
    torch.testing.assert_close(chroma_down(up), plane, rtol=0, atol=1e-6)
    assert (up - plane.repeat_interleave(2, -1).repeat_interleave(2, -2)).abs().max() > 0.01


def test_up_finds_a_smooth_picture_again_also_at_the_seam_and_the_poles() -> None:
    x, y, z = torch.from_numpy(erp_directions(128, 256)).unbind(-1)
    picture = torch.sin(3 * x) * y + z**3
    error = (chroma_up(chroma_down(picture)) - picture).abs()
    assert error.max() < 5e-6  # repeating samples instead errs by 0.04


def test_up_of_a_ramp_is_the_ramp() -> None:
    columns = torch.arange(64, dtype=torch.float64)
    up = chroma_up(columns.expand(8, 64))
    torch.testing.assert_close(up[4, 8:-8], (torch.arange(128, dtype=torch.float64)[8:-8] - 0.5) / 2)


def test_refuses_odd_planes() -> None:
    for shape in ((4, 5), (1, 4), (4, 0)):
        with pytest.raises(ValueError, match="even number of columns"):
            chroma_up(torch.zeros(shape))
    for shape in ((5, 4), (4, 5)):
        with pytest.raises(ValueError, match="must be even"):
            chroma_down(torch.zeros(shape))


def test_up_crosses_the_pole_half_a_turn_further() -> None:
    plane = torch.zeros(4, 8)
    plane[0, 5] = 1.0
    over_the_pole = chroma_up(plane)[0, 2:4]  # longitude of column 5 + 8 / 2 = 1
    assert math.isclose(float(over_the_pole.sum()), 2 * 22 / 128, rel_tol=1e-5)
