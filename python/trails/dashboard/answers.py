"""Pages out of templates, and errors as pages."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jinja2
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from trails.dashboard import words
from trails.dashboard.database import Unreachable
from trails.errors import TrailsError
from trails.plots.common import RUNGS, WINNER, metric_name

_NOTHING = "\u2013"

LONGEST = 1_000
"""Characters of a value in an address that are looked at."""


def _number(value: float | None, digits: int = 5) -> str:
    if value is None:
        return _NOTHING
    return f"{value:.{digits}f}" if math.isfinite(value) else str(value)


def _integer(value: int | None) -> str:
    return _NOTHING if value is None else f"{value:,}"


def _brief(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.4g}"


def _when(value: datetime | None) -> str:
    return _NOTHING if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _percent(value: float | None) -> str:
    return _NOTHING if value is None else f"{100 * value:.1f} %"


def _pretty(value: str) -> str:
    return json.dumps(json.loads(value), ensure_ascii=False)


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("trails.dashboard"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(
    brief=_brief,
    duration=words.duration,
    integer=_integer,
    metric_name=metric_name,
    number=_number,
    percent=_percent,
    pretty=_pretty,
    when=_when,
)


def page(request: Request, template: str, code: int = 200, **values: Any) -> HTMLResponse:
    """A page.

    Args:
        request: Whose answer it is.
        template: Name of a file in ``templates``.
        code: Of HTTP.
        values: What the template names.
    """
    values = {"form_token": request.scope.get("form_token", ""), "path": request.url.path, **values}
    return HTMLResponse(_TEMPLATES.get_template(template).render(values), code)


def failed(request: Request, error: Exception) -> Response:
    """Anything that a page could not be made for, as a page; what was not foreseen is told by its kind alone."""
    status, told = 500, TrailsError("the dashboard failed", f"{type(error).__name__}; its log says more")
    if isinstance(error, HTTPException):
        status, told = error.status_code, TrailsError(error.detail)
    elif isinstance(error, Unreachable):
        status, told = 503, error
    elif isinstance(error, TrailsError):
        status, told = (403 if error.sqlstate == "42501" else 400), error
    return page(request, "error.html", status, error=told, status=status)


def missing(what: str) -> HTTPException:
    """For a page that is not there."""
    return HTTPException(404, what)


def asked(request: Request, name: str, default: str = "") -> str:
    """A value of the address. PostgreSQL has no texts with a zero byte."""
    return request.query_params.get(name, default)[:LONGEST].replace("\0", "\ufffd").strip()


def asked_number(request: Request, name: str) -> int | None:
    """A whole number of the address, as large as a bigint at most; None if there is none."""
    return whole(asked(request, name))


def whole(text: str) -> int | None:
    """A number that a bigint can be and that is not negative."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and (number := int(text)) < 2**63):
        return None
    return number


def asked_share(request: Request, name: str) -> float | None:
    """A number from 0 to 1 of the address; None if there is none.

    Raises:
        TrailsError: It is something else.
    """
    text = asked(request, name)
    if not text:
        return None
    try:
        if 0 <= (value := float(text)) <= 1:
            return value
    except ValueError:
        pass
    raise TrailsError(f"{text!r} is no probability", hint="Write a number from 0 to 1.", sqlstate="22023")


def colours() -> str:
    """The colours of rungs and winner, which figures elsewhere have as well, as a style sheet."""
    lines = [f".rung-{rung} {{ --line: {colour}; }}" for rung, colour in enumerate(RUNGS)]
    return "\n".join([*lines, f".winner {{ --line: {WINNER}; }}", ""])


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON can have it: times as texts, and numbers that are none as null."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, datetime):
            value = _when(value)
        elif isinstance(value, float) and not math.isfinite(value):
            value = None
        made[name] = value
    return made
