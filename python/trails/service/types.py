"""SQL types as the service carries them: how a column is written by COPY, and as what Arrow type it travels.

Dates and times cross as whole numbers, so that no text form and no time zone comes in between. The kinds are those
of `trails.table.columns.KINDS`; they travel in the metadata of every field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trails.errors import TrailsError
from trails.service.arrow import pa

KIND, SQL_TYPE = b"trails.kind", b"trails.type"
"""Keys of a field's metadata: the kind, and the name of the base type (``enum`` for every enum)."""


@dataclass(frozen=True)
class Carried:
    """How one SQL type is carried.

    Args:
        kind: What `trails.table.columns` calls it.
        arrow: Arrow type of the stream.
        copied: Arrow type that COPY's text is parsed as: of the same width as ``arrow``.
        expression: SQL of what COPY writes; ``{0}`` is the column.
    """

    kind: str
    arrow: Any
    copied: Any
    expression: str = "{0}"


def _plain(kind: str, arrow: Any) -> Carried:
    return Carried(kind, arrow, arrow)


# An open end counts as NULL, as it does in the extension's reader.
_FINITE = "CASE WHEN pg_catalog.isfinite({0}) THEN "
_MICROSECONDS = "(EXTRACT(EPOCH FROM {0}) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8"
_TEXT = Carried("text", pa.string(), pa.string(), "{0}::pg_catalog.text")

CARRIED: dict[str, Carried] = {
    "bool": _plain("boolean", pa.bool_()),
    "int2": _plain("int32", pa.int16()),
    "int4": _plain("int32", pa.int32()),
    "int8": _plain("int64", pa.int64()),
    "float4": _plain("float32", pa.float32()),
    "float8": _plain("float64", pa.float64()),
    "numeric": Carried("float64", pa.float64(), pa.float64(), "{0}::pg_catalog.float8"),
    "text": _TEXT,
    "varchar": _TEXT,
    "bpchar": _TEXT,
    "uuid": _TEXT,
    "enum": _TEXT,
    "date": Carried("date", pa.date32(), pa.int32(), _FINITE + "{0} OPERATOR(pg_catalog.-) DATE '1970-01-01' END"),
    "timestamp": Carried("timestamp", pa.timestamp("us"), pa.int64(), _FINITE + _MICROSECONDS + " END"),
    "timestamptz": Carried("timestamp", pa.timestamp("us", "UTC"), pa.int64(), _FINITE + _MICROSECONDS + " END"),
    "time": Carried("time", pa.time64("us"), pa.int64(), _MICROSECONDS),
    # Seconds. EXTRACT counts twelve months as 365.25 days; comparisons of intervals, and Trails, as 360.
    "interval": Carried(
        "interval",
        pa.float64(),
        pa.float64(),
        _FINITE + "(EXTRACT(EPOCH FROM {0}) OPERATOR(pg_catalog.-) (EXTRACT(YEAR FROM {0}) "
        "OPERATOR(pg_catalog.*) 453600))::pg_catalog.float8 END",
    ),
}


def carried(base: str) -> Carried | None:
    """How the base type called ``base`` is carried; None if it is not."""
    return CARRIED.get(base)


def refused(column: str, declared: str, relation: str) -> TrailsError:
    """The error for a column of a type that is not carried."""
    return TrailsError(
        f'column "{column}" of {relation} has type {declared}, which cannot be streamed',
        hint="Name the columns to read, or give a view that casts it to a number or to text.",
        sqlstate="0A000",
    )
