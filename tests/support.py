"""What tests share: small films, a textured sphere, and a model that is quick to run and nearly lossless."""

from __future__ import annotations

import importlib.util
import json
import math
import resource
import signal
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, TypeVar

import av
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deepsphere_codec.bitstream import SPANS, CodedFrame, StreamReader
from deepsphere_codec.codec import VideoEncoder
from deepsphere_codec.errors import UsageError
from deepsphere_codec.gop.grouping import Grouping, groups_of
from deepsphere_codec.gop.lookahead import Lookahead, SmallPicture
from deepsphere_codec.models import ModelConfig, References
from deepsphere_codec.sphere import HealpixGrid, log_map, rotation_from_vector
from deepsphere_codec.video import TimedFrame, VideoInfo, YuvFrame, create_video

T = TypeVar("T")
OnThreads = Callable[[int, Callable[[], T]], T]

TINY = ModelConfig(
    work_channels=16,
    middle_channels=16,
    intra_latents=24,
    residual_latents=24,
    hyper_channels=8,
    hyper_hidden=8,
)
"""As the released model, but narrow."""


@contextmanager
def one_thread() -> Iterator[None]:
    """On pictures this small, threads mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def peak_memory() -> int:
    """Most that this process has held so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture(autouse=True)
def same_numbers_on_one_thread() -> Iterator[None]:
    """Imported by the conftest of a folder whose tests compare numbers to the last bit."""
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def on_threads() -> OnThreads:
    """Calls something with a number of threads."""

    def run(threads: int, call: Callable[[], T]) -> T:
        torch.set_num_threads(threads)
        try:
            return call()
        finally:
            torch.set_num_threads(1)

    return run


class FakeState(NamedTuple):
    """A picture, and how many others lie between it and the I-frame."""

    x_hat: torch.Tensor
    frames: int

    @property
    def check(self) -> int:
        return int(_levels(self.x_hat).sum())


class Coded(NamedTuple):
    payload: bytes
    state: FakeState


class FakeNetwork:
    """Stores the signal's 8-bit values, or their difference from the references' mean, through zlib.

    Before them lies what the encoder had: how far the I-frame is, the references' distances and the layer. A decoder
    that has other references fails.
    """

    HEAD = struct.Struct("<Hbbb")

    def __init__(self, nside: int, delay: float) -> None:
        self.shape = (1, 12 * nside**2, 3)
        self.delay = delay

    def encode_intra(self, x: torch.Tensor, quality: float, quality_map: object = None) -> Coded:
        time.sleep(self.delay)
        assert tuple(x.shape) == self.shape and x.dtype == torch.float32
        return self._coded(_levels(x), torch.zeros(self.shape), (0, 0, 0, 0))

    def encode_inter(self, x: torch.Tensor, references: References, quality: float, layer: int, *_: object) -> Coded:
        time.sleep(self.delay)
        base = self._base(references)
        return self._coded(_levels(x) - base, base, self._head(references, layer))

    def decode_intra(self, payload: bytes, quality: float) -> FakeState:
        time.sleep(self.delay)
        return self._read(payload, torch.zeros(self.shape), (0, 0, 0, 0))

    def decode_inter(self, payload: bytes, references: References, quality: float, layer: int) -> FakeState:
        time.sleep(self.delay)
        return self._read(payload, self._base(references), self._head(references, layer))

    def _base(self, references: References) -> torch.Tensor:
        levels = [_levels(each.x_hat) for each in references[:2] if each is not None]
        return torch.stack(levels).mean(0).floor()

    def _head(self, references: References, layer: int) -> tuple[int, ...]:
        return references.first.frames + 1, *references.distances, layer

    def _coded(self, levels: torch.Tensor, base: torch.Tensor, head: tuple[int, ...]) -> Coded:
        payload = zlib.compress(levels.to(torch.int16).numpy().tobytes(), 1)
        return Coded(self.HEAD.pack(*head) + payload, FakeState((base + levels) / 255, head[0]))

    def _read(self, payload: bytes, base: torch.Tensor, head: tuple[int, ...]) -> FakeState:
        assert self.HEAD.unpack_from(payload) == head, "the references are not those that the encoder had"
        levels = np.frombuffer(zlib.decompress(payload[self.HEAD.size :]), np.int16).copy()
        return FakeState((base + torch.from_numpy(levels).float().reshape(self.shape)) / 255, head[0])


def _levels(x: torch.Tensor) -> torch.Tensor:
    return (x * 255).round()


class Spans:
    """Groups of one size as far as there are frames, and of smaller ones before a GOP's end; no cuts.

    Args:
        span: Their size.
    """

    def __init__(self, span: int = 8) -> None:
        self.span = self.depth = span

    def look(self, frame: YuvFrame) -> SmallPicture:
        return SmallPicture(*3 * [np.zeros((1, 1), np.float32)])

    def is_cut(self, before: Sequence[SmallPicture], after: Sequence[SmallPicture]) -> bool:
        return False

    def choose_span(self, looks: Sequence[SmallPicture]) -> int:
        return max(span for span in SPANS if span <= min(self.span, len(looks) - 1))


@contextmanager
def spans_of(span: int) -> Iterator[None]:
    """Films are coded in groups of one size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deepsphere_codec.films.encode.ContentLookahead", lambda: Spans(span))
        yield


class FakeModel:
    """Stands where a LoadedModel stands."""

    name = "fake"
    geometry = "healpix"
    nside_multiple = 4
    device = torch.device("cpu")
    weights_hash = "a1" * 32
    tables_hash = "b2" * 32

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay

    def graph_hash(self, nside: int) -> str:
        return f"{nside:064x}"

    def network(self, nside: int) -> FakeNetwork:
        return FakeNetwork(nside, self.delay)


def load_fake(name: str | Path = "fake", device: str = "cpu") -> FakeModel:
    if name not in ("fake", "sphere-dvc"):
        raise UsageError(f"there is no model {name}; models: fake")
    return FakeModel()


def make_frame(width: int, height: int, number: int = 0) -> YuvFrame:
    """A smooth picture that turns with its number."""
    lon = 2 * np.pi * (np.arange(width) + 0.5 + number) / width
    lat = np.pi * ((np.arange(height) + 0.5) / height - 0.5)[:, None]
    waves = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat) + 0 * lon]
    y, u, v = (np.round(125 + 90 * wave).astype(np.uint8) for wave in waves)
    return YuvFrame(y, u[::2, ::2].copy(), v[::2, ::2].copy())


def coded_with_signals(
    encoder: VideoEncoder, frames: Iterable[YuvFrame], lookahead: Lookahead
) -> Iterator[tuple[CodedFrame, torch.Tensor]]:
    """The coded frames of a film of its own, each with the signal that the encoder refers to afterwards."""
    timed = (TimedFrame(frame, number) for number, frame in enumerate(frames))
    for group in groups_of(timed, Grouping(encoder.header.gop_size, lookahead)):
        for coded in encoder.encode_group(group):
            assert encoder.x_hat is not None
            yield coded, encoder.x_hat


def make_grey(path: Path, pixels: np.ndarray, pixel_format: str = "gray") -> Path:
    """A PNG of grey pixels, [height, width] uint8; or of another of FFmpeg's formats, to be refused."""
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.height, stream.width = pixels.shape
        stream.pix_fmt = pixel_format
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="gray").reformat(format=pixel_format)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_film(path: Path, width: int = 64, height: int = 32, frames: int = 6) -> Path:
    info = VideoInfo(width, height, fps=Fraction(25), frames=frames, full_range=False, matrix="bt709")
    with create_video(path, info) as writer:
        for number in range(frames):
            writer.write(make_frame(width, height, number))
    return path


def altered(sound: Path, path: Path, *numbers: int) -> Path:
    """A copy with one bit turned in the payload of each of these frames."""
    data = bytearray(sound.read_bytes())
    with StreamReader(sound) as reader:
        for frame in reader.frames():
            if frame.number in numbers:
                data[data.index(frame.payload, frame.offset) + len(frame.payload) // 2] ^= 4
    path.write_bytes(data)
    return path


def bare_weights(folder: Path, qualities: Iterable[int]) -> Path:
    """Cards and weights of the planar baseline that are taken for such, and cannot code."""
    for quality in qualities:
        place = folder / f"quality-{quality}"
        place.mkdir(parents=True)
        card = {
            "name": "planar-ssf2020",
            "quality": quality,
            "flow_unit": [128, 128],
            "weights_hash": f"bare {quality}",
        }
        (place / "card.json").write_text(json.dumps(card))
        save_file({"a": torch.full((2,), float(quality))}, place / "weights.safetensors")
    return folder


def load_script(name: str) -> ModuleType:
    """A script as a module: `scripts/NAME.py`, or the command of a study."""
    root = Path(__file__).resolve().parents[1]
    path = root / name / "__main__.py" if name.startswith("studies/") else root / "scripts" / f"{name}.py"
    specification = importlib.util.spec_from_file_location(f"{name.replace('/', '_')}_script", path)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@contextmanager
def same_signals() -> Iterator[None]:
    """Scripts that train take SIGTERM for themselves."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Writes beyond a size fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_y4m(path: Path, width: int, height: int, frames: int) -> Path:
    """A 4:2:0 file of any size, also those that the writer refuses."""
    chroma = 2 * ((width + 1) // 2) * ((height + 1) // 2)
    data = b"FRAME\n" + bytes(width * height) + bytes([128]) * chroma
    path.write_bytes(b"YUV4MPEG2 W%d H%d F25:1 Ip A1:1 C420mpeg2\n" % (width, height) + data * frames)
    return path


def centers(nside: int) -> torch.Tensor:
    """Directions of all nodes, float64."""
    return torch.from_numpy(HealpixGrid.cached(nside).centers)


def texture(p: torch.Tensor, detail: float = 8.0) -> torch.Tensor:
    """Forty waves of random direction, `detail` radians of phase to a radian of the sphere: luma [1, n, 1]."""
    generator = torch.Generator().manual_seed(3)
    waves = detail * torch.randn(40, 3, generator=generator, dtype=torch.float64)
    phases = 2 * math.pi * torch.rand(40, generator=generator, dtype=torch.float64)
    return (0.5 + 0.056 * (p @ waves.t() + phases).sin().sum(-1)).float()[None, :, None]


def turn(axis: tuple[float, float, float], degrees: float) -> torch.Tensor:
    """The rotation about an axis of any length."""
    vector = torch.tensor(axis, dtype=torch.float64)
    return rotation_from_vector(vector / vector.norm() * math.radians(degrees))


def true_field(rotation: torch.Tensor, nside: int) -> torch.Tensor:
    """The content of x_ref turns by R to make x, so v(p) leads from p back to R⁻¹ p (architecture.md, 6)."""
    p = centers(nside)
    return log_map(p, p @ rotation)


def assert_uniform(vectors: np.ndarray) -> None:
    """Thousands of vectors point everywhere alike: means of x are 0, of x² 1/3, of x⁴ 1/5 (of a cube's points 0.18)."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for power, mean, tolerance in ((1, 0, 0.04), (2, 1 / 3, 0.02), (4, 1 / 5, 0.015)):
        assert np.abs((units**power).mean(0) - mean).max() < tolerance, f"means of x^{power}"


def psnr(x: torch.Tensor, x_hat: torch.Tensor) -> float:
    """Of signals up to 1, decibels."""
    return -10 * math.log10(float((x - x_hat).square().mean()))
