"""Texts as columns hold them: 64-bit hashes, and the spelling of the first distinct ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, shown
from trails.limits import LONGEST_SPELLING, MOST_SPELLINGS
from trails.table.columns import KINDS, Column, Texts
from trails.table.readings import enough, is_missing, kind_of, poll, said

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


@dataclass(frozen=True)
class OfTexts:
    """What is said of columns of text: those that stay text, and those that are ``id:value``, by name."""

    texts: frozenset[str] = frozenset()
    id_values: frozenset[str] = frozenset()

    def with_labels(self, names: Iterable[str]) -> OfTexts:
        """The same, and that columns of these names stay text."""
        return OfTexts(self.texts | frozenset(names), self.id_values)

    def reading(self, name: str) -> str | None:
        """How the texts of a column are read that is learnt from."""
        return None if name in self.texts else "found"


Form = Literal["any", "ids", "times", "other"]
"""What the texts of a column could be, as far as it alone tells: anything, where it holds none; ``id:value``; times of
day, which look like ids and are such beside columns of ids; neither."""


class _Said(NamedTuple):
    """What rows say by a reading.

    Attributes:
        values: Of the reading's kind, 0 where not read, shape (rows,).
        read: Whether a row has the reading, bool (rows,).
        missing: Whether its text counts as missing, bool (rows,).
    """

    values: NDArray[Any]
    read: NDArray[np.bool_]
    missing: NDArray[np.bool_]


class TextBuilder:
    """Builds a column from distinct texts and where they occur: of ``text``, of ``idvalue``, or of what its texts say.

    Args:
        name: Of the column.
        idvalue: True if it must be of the kind ``idvalue``, False if it must not, None if the texts decide: it can be
            one if every text is of the form ``id:value``, and there is any.
        reading: How its texts are read (`trails.table.readings`); ``found`` if they decide that, None for texts.
    """

    def __init__(self, name: str, idvalue: bool | None = None, reading: str | None = None) -> None:
        self._name, self._asked = name, idvalue
        self._known: dict[str, tuple[int, int, float]] = {}
        self._spelt: dict[int, bytes] = {}
        self._hashes: list[NDArray[np.int64]] = []
        self._ids: list[NDArray[np.int32]] = []
        self._values: list[NDArray[np.float32]] = []
        self._parsed = idvalue is not False
        self._any = False
        self._find = reading == "found"
        self._must = reading is not None and not self._find
        self._reading: str | None = reading if self._must else None
        # What the rows say that came once the reading was known: their texts need not be among the spellings.
        self._late: list[_Said] = []
        self.odd: str | None = None
        """The first text that is not of the form ``id:value``."""
        self.ambiguous = False
        """Whether the texts are dates of which days and months could be either."""

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
        if self._reading is not None:
            self._late.append(_rows_said(self._reading, distinct, places, nulls))
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
        elif code not in self._spelt:
            self._settle()
        self._known[text] = found = (code, *(parsed or (0, 1.0)))
        return found

    def _settle(self) -> None:
        """How texts are read, by the spellings so far."""
        if not self._find:
            return
        chosen = poll(text.decode("utf-8", "replace") for text in self._spelt.values())
        self._find, self.ambiguous = False, chosen == "ambiguous"
        self._reading = None if chosen == "ambiguous" else chosen

    def form(self) -> Form:
        """What the texts so far could be."""
        if not self._any:
            return "any"
        if not self._parsed:
            return "other"
        are_times = all(said("time", text.decode("utf-8", "replace")) is not None for text in self._spelt.values())
        return "times" if are_times else "ids"

    def finish(self, nulls: NDArray[np.uint8] | None, published: bool = True) -> Column:
        """The column of all rows that were added.

        Args:
            nulls: As in `Column`.
            published: Whether a column of ``id:value`` texts is one of ids, if it need not be.
        """
        if self._parsed and (self._asked or (published and self._any)):
            values = _joined(self._values, np.float32)
            return Column(
                self._name, "idvalue", _joined(self._ids, np.int32), None if (values == 1).all() else values, nulls
            )
        self._settle()
        column = Column(self._name, "text", _joined(self._hashes, np.int64), None, nulls, texts_of(self._spelt))
        if self._reading is None:
            return column
        late = sum(len(part.read) for part in self._late)
        early = len(column.data) - late
        parts = [_codes_said(self._reading, column.data[:early], column.texts), *self._late]
        found = _Said(*(np.concatenate(of_parts) for of_parts in zip(*parts, strict=True)))
        return _as_said(column, self._reading, found, self._must) or column


def read_spelt(column: Column, reading: str) -> Column:
    """A ``text`` column as one of what its texts say (`trails.table.readings`); what they do not say is NULL.

    Raises:
        InvalidInput: The spelling of a text was not kept.
    """
    if column.texts is None or len(column.texts.hashes) >= MOST_SPELLINGS:
        present = column.data if column.nulls is None else column.data[column.nulls == 0]
        known = np.empty(0, np.int64) if column.texts is None else column.texts.hashes
        if not np.isin(present, known).all():
            raise InvalidInput(
                f'the texts of "{shown(column.name)}" are read as {reading}, and not all of them are at hand',
                hint="Give fewer rows at once.",
            )
    read = _as_said(column, reading, _codes_said(reading, column.data, column.texts), True)
    assert read is not None, "it must be read"
    return read


def _texts_said(reading: str, texts: Iterable[str | None]) -> _Said:
    """What texts say; None for one that is not known."""
    found = [(None, False) if text is None else (said(reading, text), is_missing(text)) for text in texts]
    return _Said(
        np.array([value or 0 for value, _ in found], KINDS[kind_of(reading)][0]),
        np.array([value is not None for value, _ in found], np.bool_),
        np.array([missing for _, missing in found], np.bool_),
    )


def _codes_said(reading: str, data: NDArray[np.int64], texts: Texts | None) -> _Said:
    """What rows of hashes say, by the spellings."""
    spelt = {} if texts is None else texts.spellings()
    codes, places = np.unique(data, return_inverse=True)
    of_codes = _texts_said(reading, (spelt.get(code) for code in codes.tolist()))
    return _Said(*(part[places] for part in of_codes))


def _rows_said(
    reading: str, distinct: Sequence[str], places: NDArray[np.integer[Any]], nulls: NDArray[np.bool_] | None
) -> _Said:
    """What rows of a batch say: arguments as of `TextBuilder.add`."""
    where = np.where(np.zeros(len(places), np.bool_) if nulls is None else nulls, len(distinct), places)
    return _Said(*(part[where] for part in _texts_said(reading, [*distinct, None])))


def _as_said(column: Column, reading: str, found: _Said, must: bool) -> Column | None:
    """The column with a reading; None if it reads too few rows, unless it ``must``.

    Args:
        column: Of texts.
        reading: Of `trails.table.readings`.
        found: What its rows say.
        must: Whether the reading was known before.
    """
    kind, (values, read, missing) = kind_of(reading), found
    if column.nulls is not None:
        read &= column.nulls == 0
        missing |= column.nulls != 0
    if not must and not enough(int(np.count_nonzero(read)), int(np.count_nonzero(~missing))):
        return None
    values[~read] = 0
    nulls = None if read.all() else (~read).astype(np.uint8)
    return Column(column.name, kind, values, None, nulls, reading=reading)


def texts_of(spelt: dict[int, bytes]) -> Texts:
    """Spellings by hash, in order."""
    ends = np.cumsum([len(text) for text in spelt.values()], dtype=np.uint32)
    data = np.frombuffer(b"".join(spelt.values()), np.uint8)
    return Texts(np.array(list(spelt), np.int64), ends, data)


def text_column(
    name: str, texts: Iterable[str | None], idvalue: bool | None = False, reading: str | None = None
) -> Column:
    """A column of ``texts``, None where NULL; see `TextBuilder` for ``idvalue`` and ``reading``."""
    order: dict[str, int] = {}
    places = np.array([-1 if text is None else order.setdefault(text, len(order)) for text in texts], np.int64)
    nulls = places < 0
    builder = TextBuilder(name, idvalue, reading)
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
