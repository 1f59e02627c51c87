"""The `.dsc` file: bytes only, standard library only. `layout` says what lies where."""

from deepsphere_codec.bitstream.header import FORMAT_VERSION, Header
from deepsphere_codec.bitstream.reader import StreamReader
from deepsphere_codec.bitstream.writer import StreamWriter

__all__ = ["FORMAT_VERSION", "Header", "StreamReader", "StreamWriter"]
