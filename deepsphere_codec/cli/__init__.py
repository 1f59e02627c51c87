"""The command `deepsphere-codec`, a file for each verb.

Each verb imports what is slow to import when it runs, so that --help answers at once.
"""

from deepsphere_codec.cli.main import console, main

__all__ = ["console", "main"]
