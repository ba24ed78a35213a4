"""The one error type of the Python side, and the exception that carries a cancel through it.

Each class names the SQLSTATE it becomes when the statement runs inside PostgreSQL, so that the bridge needs
no table of its own. Outside PostgreSQL they are ordinary exceptions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from typing import Any, ClassVar

from trails.limits import LONGEST_SHOWN

_LISTED = 20
"""Names that a message lists at most."""

_LONGEST_MESSAGE, _LONGEST_DETAIL = 2_000, 20_000
"""Characters of a message or a hint, and of a detail, which may be a traceback."""


def shown(value: object) -> str:
    """A value as a message repeats it: on one line, and cut where it is long. A text is not quoted."""
    text = value if isinstance(value, str) else _written(value)
    # Cut twice, so that a text of megabytes is not looked at whole.
    text = "".join(c if c.isprintable() else " " for c in text[: LONGEST_SHOWN + 1])
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def shown_json(value: object) -> str:
    """A value as JSON, which options are given as; a text is quoted."""
    return shown(_written(value))


def listed(names: Iterable[object]) -> str:
    """Names as a message lists them, the first of them if there are many."""
    several = list(islice(names, _LISTED + 1))
    text = ", ".join(map(shown, several[:_LISTED]))
    return text if len(several) <= _LISTED else f"{text}, ..."


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _written(value: Any) -> str:
    """As JSON where it is that, else as Python writes it."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__}"


class TrailsError(Exception):
    """Something a person can act on.

    Args:
        message: What is wrong, in one sentence, naming the value.
        detail: Facts that help to find the cause.
        hint: What to do about it.
        sqlstate: Five-character SQLSTATE; the class's own when left out.
    """

    default_sqlstate: ClassVar[str] = "XX000"

    def __init__(
        self,
        message: str,
        detail: str | None = None,
        hint: str | None = None,
        sqlstate: str | None = None,
    ) -> None:
        # Whatever a caller gave may be in there: a log must not fill with megabytes of it.
        message = _cut(message, _LONGEST_MESSAGE)
        detail = None if detail is None else _cut(detail, _LONGEST_DETAIL)
        hint = None if hint is None else _cut(hint, _LONGEST_MESSAGE)
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint
        self.sqlstate = self.default_sqlstate if sqlstate is None else sqlstate
        # Notes appear in tracebacks; str() stays the message alone, for callers that show the three parts
        # themselves.
        if detail is not None:
            self.add_note(f"DETAIL: {detail}")
        if hint is not None:
            self.add_note(f"HINT: {hint}")

    def _arguments(self) -> tuple[object, ...]:
        return self.message, self.detail, self.hint, self.sqlstate

    def __reduce__(self) -> tuple[type[TrailsError], tuple[object, ...]]:
        """Keep every field when the error crosses a process border."""
        return type(self), self._arguments()


class InvalidInput(TrailsError):
    """An argument is outside what its documentation allows (SQLSTATE 22023, invalid_parameter_value)."""

    default_sqlstate = "22023"


class BudgetTooSmall(TrailsError):
    """The budget cannot hold one trained model (SQLSTATE 53400, configuration_limit_exceeded).

    Args:
        message: As for TrailsError.
        detail: As for TrailsError.
        hint: As for TrailsError; names ``minimum``.
        sqlstate: As for TrailsError.
        minimum: The smallest budget that works, in seconds, where it is known. A caller that has already
            spent some of the statement's time adds that before it tells a person.
    """

    default_sqlstate = "53400"

    def __init__(
        self,
        message: str,
        detail: str | None = None,
        hint: str | None = None,
        sqlstate: str | None = None,
        minimum: float | None = None,
    ) -> None:
        super().__init__(message, detail, hint, sqlstate)
        self.minimum = minimum

    def _arguments(self) -> tuple[object, ...]:
        return (*super()._arguments(), self.minimum)


class UnusableData(TrailsError):
    """The rows cannot be learnt from, whatever the arguments (SQLSTATE 22000, data_exception)."""

    default_sqlstate = "22000"


class Interrupted(BaseException):
    """Raised by a ``check()`` callback when the caller cancelled.

    A BaseException, so that an ``except Exception`` in a library cannot swallow it; code that catches it must
    raise it again.
    """
