"""`python -m deepsphere_codec` is the command `deepsphere-codec`."""

from deepsphere_codec.cli import console

if __name__ == "__main__":
    console()
