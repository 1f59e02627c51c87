"""Films in and out. The one place that imports av."""

from deepsphere_codec.video.colour import rgb_to_yuv, yuv_to_rgb
from deepsphere_codec.video.frame import VideoInfo, YuvFrame
from deepsphere_codec.video.libraries import library_versions
from deepsphere_codec.video.reader import VideoReader, open_video
from deepsphere_codec.video.sinks import VideoWriter
from deepsphere_codec.video.timing import WHOLE, Span, TimedFrame, is_even
from deepsphere_codec.video.writer import create_video

__all__ = [
    "WHOLE",
    "Span",
    "TimedFrame",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "YuvFrame",
    "create_video",
    "is_even",
    "library_versions",
    "open_video",
    "rgb_to_yuv",
    "yuv_to_rgb",
]
