"""CompressAI's ScaleSpaceFlow, measured as our models are: a file from one process, decoded in another."""

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
    """The networks in a folder, one for each quality.

    Args:
        weights: The folder; `models/planar-ssf2020` unless given.
        frames: Number of frames of each clip from its first; all unless given.
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
        """Folder of the network of a quality.

        Raises:
            UsageError: there is none.
        """
        if quality not in self.qualities:
            known = ", ".join(f"{each:g}" for each in self.qualities)
            raise UsageError(f"{NAME} has no weights of quality {quality:g}; it has {known}")
        return self._weights / f"quality-{quality:g}"

    def measure(self, clip: Path, quality: float, *, keep: Path | None = None) -> Point:
        """Encode the clip into a file, decode the file, compare.

        Args:
            clip: The film.
            quality: One among `qualities`.
            keep: Where to leave the decoded film (`.mkv`); nowhere unless given.
        Raises:
            UsageError: there are no weights of this quality.
            CodecError: a process failed, or the decoder's pictures are not the encoder's.
        """
        return measure_files(clip, quality, self.settings["frames"], partial(self.code, clip, quality), keep)

    def code(self, clip: Path, quality: float, stream: Path, film: Path) -> dict[str, Any]:
        """Encode a film in one process and decode it in another; files of before are replaced.

        Args:
            clip: The film.
            quality: One among `qualities`.
            stream: The `.ssf` file.
            film: The decoded film.
        Returns:
            The reports of both commands.
        Raises:
            UsageError: there are no weights of this quality.
            CodecError: a process failed, or the decoder's pictures are not the encoder's.
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
