"""The numbers by which a film says what its colours mean."""

from __future__ import annotations

from typing import NamedTuple


class ColourTags(NamedTuple):
    """As ITU-T H.273 numbers them, and FFmpeg with it."""

    matrix: int
    primaries: int
    transfer: int


CUSTOMARY = {"bt709": ColourTags(1, 1, 1), "bt601": ColourTags(6, 6, 6), "bt2020": ColourTags(9, 9, 14)}
"""What goes with each matrix where nothing else is said."""

PRIMARIES = {1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22}
"""Those that H.273 defines; 2 means "not said", the others are reserved. Source: ITU-T H.273, table 2."""

TRANSFERS = {1, *range(4, 19)}
"""As `PRIMARIES`. Source: ITU-T H.273, table 3."""


def tags_of(matrix: str, primaries: int, transfer: int) -> ColourTags:
    """The tags of a film: what is given, and the matrix's own where that is no number with a meaning.

    Args:
        matrix: As in `VideoInfo`.
        primaries, transfer: Of H.273.
    """
    tags = CUSTOMARY[matrix]
    if primaries in PRIMARIES:
        tags = tags._replace(primaries=primaries)
    if transfer in TRANSFERS:
        tags = tags._replace(transfer=transfer)
    return tags
