"""Contents of a model's stream: distribution of its bits over the sphere, and its motion."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from deepsphere_codec.bitstream import StreamReader
from deepsphere_codec.evaluation.report.coding import CodedClip
from deepsphere_codec.evaluation.report.spread import PIXEL_ORDER
from deepsphere_codec.gop.reference_buffer import ReferenceBuffer
from deepsphere_codec.models import SphereDVC, load_model
from deepsphere_codec.models.bits import look_into

CACHE = "within.npz"


class StreamContents(NamedTuple):
    """Bits and motion of one stream.

    Attributes:
        bits_i: Bits per node of the first frame, at each latent node, [latent].
        bits_p: Mean bits per node of all other frames, at each latent node, [latent].
        motion: Tangent vectors of the frame with the most motion, radians per frame, [npix, 3]; empty for a planar
            model.
        frame: Number of that frame; the last frame for a planar model.
        order: Order of the nodes: face-major on the sphere, or erp-rows, row after row of an ERP picture.
    """

    bits_i: Float[np.ndarray, " latent"]
    bits_p: Float[np.ndarray, " latent"]
    motion: Float[np.ndarray, "npix 3"]
    frame: int
    order: str


def inside_of(coded: CodedClip) -> StreamContents | None:
    """Read bits and motion of a stream; None if the model is not one of this package.

    Raises:
        CodecError: the stream or the model cannot be read.
    """
    path = coded.folder / CACHE
    if path.exists() and path.stat().st_mtime >= coded.stream.stat().st_mtime:
        with np.load(path) as kept:
            return StreamContents(
                kept["bits_i"], kept["bits_p"], kept["motion"], int(kept["frame"]), str(kept["order"])
            )
    found = _look(coded.stream, coded.job.model)
    if found:
        np.savez_compressed(path, **found._asdict())
    return found


@torch.inference_mode()
def _look(stream: Path, model: str) -> StreamContents | None:
    with StreamReader(stream) as reader:
        header, frames = reader.header, list(reader.frames())
    network = load_model(model).network(header.nside)
    if not isinstance(network, SphereDVC) or len(frames) < 2:
        return None
    pictures = ReferenceBuffer()
    pictures.keep(frames[0].position, network.decode_intra(frames[0].payload, header.model_quality))
    bits_i = look_into(network, frames[0].payload, None, header.model_quality).bits_per_node
    bits_p, motion, frame = [], np.zeros((0, 3)), frames[-1].number
    for position, payload, *_ in frames[1:]:
        references = pictures.references(position)
        seen = look_into(network, payload, references, header.model_quality, position.layer)
        bits_p.append(seen.bits_per_node)
        if header.pixel_order == PIXEL_ORDER and (not len(motion) or _moved(seen.motion) > _moved(motion)):
            motion, frame = seen.motion, position.number
        pictures.keep(position, network.decode_inter(payload, references, header.model_quality, position.layer))
    return StreamContents(bits_i, np.mean(bits_p, axis=0), motion.astype(np.float32), frame, header.pixel_order)


def _moved(motion: Float[np.ndarray, "npix 3"]) -> float:
    return float(np.linalg.norm(motion, axis=-1).mean())
