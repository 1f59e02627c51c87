"""The codec over frames: pictures in, records out, and back. The state is one reference frame, whatever the length."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from deepsphere_codec.bitstream import FORMAT_VERSION, LIMITS, Header, most_nside
from deepsphere_codec.errors import DamagedStream, IncompatibleStream, UsageError
from deepsphere_codec.models import LoadedModel, State
from deepsphere_codec.resolution import MAX_QUALITY, choose_resolution
from deepsphere_codec.sphere import ErpPixels, ErpResampler, ErpScaler, chroma_down, chroma_up
from deepsphere_codec.video import VideoInfo, YuvFrame

FIT_ITERATIONS = 3  # least-squares steps from ERP to the sphere: past the knee, at a third of a second
MIN_QUALITY = 1.0
CHECK_MASK = 0xFFFF
"""As much of a checksum of latents as a record holds."""
PIXEL_ORDERS = {"healpix": "face-major", "erp": "erp-rows"}
"""How a signal's nodes lie, by the model's geometry."""

Resampler = ErpResampler | ErpPixels | ErpScaler


class EncodedFrame(NamedTuple):
    frame_type: Literal["I", "P"]
    payload: bytes
    x_hat: Float[Tensor, "1 npix 3"]  # what the decoder will have, bit for bit on the same machine
    check: int  # of the latents, which it must have on any machine


class VideoEncoder:
    """Turns frames into records, in order: an I-frame every gop_size frames, P-frames between.

    Args:
        model: What `load_model` gives.
        info: The film's size, rate and colour.
        quality: 1 (smallest) to 8 (best), real-valued.
        nside: Resolution; chosen by quality (see `resolution`), a quarter of the width at most, unless given.
        gop_size: Frames from one I-frame to the next.
        fit_iterations: Least-squares steps of the resampling; the decoder need not know.
    Raises:
        UsageError: quality, nside or gop_size out of range, or a size that 4:2:0 on a sphere cannot have.
    """

    def __init__(
        self,
        model: LoadedModel,
        info: VideoInfo,
        *,
        quality: float = 4.0,
        nside: int | None = None,
        gop_size: int = 32,
        fit_iterations: int = FIT_ITERATIONS,
    ) -> None:
        if info.width % 4 or info.height % 2 or info.height < 4:
            raise UsageError(
                f"frames of {info.width}x{info.height} cannot be coded; the width must be a multiple of 4, "
                f"the height even and at least 4: scale the film first"
            )
        check_quality(quality)
        if not 1 <= gop_size <= LIMITS["gop_size"]:
            raise UsageError(f"the GOP is {gop_size} frames; it takes 1 to {LIMITS['gop_size']}")
        if info.width > LIMITS["width"] or info.height > LIMITS["height"]:
            raise UsageError(
                f"frames of {info.width}x{info.height} are larger than a stream can hold, "
                f"{LIMITS['width']}x{LIMITS['height']}: scale the film first"
            )
        nside, worked_at = choose_resolution(model, info.width, quality, nside)
        if nside > (most := most_nside(info.width)):
            raise UsageError(f"nside {nside} is too large for frames of {info.width}x{info.height}; use {most} or less")
        self._resampler = make_resampler(model.geometry, info.height, info.width, nside)
        self.header = Header(
            version=FORMAT_VERSION,
            width=info.width,
            height=info.height,
            fps_num=info.fps.numerator,
            fps_den=info.fps.denominator,
            full_range=info.full_range,
            matrix=info.matrix,
            nside=nside,
            pixel_order=PIXEL_ORDERS[model.geometry],
            model=model.name,
            weights_hash=model.weights_hash,
            tables_hash=model.tables_hash,
            graph_hash=model.graph_hash(nside),
            quality=float(worked_at),
            gop_size=gop_size,
            primaries=info.primaries,
            transfer=info.transfer,
            tick_num=info.time_base.numerator if info.time_base else 0,
            tick_den=info.time_base.denominator if info.time_base else 0,
        )
        self._network = model.network(nside)
        self._device = model.device
        self._iterations = fit_iterations
        self._state: State | None = None
        self._count = 0

    @torch.inference_mode()
    def encode(self, frame: YuvFrame) -> EncodedFrame:
        """Code the next frame; its reconstruction becomes the reference of the one after it."""
        x = signal_from_frame(frame, self._resampler, self._iterations).to(self._device)
        quality = self.header.quality
        if self._state is None or self._count % self.header.gop_size == 0:
            frame_type: Literal["I", "P"] = "I"
            coded = self._network.encode_intra(x, quality)
        else:
            frame_type = "P"
            coded = self._network.encode_inter(x, self._state, quality)
        self._state = coded.state
        self._count += 1
        return EncodedFrame(frame_type, coded.payload, coded.state.x_hat, coded.state.check & CHECK_MASK)

    def restart(self) -> None:
        """Forget all that came before: the next frame begins a GOP."""
        self._state, self._count = None, 0

    def reconstruction(self, x_hat: Float[Tensor, "1 npix 3"]) -> YuvFrame:
        """The frame that the decoder will show for x_hat."""
        return frame_from_signal(x_hat, self._resampler)


class VideoDecoder:
    """Turns records into frames, in order from any I-frame.

    Args:
        header: Of the stream.
        model: The one the stream names; its hashes are compared with the header's first.
        size: (width, height) of the frames, 2:1 and even; the source's unless given.
    Raises:
        IncompatibleStream: the model, its tables or its graph differ from the encoder's.
        UsageError: size is not 2:1 or not even.
    """

    def __init__(self, header: Header, model: LoadedModel, *, size: tuple[int, int] | None = None) -> None:
        check_header(header, model)
        self.info = film_info(header, size)
        self._quality = header.quality
        self._network = model.network(header.nside)
        self._resampler = make_resampler(model.geometry, self.info.height, self.info.width, header.nside)
        self._state: State | None = None

    @torch.inference_mode()
    def decode(self, frame_type: str, payload: bytes, check: int | None = None) -> Float[Tensor, "1 npix 3"]:
        """Decode the next record to the sphere.

        Args:
            check: Of the latents, as the record holds it; not compared where it is None.
        Raises:
            DamagedStream: a P-frame comes first, the payload is not what the model writes, or it leads to other latents
                here than in the encoder.
        """
        if frame_type == "I":
            self._state = self._network.decode_intra(payload, self._quality)
        elif self._state is not None:
            self._state = self._network.decode_inter(payload, self._state, self._quality)
        else:
            raise DamagedStream(f"a {frame_type}-frame comes before any I-frame; the stream has lost its beginning")
        if check is not None and self._state.check & CHECK_MASK != check:
            raise DamagedStream(
                f"a frame decodes to other latents than were encoded ({self._state.check & CHECK_MASK:04x}, not "
                f"{check:04x}): this machine computes otherwise than the encoder's, or one of the two is faulty"
            )
        return self._state.x_hat

    def forget(self) -> bool:
        """Let go of the reference, so that only an I-frame can come next; whether there was one."""
        there, self._state = self._state is not None, None
        return there

    @torch.inference_mode()
    def frame(self, x_hat: Float[Tensor, "1 npix 3"]) -> YuvFrame:
        """The ERP picture of a decoded signal."""
        return frame_from_signal(x_hat, self._resampler)


def signal_from_frame(
    frame: YuvFrame, resampler: Resampler, iterations: int = FIT_ITERATIONS
) -> Float[Tensor, "1 npix 3"]:
    """A frame on its nodes: Y, U, V over 255, chroma brought to luma's size; on the sphere fitted by least squares."""
    y, u, v = (torch.from_numpy(np.asarray(plane)).float() / 255 for plane in frame)
    erp = torch.stack([y, chroma_up(u), chroma_up(v)], dim=-1)
    return resampler.to_sphere(erp, iterations=iterations)[None]


def frame_from_signal(x_hat: Float[Tensor, "1 npix 3"], resampler: Resampler) -> YuvFrame:
    """The ERP picture of a signal, clipped and rounded to 8 bits."""
    y, u, v = resampler.to_erp(x_hat[0].float().cpu()).clamp(0, 1).unbind(-1)
    return YuvFrame(_to_uint8(y), _to_uint8(chroma_down(u)), _to_uint8(chroma_down(v)))


def make_resampler(geometry: str, height: int, width: int, nside: int) -> Resampler:
    """What leads from pictures to a model's nodes and back: on a plane they are pixels, four times nside in a row."""
    if geometry == "healpix":
        return ErpResampler(height, width, nside)
    if (width, height) == (4 * nside, 2 * nside):
        return ErpPixels(height, width)
    return ErpScaler(height, width, 2 * nside, 4 * nside)


def check_quality(quality: float) -> None:
    """Raise UsageError unless 1 <= quality <= 8 (NaN is not)."""
    if not (math.isfinite(quality) and MIN_QUALITY <= quality <= MAX_QUALITY):
        raise UsageError(f"quality {quality:g} is out of range; use 1 (smallest file) to 8 (best picture)")


def check_header(header: Header, model: LoadedModel) -> None:
    """Compare what the stream was written with to what is here, before anything is decoded.

    Raises:
        IncompatibleStream: naming each part that differs.
    """
    if header.pixel_order != (order := PIXEL_ORDERS[model.geometry]):
        raise IncompatibleStream(f"pixel order {header.pixel_order!r} is not that of {model.name}; expected {order!r}")
    if header.nside < 1 or header.nside % model.nside_multiple:
        raise IncompatibleStream(
            f"nside {header.nside} is none that {model.name} works with (multiples of {model.nside_multiple}); "
            f"the stream was written by another model"
        )
    pairs = {
        "weights": (header.weights_hash, model.weights_hash),
        "entropy tables": (header.tables_hash, model.tables_hash),
        "graph": (header.graph_hash, model.graph_hash(header.nside)),
    }
    wrong = [f"{name} {got[:12]} (here {here[:12]})" for name, (got, here) in pairs.items() if got != here]
    if wrong:
        raise IncompatibleStream(
            f"the stream was written by another version of {header.model}: {', '.join(wrong)}; "
            f"decode it with the version that wrote it, or name its folder with --model"
        )


def film_info(header: Header, size: tuple[int, int] | None = None) -> VideoInfo:
    """What the decoded film is, at the source's size or another.

    Raises:
        UsageError: size is not 2:1 or not even.
    """
    width, height = size or (header.width, header.height)
    if size and (height < 4 or height % 2 or width != 2 * height):
        raise UsageError(f"size {width}x{height} is not 2:1 with even sides of at least 4; use for example 1024x512")
    fps = Fraction(header.fps_num, header.fps_den)
    info = VideoInfo(width, height, fps, None, header.full_range, header.matrix)
    time_base = Fraction(header.tick_num, header.tick_den) if header.timed else None
    return info._replace(primaries=header.primaries, transfer=header.transfer, time_base=time_base)


def _to_uint8(plane: Float[Tensor, "h w"]) -> UInt8[np.ndarray, "h w"]:
    return (plane * 255).round().to(torch.uint8).numpy()
