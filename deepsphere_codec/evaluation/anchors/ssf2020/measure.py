"""Measurement of CompressAI's ScaleSpaceFlow like our models: one process writes a file, another decodes it."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.evaluation.anchors.ssf2020 import NAME, how_to_get
from deepsphere_codec.evaluation.model import measure_files, run_command
from deepsphere_codec.evaluation.results import Point

COMMAND = (sys.executable, "-m", __package__)


class SsfCodec:
    """Networks of a folder, one for each quality.

    Args:
        weights: Folder of the networks; None for `models/planar-ssf2020`.
        frames: Number of frames of each clip from its first; None for all.
        gop: Frames from I-frame to I-frame.
        threads: Number of threads of the two processes.
    Raises:
        UsageError: the folder holds no weights.
    """

    codec = NAME
    name = "ssf2020 (planar)"
    description = "CompressAI's ScaleSpaceFlow on ERP, file encoded and decoded in processes of their own"

    def __init__(
        self, weights: Path | None = None, *, frames: int | None = None, gop: int = 32, threads: int = 1
    ) -> None:
        self._weights = weights or Path("models", NAME)
        cards = [json.loads(path.read_text()) for path in self._weights.glob("quality-*/card.json")]
        if not cards:
            raise UsageError(f"{self._weights} holds no weights of {NAME} (quality-N); {how_to_get(self._weights)}")
        hashes = {card["quality"]: card["weights_hash"] for card in sorted(cards, key=lambda card: card["quality"])}
        self.qualities = tuple(map(float, hashes))
        self.settings: dict[str, Any] = {"weights_hash": {str(each): digest for each, digest in hashes.items()}}
        self.settings |= {"frames": frames, "gop": gop, "threads": threads}

    def weights_of(self, quality: float) -> Path:
        """Return the folder of a quality's network.

        Raises:
            UsageError: there is none.
        """
        if quality not in self.qualities:
            known = ", ".join(f"{each:g}" for each in self.qualities)
            raise UsageError(f"{NAME} has no weights of quality {quality:g}; it has {known}")
        return self._weights / f"quality-{quality:g}"

    def measure(self, clip: Path, quality: float, *, keep: Path | None = None) -> Point:
        """Encode the clip to a file, decode the file, and compare.

        Args:
            clip: Film to code.
            quality: One of `qualities`.
            keep: File for the decoded film (`.mkv`); None to discard it.
        Returns:
            Rate, metrics and seconds.
        Raises:
            UsageError: there are no weights of this quality.
            CodecError: a process failed, or the decoder's pictures differ from the encoder's.
        """
        return measure_files(clip, quality, self.settings["frames"], partial(self.code, clip, quality), keep)

    def code(self, clip: Path, quality: float, stream: Path, film: Path) -> dict[str, Any]:
        """Encode a film in one process and decode it in another; existing files are replaced.

        Args:
            clip: Film to code.
            quality: One of `qualities`.
            stream: `.ssf` file to write.
            film: Decoded film to write.
        Returns:
            Reports of both commands.
        Raises:
            UsageError: there are no weights of this quality.
            CodecError: a process failed, or the decoder's pictures differ from the encoder's.
        """
        flags = ["--weights", str(self.weights_of(quality)), "--force"]
        options = [
            f"--{key}={value}" for key in ("frames", "gop", "threads") if (value := self.settings[key]) is not None
        ]
        encode, decode = ["encode", str(clip), str(stream), *options], ["decode", str(stream), str(film)]
        encoded = run_command([*COMMAND, *encode, *flags], f"encode of {clip} by {NAME}")
        decoded = run_command([*COMMAND, *decode, *flags], f"decode of {clip} by {NAME}")
        if decoded["pictures"] != encoded["pictures"]:
            raise CodecError(f"{NAME} decoded other pictures of {clip} than it encoded; try --threads 1")
        return encoded | decoded
