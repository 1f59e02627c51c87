"""Entropy coding: distributions and their tables, integer-exact parameter networks, and the rANS coder."""
