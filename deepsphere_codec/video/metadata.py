"""Tags of films: selection of those that describe the film itself, and of those that a container supports."""

from __future__ import annotations

import re
from collections.abc import Mapping

MAX_KEY = 255
MAX_VALUE = 65535
"""Largest length of a value in bytes of UTF-8."""

_OF_THE_FILE = {
    "bps", "compatible_brands", "duration", "encoder", "major_brand", "minor_version", "number_of_bytes",
    "number_of_frames", "timecode", "vendor_id",
}  # fmt: skip
"""Tags that describe the file rather than the film, and are therefore not copied."""

_DEFAULTS = {("handler_name", "SoundHandler"), ("handler_name", "VideoHandler"), ("language", "und")}

MP4_TAGS = {
    "album", "album_artist", "artist", "comment", "compilation", "composer", "copyright", "creation_time", "date",
    "description", "disc", "episode_id", "episode_sort", "gapless_playback", "genre", "grouping", "hd_video",
    "keywords", "location", "lyrics", "media_type", "network", "season_number", "show", "synopsis", "title", "track",
}  # fmt: skip
"""Tags of a film that FFmpeg writes into an .mp4. Source: libavformat/movenc.c, mov_write_ilst_tag, and a test."""

MP4_TRACK_TAGS = {"creation_time", "handler_name", "language", "sa3d", "title"}
"""Tags of a track that FFmpeg writes into an .mp4."""


def own_tags(tags: Mapping[str, str], beside: Mapping[str, str] | None = None) -> dict[str, str]:
    """Select the tags of a film or a track that are copied with it into another file.

    Args:
        tags: Tags as FFmpeg reads them.
        beside: For a track, the tags of its film; equal ones are omitted.
    Returns:
        The tags; keys that an .mp4 supports in lower case, as FFmpeg writes them there (Matroska uses capitals).
    """
    selected = {_plain(key): value for key, value in tags.items() if _is_own(key, value, tags)}
    if "name" in selected:  # FFmpeg's key for a track's title in an .mp4
        selected.setdefault("title", selected.pop("name"))
    return {key: value for key, value in selected.items() if (beside or {}).get(key) != value}


def _plain(key: str) -> str:
    return key.lower() if key.lower() in MP4_TAGS else key


def _is_own(key: str, value: str, tags: Mapping[str, str]) -> bool:
    base = re.sub("-[a-z]{3}$", "", key)
    if base != key and base in tags:  # FFmpeg reports "location-eng" as "location" as well
        return False
    of_the_file = base.lower() in _OF_THE_FILE or base.lower().startswith("_statistics")
    long = len(key.encode()) > MAX_KEY or len(value.encode()) > MAX_VALUE
    return bool(key) and not of_the_file and not long and (key, value) not in _DEFAULTS
