"""Entropy coding: distributions, tables, integer-exact parameters, rANS."""
