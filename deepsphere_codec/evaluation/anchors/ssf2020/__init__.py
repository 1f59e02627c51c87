"""CompressAI's ScaleSpaceFlow on the ERP picture: `planar-ssf2020`.

The network is CompressAI's; this folder adds what it lacks to be a codec: a file, a command that encodes and one that
decodes it in another process, and the conversion from 4:2:0 films to RGB and back. Entropy parameters come from
floating point, as in nearly all learned codecs: a stream decodes where it was written, with as many threads (the file
says how many), and may decode to noise on another machine (CompressAI#229).

Source: Agustsson et al., "Scale-space flow for end-to-end optimized video compression", CVPR 2020; CompressAI's
implementation and weights (BSD-3-Clause-Clear).
"""

from __future__ import annotations

from pathlib import Path

NAME = "planar-ssf2020"


def how_to_get(folder: str | Path) -> str:
    """Advice for where a folder holds no weights."""
    return f"train them with configs/{NAME}.toml, or convert CompressAI's: python -m {__name__} convert FILE {folder}"
