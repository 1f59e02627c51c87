"""Tags of films: which are the film's own, and which a container can hold."""

from __future__ import annotations

import re
from collections.abc import Mapping

MAX_KEY = 255
MAX_VALUE = 65535
"""Bytes of UTF-8."""

_OF_THE_FILE = {
    "bps", "compatible_brands", "duration", "encoder", "major_brand", "minor_version", "number_of_bytes",
    "number_of_frames", "timecode", "vendor_id",
}  # fmt: skip
"""What speaks of the file it was read from; its copy has its own."""

_DEFAULTS = {("handler_name", "SoundHandler"), ("handler_name", "VideoHandler"), ("language", "und")}

MP4_TAGS = {
    "album", "album_artist", "artist", "comment", "compilation", "composer", "copyright", "creation_time", "date",
    "description", "disc", "episode_id", "episode_sort", "gapless_playback", "genre", "grouping", "hd_video",
    "keywords", "location", "lyrics", "media_type", "network", "season_number", "show", "synopsis", "title", "track",
}  # fmt: skip
"""Of a film, that FFmpeg writes into an .mp4. Source: libavformat/movenc.c, mov_write_ilst_tag, and a test."""

MP4_TRACK_TAGS = {"creation_time", "handler_name", "language", "sa3d", "title"}
"""Of a track."""


def own_tags(tags: Mapping[str, str], beside: Mapping[str, str] | None = None) -> dict[str, str]:
    """The tags of a film or a track that go with it into another file.

    Args:
        tags: As FFmpeg reads them.
        beside: The film's, for those of a track: what they say alike is left out.
    Returns:
        The tags; keys that an .mp4 knows in lower case, as FFmpeg writes them there (Matroska has them in capitals).
    """
    own = {_plain(key): value for key, value in tags.items() if _is_own(key, value, tags)}
    if "name" in own:  # so FFmpeg calls a track's title in an .mp4
        own.setdefault("title", own.pop("name"))
    return {key: value for key, value in own.items() if (beside or {}).get(key) != value}


def _plain(key: str) -> str:
    return key.lower() if key.lower() in MP4_TAGS else key


def _is_own(key: str, value: str, tags: Mapping[str, str]) -> bool:
    base = re.sub("-[a-z]{3}$", "", key)
    if base != key and base in tags:  # FFmpeg tells "location-eng" as "location" too
        return False
    of_the_file = base.lower() in _OF_THE_FILE or base.lower().startswith("_statistics")
    long = len(key.encode()) > MAX_KEY or len(value.encode()) > MAX_VALUE
    return bool(key) and not of_the_file and not long and (key, value) not in _DEFAULTS
