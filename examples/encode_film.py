"""Encode a 360° film, decode it, and measure what was lost.

    python examples/encode_film.py [FILM]

Without FILM, a short film is generated. FILM.dsc and FILM.decoded.mkv are written beside it.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

from deepsphere_codec import compare_videos, decode_to_file, decode_video, encode_video, load_model
from deepsphere_codec.data.synthetic import synthetic_film
from deepsphere_codec.video import VideoInfo, create_video


def generate(path: Path, width: int = 256, height: int = 128, frames: int = 4) -> Path:
    """Write a film of a turning camera, lossless."""
    info = VideoInfo(width, height, fps=Fraction(30), frames=frames, full_range=False, matrix="bt709")
    with create_video(path, info, force=True) as writer:
        for frame in synthetic_film(width, height, frames):
            writer.write(frame)
    return path


def main() -> None:
    film = Path(sys.argv[1]) if len(sys.argv) > 1 else generate(Path("generated.mkv"))
    stream, decoded = film.with_suffix(".dsc"), film.with_suffix(".decoded.mkv")

    model = load_model("sphere-dvc")  # loaded once, for as many films as one likes
    report = encode_video(film, stream, model=model, quality=4, force=True)
    print(f"{stream}: {report.frames} frames, {report.bytes} bytes, {report.bpp:.4f} bits per pixel")

    for number, frame in enumerate(decode_video(stream)):  # uint8 RGB, one at a time
        print(f"frame {number}: {frame.shape[1]}x{frame.shape[0]}, mean {frame.mean():.1f}")

    decode_to_file(stream, decoded, force=True)
    metrics = compare_videos(film, decoded).mean.as_dict()
    print(f"{decoded}: WS-PSNR {metrics['ws-psnr-yuv']:.2f} dB, SSIM {metrics['ssim-y']:.4f}")


if __name__ == "__main__":
    main()
