"""Measurement of a learned model as users run it: the command encodes in one process and decodes in another."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepsphere_codec.errors import CodecError
from deepsphere_codec.evaluation.compare import compare_videos
from deepsphere_codec.evaluation.results import Point
from deepsphere_codec.models.resolution import RULE

COMMAND = (sys.executable, "-m", "deepsphere_codec")
CURVE_QUALITIES = (1.0, 3.0, 5.0, 7.0)
"""Qualities that rate-distortion curves are measured at, unless others are asked for."""


class Identity(NamedTuple):
    """Name and hashes that identify a set of weights."""

    name: str
    weights_hash: str
    tables_hash: str


class CodingOptions(NamedTuple):
    """Options of the command; None for its default."""

    frames: int | None = None
    gop: int = 32
    nside: int | None = None
    device: str = "auto"
    threads: int | None = None
    preset: str = "medium"
    low_delay: bool = False


class ModelCodec:
    """Model of this package that can be measured on clips.

    Args:
        model: Name or folder of the model.
        identity: Identity of its weights; see `identify`.
        options: Options for encoding and decoding.
        command: Beginning of the command line, for tests.
    """

    qualities: tuple[float, ...] = CURVE_QUALITIES

    def __init__(
        self, model: str, identity: Identity, options: CodingOptions, command: Sequence[str] = COMMAND
    ) -> None:
        self.codec = identity.name  # not the folder, which is specific to a machine
        self._model = model
        parts = [
            identity.name,
            *([] if options.nside is None else [f"nside {options.nside}"]),
            *([] if options.preset == CodingOptions().preset else [options.preset]),
            *(["low delay"] if options.low_delay else []),
        ]
        self.name = " ".join(parts)
        self.description = f"{identity.name}, file encoded and decoded by the command in processes of their own"
        self.settings: dict[str, Any] = {**identity._asdict(), **options._asdict()}
        if options.nside is None:
            self.settings["resolution"] = RULE
        self._options = options
        self._command = tuple(command)

    def measure(self, clip: Path, quality: float, *, keep: Path | None = None) -> Point:
        """Encode the clip to a file, decode the file, and compare.

        Args:
            clip: Film to code.
            quality: Quality, 1 … 8.
            keep: File for the decoded film (`.mkv`); None to discard it.
        Returns:
            Rate, metrics and seconds.
        Raises:
            CodecError: a process failed; with its message and its exit code.
        """

        def code(stream: Path, film: Path) -> dict[str, Any]:
            encoded = self._run(clip, "encode", clip, stream, *self._encode_flags(quality))
            decoded = self._run(clip, "decode", stream, film, *self._common_flags())
            info, pixels = self._run(clip, "info", stream), encoded["width"] * encoded["height"]
            bpp = {f"bpp_{each.lower()}": _bpp_of_type(info, each, pixels) for each in ("I", "P")}
            return encoded | {"decode_seconds": decoded["decode_seconds"]} | bpp

        return measure_files(clip, quality, self._options.frames, code, keep)

    def _encode_flags(self, quality: float) -> list[str]:
        options = self._options
        flags = ["--quality", f"{quality:g}", "--gop", str(options.gop), "--preset", options.preset, "--pictures-only"]
        if options.frames is not None:
            flags += ["--frames", f"0:{options.frames}"]
        if options.nside is not None:
            flags += ["--nside", str(options.nside)]
        if options.low_delay:
            flags.append("--low-delay")
        return flags + self._common_flags()

    def _common_flags(self) -> list[str]:
        threads = [] if self._options.threads is None else ["--threads", str(self._options.threads)]
        return ["--model", self._model, "--device", self._options.device, *threads]

    def _run(self, clip: Path, command: str, *arguments: str | Path) -> dict[str, Any]:
        return run_command([*self._command, command, *map(str, arguments), "--json"], f"{command} of {clip}")


def measure_files(
    clip: Path,
    quality: float,
    frames: int | None,
    code: Callable[[Path, Path], Mapping[str, Any]],
    keep: Path | None = None,
) -> Point:
    """Encode a clip to a file, decode the file, and compare.

    Args:
        clip: Film to code.
        quality: Quality on the codec's own scale.
        frames: Number of frames from the first; None for all.
        code: Function that encodes to its first path and decodes to its second; it returns "width", "height", "bpp_i",
            "bpp_p", "encode_seconds" and "decode_seconds".
        keep: File for the decoded film (`.mkv`); None to discard it.
    Returns:
        Rate, metrics and seconds.
    """
    with tempfile.TemporaryDirectory(prefix="deepsphere-") as folder:
        stream, film = Path(folder, "coded"), keep or Path(folder, "decoded.mkv")
        report = code(stream, film)
        size = stream.stat().st_size
        comparison = compare_videos(clip, film, frames=(0, frames))
    return Point(
        quality=quality,
        bpp=size * 8 / (comparison.frames * report["width"] * report["height"]),
        **comparison.mean._asdict(),
        **{key: report[key] for key in ("bpp_i", "bpp_p", "encode_seconds", "decode_seconds")},
    )


def run_command(line: Sequence[str], what: str) -> dict[str, Any]:
    """Run a command that prints one JSON object, in a separate process.

    Args:
        line: Command line.
        what: Description of the command's task, for messages.
    Returns:
        The printed object.
    Raises:
        CodecError: it failed; with its message and its exit code.
    """
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        error = CodecError(f"{what} ended with exit code {done.returncode}: {said[-1].split('error: ')[-1]}")
        error.exit_code = done.returncode if done.returncode in (2, 3, 4) else 1
        raise error
    return json.loads(done.stdout)


def identify(model: str) -> Identity:
    """Load a model to get its name and hashes.

    Raises:
        UsageError: there is no such model.
    """
    from deepsphere_codec.models import load_model  # the anchors need no models

    loaded = load_model(model, device="cpu")
    return Identity(loaded.name, loaded.weights_hash, loaded.tables_hash)


def _bpp_of_type(info: Mapping[str, Any], frame_type: str, pixels: int) -> float | None:
    """Mean payload of one frame type in bits per pixel; None if the film has no such frame."""
    found = info.get("frame_types", {}).get(frame_type)
    return found["bytes"] * 8 / (found["count"] * pixels) if found and found["count"] else None
