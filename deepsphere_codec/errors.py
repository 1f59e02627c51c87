"""Errors that a user can cause, with the exit code that each one ends a command with."""

from __future__ import annotations


class CodecError(Exception):
    """Something that the caller did or gave, told in one line: what was wrong, where, and what to do."""

    exit_code = 2


class UsageError(CodecError):
    """Wrong usage or unreadable input."""

    exit_code = 2


class DamagedStream(CodecError):
    """A stream that is truncated or altered."""

    exit_code = 3


class IncompatibleStream(CodecError):
    """A sound stream that this installation cannot decode: another model, or a newer version."""

    exit_code = 4


class LostReference(DamagedStream):
    """A frame that cannot be decoded, since one that it refers to was lost before."""
