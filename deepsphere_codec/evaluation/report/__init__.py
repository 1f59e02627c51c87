"""Comparison report as a single self-contained HTML file, with its figures as SVG and PNG."""

from deepsphere_codec.runtime.extras import optional_imports

with optional_imports():
    import bjontegaard  # noqa: F401
    import jinja2  # noqa: F401
    import matplotlib  # noqa: F401
    import PIL  # noqa: F401
