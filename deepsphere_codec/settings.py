"""Settings as frozen dataclasses whose values pydantic checks; errors have a one-line message."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Collection, Iterable
from dataclasses import fields
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, WrapValidator
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails, PydanticCustomError

from deepsphere_codec.errors import UsageError

T = TypeVar("T")


def _check_only(value: Any, check: Callable[[Any], Any]) -> Any:
    check(value)
    return value


AS_GIVEN = WrapValidator(_check_only)
"""Keeps an int an int where a float is expected, since cards and file names contain settings as they were given."""
Positive = Annotated[float, Field(gt=0), AS_GIVEN]
NonNegative = Annotated[float, Field(ge=0), AS_GIVEN]
Share = Annotated[float, Field(ge=0, le=1), AS_GIVEN]
PartialShare = Annotated[float, Field(ge=0, lt=1), AS_GIVEN]


def one_of(names: Collection[str]) -> AfterValidator:
    """Create a validator of strings that are in `names`, which may still grow before a value is checked."""

    def check(value: str) -> str:
        if value not in names:
            raise PydanticCustomError("one_of", "Input should be one of {names}", {"names": ", ".join(names)})
        return value

    return AfterValidator(check)


@dataclass_transform(frozen_default=True)
def checked_dataclass(section: str) -> Callable[[type[T]], type[T]]:
    """Create a decorator that makes a class a frozen dataclass with values checked against its annotations.

    Types are strict: no string for a number, no bool for an int. An unknown name or a wrong value raises UsageError
    when an instance is created.

    Args:
        section: Section of the settings file, used in messages; "" for keys at the top of the file.
    Returns:
        The decorator.
    """

    def decorate(cls: type[T]) -> type[T]:
        made: Any = dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))(cls)
        check = made.__init__

        @functools.wraps(check)
        def init(self: T, *args: Any, **values: Any) -> None:
            try:
                check(self, *args, **values)
            except ValidationError as error:
                raise UsageError(_in_one_line(made, section, error.errors()[0])) from None

        made.__init__ = init
        return made

    return decorate


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Format the end of a message about an unknown name.

    Args:
        name: The unknown name.
        known: Valid names.
    Returns:
        Text that proposes the most similar valid name, or lists all of them.
    """
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f": expected one of {', '.join(sorted(known))}"


def _in_one_line(kind: Any, section: str, error: ErrorDetails) -> str:
    names = [field.name for field in fields(kind)]
    first, *rest = error["loc"]
    key = names[first] if isinstance(first, int) and first < len(names) else first  # a positional argument's index
    place = ".".join(str(part) for part in (section, key, *rest)).lstrip(".")
    if error["type"] == "unexpected_keyword_argument":
        return f"{place} is unknown{did_you_mean(str(key), names)}"
    if error["type"].startswith("missing"):
        return f"{place} is missing"
    return f"{place} is {error['input']!r}: {error['msg'].replace('Input should be', 'expected', 1)}"
