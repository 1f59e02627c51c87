"""CompressAI's ScaleSpaceFlow, measured as our models are: a file from one process, decoded in another."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.evaluation.anchors.ssf2020 import NAME
from deepsphere_codec.evaluation.compare import compare_videos
from deepsphere_codec.evaluation.model import run_command
from deepsphere_codec.evaluation.results import Point

COMMAND = (sys.executable, "-m", "deepsphere_codec.evaluation.anchors.ssf2020")


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
        from deepsphere_codec.evaluation.anchors.ssf2020.weights import (  # others need no network
            RELEASED,
            hash_of,
            quality_folders,
        )

        self._folders = quality_folders(weights or RELEASED)
        self._frames, self._gop, self._threads, self._command = frames, gop, threads, tuple(command)
        self.qualities = tuple(map(float, self._folders))
        hashes = {str(quality): hash_of(folder) for quality, folder in self._folders.items()}
        self.settings: dict[str, Any] = {"weights_hash": hashes, "frames": frames, "gop": gop, "threads": threads}

    def weights_of(self, quality: float) -> Path:
        """The folder of the network.

        Raises:
            UsageError: there is none of this quality.
        """
        if quality not in self.qualities:
            there = ", ".join(map(str, self._folders))
            raise UsageError(f"{NAME} has no weights of quality {quality:g}; it has {there}")
        return self._folders[int(quality)]

    def measure(self, clip: Path, quality: float, *, keep: Path | None = None) -> Point:
        """Encode the clip into a file, decode the file, compare.

        Args:
            keep: Where to leave the decoded film (`.mkv`); nowhere unless given.
        Raises:
            UsageError: there are no weights of this quality.
            CodecError: a process failed, or the decoder's pictures are not the encoder's.
        """
        weights = self.weights_of(quality)
        with tempfile.TemporaryDirectory(prefix="deepsphere-") as folder:
            stream, film = Path(folder, "coded.ssf"), keep or Path(folder, "decoded.mkv")
            encoded, decoded = code_film(
                clip, stream, film, weights, self._frames, gop=self._gop, threads=self._threads, command=self._command
            )
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


def code_film(
    clip: Path,
    stream: Path,
    film: Path,
    weights: Path,
    frames: int | None = None,
    *,
    gop: int = 32,
    threads: int = 1,
    command: Sequence[str] = COMMAND,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Encode a film in one process and decode it in another; files of before are replaced.

    Args:
        clip, stream, film: What is encoded, into what, and where it is decoded to.
        weights: Folder `quality-N`.
        frames: From the first; all unless given.
    Returns:
        What either command says of what it did.
    Raises:
        CodecError: a process failed, or the decoder's pictures are not the encoder's.
    """
    network = ["--weights", str(weights)]
    flags = [*network, *([] if frames is None else ["--frames", str(frames)]), "--gop", str(gop)]
    encode = [*command, "encode", str(clip), str(stream), *flags, "--threads", str(threads), "--force"]
    encoded = run_command(encode, f"encode of {clip} by {NAME}")
    decode = [*command, "decode", str(stream), str(film), *network, "--force"]
    decoded = run_command(decode, f"decode of {clip} by {NAME}")
    if decoded["pictures"] != encoded["pictures"]:
        raise CodecError(f"{NAME} decoded other pictures of {clip} than it encoded; try --threads 1")
    return encoded, decoded


def _bpp(share: dict[str, int], pixels: int) -> float | None:
    """Mean payload of one frame type in bits per pixel; None where the film has no such frame."""
    return share["bytes"] * 8 / (share["frames"] * pixels) if share["frames"] else None
