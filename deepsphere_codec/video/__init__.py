"""Reading and writing of films, with audio and tags; the only package that imports av."""

from deepsphere_codec.frames import VideoInfo, YuvFrame
from deepsphere_codec.video.colour import rgb_to_yuv, yuv_to_rgb
from deepsphere_codec.video.grey import read_grey
from deepsphere_codec.video.libraries import library_versions
from deepsphere_codec.video.packing import (
    pack_packets,
    pack_tags,
    pack_track,
    unpack_packets,
    unpack_tags,
    unpack_track,
)
from deepsphere_codec.video.reader import FrameRange, VideoReader, open_video
from deepsphere_codec.video.sinks import VideoWriter
from deepsphere_codec.video.timing import WHOLE, Span, TimedFrame, is_even
from deepsphere_codec.video.tracks import AudioTrack, TrackPacket, Tracks, cut, read_packets, read_tracks
from deepsphere_codec.video.writer import create_video

__all__ = [
    "WHOLE",
    "AudioTrack",
    "FrameRange",
    "Span",
    "TimedFrame",
    "TrackPacket",
    "Tracks",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "YuvFrame",
    "create_video",
    "cut",
    "is_even",
    "library_versions",
    "open_video",
    "pack_packets",
    "pack_tags",
    "pack_track",
    "read_grey",
    "read_packets",
    "read_tracks",
    "rgb_to_yuv",
    "unpack_packets",
    "unpack_tags",
    "unpack_track",
    "yuv_to_rgb",
]
