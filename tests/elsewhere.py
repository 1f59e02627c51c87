"""Decodes a stream as another machine would: in a process of its own, with other instructions, libraries and threads.

`python tests/elsewhere.py STREAM OUT.npz SETTING …` writes what came out under each setting, such as 4,off,highest,cpu.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from deepsphere_codec.bitstream import StreamReader
from deepsphere_codec.codec import frame_from_signal, make_resampler
from deepsphere_codec.gop.reference_buffer import ReferenceBuffer
from deepsphere_codec.models import load_model
from deepsphere_codec.runtime.threads import SPINS
from deepsphere_codec.video import YuvFrame

ROOT = Path(__file__).resolve().parents[1]


class Setting(NamedTuple):
    """What a process may choose for itself."""

    threads: int = 1
    mkldnn: str = "on"
    precision: str = "highest"  # of float32 matrix products
    device: str = "cpu"


HERE = Setting()


class Machine(NamedTuple):
    """Instructions that libraries are to do with: PyTorch's own kernels, oneDNN and MKL, each by a variable of its own.

    Attributes:
        name: That PyTorch has for its share of it.
        found_on: Machines that can do so too, by the same names.
    """

    name: str
    environment: Mapping[str, str]
    found_on: tuple[str, ...]

    @property
    def runs_here(self) -> bool:
        return torch.backends.cpu.get_cpu_capability() in self.found_on

    def run(self, *arguments: str | Path) -> None:
        """Python, with these arguments, there."""
        line = [sys.executable, *map(str, arguments)]
        ours = {"PYTHONPATH": str(ROOT), "GOMP_SPINCOUNT": str(SPINS)}
        environment = {**os.environ, **ours, **self.environment}
        done = subprocess.run(line, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


_AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}
_SSE4 = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
MACHINES = {
    "avx512": Machine("AVX512", {}, ("AVX512",)),
    "avx2": Machine("AVX2", _AVX2, ("AVX512", "AVX2")),
    "sse4": Machine("DEFAULT", _SSE4, ("AVX512", "AVX2", "DEFAULT")),
}


class Seen(NamedTuple):
    """What a decoder comes to.

    Attributes:
        checks: Of each frame, CRC-32 of the latents decoded since the GOP began, and whether the record's agrees.
        signals: The frames on their nodes, [frames, npix, 3].
        pictures: As they are shown.
    """

    checks: list[tuple[int, bool]]
    signals: np.ndarray
    pictures: list[YuvFrame]


def decode(stream: Path, setting: Setting) -> Seen:
    """All of a stream, in this process; a check that differs is told, not raised."""
    checks, signals, pictures = [], [], []
    with _as_set(setting), StreamReader(stream) as reader, torch.inference_mode():
        header = reader.header
        model = load_model(header.model, device=setting.device)
        network = model.network(header.nside)
        resampler = make_resampler(model.geometry, header.height, header.width, header.nside)
        buffer = ReferenceBuffer()
        for frame in reader.frames():
            if frame.kind == "I":
                state = network.decode_intra(frame.payload, header.model_quality)
            else:
                references = buffer.references(frame.position)
                state = network.decode_inter(frame.payload, references, header.model_quality, frame.position.layer)
            buffer.keep(frame.position, state)
            checks.append((state.check, state.check & 0xFFFF == frame.check))
            signals.append(state.x_hat[0].cpu().numpy())
            pictures.append(frame_from_signal(state.x_hat, resampler))
    return Seen(checks, np.stack(signals), pictures)


def decode_elsewhere(stream: Path, out: Path, machine: Machine, settings: Sequence[Setting]) -> list[Seen]:
    """What a process on that machine comes to, under each setting."""
    machine.run(__file__, stream, out, *(",".join(map(str, setting)) for setting in settings))
    with np.load(out) as found:
        assert found["instructions"] == machine.name
        return [_unpack(found, i) for i in range(len(settings))]


@contextmanager
def _as_set(setting: Setting) -> Iterator[None]:
    mkldnn = torch.backends.mkldnn  # its own context manager would reset the precision
    before = torch.get_num_threads(), torch.get_float32_matmul_precision(), mkldnn.enabled
    torch.set_num_threads(setting.threads)
    torch.set_float32_matmul_precision(setting.precision)
    mkldnn.enabled = setting.mkldnn == "on"
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])
        mkldnn.enabled = before[2]


def _pack(seen: Seen, i: int) -> dict[str, np.ndarray]:
    y, u, v = (np.stack(plane) for plane in zip(*seen.pictures, strict=True))
    return {f"checks{i}": np.array(seen.checks), f"signals{i}": seen.signals, f"y{i}": y, f"u{i}": u, f"v{i}": v}


def _unpack(found: Mapping[str, np.ndarray], i: int) -> Seen:
    checks = [(int(check), bool(agrees)) for check, agrees in found[f"checks{i}"]]
    pictures = [YuvFrame(*planes) for planes in zip(*(found[f"{name}{i}"] for name in "yuv"), strict=True)]
    return Seen(checks, found[f"signals{i}"], pictures)


def main(stream: str, out: str, *asked: str) -> None:
    parts = {"instructions": np.array(torch.backends.cpu.get_cpu_capability())}
    for i, each in enumerate(asked):
        threads, *rest = each.split(",")
        parts |= _pack(decode(Path(stream), Setting(int(threads), *rest)), i)
    np.savez(out, **parts)


if __name__ == "__main__":
    main(*sys.argv[1:])
