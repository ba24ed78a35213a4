"""Numbers, dates and times that are stored as text: in which forms they are recognised, and what each text says.

The same rules are written once more in Rust (crate ``trails_model``, module ``reading``), for the server's reader and
for prediction there; tests compare the two text by text. They depend on no locale.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Literal, get_args

from trails.table.columns import Family

Reading = Literal[
    "number",
    "number with comma",
    "date ymd",
    "date dmy",
    "date mdy",
    "timestamp ymd",
    "timestamp dmy",
    "timestamp mdy",
    "time",
]
"""What the texts of a column are read as. Of several that read as many texts the first counts."""

READINGS: tuple[Reading, ...] = get_args(Reading)

LEAST_TEXTS = 20
"""Different texts that a reading must read: fewer are as well told apart one by one, and are codes more often than
amounts."""

SHARE = 95
"""A reading must read so many of a hundred texts, and of a hundred rows."""

MISSING = frozenset(
    ["", "?", "-", "--", ".", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "missing", "unknown", "\\n"]
)
"""What people write where they have no value, in small letters."""

LONGEST = 196
"""Bytes of the longest text that is looked at, blanks included. Of longer ones training may know the beginning alone,
and what they say must not depend on that."""

_BLANKS = " \t\n\v\f\r\xa0\u202f\u2009"
_LONGEST, _MOST_DIGITS = 64, 15
_BEGIN = frozenset("0123456789+-\u2212$€£¥.,")
"""What any text that has a reading begins with."""

_NUMERAL = r"""
    (?P<sign>[-+\u2212]?)
    (?:(?P<before>[$€£¥])[ \t\n\v\f\r\xa0\u202f\u2009]*(?P<inner>[-+\u2212]?))?
    (?:
        (?P<groups>[0-9]{1,3}(?:(?P<by>['\u2019\ \xa0\u202f\u2009THOUSANDS])[0-9]{3})(?:(?P=by)[0-9]{3})*)
        (?:DECIMAL(?P<grouped>[0-9]*))?
      | (?P<whole>[0-9]*)(?:DECIMAL(?P<part>[0-9]*))?(?P<exponent>[eE][-+]?[0-9]{1,3})?
    )
    (?:[ \t\n\v\f\r\xa0\u202f\u2009]*(?:(?P<behind>[$€£¥%])|\+))?
"""
_WITH_POINT, _WITH_COMMA = (
    re.compile(_NUMERAL.replace("THOUSANDS", thousands).replace("DECIMAL", decimal), re.VERBOSE)
    for thousands, decimal in ((",", r"\."), (r"\.", ","))
)
_TIME = re.compile(
    r"(?P<h>[0-9]{1,2}):(?P<m>[0-9]{2})(?::(?P<s>[0-9]{2})(?:\.(?P<f>[0-9]{1,9}))?)?"
    r"|(?P<h2>[0-9]{2})\.(?P<m2>[0-9]{2})\.(?P<s2>[0-9]{2})"
)
_ZONE = re.compile(r" ?(?:Z|(?P<sign>[-+])(?P<h>[0-9]{2})(?::?(?P<m>[0-9]{2}))?)")
_DATES = {
    "ymd": re.compile(r"(?P<y>[0-9]{4})(?P<by>[-/.])(?P<m>[0-9]{1,2})(?P=by)(?P<d>[0-9]{1,2})"),
    "dmy": re.compile(r"(?P<d>[0-9]{1,2})(?P<by>[-/.])(?P<m>[0-9]{1,2})(?P=by)(?P<y>[0-9]{4})"),
    # Nobody writes month.day.year.
    "mdy": re.compile(r"(?P<m>[0-9]{1,2})(?P<by>[-/])(?P<d>[0-9]{1,2})(?P=by)(?P<y>[0-9]{4})"),
}
_EPOCH = date(2000, 1, 1).toordinal()
_MINUTE, _DAY, _LAST_ZONE = 60_000_000, 86_400_000_000, 15

Chosen = Reading | Literal["ambiguous"] | None
"""What a poll comes to; ambiguous where days and months could be either."""


def family_of(reading: str) -> Family:
    """What a column of texts is with a reading."""
    of: Mapping[str, Family] = {"date": "date", "timestamp": "timestamp", "time": "time", "number": "number"}
    return of[reading.split()[0]]


def kind_of(reading: str) -> str:
    """How such a column is stored: one of `trails.table.columns.KINDS`."""
    family = family_of(reading)
    return "float64" if family == "number" else family


def is_missing(text: str) -> bool:
    """Whether a text is blank, or what stands for a value that is missing."""
    # Small letters of ASCII alone, which the other reader knows.
    bare = text.strip(_BLANKS)
    return len(bare) <= 7 and bare.isascii() and bare.lower() in MISSING and _bytes(text) <= LONGEST


def said(reading: str, text: str) -> float | int | None:
    """What a text says: a number, days or microseconds since 2000-01-01 (UTC), or microseconds since midnight; None
    where it is not of the form."""
    bare = text.strip(_BLANKS)
    return None if _is_long(text, bare) else _SAID[reading](bare)


def poll(texts: Iterable[str]) -> Chosen:
    """The reading that reads most of some different texts, if it reads enough of them.

    Args:
        texts: Each once.
    """
    present, codes = 0, False
    symbols: set[str] = set()
    read = dict.fromkeys(READINGS, 0)
    for text in texts:
        if is_missing(text):
            continue
        present += 1
        bare = text.strip(_BLANKS)
        if not bare or bare[0] not in _BEGIN or _is_long(text, bare):
            continue
        for reading in READINGS:
            if reading in ("number", "number with comma"):
                found, symbol = _numeral(bare, reading)
                codes |= found == "code"
                if isinstance(found, float):
                    read[reading] += 1
                    symbols |= {symbol} - {""}
            else:
                read[reading] += _SAID[reading](bare) is not None
    most = max(read.values())
    if most < LEAST_TEXTS or not enough(most, present):
        return None
    chosen = next(reading for reading in READINGS if read[reading] == most)
    if family_of(chosen) == "number" and (codes or len(symbols) > 1):
        return None  # One code makes codes of all, and dollars are no euros.
    for form in ("date", "timestamp"):
        if chosen == f"{form} dmy" and read[f"{form} mdy"] == most:  # type: ignore[index]
            return "ambiguous"
    return chosen


def enough(read: int, present: int) -> bool:
    """Whether ``read`` of ``present`` are as many as a reading must read."""
    return read > 0 and 100 * read >= SHARE * present


def _bytes(text: str) -> int:
    """Of the text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _is_long(text: str, bare: str) -> bool:
    """Whether a text is longer than any that is read, with its blanks or without them."""
    return _bytes(bare) > _LONGEST or _bytes(text) > LONGEST


def _numeral(text: str, reading: str) -> tuple[float | Literal["code"] | None, str]:
    """The number, ``code`` for digits that begin with a zero, such as those of a postal code, or None; and the symbol
    beside it."""
    found = (_WITH_COMMA if reading == "number with comma" else _WITH_POINT).fullmatch(text)
    if found is None or (found["before"] and (found["behind"] or (found["sign"] and found["inner"]))):
        return None, ""
    groups, exponent = found["groups"], found["exponent"] or ""
    whole = found["whole"] if groups is None else "".join(filter(str.isdigit, groups))
    part = (found["part"] if groups is None else found["grouped"]) or ""
    if len(whole) > _MOST_DIGITS or not whole + part:
        return None, ""
    if len(whole) > 1 and whole[0] == "0":
        return ("code" if groups is None else None), ""
    sign = "" if (found["sign"] or found["inner"] or "+") == "+" else "-"
    value = float(f"{sign}{whole}.{part}{exponent}")
    if value in (float("inf"), float("-inf")):
        return None, ""
    return value, found["before"] or found["behind"] or ""


def _number(reading: str) -> Callable[[str], float | None]:
    def read(text: str) -> float | None:
        value, _ = _numeral(text, reading)
        return value if isinstance(value, float) else None

    return read


def _days(found: re.Match[str] | None) -> int | None:
    if found is None:
        return None
    try:
        return date(int(found["y"]), int(found["m"]), int(found["d"])).toordinal() - _EPOCH
    except ValueError:
        return None  # There is no such day.


def _of_day(found: re.Match[str] | None) -> int | None:
    """Microseconds since midnight; what is finer is cut off."""
    if found is None:
        return None
    hour, minute = int(found["h"] or found["h2"]), int(found["m"] or found["m2"])
    second = int(found["s"] or found["s2"] or 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    fraction = int((found["f"] or "").ljust(6, "0")[:6])
    return (60 * hour + minute) * _MINUTE + second * 1_000_000 + fraction


def _date(order: str) -> Callable[[str], int | None]:
    return lambda text: _days(_DATES[order].fullmatch(text))


def _timestamp(order: str) -> Callable[[str], int | None]:
    def read(text: str) -> int | None:
        begun = _DATES[order].match(text)
        days = _days(begun)
        if begun is None or days is None:
            return None
        rest = text[begun.end() :]
        if not rest:
            return days * _DAY
        bare = rest[1:] if rest[0] == "T" else rest.lstrip(" ")
        if bare == rest:
            return None
        time = _TIME.match(bare)
        of_day = _of_day(time)
        if time is None or of_day is None:
            return None
        ahead = _zone(bare[time.end() :])
        return None if ahead is None else days * _DAY + of_day - ahead * _MINUTE

    return read


def _zone(text: str) -> int | None:
    """Minutes ahead of UTC."""
    if not text:
        return 0
    found = _ZONE.fullmatch(text)
    if found is None:
        return None
    hours, minutes = int(found["h"] or 0), int(found["m"] or 0)
    if hours > _LAST_ZONE or minutes > 59:
        return None
    return (60 * hours + minutes) * (-1 if found["sign"] == "-" else 1)


_SAID: Mapping[str, Callable[[str], float | int | None]] = {
    "number": _number("number"),
    "number with comma": _number("number with comma"),
    **{f"date {order}": _date(order) for order in _DATES},
    **{f"timestamp {order}": _timestamp(order) for order in _DATES},
    "time": lambda text: _of_day(_TIME.fullmatch(text)),
}
