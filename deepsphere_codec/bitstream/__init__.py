"""The `.dsc` file: bytes only, standard library only. FORMAT.md describes it to the byte."""

from deepsphere_codec.bitstream.header import FORMAT_VERSION, LIMITS, Header, version_text
from deepsphere_codec.bitstream.reader import StreamReader
from deepsphere_codec.bitstream.records import Frame, Other
from deepsphere_codec.bitstream.writer import StreamWriter

__all__ = ["FORMAT_VERSION", "LIMITS", "Frame", "Header", "Other", "StreamReader", "StreamWriter", "version_text"]
