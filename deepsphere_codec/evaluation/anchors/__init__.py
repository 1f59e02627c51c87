"""Codecs of others that are measured for comparison: classical codecs, the cubemap, and CompressAI's ScaleSpaceFlow."""
