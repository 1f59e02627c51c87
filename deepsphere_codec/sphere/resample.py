"""Resampling of an equirectangular picture to a signal on the nodes, and back to a picture or a flat view."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float32
from torch import Tensor

from deepsphere_codec.sphere.erp import erp_area_weights, erp_positions, sample_erp
from deepsphere_codec.sphere.fit import StencilFit
from deepsphere_codec.sphere.grid import HealpixGrid
from deepsphere_codec.sphere.interpolation import Stencil, stencil
from deepsphere_codec.sphere.stencil_store import load_erp_stencil
from deepsphere_codec.sphere.viewport import viewport_directions

MIN_HEIGHT = 4

Erp = Float32[Tensor, "height width channels"]
Signal = Float32[Tensor, "npix channels"]


class ErpResampler:
    """Resample H x W pictures to the grid of `nside` and back; the way back is one sparse product.

    Works on the device of its inputs, in float32. Node values, and therefore the results, may overshoot the picture's
    range at sharp edges: leave them unclipped on the sphere, and clip only what is displayed or stored as 8 bit.

    Args:
        height: Rows of the picture, at least 4.
        width: Columns of the picture, even. The aspect ratio need not be 2:1.
        nside: Resolution of the grid, >= 2; width / 4 keeps nearly all detail.
        cache_dir: Folder in which stencils are stored between runs; None takes the user's cache (or DEEPSPHERE_CACHE).
    Raises:
        ValueError: height below 4, width odd or below 2, or nside below 2.
    """

    def __init__(self, height: int, width: int, nside: int, *, cache_dir: Path | None = None) -> None:
        if height < MIN_HEIGHT or width < 2 or width % 2:
            raise ValueError(f"picture of {width} x {height}: an even width and a height of at least 4 are needed")
        self.height, self.width = height, width
        self.grid = HealpixGrid.cached(nside)
        self._stencils = {torch.device("cpu"): load_erp_stencil(height, width, nside, cache_dir)}
        self._fits: dict[torch.device, StencilFit] = {}
        self._positions: dict[torch.device, tuple[Tensor, Tensor]] = {}
        self._view: tuple[object, Stencil] | None = None

    @property
    def nside(self) -> int:
        """Resolution of the grid."""
        return self.grid.nside

    def to_sphere(self, erp: Erp, iterations: int = 3) -> Signal:
        """Fit node values whose interpolation matches the picture.

        Args:
            erp: Picture, [H, W, C], float32.
            iterations: Steps of the least-squares fit; 0 samples the picture at the node centres without a fit.
        Returns:
            Signal, [npix, C], face-major.
        Raises:
            ValueError: erp has another shape or dtype, or iterations is negative.
        """
        if erp.ndim != 3 or erp.shape[:2] != (self.height, self.width) or erp.dtype != torch.float32:
            expected = f"float32 [{self.height}, {self.width}, channels]"
            raise ValueError(f"picture is {erp.dtype} {list(erp.shape)}, expected {expected}")
        if iterations < 0:
            raise ValueError(f"iterations is {iterations}: it must be 0 or more")
        with torch.no_grad():
            start = sample_erp(erp, *self._node_positions(erp.device))
            if iterations == 0:
                return start
            return self._fit(erp.device).solve(erp.reshape(-1, erp.shape[-1]), start, iterations)

    def to_erp(self, x: Signal) -> Erp:
        """Interpolate node values at every pixel; not clipped, bit-identical for any number of threads.

        Args:
            x: Signal, [npix, C], face-major, float32.
        Returns:
            Picture, [H, W, C].
        Raises:
            ValueError: x has another shape or dtype.
        """
        self._check_signal(x)
        return self._stencil(x.device).apply(x).unflatten(0, (self.height, self.width))

    def viewport(self, x: Signal, yaw: float, pitch: float, roll: float, fov: float, size: tuple[int, int]) -> Erp:
        """Render a flat view from inside the sphere, with the same cubic kernel; not clipped.

        Args:
            x: Signal, [npix, C], face-major, float32.
            yaw: Longitude of the view's centre, degrees.
            pitch: Latitude of the view's centre, degrees.
            roll: Rotation about the line of sight, degrees; lifts the camera's right-hand side.
            fov: Horizontal field of view, degrees, between 0 and 180.
            size: (height, width) in pixels.
        Returns:
            View, [height, width, C].
        Raises:
            ValueError: x has another shape or dtype, fov lies outside (0, 180), or size is empty.
        """
        self._check_signal(x)
        key = (yaw, pitch, roll, fov, tuple(size), x.device)
        if self._view is None or self._view[0] != key:
            rows = stencil(viewport_directions(yaw, pitch, roll, fov, size), self.nside)
            self._view = (key, rows.to(x.device))
        return self._view[1].apply(x).unflatten(0, tuple(size))

    def _check_signal(self, x: Signal) -> None:
        if x.ndim != 2 or x.shape[0] != self.grid.npix or x.dtype != torch.float32:
            expected = f"float32 [{self.grid.npix}, channels]"
            raise ValueError(f"signal is {x.dtype} {list(x.shape)}, expected {expected}")

    def _stencil(self, device: torch.device) -> Stencil:
        if device not in self._stencils:
            self._stencils[device] = self._stencils[torch.device("cpu")].to(device)
        return self._stencils[device]

    def _fit(self, device: torch.device) -> StencilFit:
        """Return the fit of a device, created at first use: a decoder never needs it."""
        if device not in self._fits:
            row_weights = torch.from_numpy(erp_area_weights(self.height)).float().repeat_interleave(self.width)
            self._fits[device] = StencilFit(self._stencil(device), row_weights.to(device), self.grid.npix)
        return self._fits[device]

    def _node_positions(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if device not in self._positions:
            rows, columns = erp_positions(self.grid.centers, self.height, self.width)
            self._positions[device] = torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device)
        return self._positions[device]
