"""The verb `info`, which shows the contents of a .dsc file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deepsphere_codec.cli.options import add_verb
from deepsphere_codec.cli.output import Result

if TYPE_CHECKING:
    from deepsphere_codec.bitstream import Other
    from deepsphere_codec.cli.options import Verbs


def add_info(verbs: Verbs) -> None:
    """Add the verb to the program's parser."""
    info = add_verb(verbs, "info", _info, "Show what a .dsc file holds, and check every record.")
    info.add_argument("input", metavar="INPUT.dsc")
    info.add_argument(
        "--frames", action="store_true", help="also number, type, layer and bytes of each frame, in order of coding"
    )


def _info(args: argparse.Namespace) -> Result:
    from dataclasses import asdict

    from deepsphere_codec.bitstream import CodedFrame, StreamReader, record_size, version_text

    sizes: dict[str, list[int]] = {}
    preface: list[Other] = []
    rows: list[Result] = []
    beside = 0
    with StreamReader(args.input) as stream:
        for record in stream.records():
            if isinstance(record, CodedFrame):
                position, size = record.position, len(record.payload)
                sizes.setdefault(record.kind, []).append(size)
                if args.frames:
                    row = {"number": position.number, "type": position.kind, "layer": position.layer, "bytes": size}
                    rows.append(row)
            else:
                beside += record_size(record.body)
                preface += [record] * (not sizes)
        header = stream.header
    frames = sum(map(len, sizes.values()))
    total = os.path.getsize(args.input)
    return {
        **{"quality" if key == "model_quality" else key: value for key, value in asdict(header).items()},
        "version": version_text(header.version),
        "frames": frames,
        "bytes": total,
        "bpp": (total - beside) * 8 / (frames * header.width * header.height) if frames else None,
        "frame_types": {kind: {"count": len(each), "bytes": sum(each)} for kind, each in sorted(sizes.items())},
        **({"beside": {"bytes": beside, **_beside(preface)}} if beside else {}),
        **({"coded_frames": rows} if args.frames else {}),
    }


def _beside(preface: Sequence[Other]) -> Result:
    """Tags of the film and parameters of its audio tracks."""
    from deepsphere_codec.films import tracks_of

    tracks = tracks_of(preface)
    audio = [
        {"codec": track.codec, "sample_rate": track.sample_rate, "layout": track.layout, "language": track.language}
        for track in tracks.audio
    ]
    return {"tags": dict(tracks.tags), "audio": audio}
