"""A picture as the signal itself, row by row: what takes the resampler's place where a codec works on the plane."""

from __future__ import annotations

from jaxtyping import Float32
from torch import Tensor


class ErpPixels:
    """Has the two ways of `ErpResampler`, and changes nothing on either.

    Args:
        height, width: Size of the picture.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width

    def to_sphere(self, erp: Float32[Tensor, "height width channels"], iterations: int = 0) -> Tensor:
        """The pixels, [height * width, channels]; there is nothing to be fitted in any number of iterations."""
        return erp.reshape(self.height * self.width, -1)

    def to_erp(self, x: Float32[Tensor, "npix channels"]) -> Tensor:
        """The picture, [height, width, channels]."""
        return x.unflatten(0, (self.height, self.width))
