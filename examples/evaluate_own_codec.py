"""Evaluate a codec of one's own beside x264, as scripts/evaluate.py does.

    python examples/evaluate_own_codec.py [FOLDER OF CLIPS]

Without a folder, a film is generated. scripts/plot_rd.py draws the results files in own-codec/.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import Any

from deepsphere_codec.data.generated import generate_clip
from deepsphere_codec.evaluation.anchors.classical import AnchorCodec
from deepsphere_codec.evaluation.compare import compare_frames
from deepsphere_codec.evaluation.evaluate import Codec, evaluate
from deepsphere_codec.evaluation.results import Point
from deepsphere_codec.video import YuvFrame, open_video
from deepsphere_codec.video.clips import find_clips

FRAMES = 4


class RoundingCodec:
    """Round the pixels to multiples of a step, and compress what is left with zlib."""

    codec, name = "rounding", "rounding and zlib"
    description = "pixels rounded to multiples of quality, then zlib"
    qualities: tuple[float, ...] = (8.0, 16.0, 32.0)
    settings: dict[str, Any] = {"frames": FRAMES}  # points of other settings are not reused in a later run

    def measure(self, clip: Path, quality: float) -> Point:
        """Encode, decode and compare one clip."""
        step, size = int(quality), 0
        with open_video(clip, frames=(0, FRAMES)) as film:
            pairs = []
            for frame in film:
                rounded = YuvFrame(*(plane // step * step + step // 2 for plane in frame))
                size += sum(len(zlib.compress(plane.tobytes())) for plane in rounded)
                pairs.append((frame, rounded))
        bpp = size * 8 / (len(pairs) * film.info.width * film.info.height)
        return Point(quality=quality, bpp=bpp, **compare_frames(pairs).mean._asdict())


def main() -> None:
    folder = Path(*sys.argv[1:] or ["own-codec/clips"])
    if not sys.argv[1:]:
        generate_clip(folder / "generated.mkv", frames=FRAMES, width=256)
    codecs: list[Codec] = [RoundingCodec(), AnchorCodec("x264", FRAMES)]
    for results in evaluate(codecs, find_clips(folder), Path("own-codec")):
        for point in results.mean:
            print(f"{results.name}, {point.quality:g}: {point.bpp:.3f} bpp, WS-PSNR {point.ws_psnr_yuv:.2f} dB")


if __name__ == "__main__":
    main()
