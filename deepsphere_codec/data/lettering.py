"""A small bitmap font: hard edges of known shape."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

_LETTERS = {
    "C": "01110 10001 10000 10000 10000 10001 01110",
    "D": "11110 10001 10001 10001 10001 10001 11110",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "H": "10001 10001 10001 11111 10001 10001 10001",
    "O": "01110 10001 10001 10001 10001 10001 01110",
    "P": "11110 10001 10001 11110 10000 10000 10000",
    "R": "11110 10001 10001 11110 10100 10010 10001",
    "S": "01111 10000 10000 01110 00001 00001 11110",
    " ": "00000 00000 00000 00000 00000 00000 00000",
}


def lettering(text: str) -> Bool[np.ndarray, "7 columns"]:
    """Render a text as a bitmap of 7 rows with six columns per letter, [7, columns]."""
    glyphs = [[[bit == "1" for bit in row + "0"] for row in _LETTERS[letter].split()] for letter in text]
    return np.concatenate([np.array(glyph) for glyph in glyphs], axis=1)
