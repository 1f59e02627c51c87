"""Numbers that describe the colours of a film."""

from __future__ import annotations

from typing import NamedTuple


class ColourTags(NamedTuple):
    """Colour matrix, primaries and transfer characteristics, as numbers of ITU-T H.273 (and FFmpeg)."""

    matrix: int
    primaries: int
    transfer: int


CUSTOMARY = {"bt709": ColourTags(1, 1, 1), "bt601": ColourTags(6, 6, 6), "bt2020": ColourTags(9, 9, 14)}
"""Customary tags for each matrix, used if a film does not specify others."""

PRIMARIES = {1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22}
"""Primaries that H.273 defines; 2 means "unspecified", the others are reserved. Source: ITU-T H.273, table 2."""

TRANSFERS = {1, *range(4, 19)}
"""Transfer characteristics that H.273 defines; 2 means "unspecified". Source: ITU-T H.273, table 3."""


def tags_of(matrix: str, primaries: int, transfer: int) -> ColourTags:
    """Complete the colour tags of a film with those customary for its matrix.

    Args:
        matrix: Colour matrix, "bt709", "bt601" or "bt2020".
        primaries: Number of H.273; replaced if it is not defined.
        transfer: Number of H.273; replaced if it is not defined.
    Returns:
        The tags.
    """
    tags = CUSTOMARY[matrix]
    if primaries in PRIMARIES:
        tags = tags._replace(primaries=primaries)
    if transfer in TRANSFERS:
        tags = tags._replace(transfer=transfer)
    return tags
