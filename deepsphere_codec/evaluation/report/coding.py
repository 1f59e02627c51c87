"""Coding of one clip by one codec for a report's scene: decoded film, bytes of each frame, and quality."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from deepsphere_codec.bitstream import StreamReader
from deepsphere_codec.evaluation.anchors import ssf2020
from deepsphere_codec.evaluation.anchors.classical import ANCHORS
from deepsphere_codec.evaluation.anchors.ssf2020.container import unpack
from deepsphere_codec.evaluation.anchors.ssf2020.measure import SsfCodec
from deepsphere_codec.evaluation.compare import compare_videos
from deepsphere_codec.evaluation.model import COMMAND, run_command
from deepsphere_codec.video import create_video, open_video

FILM, RECORD = "decoded.mkv", "coded.json"


class CodingJob(NamedTuple):
    """Clip and codec of a coding, with everything that the result depends on.

    Attributes:
        codec: Name on the command line.
        model: Name or folder of the model; empty for a classical codec.
        weights: Hash of the model's weights.
        clip: Path of the film.
        clip_bytes: Size of the film's file, which distinguishes it from others of this name.
        quality: Quality on the codec's own scale.
        frames: Number of frames from the first.
    """

    codec: str
    model: str
    weights: str
    clip: str
    clip_bytes: int
    quality: float
    frames: int

    @property
    def stream(self) -> str:
        """File name of a model's stream."""
        return "coded.ssf" if self.codec == ssf2020.NAME else "coded.dsc"


class CodedClip(NamedTuple):
    """Result of a coding.

    Attributes:
        folder: Folder with the decoded film, and a model's stream.
        job: Clip and codec.
        bpp: Bits of a model's file, or of a classical codec's packets, per ERP pixel.
        kinds: Type of each frame, I or P, in order of coding; P stands for all predicted frames.
        frame_bytes: Bytes of each frame, in order of coding.
        ws_psnr_yuv: WS-PSNR-YUV of each frame in dB, in order of display.
    """

    folder: Path
    job: CodingJob
    bpp: float
    kinds: str
    frame_bytes: list[int]
    ws_psnr_yuv: list[float]

    @property
    def film(self) -> Path:
        """Path of the decoded film."""
        return self.folder / FILM

    @property
    def stream(self) -> Path:
        """Path of a model's stream."""
        return self.folder / self.job.stream

    @property
    def mean(self) -> float:
        """Mean of WS-PSNR-YUV over frames, dB."""
        return sum(self.ws_psnr_yuv) / len(self.ws_psnr_yuv)


def code(job: CodingJob, folder: Path) -> CodedClip:
    """Code, decode and compare a clip; an existing result of the same job in the folder is reused.

    A model's file is encoded by the command and decoded by it in another process. A classical codec's packets are
    decoded from memory by FFmpeg's decoder, or by the codec's own program.

    Args:
        job: Clip and codec.
        folder: Folder for the result.
    Returns:
        Result.
    Raises:
        CodecError: the codec fails on the clip, or is not installed.
    """
    if found := _read(job, folder):
        return found
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    size, kinds, frame_bytes = _code(job, folder)
    comparison = compare_videos(job.clip, folder / FILM, frames=(0, job.frames))
    with open_video(job.clip) as source:
        pixels = source.info.width * source.info.height * comparison.frames
    quality = [frame.ws_psnr_yuv for frame in comparison.per_frame]
    coded = CodedClip(folder, job, 8 * size / pixels, kinds, frame_bytes, quality)
    (folder / RECORD).write_text(json.dumps({**coded._asdict(), "folder": "", "job": job._asdict()}, indent=1))
    return coded


def _read(job: CodingJob, folder: Path) -> CodedClip | None:
    try:
        kept = json.loads((folder / RECORD).read_text())
        if CodingJob(**kept.pop("job")) != job or not (folder / FILM).exists():
            return None
        return CodedClip(**{**kept, "folder": folder, "job": job})
    except (OSError, ValueError, TypeError):  # there is no result, or one of another version
        return None


def _code(job: CodingJob, folder: Path) -> tuple[int, str, list[int]]:
    """Bytes of the file, and type and bytes of each frame."""
    if job.codec in ANCHORS:
        return _code_anchor(job, folder)
    return _code_planar(job, folder) if job.codec == ssf2020.NAME else _code_model(job, folder)


def _code_model(job: CodingJob, folder: Path) -> tuple[int, str, list[int]]:
    stream, model = folder / job.stream, ["--model", job.model, "--force", "--json"]
    flags = ["--quality", f"{job.quality:g}", "--frames", f"0:{job.frames}"]
    run_command([*COMMAND, "encode", job.clip, str(stream), *flags, *model], "encode")
    run_command([*COMMAND, "decode", str(stream), str(folder / FILM), *model], "decode")
    with StreamReader(stream) as reader:
        frames = sorted(reader.frames(), key=lambda frame: frame.number)
        records = [(frame.kind, len(frame.payload)) for frame in frames]
    return stream.stat().st_size, "".join(kind for kind, _ in records), [size for _, size in records]


def _code_planar(job: CodingJob, folder: Path) -> tuple[int, str, list[int]]:
    stream = folder / job.stream
    SsfCodec(Path(job.model).parent, frames=job.frames).code(Path(job.clip), job.quality, stream, folder / FILM)
    data = stream.read_bytes()
    frames = unpack(data, str(stream)).frames
    return len(data), "".join(each.frame_type for each in frames), [len(each.payload) for each in frames]


def _code_anchor(job: CodingJob, folder: Path) -> tuple[int, str, list[int]]:
    _, make_coder, _, make_projection = ANCHORS[job.codec]
    coder = make_coder()
    with open_video(job.clip, frames=(0, job.frames)) as source:
        info, projection = source.info, make_projection(source.info)
        stream = coder.encode(map(projection.forward, source), projection.info, job.quality)
    with create_video(folder / FILM, info, force=True) as writer:
        for frame in islice(coder.decode(stream, projection.info), job.frames):
            writer.write(projection.backward(frame))
    sizes = [len(packet.data) for packet in stream.packets]
    return sum(sizes), "".join("I" if packet.is_keyframe else "P" for packet in stream.packets), sizes
