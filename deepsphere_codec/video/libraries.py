"""Which FFmpeg is at work, for measurements that depend on it."""

from __future__ import annotations

import av


def library_versions() -> dict[str, str]:
    """Of FFmpeg's libraries, as PyAV was built with them: {"libavcodec": "62.28.100", …}."""
    return {name: ".".join(map(str, version)) for name, version in sorted(av.library_versions.items())}
