"""Arrow batches to the columns that Trails trains from: the same kinds and values as the extension's reader gives."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.checks import all_different
from trails.errors import InvalidInput, TrailsError
from trails.service.arrow import pa, pc
from trails.service.types import KIND, SQL_TYPE
from trails.table.columns import KINDS, Column, Columns
from trails.table.conform import SQL_CASTS, conform, may_conform
from trails.table.texts import Form, OfTexts, TextBuilder

_DAYS = 10_957
"""From 1970-01-01, where Arrow begins to count, to 2000-01-01, where PostgreSQL and Trails do."""

_ORIGINS = {"date": _DAYS, "timestamp": _DAYS * 86_400_000_000}


class Gatherer:
    """Takes batches of one schema, one after the other, and makes `Columns` of them.

    Args:
        schema: Of the stream.
        target: Name of the target: rows without it are left out and counted. None for no target.
        like: Columns whose kinds these must have too, such as those of the training rows; None to find them out.
        aside: Names of columns that are no features, as far as they are known, such as the primary key; None if a
            column may be one.
        of_texts: What is said of columns of text.

    Raises:
        InvalidInput: There is no such target; a column of another type than in ``like`` (SQLSTATE 42804).
    """

    def __init__(
        self,
        schema: Any,
        target: str | None = None,
        like: Columns | None = None,
        aside: Collection[str] | None = None,
        of_texts: OfTexts | None = None,
    ) -> None:
        self._relation = (schema.metadata or {}).get(b"trails.relation", b"the table").decode()
        self._target = target
        if target is not None and target not in schema.names:
            raise InvalidInput(
                f'there is no column "{target}" in {self._relation}',
                hint=f"Columns: {', '.join(schema.names[:50])}.",
                sqlstate="42703",
            )
        expected = {} if like is None else {column.name: column for column in like}
        said = of_texts or OfTexts()
        self._parts = [_Part(field, target, expected.get(field.name), self._relation, said) for field in schema]
        no_features = {target, *(aside or ()), *said.texts}
        self._features = [part for part in self._parts if part.name not in no_features]
        # Any one may be the key, or the target, where nobody said which is.
        self._others = (aside is None) + (target is None)
        self._seen = self._rows = 0

    @property
    def left_out(self) -> int:
        """Rows without a target so far."""
        return self._seen - self._rows

    def add(self, batch: Any) -> None:
        """Take a record batch.

        Raises:
            UnusableData: An infinite number (SQLSTATE 22003).
            InvalidInput: A text that ``like`` does not allow.
        """
        rows = batch
        if self._target is not None:
            usable = pc.is_valid(batch.column(self._target))
            if pa.types.is_floating(batch.column(self._target).type):
                usable = pc.fill_null(pc.and_(usable, pc.invert(pc.is_nan(batch.column(self._target)))), False)
            rows = batch.filter(usable) if pc.min(usable).as_py() is False else batch
        for part, array in zip(self._parts, rows.columns, strict=True):
            part.add(array)
        self._seen += batch.num_rows
        self._rows += rows.num_rows

    def finish(self) -> Columns:
        """All rows that were added."""
        return Columns(self._rows, tuple(part.finish(self._is_published()) for part in self._parts))

    def _is_published(self) -> bool:
        """Whether all features are of the form ``id:value``, as in the published datasets: ``9:00`` or ``3:1`` in a
        single column says little."""
        forms = [part.form() for part in self._features]
        if "ids" not in forms:
            return False
        others = [part for part, form in zip(self._features, forms, strict=True) if form == "other"]
        return len(others) <= self._others or sum(not part.says_nothing() for part in others) <= self._others


class _Part:
    """One column in the making."""

    def __init__(self, field: Any, target: str | None, like: Column | None, relation: str, said: OfTexts) -> None:
        about = field.metadata or {}
        self.name = self._name = field.name
        self._name, self._kind = field.name, about.get(KIND, b"").decode()
        if self._kind not in KINDS:
            raise InvalidInput(f'column "{self._name}" comes from another version of the data service')
        self._relation = relation
        self._data: list[NDArray[Any]] = []
        self._nulls: list[NDArray[np.bool_] | int] = []
        self._texts: TextBuilder | None = None
        self._reads = False
        self._wanted = None if like is None else like.family
        if self._kind == "text":
            candidate = self._name != target and about.get(SQL_TYPE) in (b"text", b"varchar", b"bpchar")
            idvalue: bool | None = self._wanted == "idvalue"
            # Of other types that are texts here, such as enums, the server reads none either.
            reading = like.reading if candidate and like is not None else None
            if candidate and like is None and self._name not in said.texts:
                idvalue, reading = (True, None) if self._name in said.id_values else (None, "found")
                self._wanted = "idvalue" if idvalue else None
            self._texts = TextBuilder(self._name, idvalue, reading)
            self._reads = reading is not None

    def form(self) -> Form:
        """What its texts could be."""
        if self._texts is not None:
            return self._texts.form()
        parts = ((part > 0) if isinstance(part, int) else not part.all() for part in self._nulls)
        return "other" if any(parts) else "any"

    def says_nothing(self) -> bool:
        """Whether it is never learnt from: whole numbers that are the same, or different, in every row, as a key is
        that a view or a copy of a table has."""
        if self._kind not in ("int32", "int64") or sum(len(part) for part in self._data) < 2:
            return False
        if any(not isinstance(part, int) and part.any() for part in self._nulls):
            return False
        data = np.concatenate(self._data)
        return bool((data == data[0]).all()) or all_different(data)

    def _fits(self) -> bool:
        """Whether anything but NULL is possible."""
        own = KINDS[self._kind][1]
        if self._reads:
            return True
        return self._wanted is None or may_conform(own, self._wanted) or (own, self._wanted) == ("text", "idvalue")

    def _differs(self, family: str) -> InvalidInput:
        found = "text" if self._texts else KINDS[self._kind][1]
        return InvalidInput(
            f'column "{self._name}" has type {found} in {self._relation}, and the model was trained with {family}',
            hint=f"Give a view that casts it: {SQL_CASTS[family].format(self._name)}.",
            sqlstate="42804",
        )

    def add(self, array: Any) -> None:
        if self._wanted is not None and not self._fits() and array.null_count < len(array):
            raise self._differs(self._wanted)
        nulls = pc.is_null(array).to_numpy(zero_copy_only=False) if array.null_count else None
        if self._texts is not None:
            encoded = array.dictionary_encode()
            places = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
            self._texts.add(encoded.dictionary.to_pylist(), places, nulls)
            if self._wanted == "idvalue" and self._texts.odd is not None:
                raise self._differs("idvalue")
        else:
            data = self._numbers(array)
            if data.dtype.kind == "f":
                nulls = self._check(data, nulls)
            self._data.append(data)
        self._nulls.append(len(array) if nulls is None else nulls)

    def _numbers(self, array: Any) -> NDArray[Any]:
        if pa.types.is_boolean(array.type):
            array = array.cast(pa.int32())
        elif pa.types.is_temporal(array.type):
            array = array.view(pa.int32() if pa.types.is_date(array.type) else pa.int64())
        if array.null_count:
            array = pc.fill_null(array, 0)
        numbers: NDArray[Any] = array.to_numpy(zero_copy_only=False)
        if self._kind in _ORIGINS:
            numbers = numbers - _ORIGINS[self._kind]
        # A copy, since the array's memory is the stream's.
        return numbers.astype(KINDS[self._kind][0])

    def _check(self, data: NDArray[Any], nulls: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """NaN becomes NULL; an infinite number is refused."""
        if np.isfinite(data.sum(dtype=np.float64)):
            return nulls
        infinite = np.isinf(data)
        if infinite.any():
            row = sum(len(part) for part in self._data) + int(infinite.argmax()) + 1
            raise TrailsError(
                f'column "{self._name}" of {self._relation} holds an infinite number in row {row}',
                hint="Give a view that leaves such rows out, or makes them NULL.",
                sqlstate="22003",
            )
        absent: NDArray[np.bool_] = np.isnan(data)
        data[absent] = 0
        return absent if nulls is None else nulls | absent

    def finish(self, published: bool) -> Column:
        """The column; ``published`` as in `TextBuilder.finish`."""
        column = self._as_it_is(published)
        return column if self._wanted is None else conform(column, self._wanted, SQL_CASTS)

    def _as_it_is(self, published: bool) -> Column:
        nulls: NDArray[np.uint8] | None = None
        if not all(isinstance(part, int) for part in self._nulls):
            parts = [np.zeros(part, np.uint8) if isinstance(part, int) else part for part in self._nulls]
            nulls = np.concatenate(parts).astype(np.uint8)
        if self._texts is not None:
            return self._texts.finish(nulls, published)
        dtype = KINDS[self._kind][0]
        return Column(
            self._name, self._kind, np.concatenate(self._data) if self._data else np.empty(0, dtype), None, nulls
        )
