"""FFmpeg's filters as they come with PyAV: independent measurements of the same pictures."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest


def filtered(name: str, arguments: str, *pictures: np.ndarray) -> av.VideoFrame:
    """What FFmpeg's filter makes of grey pictures; skips the test where this FFmpeg does not have it."""
    if name not in av.filter.filters_available:
        pytest.skip(f"this FFmpeg has no {name}")
    height, width = pictures[0].shape
    graph = av.filter.Graph()
    sources = [graph.add("buffer", f"video_size={width}x{height}:pix_fmt=gray:time_base=1/25") for _ in pictures]
    node, sink = graph.add(name, arguments), graph.add("buffersink")
    for k, source in enumerate(sources):
        source.link_to(node, 0, k)
    node.link_to(sink)
    graph.configure()
    for source, picture in zip(sources, pictures, strict=True):
        frame = av.VideoFrame.from_ndarray(picture, format="gray")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        source.push(frame)
        source.push(None)
    result = sink.pull()
    assert isinstance(result, av.VideoFrame)
    return result
