"""Reading of grey pictures, such as quality maps."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8

from deepsphere_codec.errors import UsageError


def read_grey(path: str | Path) -> UInt8[np.ndarray, "height width"]:
    """Read a grey PNG of a whole ERP.

    Args:
        path: Path of the picture, 8 bits per pixel.
    Returns:
        Pixels, [height, width], uint8.
    Raises:
        UsageError: the picture cannot be read, is not grey, or is not twice as wide as high.
    """
    try:
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
    except (OSError, av.FFmpegError, StopIteration, IndexError) as error:
        reason = getattr(error, "strerror", None) or "it holds no picture"
        raise UsageError(f"{path} cannot be read as a picture: {reason}") from error
    if frame.format.name != "gray":
        raise UsageError(f"{path} is a picture of {frame.format.name}; a quality map is grey, 8 bits a pixel")
    if frame.width != 2 * frame.height:
        raise UsageError(f"{path} is {frame.width}x{frame.height}; a quality map is twice as wide as high")
    return frame.to_ndarray()
