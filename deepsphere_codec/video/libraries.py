"""Versions of FFmpeg's libraries, to be recorded with measurements that depend on them."""

from __future__ import annotations

import av


def library_versions() -> dict[str, str]:
    """Return the versions of the FFmpeg libraries that PyAV was built with: {"libavcodec": "62.28.100", …}."""
    return {name: ".".join(map(str, version)) for name, version in sorted(av.library_versions.items())}
