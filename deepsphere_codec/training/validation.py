"""Validation of a model in training: films coded on the whole sphere to real bytes, and decoded from them."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from deepsphere_codec.codec import check_quality, frame_from_signal, make_resampler, signal_from_frame
from deepsphere_codec.errors import UsageError
from deepsphere_codec.metrics.psnr import capped, combine_yuv, ws_psnr
from deepsphere_codec.models import CodedPicture, LoadedModel, SphereDVC, State, load_model, save_model
from deepsphere_codec.models.bits import look_into
from deepsphere_codec.models.geometry import nside_multiple, whole_grid
from deepsphere_codec.models.payload import Payload
from deepsphere_codec.models.plane_on_sphere import seen_on_sphere
from deepsphere_codec.models.zoo import fill
from deepsphere_codec.runtime.atomic import atomic_output
from deepsphere_codec.runtime.extras import optional_imports
from deepsphere_codec.sphere import ErpGrid
from deepsphere_codec.training.order import anchors_of
from deepsphere_codec.training.picture import ValidationFrame, draw
from deepsphere_codec.video import VideoInfo, YuvFrame, open_video, yuv_to_rgb
from deepsphere_codec.video.clips import find_clips

FILMS = 2  # largest number of films taken from a folder


class ValidationClip(NamedTuple):
    """First frames of a film.

    Attributes:
        name: Name of the film's file.
        info: Properties of the film.
        frames: The frames.
    """

    name: str
    info: VideoInfo
    frames: list[YuvFrame]


class Validated(NamedTuple):
    """Result of coding one clip, an I-frame followed by P-frames.

    Attributes:
        bpp: Bits of all payloads per ERP pixel, without the header of a file, which training does not affect.
        ws_psnr_yuv: Mean WS-PSNR-YUV of the decoded frames, dB.
        ws_psnr_y: Mean WS-PSNR-Y of the decoded frames, dB.
        exact: Whether all decoded frames equal the encoder's reconstructions bit for bit.
        seconds: Time for encoding and decoding.
        scene: The last frame that is not a repetition of the one before.
    """

    bpp: float
    ws_psnr_yuv: float
    ws_psnr_y: float
    exact: bool
    seconds: float
    scene: ValidationFrame

    def as_dict(self) -> dict[str, Any]:
        """Convert to a dictionary of JSON types, with the keys of result files and without the scene."""
        numbers = {key.replace("_", "-"): value for key, value in self._asdict().items() if key != "scene"}
        return {key: value if key == "exact" else round(value, 6) for key, value in numbers.items()}


class Validator:
    """Periodic validation, with results in FOLDER/validation.jsonl and figures in FOLDER/validation/STEP.png.

    Args:
        clips: A film, or a folder of which two films are used: the first by name and the one halfway down the list,
            since neighbours often show the same scene.
        folder: Folder of the run.
        nside: Resolution of the whole sphere, a multiple of the model's `nside_multiple`.
        geometry: Geometry of the model.
        frames: Number of frames of each clip: an I-frame, then P-frames.
        quality: Quality, 1 to 8.
        minutes: Minutes from the end of one validation to the next.
    Raises:
        UsageError: there is no film, a film cannot be read or is too short, or nside, frames or quality is out of
            range.
    """

    def __init__(
        self,
        clips: str | Path,
        folder: Path,
        *,
        nside: int,
        geometry: str = "healpix",
        frames: int = 4,
        quality: float = 4.0,
        minutes: float = 30.0,
    ) -> None:
        check_quality(quality)
        multiple = nside_multiple(geometry)
        if nside < 1 or nside % multiple:
            raise UsageError(f"nside of the validation is {nside}: expected a multiple of {multiple}")
        if frames < 2:
            raise UsageError(f"frames of the validation are {frames}: expected 2 or more, an I-frame and a P-frame")
        # The clips are read now, so that a missing film does not end a run hours later.
        self.clips = [read_clip(film, frames) for film in choose_films(Path(clips))]
        self.folder, self.nside, self.quality, self.minutes = folder, nside, quality, minutes
        self._last = time.monotonic()

    def due(self, now: float) -> bool:
        """Return whether the next validation is due at the time `now`, in seconds on the clock of `time.monotonic`."""
        return now - self._last >= 60 * self.minutes

    def __call__(self, model: SphereDVC, step: int) -> dict[str, Any]:
        """Validate a model, and write the results and the figure.

        Args:
            model: The model.
            step: Training step, for the results.
        Returns:
            The entry of the results file: {"step", "clips": {name: {"bpp", "ws-psnr-yuv", "ws-psnr-y", "exact",
            "seconds"}}, "mean": the same keys}; the mean is exact if all clips are.
        """
        found = validate(model, self.clips, nside=self.nside, quality=self.quality)
        clips = {clip.name: each.as_dict() for clip, each in zip(self.clips, found, strict=True)}
        entry = {"step": step, "clips": clips, "mean": _mean(list(clips.values()))}
        pictures = self.folder / "validation"
        pictures.mkdir(parents=True, exist_ok=True)
        scenes = {f"{name}: {_in_words(clips[name])}": each.scene for name, each in zip(clips, found, strict=True)}
        with atomic_output(pictures / f"{step}.png", force=True) as place:
            place.write_bytes(draw(scenes, _title(entry, self.quality)))
        with open(self.folder / "validation.jsonl", "a") as file:
            file.write(json.dumps(entry) + "\n")
        self._last = time.monotonic()
        return entry


def choose_films(place: Path) -> list[Path]:
    """Choose the films to validate on: the film at `place` itself, or up to FILMS of a folder, evenly spaced by name.

    Raises:
        UsageError: there is no film.
    """
    films = [place] if place.is_file() else find_clips(place)
    count = min(FILMS, len(films))
    return [films[i * len(films) // count] for i in range(count)]


def read_clip(path: Path, frames: int) -> ValidationClip:
    """Read the first frames of a film.

    Args:
        path: The film.
        frames: Number of frames to read.
    Returns:
        The clip.
    Raises:
        UsageError: the film cannot be read, or has only one frame.
    """
    with open_video(path, frames=(0, frames)) as film:
        clip = ValidationClip(path.name, film.info, list(film))
    if len(clip.frames) < 2:
        raise UsageError(f"{path} has one frame: a validation needs two or more, an I-frame and a P-frame")
    return clip


def validate(model: SphereDVC, clips: Sequence[ValidationClip], *, nside: int, quality: float = 4.0) -> list[Validated]:
    """Code clips with the model as it would be released, on the model's device.

    The model and the state of the random number generators do not change.

    Args:
        model: The model.
        clips: Clips to code.
        nside: Resolution of the whole sphere.
        quality: Quality, 1 to 8.
    Returns:
        Result of each clip.
    """
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # a new network is random
        network = as_released(model, device).network(nside)
        return [_validated(network, clip, nside, quality) for clip in clips]


def as_released(model: SphereDVC, device: str | torch.device = "cpu") -> LoadedModel:
    """Copy a model as if it had been saved and loaded: weights rounded to their stored formats, and tables built.

    Args:
        model: The model.
        device: Device of the copy.
    Returns:
        The copy, for any resolution.
    """
    with tempfile.TemporaryDirectory(prefix="deepsphere-") as folder:
        copy = SphereDVC(model.config, whole_grid(model.config.geometry, nside_multiple(model.config.geometry)))
        fill(copy, {name: p.detach() for name, p in model.named_parameters()}, {})
        save_model(Path(folder), "in-training", copy, {})
        return load_model(folder, device)


@torch.inference_mode()
def _validated(network: SphereDVC, clip: ValidationClip, nside: int, quality: float) -> Validated:
    info, start = clip.info, time.perf_counter()
    resampler = make_resampler(network.config.geometry, info.height, info.width, nside)
    coded = _encode(network, (signal_from_frame(frame, resampler) for frame in clip.frames), quality)
    payloads = [each.payload for each in coded]
    states = _decode(network, payloads, quality)
    frames = [frame_from_signal(state.x_hat, resampler) for state in states]
    seconds = time.perf_counter() - start

    pairs = zip(clip.frames, frames, strict=True)
    planes = np.mean([[capped(ws_psnr(x, x_hat)) for x, x_hat in zip(*pair, strict=True)] for pair in pairs], axis=0)
    shown = max(number for number, payload in enumerate(payloads) if payload != Payload().pack())
    inside = look_into(network, payloads[shown], anchors_of(states[:shown]) if shown else None, quality)
    if isinstance(grid := network.pyramid.grids[0], ErpGrid):
        inside = seen_on_sphere(inside, grid)
    return Validated(
        bpp=8 * sum(map(len, payloads)) / (len(frames) * info.width * info.height),
        ws_psnr_yuv=float(combine_yuv(*planes)),
        ws_psnr_y=float(planes[0]),
        exact=all(torch.equal(a.state.x_hat, b.x_hat) for a, b in zip(coded, states, strict=True)),
        seconds=seconds,
        scene=ValidationFrame(shown, yuv_to_rgb(clip.frames[shown], info), yuv_to_rgb(frames[shown], info), *inside),
    )


def _encode(network: SphereDVC, signals: Iterator[Tensor], quality: float) -> list[CodedPicture]:
    """Code the first picture as an I-frame and all others as P-frames."""
    device = network.pyramid.frame(0).device
    coded = [network.encode_intra(next(signals).to(device), quality)]
    for x in signals:
        coded.append(network.encode_inter(x.to(device), anchors_of([each.state for each in coded]), quality, 0))
    return coded


def _decode(network: SphereDVC, payloads: Sequence[bytes], quality: float) -> list[State]:
    """Decode the payloads."""
    first, *others = payloads
    states = [network.decode_intra(first, quality)]
    for payload in others:
        states.append(network.decode_inter(payload, anchors_of(states), quality, 0))
    return states


def _mean(clips: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    columns = {key: [clip[key] for clip in clips] for key in clips[0]}
    return {key: all(column) if key == "exact" else round(float(np.mean(column)), 6) for key, column in columns.items()}


def _title(entry: Mapping[str, Any], quality: float) -> str:
    number = len(entry["clips"])
    means = f", mean of {number} clips: {_in_words(entry['mean'])}" if number > 1 else ""
    return f"Step {entry['step']}, quality {quality:g}{means}"


def _in_words(numbers: Mapping[str, Any]) -> str:
    exact = "" if numbers["exact"] else ", NOT DECODED AS ENCODED"
    yuv, y = numbers["ws-psnr-yuv"], numbers["ws-psnr-y"]
    return f"{numbers['bpp']:.4f} bpp, WS-PSNR-YUV {yuv:.2f} dB, Y {y:.2f} dB{exact}"


def tensorboard(folder: Path) -> Any:
    """Create a TensorBoard writer for `log` that writes event files to a folder.

    Raises:
        UsageError: TensorBoard is not installed.
    """
    with optional_imports():
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(str(folder))


def log(writer: Any, group: str, entry: Mapping[str, Any], step: int) -> None:
    """Write the numbers of a log entry to TensorBoard, with tags such as GROUP/mean/bpp.

    Args:
        writer: Writer created by `tensorboard`.
        group: Prefix of the tags.
        entry: Log entry, possibly nested.
        step: Training step.
    """
    for key, value in entry.items():
        if isinstance(value, Mapping):
            log(writer, f"{group}/{key}", value, step)
        elif key != "step":
            writer.add_scalar(f"{group}/{key}", float(value), step)
