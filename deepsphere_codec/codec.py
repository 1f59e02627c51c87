"""Encoder and decoder of frames: pictures to payloads and back, with a state of a few pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from deepsphere_codec.bitstream import FORMAT_VERSION, LIMITS, CodedFrame, Header, PictureOrder, Position, most_nside
from deepsphere_codec.errors import DamagedStream, UsageError
from deepsphere_codec.gop.grouping import Group, Grouping
from deepsphere_codec.gop.lookahead import ContentLookahead, Lookahead
from deepsphere_codec.gop.reference_buffer import DisplayOrder, ReferenceBuffer
from deepsphere_codec.gop.stream_info import PIXEL_ORDERS, check_header, film_info
from deepsphere_codec.models import LoadedModel
from deepsphere_codec.models.quality_map import map_of_picture
from deepsphere_codec.models.resolution import MAX_QUALITY, choose_resolution
from deepsphere_codec.motion.search import EFFORTS
from deepsphere_codec.sphere import ErpPixels, ErpResampler, ErpScaler, chroma_down, chroma_up
from deepsphere_codec.video import TimedFrame, VideoInfo, YuvFrame

FIT_ITERATIONS = 3  # least-squares steps from ERP to the sphere; more gain little and cost a third of a second each
MIN_QUALITY = 1.0
PRESET = "medium"
CHECK_MASK = 0xFFFF
"""Mask of the part of the latents' checksum that a record holds."""
Resampler = ErpResampler | ErpPixels | ErpScaler


class VideoEncoder:
    """Encoder of a film: takes frames in order of display and returns coded frames in order of coding.

    Args:
        model: Model, as returned by `load_model`.
        info: Size, frame rate and colour of the film.
        quality: Quality from 1 (smallest file) to 8 (best picture), real-valued.
        nside: Resolution; None chooses it by quality (see `resolution`), at most a quarter of the width.
        gop_size: Largest number of frames from one I-frame to the next.
        lookahead: Detects cuts and chooses the number of frames in a group; `LowDelay` codes each frame immediately.
        quality_map: Grey ERP picture, [rows, columns]: 128 is the requested quality, 16 levels are a quality step of 1;
            None for the same quality everywhere.
        preset: Effort of the encoder's search, "fast", "medium" or "slow"; the decoder does not depend on it.
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
        lookahead: Lookahead | None = None,
        quality_map: UInt8[np.ndarray, "rows columns"] | None = None,
        preset: str = PRESET,
    ) -> None:
        if info.width % 4 or info.height % 2 or info.height < 4:
            raise UsageError(
                f"frames of {info.width}x{info.height} cannot be coded; the width must be a multiple of 4, "
                f"the height even and at least 4: scale the film first"
            )
        check_quality(quality)
        if preset not in EFFORTS:
            raise UsageError(f"preset is {preset!r}; use {', '.join(EFFORTS)}")
        if not 1 <= gop_size <= LIMITS["gop_size"]:
            raise UsageError(f"the GOP is {gop_size} frames; it takes 1 to {LIMITS['gop_size']}")
        if info.width > LIMITS["width"] or info.height > LIMITS["height"]:
            raise UsageError(
                f"frames of {info.width}x{info.height} are larger than a stream can hold, "
                f"{LIMITS['width']}x{LIMITS['height']}: scale the film first"
            )
        nside, model_quality = choose_resolution(model, info.width, quality, nside)
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
            model_quality=float(model_quality),
            gop_size=gop_size,
            primaries=info.primaries,
            transfer=info.transfer,
            tick_num=info.time_base.numerator if info.time_base else 0,
            tick_den=info.time_base.denominator if info.time_base else 0,
        )
        self._network = model.network(nside)
        self._map = None if quality_map is None else map_of_picture(quality_map, self._network.pyramid.grids[0])
        self._device = model.device
        self._effort = EFFORTS[preset]
        self._iterations = 1 if preset == "fast" else FIT_ITERATIONS
        self._grouping = Grouping(gop_size, lookahead or ContentLookahead())
        self._order, self._pictures = PictureOrder(), ReferenceBuffer()
        self.x_hat: Float[Tensor, "1 npix 3"] | None = None

    def encode(self, frame: YuvFrame, pts: int = 0) -> list[CodedFrame]:
        """Take the next frame in order of display.

        Args:
            frame: Its picture.
            pts: When it is shown, in ticks; it counts where the film's frames have times.
        Returns:
            What is coded with it, in order of coding; nothing while frames are waited for.
        """
        groups = self._grouping.push(TimedFrame(frame, pts))
        return [coded for group in groups for coded in self.encode_group(group)]

    def flush(self) -> list[CodedFrame]:
        """Code all frames that are left; the next one begins a GOP."""
        return [coded for group in self._grouping.flush() for coded in self.encode_group(group)]

    def encode_group(self, group: Group) -> Iterator[CodedFrame]:
        """Code a group that was divided elsewhere.

        Args:
            group: The one behind those that were coded before.
        Yields:
            Its frames in order of coding.
        """
        start = self._order.frames
        for kind in ("I" if group.is_key else "P", *"B" * (len(group.frames) - 1)):
            position = self._order.next(kind, len(group.frames) if kind == "P" else 1)
            yield self._encode(position, group.frames[position.number - start])

    @torch.inference_mode()
    def _encode(self, position: Position, frame: TimedFrame) -> CodedFrame:
        x = signal_from_frame(frame.frame, self._resampler, self._iterations).to(self._device)
        quality = self.header.model_quality
        if position.kind == "I":
            coded = self._network.encode_intra(x, quality, self._map)
        else:
            references = self._pictures.references(position)
            coded = self._network.encode_inter(x, references, quality, position.layer, self._map, self._effort)
        self._pictures.keep(position, coded.state)
        self.x_hat = coded.state.x_hat
        time = frame.pts if self.header.timed else None
        return CodedFrame(position, coded.payload, coded.state.check & CHECK_MASK, time)


class VideoDecoder:
    """Decoder of a stream's frames, in order of coding, from any I-frame on.

    Args:
        header: Header of the stream.
        model: Model that the stream names; its hashes are compared with those in the header.
        size: (width, height) of the decoded frames, 2:1 and even; None for the source's.
    Raises:
        IncompatibleStream: the model, its tables or its graph differ from the encoder's.
        UsageError: size is not 2:1 or not even.
    """

    def __init__(self, header: Header, model: LoadedModel, *, size: tuple[int, int] | None = None) -> None:
        check_header(header, model)
        self.info = film_info(header, size)
        self._quality = header.model_quality
        self._network = model.network(header.nside)
        self._resampler = make_resampler(model.geometry, self.info.height, self.info.width, header.nside)
        self._pictures = ReferenceBuffer()

    def show(self, frames: Iterable[CodedFrame]) -> Iterator[YuvFrame]:
        """Decode frames to pictures.

        Args:
            frames: Coded frames in order of coding.
        Yields:
            Pictures in order of display, with minimal delay.
        Raises:
            DamagedStream: a frame cannot be decoded; see `decode`.
        """
        shown = DisplayOrder[YuvFrame]()
        for frame in frames:
            picture = self.frame(self.decode(frame.position, frame.payload, frame.check))
            yield from shown.push(frame.position, picture)
        yield from shown.rest()

    @torch.inference_mode()
    def decode(self, position: Position, payload: bytes, check: int | None = None) -> Float[Tensor, "1 npix 3"]:
        """Decode the next frame in order of coding to a signal on the sphere.

        Args:
            position: Position of the frame.
            payload: Bytes of the frame.
            check: Checksum of the latents, from the frame's record; None skips the comparison.
        Returns:
            Signal of the picture, [1, npix, 3].
        Raises:
            LostReference: a reference of the frame was not decoded.
            DamagedStream: the model cannot have written the payload, or it decodes to other latents than the encoder's.
                The frame and those that refer to it are then lost.
        """
        if position.kind == "I":
            self._pictures.clear()
            state = self._network.decode_intra(payload, self._quality)
        else:
            references = self._pictures.references(position)
            state = self._network.decode_inter(payload, references, self._quality, position.layer)
        if check is not None and state.check & CHECK_MASK != check:
            raise DamagedStream(
                f"a frame decodes to other latents than were encoded ({state.check & CHECK_MASK:04x}, not "
                f"{check:04x}): this machine computes otherwise than the encoder's, or one of the two is faulty"
            )
        self._pictures.keep(position, state)
        return state.x_hat

    def restart(self) -> None:
        """Remove all references, so that only an I-frame can come next."""
        self._pictures.clear()

    @torch.inference_mode()
    def frame(self, x_hat: Float[Tensor, "1 npix 3"]) -> YuvFrame:
        """Convert a decoded signal to an ERP picture."""
        return frame_from_signal(x_hat, self._resampler)


def signal_from_frame(
    frame: YuvFrame, resampler: Resampler, iterations: int = FIT_ITERATIONS
) -> Float[Tensor, "1 npix 3"]:
    """Convert a frame to a signal: Y, U, V divided by 255, with chroma upsampled to luma's size, on the model's nodes.

    Args:
        frame: The picture.
        resampler: Resampler to the model's nodes.
        iterations: Steps of the least-squares fit.
    Returns:
        Signal, [1, npix, 3].
    """
    y, u, v = (torch.from_numpy(np.asarray(plane)).float() / 255 for plane in frame)
    erp = torch.stack([y, chroma_up(u), chroma_up(v)], dim=-1)
    return resampler.to_sphere(erp, iterations=iterations)[None]


def frame_from_signal(x_hat: Float[Tensor, "1 npix 3"], resampler: Resampler) -> YuvFrame:
    """Convert a signal to an ERP picture, clipped and rounded to 8 bits.

    Args:
        x_hat: Signal, [1, npix, 3].
        resampler: Resampler of the model's nodes.
    Returns:
        The picture.
    """
    y, u, v = resampler.to_erp(x_hat[0].float().cpu()).clamp(0, 1).unbind(-1)
    return YuvFrame(_to_uint8(y), _to_uint8(chroma_down(u)), _to_uint8(chroma_down(v)))


def make_resampler(geometry: str, height: int, width: int, nside: int) -> Resampler:
    """Create the resampler between ERP pictures and a model's nodes.

    Args:
        geometry: "healpix" for nodes on the sphere, "erp" for the pixels of an ERP picture of width 4 nside.
        height: Rows of the picture.
        width: Columns of the picture.
        nside: Resolution of the nodes.
    Returns:
        The resampler.
    """
    if geometry == "healpix":
        return ErpResampler(height, width, nside)
    if (width, height) == (4 * nside, 2 * nside):
        return ErpPixels(height, width)
    return ErpScaler(height, width, 2 * nside, 4 * nside)


def check_quality(quality: float) -> None:
    """Raise UsageError unless quality lies in 1 ... 8 (NaN does not)."""
    if not (math.isfinite(quality) and MIN_QUALITY <= quality <= MAX_QUALITY):
        raise UsageError(f"quality {quality:g} is out of range; use 1 (smallest file) to 8 (best picture)")


def _to_uint8(plane: Float[Tensor, "h w"]) -> UInt8[np.ndarray, "h w"]:
    return (plane * 255).round().to(torch.uint8).numpy()
