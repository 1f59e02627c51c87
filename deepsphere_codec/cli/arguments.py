"""Parsing of the command's arguments from text to values, with messages of one line."""

from __future__ import annotations

import argparse

from deepsphere_codec.errors import UsageError


def frames_argument(text: str) -> tuple[int | None, int | None]:
    """Parse a range of frames A:B, A: or :B."""
    first, colon, last = text.partition(":")
    ends = [int(end) if end.isdecimal() else None for end in (first, last)]
    well_formed = colon and all(end.isdecimal() or not end for end in (first, last))
    if not well_formed or (ends[1] is not None and ends[1] <= (ends[0] or 0)):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of frames; write A:B with 0 <= A < B, A: or :B")
    return ends[0], ends[1]


def viewports_argument(text: str) -> list[tuple[float, float, float]]:
    """Parse a list of views YAW,PITCH,FOV;... in degrees."""
    try:
        views = [tuple(map(float, part.split(","))) for part in text.split(";") if part.strip()]
        well_formed = all(-90 <= pitch <= 90 and 0 < fov < 180 and abs(yaw) <= 360 for yaw, pitch, fov in views)
    except ValueError:
        well_formed = False
    if not (well_formed and views):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of views; write YAW,PITCH,FOV in degrees with ; between views, "
            f"pitch from -90 to 90 and a field of view between 0 and 180"
        )
    return [(yaw, pitch, fov) for yaw, pitch, fov in views]


def size_argument(text: str) -> tuple[int, int]:
    """Parse a size WIDTHxHEIGHT in pixels."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write WIDTHxHEIGHT, for example 1024x512")
    return int(width), int(height)


def positive_argument(text: str) -> int:
    """Parse an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no such number; use 1 or more")
    return int(text)


def usable_device(name: str) -> str:
    """Convert the value of --device ("auto", "cpu" or "cuda") to the name of an available device.

    Raises:
        UsageError: the device is not available.
    """
    import torch  # imported here, since --help does not need it

    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: there is no usable CUDA device here; use --device cpu")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name
