"""Checks of a stream's header against the model, and the properties of the film that it describes."""

from __future__ import annotations

from fractions import Fraction

from deepsphere_codec.bitstream import Header
from deepsphere_codec.errors import IncompatibleStream, UsageError
from deepsphere_codec.models import LoadedModel
from deepsphere_codec.video import VideoInfo

PIXEL_ORDERS = {"healpix": "face-major", "erp": "erp-rows"}
"""Names of the order of a signal's nodes, by the model's geometry."""


def check_header(header: Header, model: LoadedModel) -> None:
    """Check that a stream was written with this model.

    Args:
        header: Header of the stream.
        model: Model that is to decode it.
    Raises:
        IncompatibleStream: a part differs; the message names each.
    """
    if header.pixel_order != (order := PIXEL_ORDERS[model.geometry]):
        raise IncompatibleStream(f"pixel order {header.pixel_order!r} is not that of {model.name}; expected {order!r}")
    if header.nside < 1 or header.nside % model.nside_multiple:
        raise IncompatibleStream(
            f"nside {header.nside} is none that {model.name} works with (multiples of {model.nside_multiple}); "
            f"the stream was written by another model"
        )
    pairs = {
        "weights": (header.weights_hash, model.weights_hash),
        "entropy tables": (header.tables_hash, model.tables_hash),
        "graph": (header.graph_hash, model.graph_hash(header.nside)),
    }
    wrong = [
        f"{name} {written[:12]} (here {expected[:12]})"
        for name, (written, expected) in pairs.items()
        if written != expected
    ]
    if wrong:
        raise IncompatibleStream(
            f"the stream was written by another version of {header.model}: {', '.join(wrong)}; "
            f"decode it with the version that wrote it, or name its folder with --model"
        )


def film_info(header: Header, size: tuple[int, int] | None = None) -> VideoInfo:
    """Return the properties of the decoded film.

    Args:
        header: Header of the stream.
        size: (width, height) of the decoded frames, 2:1 and even; None for the source's.
    Returns:
        The properties.
    Raises:
        UsageError: size is not 2:1 or not even.
    """
    width, height = size or (header.width, header.height)
    if size and (height < 4 or height % 2 or width != 2 * height):
        raise UsageError(f"size {width}x{height} is not 2:1 with even sides of at least 4; use for example 1024x512")
    fps = Fraction(header.fps_num, header.fps_den)
    info = VideoInfo(width, height, fps, None, header.full_range, header.matrix)
    time_base = Fraction(header.tick_num, header.tick_den) if header.timed else None
    return info._replace(primaries=header.primaries, transfer=header.transfer, time_base=time_base)
