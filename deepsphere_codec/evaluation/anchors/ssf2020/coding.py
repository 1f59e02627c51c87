"""Encoding of frames to strings and decoding: CompressAI's own calls, frame by frame, with one picture as the state.

Values are not clipped between frames and the network's RGB: films contain values outside their nominal range. If RGB is
clipped to 0 … 1 (or stored in 8 bits), the first frame of the test clip `overpass` is reproduced with 33 dB
WS-PSNR-YUV, that of `diver` with 40 dB; without clipping, both are reproduced exactly.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from deepsphere_codec.entropy.coder import BEYOND, begins_well
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.evaluation.anchors.ssf2020.container import Frame
from deepsphere_codec.evaluation.anchors.ssf2020.network import MULTIPLE, PlanarFlow
from deepsphere_codec.frames import LUMA_WEIGHTS, VideoInfo, YuvFrame
from deepsphere_codec.sphere import chroma_down, chroma_up

Planes = Float[Tensor, "*batch 3 height width"]


class ColourSpace:
    """Colour space of a film: RGB = gain (planes - offset).

    Args:
        matrix: Key of `LUMA_WEIGHTS`.
        full_range: Whether luma uses all of 0 … 255.
    """

    def __init__(self, matrix: str = "bt709", full_range: bool = False) -> None:
        kr, kb = LUMA_WEIGHTS[matrix]
        kg, red, blue = 1 - kr - kb, 2 * (1 - kr), 2 * (1 - kb)
        black, luma, chroma = (0, 255, 255) if full_range else (16, 219, 224)
        rows = [[1, 0, red], [1, -blue * kb / kg, -red * kr / kg], [1, blue, 0]]
        scale = torch.tensor([255 / luma, 255 / chroma, 255 / chroma], dtype=torch.float64)
        self.gain = (torch.tensor(rows, dtype=torch.float64) * scale).float()
        self.inverse = torch.linalg.inv(self.gain.double()).float()
        self.offset = (torch.tensor([black, 128, 128], dtype=torch.float64) / 255).float().view(3, 1, 1)

    def to_rgb(self, planes: Planes) -> Planes:
        """Convert Y, Cb, Cr over 255 to RGB, nominally 0 … 1."""
        return _mixed(planes - self.offset.to(planes.device), self.gain)

    def from_rgb(self, rgb: Planes) -> Planes:
        """Convert RGB to Y, Cb, Cr over 255."""
        return _mixed(rgb, self.inverse) + self.offset.to(rgb.device)


class SsfCoder:
    """Encoder or decoder of a film's frames, one after the other.

    Args:
        network: Network with its tables built.
        info: Size and colours of the film.
    Attributes:
        x_ref: Last decoded picture: RGB, padded on the right and below to multiples of MULTIPLE.
        digest: SHA-256 of all decoded pictures, bit by bit.
    """

    def __init__(self, network: PlanarFlow, info: VideoInfo) -> None:
        self.network, self.width, self.height = network, info.width, info.height
        self.space = ColourSpace(info.matrix, info.full_range)
        self.x_ref: Float[Tensor, "1 3 height width"] | None = None
        self.digest = hashlib.sha256()

    @torch.inference_mode()
    def encode(self, frame: YuvFrame, *, is_intra: bool) -> Frame:
        """Encode the next frame.

        Args:
            frame: Frame.
            is_intra: Whether to encode an I-frame; otherwise a P-frame.
        Returns:
            Coded frame.
        """
        x = self.picture(frame)
        if is_intra:
            x_hat, coded = self.network.encode_keyframe(x)
            strings = coded["strings"]
        else:
            x_hat, coded = self.network.encode_inter(x, self.x_ref)
            strings = [*coded["strings"]["motion"], *coded["strings"]["residual"]]
        self._keep(x_hat)
        return Frame([string for (string,) in strings])

    @torch.inference_mode()
    def decode(self, frame: Frame) -> YuvFrame:
        """Decode the next frame.

        Raises:
            DamagedStream: a string does not begin as the entropy coder's strings do.
        """
        if not all(map(begins_well, frame.strings)):
            raise DamagedStream("a frame's symbols do not begin as the coder's do")
        strings = [[string + BEYOND] for string in frame.strings]  # CompressAI's decoder may read beyond their end
        shape = -(-self.height // MULTIPLE), -(-self.width // MULTIPLE)  # size of the coarsest latents
        if frame.frame_type == "I":
            self._keep(self.network.decode_keyframe(strings, shape))
        else:
            parts = {"motion": strings[:2], "residual": strings[2:]}
            self._keep(self.network.decode_inter(self.x_ref, parts, dict.fromkeys(parts, shape)))
        return self.shown()

    def picture(self, frame: YuvFrame) -> Float[Tensor, "1 3 height width"]:
        """Convert a frame to the network's picture; chroma is upsampled so that downsampling restores it."""
        y, u, v = (torch.from_numpy(np.asarray(plane)).float() / 255 for plane in frame)
        planes = torch.stack([y, chroma_up(u), chroma_up(v)])[None]
        padding = (0, -self.width % MULTIPLE, 0, -self.height % MULTIPLE)
        return F.pad(self.space.to_rgb(planes), padding, mode="replicate")

    def shown(self) -> YuvFrame:
        """Convert the last decoded picture to a frame."""
        assert self.x_ref is not None
        y, u, v = self.space.from_rgb(self.x_ref[..., : self.height, : self.width])[0]
        return YuvFrame(*map(_to_uint8, (y, chroma_down(u), chroma_down(v))))

    def _keep(self, x_hat: Float[Tensor, "1 3 height width"]) -> None:
        """Clamp Y, Cb and Cr instead of RGB, as CompressAI's evaluation does: real films exceed the bounds of RGB."""
        self.x_ref = self.space.to_rgb(self.space.from_rgb(x_hat).clamp(0, 1))
        self.digest.update(self.x_ref.contiguous().numpy().data)


def _mixed(x: Planes, matrix: Float[Tensor, "3 3"]) -> Planes:
    return torch.einsum("ij,...jhw->...ihw", matrix.to(x.device), x)


def _to_uint8(values: Float[Tensor, "height width"]) -> UInt8[np.ndarray, "height width"]:
    return (values * 255).round().clamp(0, 255).byte().numpy()
