"""Shared parts of figures: style, and views of the sphere."""
