#!/usr/bin/env python3
"""Encode a 360° film, given or generated, decode it in a new process, and report the result.

    python scripts/demo.py [--video PATH] [--frames N] [--quality Q] [--out out/demo]

Writes to --out: film.dsc, decoded.mkv (lossless), decoded.mp4 (for a player), viewports.png, report.json, and
source.mkv if the film was generated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from deepsphere_codec.data.synthetic import synthetic_film
from deepsphere_codec.sphere import ErpResampler
from deepsphere_codec.video import VideoInfo, create_video, open_video, yuv_to_rgb

VIEWS = ((0.0, 0.0), (120.0, 35.0))  # yaw and pitch in degrees: ahead, and behind and up, where ERP is stretched
FIELD_OF_VIEW = 90.0
FPS = Fraction(30)


def main() -> int:
    args = parse()
    args.out.mkdir(parents=True, exist_ok=True)
    source = args.video or make_film(args.out / "source.mkv", args.frames)
    stream, decoded = args.out / "film.dsc", args.out / "decoded.mkv"
    frames = f"0:{args.frames}"
    try:
        encoded = codec("encode", source, stream, "--quality", str(args.quality), "--frames", frames, "--force")
        played = codec("decode", stream, decoded, "--force")
        codec("decode", stream, args.out / "decoded.mp4", "--force")
        measured = codec("compare", source, decoded, "--frames", frames, "--metrics", "quick")
    except subprocess.CalledProcessError as error:
        return error.returncode  # the command has printed the error
    draw(source, decoded, args.out / "viewports.png", nside=encoded["nside"])
    report = {"encode": encoded, "decode": played, "compare": measured}
    (args.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print_table(report, args.out)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Encode and decode a 360° film, and measure it.")
    parser.add_argument("--video", type=Path, help="a film of your own; one is generated unless given")
    parser.add_argument("--frames", type=int, default=12, help="how many frames to code (12)")
    parser.add_argument("--quality", type=float, default=4.0, help="1 to 8 (4)")
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    return parser.parse_args()


def codec(command: str, *arguments: str | Path) -> dict:
    """Run the command in a separate process; its progress is shown on the terminal.

    Args:
        command: Subcommand.
        *arguments: Its arguments.
    Returns:
        The printed JSON object.
    """
    print(f"deepsphere-codec {command} {' '.join(map(str, arguments))}", file=sys.stderr)
    line = [sys.executable, "-m", "deepsphere_codec", command, *map(str, arguments), "--json"]
    done = subprocess.run(line, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def make_film(path: Path, frames: int, width: int = 1024, height: int = 512) -> Path:
    """Write a generated film.

    Args:
        path: File to write.
        frames: Number of frames.
        width: Width in pixels.
        height: Height in pixels.
    Returns:
        Path of the film.
    """
    info = VideoInfo(width, height, fps=FPS, frames=frames, full_range=False, matrix="bt709")
    with create_video(path, info, force=True) as writer:
        for frame in synthetic_film(width, height, frames, seed=0):
            writer.write(frame)
    return path


def draw(source: Path, decoded: Path, path: Path, *, nside: int) -> None:
    """Draw the first frame of both films, as ERP and as two perspective views.

    Args:
        source: Source film.
        decoded: Decoded film.
        path: PNG file to write.
        nside: Resolution of the sphere.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1 + len(VIEWS), figsize=(16, 8), width_ratios=[2, *(1 for _ in VIEWS)])
    for row, (name, film) in zip(axes, {"source": source, "decoded": decoded}.items(), strict=True):
        for axis, (title, picture) in zip(row, pictures(film, nside).items(), strict=True):
            axis.imshow(picture)
            axis.set_title(f"{name}: {title}")
            axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def pictures(film: Path, nside: int) -> dict[str, np.ndarray]:
    """Make the pictures of a film's first frame.

    Args:
        film: Film.
        nside: Resolution of the sphere.
    Returns:
        Pictures by title.
    """
    with open_video(film) as reader:
        erp = yuv_to_rgb(next(iter(reader)), reader.info)
    height, width, _ = erp.shape
    resampler = ErpResampler(height, width, nside)
    signal = resampler.to_sphere(torch.from_numpy(erp).float() / 255, iterations=1)
    shown = {"equirectangular": erp}
    for yaw, pitch in VIEWS:
        view = resampler.viewport(signal, yaw, pitch, 0.0, FIELD_OF_VIEW, size=(384, 384))
        shown[f"yaw {yaw:g}°, pitch {pitch:g}°"] = view.clamp(0, 1).numpy()
    return shown


def print_table(report: dict, out: Path) -> None:
    """Print the report as a table.

    Args:
        report: Contents of report.json.
        out: Folder of the files.
    """
    encoded, played, measured = report["encode"], report["decode"], report["compare"]
    rows = {
        "film": f"{encoded['frames']} frames of {encoded['width']}x{encoded['height']}, nside {encoded['nside']}",
        "model": f"{encoded['model']}, quality {encoded['quality']:g}",
        "size": f"{encoded['bytes']} bytes, {encoded['bpp']:.4f} bpp",
        "WS-PSNR": f"Y {measured['ws-psnr-y']:.2f} dB, YUV {measured['ws-psnr-yuv']:.2f} dB",
        "encode": f"{encoded['frames_per_second']:.2f} frames/s",
        "decode": f"{played['frames_per_second']:.2f} frames/s",
        "look at": f"{out / 'decoded.mp4'} (a player for 360° films), {out / 'viewports.png'}",
    }
    for name, value in rows.items():
        print(f"{name:<8} {value}")


if __name__ == "__main__":
    sys.exit(main())
