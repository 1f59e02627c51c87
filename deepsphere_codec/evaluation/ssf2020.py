"""CompressAI's ScaleSpaceFlow, measured as our models are: a file from one process, decoded in another."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepsphere_codec.baselines.ssf2020 import NAME
from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.evaluation.compare import compare_videos
from deepsphere_codec.evaluation.model import run_command
from deepsphere_codec.evaluation.results import Point

COMMAND = (sys.executable, "-m", "deepsphere_codec.baselines.ssf2020")


class SsfCodec:
    """The networks in a folder, one for each quality.

    Args:
        weights: The folder; where released ones would be unless given.
        frames: How many frames of each clip, from its first; all unless given.
        gop: Frames from I-frame to I-frame.
        threads: Of either process.
        command: The command line's beginning, for tests.
    Raises:
        UsageError: the folder holds no weights.
    """

    codec = NAME
    name = "ssf2020 (planar)"
    description = "CompressAI's ScaleSpaceFlow on ERP, file encoded and decoded in processes of their own"

    def __init__(
        self,
        weights: Path | None = None,
        *,
        frames: int | None = None,
        gop: int = 32,
        threads: int = 1,
        command: Sequence[str] = COMMAND,
    ) -> None:
        from deepsphere_codec.baselines.ssf2020.weights import (  # others need no network
            RELEASED,
            hash_of,
            quality_folders,
        )

        self._folders = quality_folders(weights or RELEASED)
        self._frames, self._gop, self._threads, self._command = frames, gop, threads, tuple(command)
        self.qualities = tuple(map(float, self._folders))
        hashes = {str(quality): hash_of(folder) for quality, folder in self._folders.items()}
        self.settings: dict[str, Any] = {"weights_hash": hashes, "frames": frames, "gop": gop, "threads": threads}

    def measure(self, clip: Path, quality: float, *, keep: Path | None = None) -> Point:
        """Encode the clip into a file, decode the file, compare.

        Args:
            keep: Where to leave the decoded film (`.mkv`); nowhere unless given.
        Raises:
            UsageError: there are no weights of this quality.
            CodecError: a process failed, or the decoder's pictures are not the encoder's.
        """
        if quality not in self.qualities:
            there = ", ".join(map(str, self._folders))
            raise UsageError(f"{NAME} has no weights of quality {quality:g}; it has {there}")
        weights = ["--weights", str(self._folders[int(quality)])]
        limit = [] if self._frames is None else ["--frames", str(self._frames)]
        flags = [*weights, *limit, "--gop", str(self._gop), "--threads", str(self._threads)]
        with tempfile.TemporaryDirectory(prefix="deepsphere-") as folder:
            stream, film = Path(folder, "coded.ssf"), keep or Path(folder, "decoded.mkv")
            encoded = run_command(
                [*self._command, "encode", str(clip), str(stream), *flags], f"encode of {clip} by {NAME}"
            )
            decoded = run_command(
                [*self._command, "decode", str(stream), str(film), *weights], f"decode of {clip} by {NAME}"
            )
            if decoded["pictures"] != encoded["pictures"]:
                raise CodecError(f"{NAME} decoded other pictures of {clip} than it encoded; try --threads 1")
            size = stream.stat().st_size
            comparison = compare_videos(clip, film, frames=(0, self._frames))
        pixels = encoded["width"] * encoded["height"]
        return Point(
            quality=quality,
            bpp=size * 8 / (comparison.frames * pixels),
            **comparison.mean._asdict(),
            bpp_i=_bpp(encoded["i_frames"], pixels),
            bpp_p=_bpp(encoded["p_frames"], pixels),
            encode_seconds=encoded["encode_seconds"],
            decode_seconds=decoded["decode_seconds"],
        )


def _bpp(share: dict[str, int], pixels: int) -> float | None:
    """Mean payload of one frame type in bits per pixel; None where the film has no such frame."""
    return share["bytes"] * 8 / (share["frames"] * pixels) if share["frames"] else None
