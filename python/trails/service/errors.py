"""Errors on the wire: message, detail, hint and SQLSTATE travel as JSON beside Flight's own text."""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

from trails.errors import InvalidInput, TrailsError, UnusableData
from trails.loading.connection import DatabaseError
from trails.service.arrow import flight, pa


class ServiceError(TrailsError):
    """The data service cannot be reached, refuses, or broke a stream off (SQLSTATE 08006, connection_failure)."""

    default_sqlstate = "08006"


_KINDS: dict[str, type[TrailsError]] = {
    kind.__name__: kind for kind in (DatabaseError, InvalidInput, ServiceError, TrailsError, UnusableData)
}


def to_wire(error: BaseException) -> Exception:
    """What Flight sends for an error.

    Something unexpected is told by its name alone, with the traceback on the service's standard error: a traceback
    is not for whoever connects.
    """
    if not isinstance(error, TrailsError):
        traceback.print_exception(error, file=sys.stderr)
        error = ServiceError(f"the data service failed: {type(error).__name__}", sqlstate="XX000")
    told = {
        "kind": type(error).__name__,
        "message": error.message,
        "detail": error.detail,
        "hint": error.hint,
        "sqlstate": error.sqlstate,
    }
    refused = error.sqlstate == "28000"
    kind = flight.FlightUnauthenticatedError if refused else flight.FlightServerError
    # The text travels in an HTTP header too, which has room for some kilobytes only.
    wired: Exception = kind(error.message[:1000], json.dumps(told).encode()[:4000])
    return wired


def from_wire(error: Exception, uri: str) -> TrailsError:
    """The error that the service at ``uri`` sent, or what went wrong on the way."""
    try:
        told: dict[str, Any] = json.loads(getattr(error, "extra_info", None) or b"")
        kind = _KINDS.get(told["kind"], ServiceError)
        return kind(str(told["message"]), told["detail"], told["hint"], str(told["sqlstate"]))
    except (ValueError, KeyError, TypeError):
        pass
    reason = _first_words(error)
    if isinstance(error, flight.FlightUnavailableError | flight.FlightTimedOutError):
        return ServiceError(
            f"the data service at {uri} cannot be reached, or has gone",
            reason,
            "Is it running, at this address, with TLS (grpc+tls://) on both sides or on neither?",
        )
    if isinstance(error, pa.ArrowInvalid):
        return InvalidInput(f"no data service can be at {uri!r}", reason, "For instance grpc://127.0.0.1:8815.")
    return ServiceError(f"the stream from {uri} broke off", reason)


def _first_words(error: Exception) -> str:
    """Flight's text without what gRPC adds for its own developers."""
    return " ".join(str(error).partition(". gRPC client debug context")[0].partition("\n")[0].split())[:500]
