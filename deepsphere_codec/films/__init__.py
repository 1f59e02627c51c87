"""Encoding and decoding of whole films from file to file, with audio and tags."""

from deepsphere_codec.films.beside import tracks_of
from deepsphere_codec.films.decode import decode_to_file, decode_video
from deepsphere_codec.films.encode import encode_video
from deepsphere_codec.films.reports import DecodeReport, EncodeReport

__all__ = ["DecodeReport", "EncodeReport", "decode_to_file", "decode_video", "encode_video", "tracks_of"]
