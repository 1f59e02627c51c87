"""CompressAI's ScaleSpaceFlow on the ERP picture: `planar-ssf2020`.

The network is CompressAI's; this folder adds the missing parts of a codec: a file format, a command that encodes, one
that decodes in another process, and the conversion from 4:2:0 films to RGB and back. Entropy parameters are computed in
floating point, as in nearly all learned codecs: a stream can be decoded on the machine that wrote it with the same
number of threads (which the file records), and may decode to noise on another machine (CompressAI#229).

Source: Agustsson et al., "Scale-space flow for end-to-end optimized video compression", CVPR 2020; CompressAI's
implementation and weights (BSD-3-Clause-Clear).
"""

from __future__ import annotations

from pathlib import Path

NAME = "planar-ssf2020"


def how_to_get(folder: str | Path) -> str:
    """Return advice on how to get the weights that a folder lacks."""
    return f"train them with configs/{NAME}.toml, or convert CompressAI's: python -m {__name__} convert FILE {folder}"
