"""Time and memory of one P-frame at full size, for CompressAI's planar ssf2020 and our models; and time of metrics."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch

from deepsphere_codec.bitstream import LIMITS
from deepsphere_codec.codec import PRESET, VideoDecoder, VideoEncoder, make_resampler, signal_from_frame
from deepsphere_codec.entropy.backend import planar_scale_space_flow
from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.evaluation.compare import compare_frames
from deepsphere_codec.gop.lookahead import LowDelay
from deepsphere_codec.metrics.frame import measure_frame, measure_quick
from deepsphere_codec.models import References, load_model
from deepsphere_codec.video import VideoInfo, YuvFrame

PLANAR = "ssf2020 (CompressAI, planar)"
QUALITY = 4.0
NSIDE = 256
WARM_UP = 1
FAST = ", preset fast"


class FrameTimes(NamedTuple):
    """Seconds for one P-frame."""

    encode: float
    decode: float


Codec = Callable[[], FrameTimes]
"""Function that codes the next P-frame of a film and decodes it."""


def compare_speed(
    models: Sequence[str], frames: Sequence[YuvFrame], *, device: str = "cpu", rounds: int = 5
) -> list[dict[str, Any]]:
    """Measure median seconds of a P-frame and peak memory; the codecs take turns in every round.

    Our models start from 8-bit frames and end with them, including both resamplings; ssf2020, with random weights,
    starts and ends with tensors.

    Args:
        models: Names or folders of models; the first one is also timed with the preset "fast".
        frames: Short film of at least two frames; the first is coded as an I-frame, then the frames are repeated.
        device: Device to run on.
        rounds: Number of rounds.
    Returns:
        For each codec {"codec", "encode_seconds", "decode_seconds", "peak_gib"}; the peak is that of a process that
        encodes an I-frame and P-frames, and decodes them.
    """
    names = [*models, f"{models[0]}{FAST}", PLANAR]
    codecs = {name: make_codec(name, frames, device) for name in names}
    times: dict[str, list[FrameTimes]] = {name: [] for name in names}
    for turn in range(rounds + WARM_UP):
        for name, codec in codecs.items():
            taken = codec()
            if turn >= WARM_UP:
                times[name].append(taken)
    return [
        {
            "codec": name,
            "encode_seconds": round(statistics.median(t.encode for t in times[name]), 3),
            "decode_seconds": round(statistics.median(t.decode for t in times[name]), 3),
            "peak_gib": round(peak_memory(name, frames, device), 2),
        }
        for name in names
    ]


def motion_speed(name: str, frames: Sequence[YuvFrame], *, rounds: int = 5) -> dict[str, float]:
    """Measure the seconds for a frame's motion tree from two references on the CPU; medians over rounds.

    Args:
        name: Name or folder of a model.
        frames: Three frames of a film.
        rounds: Number of rounds.
    Returns:
        {"search_seconds", "write_seconds", "read_seconds"}; the estimation of the camera's rotation is not included.
    """
    network = load_model(name).network(NSIDE)
    resampler = make_resampler("healpix", frames[0].y.shape[0], frames[0].y.shape[1], NSIDE)
    times: dict[str, list[float]] = {"search_seconds": [], "write_seconds": [], "read_seconds": []}
    with torch.inference_mode():
        first, second, x = (signal_from_frame(frame, resampler) for frame in frames[:3])
        nearer, further = (network.encode_intra(each, QUALITY).state for each in (second, first))
        references = References(nearer, further, (-1, -2))
        for turn in range(rounds + WARM_UP):
            moments = [time.perf_counter()]
            tree, setting = network.inter.find_tree(x, references, None, network.motion_lmbda(QUALITY))
            moments.append(time.perf_counter())
            writer = SymbolWriter()
            network.inter.write_motion(tree, setting, writer)
            payload = writer.finish()
            moments.append(time.perf_counter())
            network.inter.read_motion(SymbolReader(payload), references)
            moments.append(time.perf_counter())
            if turn >= WARM_UP:
                for values, (start, end) in zip(times.values(), pairwise(moments), strict=True):
                    values.append(end - start)
    return {name: round(statistics.median(values), 4) for name, values in times.items()}


def metrics_speed(frames: Sequence[YuvFrame], *, rounds: int = 5) -> list[dict[str, Any]]:
    """Measure the speed of metrics on frames of a film, each compared with the next one.

    Args:
        frames: Frames of a film.
        rounds: Number of rounds.
    Returns:
        {"metrics", "frames_per_second"} for the quick metrics, which include WS-PSNR, and for all; medians over rounds.
    """
    pairs = list(pairwise(frames))
    rows = []
    for name, measure in (("quick", measure_quick), ("all", measure_frame)):
        seconds = []
        for _ in range(rounds + WARM_UP):
            start = time.perf_counter()
            compare_frames(pairs, measure=measure)
            seconds.append(time.perf_counter() - start)
        rows.append({"metrics": name, "frames_per_second": round(len(pairs) / statistics.median(seconds[WARM_UP:]), 1)})
    return rows


def make_codec(name: str, frames: Sequence[YuvFrame], device: str) -> Codec:
    """Make the function that codes and decodes one more frame per call, after an I-frame that is coded here.

    Args:
        name: Name of the codec.
        frames: Frames of a film.
        device: Device to run on.
    Returns:
        Function that returns the seconds of a P-frame.
    """
    return planar_codec(frames, device) if name == PLANAR else our_codec(name, frames, device)


def our_codec(name: str, frames: Sequence[YuvFrame], device: str) -> Codec:
    """Make the function for a released model or one in a folder.

    Args:
        name: Name or folder of the model, or its name with a suffix for the preset "fast".
        frames: Frames of a film.
        device: Device to run on.
    Returns:
        Function that returns the seconds of a P-frame.
    """
    height, width = frames[0].y.shape
    info = VideoInfo(width, height, Fraction(30), None, full_range=False, matrix="bt709")
    name, preset = name.removesuffix(FAST), "fast" if name.endswith(FAST) else PRESET
    model = load_model(name, device=device)
    encoder = VideoEncoder(
        model, info, quality=QUALITY, gop_size=LIMITS["gop_size"], lookahead=LowDelay(), preset=preset
    )
    decoder = VideoDecoder(encoder.header, model)
    coming = cycle([*frames[1:], frames[0]])
    (first,) = encoder.encode(frames[0])
    decoder.decode(first.position, first.payload)

    def code() -> FrameTimes:
        start = time.perf_counter()
        (coded,) = encoder.encode(next(coming))
        middle = time.perf_counter()
        decoder.frame(decoder.decode(coded.position, coded.payload))
        return FrameTimes(middle - start, time.perf_counter() - middle)

    return code


def planar_codec(frames: Sequence[YuvFrame], device: str) -> Codec:
    """Make the function for CompressAI's own model with random weights; its time does not depend on the picture.

    Args:
        frames: Frames of a film, which set the size.
        device: Device to run on.
    Returns:
        Function that returns the seconds of a P-frame.
    """
    network = planar_scale_space_flow().to(device)
    pictures = [torch.from_numpy(frame.y).float().div(255).expand(1, 3, -1, -1).to(device) for frame in frames]
    coming = cycle([*pictures[1:], pictures[0]])
    with torch.inference_mode():
        reference, _ = network.encode_keyframe(pictures[0])

    @torch.inference_mode()
    def code() -> FrameTimes:
        start = time.perf_counter()
        _, coded = network.encode_inter(next(coming), reference)
        middle = time.perf_counter()
        network.decode_inter(reference, coded["strings"], coded["shape"])
        return FrameTimes(middle - start, time.perf_counter() - middle)

    return code


def peak_memory(name: str, frames: Sequence[YuvFrame], device: str) -> float:
    """Measure the peak resident memory of a new process that codes two P-frames.

    Args:
        name: Name of the codec.
        frames: Frames of a film.
        device: Device to run on.
    Returns:
        Peak memory in GiB.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(partial(_peak, name, frames, device, torch.get_num_threads()))


def _peak(name: str, frames: Sequence[YuvFrame], device: str, threads: int) -> float:
    torch.set_num_threads(threads)
    codec = make_codec(name, frames, device)
    codec()
    codec()
    return _highest() / 2**20


def _highest() -> int:
    """Peak resident memory of this process, KiB; `getrusage` would include that of its parent process."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return found[0] if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
