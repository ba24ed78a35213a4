"""Texts as columns hold them: 64-bit hashes, and the spelling of the first distinct ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.limits import LONGEST_SPELLING, MOST_SPELLINGS
from trails.table.columns import Column, Texts

_MOST_KNOWN = 1 << 20
_IDVALUE = re.compile(r"([0-9]{1,10}):([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)", re.ASCII)
_MOST_ID = 2**31 - 1


def hash_of(text: str) -> int:
    """XXH3 of the text's UTF-8 bytes, seed 0, as a signed 64-bit number."""
    import xxhash  # not in the server's processes, which get hashes

    code = xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))
    return code - 2**64 if code >= 2**63 else code


def cut(text: str) -> bytes:
    """At most 200 bytes of the text, whole characters; a NUL, which no text of a server holds, is shown as unknown."""
    whole = text.replace("\0", "\ufffd").encode("utf-8", "replace")
    return whole if len(whole) <= LONGEST_SPELLING else whole[:LONGEST_SPELLING].decode("utf-8", "ignore").encode()


def parse_idvalue(text: str) -> tuple[int, float] | None:
    """Id and value of ``id:value``: an id from 0 to 2^31 - 1 and a finite number; None for anything else."""
    found = _IDVALUE.fullmatch(text)
    if found is None or (number := int(found[1])) > _MOST_ID:
        return None
    with np.errstate(over="ignore"):
        value = float(np.float32(found[2]))
    return (number, value) if np.isfinite(value) else None


class TextBuilder:
    """Builds a ``text`` or ``idvalue`` column from distinct texts and where they occur.

    Args:
        name: Of the column.
        idvalue: True if it must be of the kind ``idvalue``, False if it must not, None if the texts decide: it is
            one if every text is of the form ``id:value``, and there is any.
    """

    def __init__(self, name: str, idvalue: bool | None = None) -> None:
        self._name, self._asked = name, idvalue
        self._known: dict[str, tuple[int, int, float]] = {}
        self._spelt: dict[int, bytes] = {}
        self._hashes: list[NDArray[np.int64]] = []
        self._ids: list[NDArray[np.int32]] = []
        self._values: list[NDArray[np.float32]] = []
        self._parsed = idvalue is not False
        self._any = False
        self.odd: str | None = None
        """The first text that is not of the form ``id:value``."""

    def add(self, distinct: Sequence[str], places: NDArray[np.integer[Any]], nulls: NDArray[np.bool_] | None) -> None:
        """Add rows.

        Args:
            distinct: Texts, each once.
            places: Which of them each row holds, shape (rows,); anything where NULL.
            nulls: Rows that are NULL, or None.
        """
        if len(self._known) > _MOST_KNOWN:
            self._known = {}
        codes = [self._known.get(text) or self._learn(text) for text in distinct]
        rows = len(places)
        if not codes:
            self._hashes.append(np.zeros(rows, np.int64))
            self._ids.append(np.zeros(rows, np.int32))
            self._values.append(np.ones(rows, np.float32))
            return
        self._any = True
        where = places if nulls is None else np.where(nulls, 0, places)
        self._hashes.append(_taken(np.array([code[0] for code in codes], np.int64), where, nulls, 0))
        if self._parsed:
            self._ids.append(_taken(np.array([code[1] for code in codes], np.int32), where, nulls, 0))
            self._values.append(_taken(np.array([code[2] for code in codes], np.float32), where, nulls, 1))

    def _learn(self, text: str) -> tuple[int, int, float]:
        code, parsed = hash_of(text), None
        if self._parsed and (parsed := parse_idvalue(text)) is None:
            self._parsed, self.odd = False, text
            self._ids, self._values = [], []
        if len(self._spelt) < MOST_SPELLINGS:
            self._spelt.setdefault(code, cut(text))
        self._known[text] = found = (code, *(parsed or (0, 1.0)))
        return found

    def finish(self, nulls: NDArray[np.uint8] | None) -> Column:
        """The column of all rows that were added; ``nulls`` as in `Column`."""
        if self._parsed and (self._any or self._asked):
            values = _joined(self._values, np.float32)
            return Column(
                self._name, "idvalue", _joined(self._ids, np.int32), None if (values == 1).all() else values, nulls
            )
        return Column(self._name, "text", _joined(self._hashes, np.int64), None, nulls, texts_of(self._spelt))


def texts_of(spelt: dict[int, bytes]) -> Texts:
    """Spellings by hash, in order."""
    ends = np.cumsum([len(text) for text in spelt.values()], dtype=np.uint32)
    data = np.frombuffer(b"".join(spelt.values()), np.uint8)
    return Texts(np.array(list(spelt), np.int64), ends, data)


def text_column(name: str, texts: Iterable[str | None], idvalue: bool | None = False) -> Column:
    """A ``text`` column of ``texts``, None where NULL; see `TextBuilder` for ``idvalue``."""
    order: dict[str, int] = {}
    places = np.array([-1 if text is None else order.setdefault(text, len(order)) for text in texts], np.int64)
    nulls = places < 0
    builder = TextBuilder(name, idvalue)
    builder.add(list(order), places, nulls if nulls.any() else None)
    return builder.finish(nulls.astype(np.uint8) if nulls.any() else None)


def _taken(
    distinct: NDArray[Any], places: NDArray[np.integer[Any]], nulls: NDArray[np.bool_] | None, empty: int
) -> NDArray[Any]:
    found: NDArray[Any] = distinct[places]
    if nulls is not None:
        found[nulls] = empty
    return found


def _joined(parts: list[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
