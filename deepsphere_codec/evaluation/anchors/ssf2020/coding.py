"""Frames in, strings out, and back: CompressAI's own calls, frame by frame, with one picture as the state."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from deepsphere_codec.entropy.coder import BEYOND, begins_well
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.evaluation.anchors.ssf2020.colour import ColourSpace, from_rgb, to_rgb
from deepsphere_codec.evaluation.anchors.ssf2020.container import Frame, SsfHeader
from deepsphere_codec.evaluation.anchors.ssf2020.network import MULTIPLE, PlanarFlow
from deepsphere_codec.sphere import chroma_down, chroma_up
from deepsphere_codec.video import VideoInfo, YuvFrame
from deepsphere_codec.video.colour import LUMA_WEIGHTS

Picture = Float[Tensor, "1 3 height width"]
"""RGB, nominally 0 … 1, with sides that are multiples of MULTIPLE."""


class Pictures:
    """From a film's frames to the network's pictures and back.

    Chroma goes up so that it comes down to what it was; a picture is continued to the right and below by its border.

    Args:
        info: The film's.
    """

    def __init__(self, info: VideoInfo) -> None:
        self.width, self.height = info.width, info.height
        self.space = ColourSpace(LUMA_WEIGHTS[info.matrix], info.full_range)
        self.padding = (-info.width) % MULTIPLE, (-info.height) % MULTIPLE

    @property
    def hyper_shape(self) -> tuple[int, int]:
        """Rows and columns of the coarsest latents."""
        return (self.height + self.padding[1]) // MULTIPLE, (self.width + self.padding[0]) // MULTIPLE

    def of_frame(self, frame: YuvFrame) -> Picture:
        y, u, v = (torch.from_numpy(np.asarray(plane)).float() / 255 for plane in frame)
        planes = torch.stack([y, chroma_up(u), chroma_up(v)])[None]
        across, down = self.padding
        return F.pad(to_rgb(planes, self.space), (0, across, 0, down), mode="replicate")

    def to_frame(self, x_hat: Picture) -> YuvFrame:
        y, u, v = from_rgb(x_hat[..., : self.height, : self.width], self.space)[0]
        return YuvFrame(_to_uint8(y), _to_uint8(chroma_down(u)), _to_uint8(chroma_down(v)))

    def bounded(self, x_hat: Picture) -> Picture:
        """With Y, Cb and Cr in 0 … 255. CompressAI's evaluation clips RGB to 0 … 1, which real films are not in."""
        return to_rgb(from_rgb(x_hat, self.space).clamp(0, 1), self.space)


class SsfEncoder:
    """Codes frames one after the other.

    Args:
        network: With its tables built.
        info: The film's.
        gop: Frames from I-frame to I-frame.
    Attributes:
        x_ref: The last decoded picture.
    """

    def __init__(self, network: PlanarFlow, info: VideoInfo, gop: int) -> None:
        self.network, self.pictures, self.gop = network, Pictures(info), gop
        self.count = 0
        self.x_ref: Picture | None = None

    @torch.inference_mode()
    def encode(self, frame: YuvFrame) -> Frame:
        x = self.pictures.of_frame(frame)
        if self.count % self.gop == 0 or self.x_ref is None:
            x_hat, coded = self.network.encode_keyframe(x)
            result = Frame("I", tuple(each[0] for each in coded["strings"]))
        else:
            x_hat, coded = self.network.encode_inter(x, self.x_ref)
            strings = [*coded["strings"]["motion"], *coded["strings"]["residual"]]
            result = Frame("P", tuple(each[0] for each in strings))
        self.x_ref = self.pictures.bounded(x_hat)
        self.count += 1
        return result


class SsfDecoder:
    """Decodes frames one after the other.

    Args:
        network: The one that they were coded with.
        info: The film's.
    Attributes:
        x_ref: The last decoded picture.
    """

    def __init__(self, network: PlanarFlow, info: VideoInfo) -> None:
        self.network, self.pictures = network, Pictures(info)
        self.x_ref: Picture | None = None

    @torch.inference_mode()
    def decode(self, frame: Frame) -> YuvFrame:
        """The next frame.

        Raises:
            DamagedStream: a string does not begin as the coder's do, or a P-frame comes first.
        """
        strings, shape = [_readable(string) for string in frame.strings], self.pictures.hyper_shape
        if frame.frame_type == "I":
            x_hat = self.network.decode_keyframe([[string] for string in strings], shape)
        elif self.x_ref is None:
            raise DamagedStream("a P-frame comes before any I-frame")
        else:
            motion, residual = [[string] for string in strings[:2]], [[string] for string in strings[2:]]
            shapes = {"motion": shape, "residual": shape}
            x_hat = self.network.decode_inter(self.x_ref, {"motion": motion, "residual": residual}, shapes)
        self.x_ref = self.pictures.bounded(x_hat)
        return self.pictures.to_frame(self.x_ref)


def film_info(header: SsfHeader) -> VideoInfo:
    """Of the film that a file holds.

    Raises:
        DamagedStream: its colours are none that were ever written.
    """
    if header.matrix not in LUMA_WEIGHTS:
        raise DamagedStream(f"its colour matrix {header.matrix!r} is none of {', '.join(LUMA_WEIGHTS)}")
    fps = Fraction(header.fps_num, header.fps_den)
    return VideoInfo(header.width, header.height, fps, header.frames, header.full_range, header.matrix)


def _readable(string: bytes) -> bytes:
    """With zeros behind it, since CompressAI's decoder does not look where a string ends."""
    if not begins_well(string):
        raise DamagedStream("a frame's symbols do not begin as the coder's do")
    return string + BEYOND


def _to_uint8(values: Float[Tensor, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    return (values.float() * 255).round().clamp(0, 255).byte().numpy()
