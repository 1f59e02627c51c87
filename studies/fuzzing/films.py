"""Seeds of fuzzing: small undamaged files, and models that decode them in milliseconds."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from deepsphere_codec.bitstream import CodedFrame, Header, Other, PictureOrder, Position, StreamWriter
from deepsphere_codec.codec import CHECK_MASK, VideoEncoder
from deepsphere_codec.entropy.coder import SymbolWriter
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.films.beside import PACKETS, preface_of
from deepsphere_codec.gop.reference_buffer import ReferenceBuffer
from deepsphere_codec.models import LoadedModel, ModelConfig, References, SphereDVC, load_model, save_model
from deepsphere_codec.models.geometry import whole_grid
from deepsphere_codec.models.memory import QualityMap
from deepsphere_codec.models.payload import Payload
from deepsphere_codec.models.quality import inter_quality
from deepsphere_codec.models.quality_map import mapped, write_map
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.motion.tree import BLUR, FIRST, LAST, MEAN, MODE, WIDTHS, BlockGrid, MotionTree
from deepsphere_codec.video import AudioTrack, TrackPacket, Tracks, VideoInfo, pack_packets

NSIDE = 64
"""Smallest resolution of a network; 10 ms for an I-frame, 30 for a P-frame."""
PIXELS, LARGEST_NSIDE = 1 << 14, NSIDE
"""Limits of the films that are decoded. Larger valid films are not errors, but take more time and memory."""
_NARROW = ModelConfig(
    work_channels=8,
    middle_channels=8,
    intra_latents=12,
    residual_latents=12,
    hyper_channels=4,
    hyper_hidden=4,
)
NETWORKS = {"sphere": _NARROW, "plane": replace(_NARROW, geometry="erp")}


@dataclass(frozen=True)
class Seed:
    """Undamaged file.

    Attributes:
        data: Contents.
        quick: Whether it is decoded without a network.
    """

    data: bytes
    quick: bool


class _ToyState(NamedTuple):
    x_hat: Float[Tensor, "1 npix 3"]
    check: int


class _ToyCoded(NamedTuple):
    payload: bytes
    state: _ToyState


class _ToyNetwork:
    """Network whose frames are a single grey, the sum of the bytes, so that most of the time is spent on the file."""

    def __init__(self, nside: int) -> None:
        self._npix = 12 * nside**2

    def encode_intra(self, x: Tensor, quality: float) -> _ToyCoded:
        payload = (x * 255).byte().numpy().tobytes()[:40]
        return _ToyCoded(payload, self.decode_intra(payload, quality))

    def encode_inter(self, x: Tensor, references: References, quality: float, layer: int) -> _ToyCoded:
        payload = (x * 255).byte().numpy().tobytes()[:10]
        return _ToyCoded(payload, self.decode_inter(payload, references, quality, layer))

    def decode_intra(self, payload: bytes, quality: float) -> _ToyState:
        return self._after(payload, 0)

    def decode_inter(self, payload: bytes, references: References, quality: float, layer: int) -> _ToyState:
        second = references.second.check if references.second else 0
        return self._after(payload, references.first.check ^ second ^ layer)

    def _after(self, payload: bytes, check: int) -> _ToyState:
        if not payload:
            raise DamagedStream("an empty frame")
        check = zlib.crc32(payload, check)
        return _ToyState(torch.full((1, self._npix, 3), (check & 0xFF) / 255), check)


class Toy:
    """Replacement of a LoadedModel with `_ToyNetwork`."""

    name = "toy"
    geometry = "healpix"
    nside_multiple = 4
    device = torch.device("cpu")
    weights_hash = "a1" * 32
    tables_hash = "b2" * 32

    def graph_hash(self, nside: int) -> str:
        return f"{nside:064x}"

    def network(self, nside: int) -> _ToyNetwork:
        return _ToyNetwork(nside)


Models = dict[str, LoadedModel]


def make_models(folder: Path) -> Models:
    """Make models by name: one without a network, and small ones with random weights, spherical and planar."""
    models = {"toy": cast(LoadedModel, Toy())}
    for name, config in NETWORKS.items():
        save_model(folder / name, name, _lively(config), {})
        models[name] = load_model(folder / name)
    return models


def make_seeds(models: Models) -> list[Seed]:
    """Make files of every kind: short and long GOPs, with times, with other records, without an end, without frames."""
    toy = _header(models["toy"], 16, 8, 4)
    plain, timed = _toy_film(models["toy"], toy), _toy_film(models["toy"], replace(toy, tick_num=1, tick_den=90000))
    later = replace(toy, version=toy.version + 1)
    beside = [*_sound(), Other("z", b"of a later version")]
    small = [
        _file(toy, plain),
        _file(replace(toy, tick_num=1, tick_den=90000), timed, beside),
        _file(later, plain[:2], beside[-1:]),
        _file(toy, []),
        _file(toy, plain)[:-40],
    ]
    large = [data for name in NETWORKS for data in _coded(models[name])]
    return [*(Seed(data, True) for data in small), *(Seed(data, False) for data in large)]


def largest_seed(models: Models) -> bytes:
    """Make an undamaged film of the largest size, whose memory use is the reference for other files."""
    model = models["sphere"]
    header = _header(model, 256, 64, NSIDE)
    return _file(header, _checked(header, model, [("I", 1, _intra(model))]))


def _lively(config: ModelConfig) -> SphereDVC:
    """Network without zero weights, as after training, the same at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = SphereDVC(config, whole_grid(config.geometry, NSIDE)).eval().requires_grad_(False)
        for p in network.parameters():
            if p.dim() > 1 and not p.any():
                p.copy_(0.002 * torch.randn(p.shape))
    return network


def _header(model: LoadedModel, width: int, height: int, nside: int) -> Header:
    info = VideoInfo(width, height, Fraction(25), None, False, "bt709")
    return VideoEncoder(model, info, nside=nside, gop_size=4).header


def _toy_film(model: LoadedModel, header: Header) -> list[CodedFrame]:
    """Three GOPs: a single picture each, a group of four, groups of one and two."""
    kinds = [("I", 1), ("P", 1), ("I", 1), ("P", 4), *[("B", 1)] * 3, ("I", 1), ("P", 1), ("P", 2), ("B", 1)]
    return _checked(header, model, [(*kind, bytes([i + 1]) * (5 + i)) for i, kind in enumerate(kinds)])


def _coded(model: LoadedModel) -> list[bytes]:
    """Every kind of P-frame after an I-frame, two of them in one file, and B-frames."""
    header = _header(model, 32, 16, NSIDE)
    films = ["coded"], ["still", "coded"], ["mapped"], ["coded", "coded"]
    kinds = [[("P", 1, parts) for parts in film] for film in films]
    kinds.append([("P", 4, "coded"), ("B", 1, "mapped"), ("B", 1, "still"), ("B", 1, "coded")])
    if model.geometry == "healpix":
        kinds.append([("P", 2, "turned"), ("B", 1, "turned")])
    return [_file(header, _checked(header, model, [("I", 1, _intra(model)), *each])) for each in kinds]


def _intra(model: LoadedModel) -> bytes:
    """I-frame payload."""
    return model.network(NSIDE).encode_intra(_waves(model, 0.0), 4.0).payload


def _payload(model: LoadedModel, header: Header, references: References, position: Position, parts: str) -> bytes:
    """P- or B-frame payload with artificial motion and a residual.

    Args:
        parts: "still" for a frame that repeats its reference, "mapped" for one with a quality map, "turned" for one
            with a camera rotation, "coded" for one with neither.
    """
    if parts == "still":
        return Payload().pack()
    network, inter, x = model.network(NSIDE), model.network(NSIDE).inter, _waves(model, 0.3)
    quality_map = _some_map(network.pyramid.grids[-1].npix) if parts == "mapped" else references.first.quality_map
    turn = torch.tensor([900, -400, 100]) if parts == "turned" else None
    moved, coded = SymbolWriter(), SymbolWriter()
    setting = inter.setting(references)
    tree = inter.write_motion(_some_tree(inter.blocks, setting.has_second), setting, moved)
    motion = Motion.of([tree])
    seen, context = inter.see(inter.predict(references, motion, turn)), inter.context(references, motion)
    asked = mapped(inter_quality(header.model_quality, network.config, position.layer), quality_map, x)
    inter.write_residual(inter.analyse_residual(x, seen), context, seen, asked, coded)
    map_bytes = write_map(quality_map, inter.tables) if parts == "mapped" and quality_map is not None else None
    return Payload(turn, map_bytes, moved.finish(), coded.finish()).pack()


def _some_map(blocks: int) -> QualityMap:
    return (np.arange(blocks) % 5 - 2).astype(np.int8)


def _some_tree(grid: BlockGrid, has_second: bool) -> MotionTree:
    """Tree with leaves of every level, blur and mode, and short vectors."""
    random = np.random.default_rng(9)
    shape = grid.shape(LAST)
    fields, level = np.zeros((*shape, 6), np.int16), np.zeros(shape, np.int8)
    for depth in range(LAST + 1):
        size = WIDTHS[depth] // WIDTHS[LAST]
        leaves = random.integers(-9, 10, (*grid.shape(depth), 6))
        leaves[..., MODE] = random.integers(FIRST, MEAN + 1, leaves.shape[:3]) if has_second else FIRST
        leaves[..., BLUR] = random.integers(0, _NARROW.blurs, leaves.shape[:3])
        split = (level >= depth)[:, ::size, ::size]
        deeper = split & (random.random(split.shape) < 0.6)
        some = split.repeat(size, 1).repeat(size, 2)
        fields[some] = leaves.repeat(size, 1).repeat(size, 2)[some]
        if depth < LAST:
            level[deeper.repeat(size, 1).repeat(size, 2)] = depth + 1
    return MotionTree(fields, level)


def _waves(model: LoadedModel, shift: float) -> Float[Tensor, "1 npix 3"]:
    phase = np.linspace(0, 300, (12 if model.geometry == "healpix" else 8) * NSIDE**2) + shift
    waves = 0.5 + 0.3 * np.stack([np.sin(phase), np.cos(phase), np.sin(2 * phase)], -1)
    return torch.from_numpy(waves[None].astype(np.float32))


@torch.no_grad()
def _checked(header: Header, model: LoadedModel, coded: Sequence[tuple[str, int, bytes | str]]) -> list[CodedFrame]:
    """Frames of given type, span and payload (or its parts), with the decoder's checks, and times."""
    network, frames, order, pictures = model.network(header.nside), [], PictureOrder(), ReferenceBuffer()
    for kind, span, payload in coded:
        position = order.next(kind, span)
        if kind == "I":
            assert isinstance(payload, bytes)
            state = network.decode_intra(payload, header.model_quality)
        else:
            references = pictures.references(position)
            if isinstance(payload, str):
                payload = _payload(model, header, references, position, payload)
            state = network.decode_inter(payload, references, header.model_quality, position.layer)
        pictures.keep(position, state)
        time = 3000 * position.number if header.timed else None
        frames.append(CodedFrame(position, payload, state.check & CHECK_MASK, time))
    return frames


def _sound() -> list[Other]:
    """Tags, an audio track, and its packets."""
    track = AudioTrack("aac", b"\x11\x90", Fraction(1, 48000), 48000, 2, "stereo", True, {"language": "deu"})
    packets = [TrackPacket(0, 1024 * i, 1024 * i, 1024, True, bytes(20)) for i in range(3)]
    tracks = Tracks(tags={"title": "A"}, video_tags={"handler_name": "B"}, audio=(track,))
    return [*preface_of(tracks), Other(PACKETS, pack_packets(packets))]


def _file(header: Header, frames: list[CodedFrame], beside: list[Other] | None = None) -> bytes:
    file = io.BytesIO()
    with StreamWriter(file, header) as writer:
        for other in beside or []:
            writer.write_other(other)
        for frame in frames:
            writer.write(frame.kind, frame.payload, frame.check, frame.time, frame.position.span)
    return file.getvalue()
