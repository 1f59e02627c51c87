"""Reader and writer of the `.dsc` file, using the standard library only; FORMAT.md specifies every byte."""

from deepsphere_codec.bitstream.header import FORMAT_VERSION, LIMITS, Header, most_nside, version_text
from deepsphere_codec.bitstream.layout import record_size
from deepsphere_codec.bitstream.order import SPANS, PictureOrder, Position
from deepsphere_codec.bitstream.partial import Partial, read_partial
from deepsphere_codec.bitstream.reader import StreamReader
from deepsphere_codec.bitstream.records import CodedFrame, Other
from deepsphere_codec.bitstream.writer import StreamWriter

__all__ = [
    "FORMAT_VERSION",
    "LIMITS",
    "SPANS",
    "CodedFrame",
    "Header",
    "Other",
    "Partial",
    "PictureOrder",
    "Position",
    "StreamReader",
    "StreamWriter",
    "most_nside",
    "read_partial",
    "record_size",
    "version_text",
]
