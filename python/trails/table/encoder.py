"""From a table's columns to what a network reads: fitted on training rows only, stored with the model, used again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check
from trails.errors import InvalidInput
from trails.table.columns import Column, Columns
from trails.table.conform import FRAME_CASTS, conform_all
from trails.table.fields import NULL, PARTS, Field
from trails.table.fitting import Fitting, fit_field, numbered_through
from trails.table.stored import MOST_FIELDS, MOST_IDS, restore_field, short


@dataclass(frozen=True)
class Encoded:
    """Rows as a network reads them.

    Args:
        ids: int32, shape (rows, fields), C order: rows of the embedding table.
        values: float32, shape (rows, fields), factors for the embedded vectors; None when all are 1.
        shares: float32, shape (rows, fields), how much of the embedded vectors is the next embedding row's; None when
            all are 0, as they are unless a field is interpolated.
    """

    ids: NDArray[np.int32]
    values: NDArray[np.float32] | None
    shares: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Encoder:
    """Maps columns to global embedding ids, the fields' slots laid end to end."""

    parts: tuple[Field, ...]

    @classmethod
    def fit(cls, columns: Columns, fitting: Fitting | None = None, check: Check = no_check) -> Encoder:
        """Learn every field from the training rows.

        Args:
            columns: Features of the training rows.
            fitting: What is a category, what a number, and how many of them are told apart.
            check: Called before every column; what it raises ends the call.

        Raises:
            InvalidInput: More than `MOST_FIELDS` fields or 2**31 - 1 embedding rows in all; a name that cannot be
                stored; a column named in ``fitting`` is not there, or its type cannot be what it is named as.
        """
        fitting = fitting or Fitting()
        fitting.check(columns)
        if (count := sum(len(parts_of(column)) for column in columns)) > MOST_FIELDS:
            raise InvalidInput(
                f"{len(columns)} columns are too many to learn from: they are {count} fields",
                hint=f"At most {MOST_FIELDS} are possible; a date is three, a timestamp four.",
                sqlstate="54011",
            )
        for column in columns:
            try:
                short(column.name, "name")
            except ValueError as error:
                raise InvalidInput(
                    f"a column is called {column.name[:40]!r}, and no model can store that name",
                    detail=f"{error}.",
                    hint="Rename it.",
                ) from None
        ids = {*numbered_through(columns), *fitting.categories} - {*fitting.numbers}
        fitting = replace(fitting, categories=tuple(sorted(ids)))
        fields = []
        for column in columns:
            check()
            fitted = (fit_field(column, part, fitting) for part in parts_of(column))
            fields += [replace(field, reading=column.reading) for field in fitted]
        encoder = cls(tuple(fields))
        if encoder.ids > MOST_IDS:
            raise InvalidInput(f"{encoder.ids} categories do not fit in 32 bits")
        return encoder

    @property
    def fields(self) -> int:
        """Number of fields."""
        return len(self.parts)

    @property
    def ids(self) -> int:
        """Rows of the embedding table."""
        return sum(part.slots for part in self.parts)

    @property
    def interpolated(self) -> list[int]:
        """Places of the fields whose vectors lie between two knots."""
        return [place for place, part in enumerate(self.parts) if part.encoding == "interpolated"]

    @property
    def offsets(self) -> list[int]:
        """First embedding row of every field."""
        ends = np.cumsum([part.slots for part in self.parts]).tolist()
        return [0, *ends][: len(ends)]

    @property
    def readings(self) -> dict[str, str]:
        """How the texts of columns are read that are columns of texts and of another kind by that, by name."""
        return {part.column: part.reading for part in self.parts if part.reading is not None}

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Name and family of every column that the fields read, in order of first use."""
        return list({part.column: (part.column, str(part.kind)) for part in self.parts}.values())

    def transform(self, columns: Columns, check: Check = no_check, casts: Mapping[str, str] = FRAME_CASTS) -> Encoded:
        """Encode rows; categories that are not known and NULLs get their field's own slot.

        A value that is no number counts as NULL: one of them would spoil the whole model. A column of another family
        is taken where nothing is lost by that (`trails.table.conform`).

        Args:
            columns: Features with the names that the encoder was fitted on, in any order.
            check: Called before every field; what it raises ends the call.
            casts: What an error says would make a column one of a family.

        Raises:
            InvalidInput: A column is missing, or of another family of types.
        """
        families = {part.column: part.kind for part in self.parts}
        columns = conform_all(columns, families, casts, self.readings)
        ids = np.empty((columns.rows, self.fields), np.int32)
        values: NDArray[np.float32] | None = None
        shares: NDArray[np.float32] | None = None
        for place, (part, offset) in enumerate(zip(self.parts, self.offsets, strict=True)):
            check()
            column = columns[part.column]
            slots, absent = part.slots_of(column), column.absent()
            between = part.shares_of(column, slots)
            if absent is not None:
                slots[absent] = NULL
            np.add(slots, np.int32(offset), out=ids[:, place])
            factors = part.factors_of(column)
            if factors is not None:
                if values is None:
                    values = np.ones((columns.rows, self.fields), np.float32)
                if absent is not None:
                    factors[absent] = 1.0
                values[:, place] = factors
            if between is not None:
                if shares is None:
                    shares = np.zeros((columns.rows, self.fields), np.float32)
                if absent is not None:
                    between[absent] = 0.0
                shares[:, place] = between
        return Encoded(ids, values, shares)

    def describe(self) -> list[dict[str, Any]]:
        """Every field as plain JSON types, without what `tensors` holds; `restore` reads both back."""
        return [
            {
                "column": part.column,
                "kind": part.kind,
                "part": part.part,
                "encoding": part.encoding,
                "first": offset,
                "slots": part.slots,
                "buckets": part.buckets,
                "scale": part.scale,
                "mean": part.mean,
                "std": part.std,
                **({} if part.reading is None else {"reading": part.reading}),
            }
            for part, offset in zip(self.parts, self.offsets, strict=True)
        ]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What every field learnt, as ``fields.{number}.{categories|edges|knots|ends|bytes}``."""
        found: dict[str, NDArray[Any]] = {}
        for number, part in enumerate(self.parts):
            if part.encoding == "categories":
                found[f"fields.{number}.categories"] = part.categories
                if part.kind == "text":
                    texts = [part.spellings.get(code, "").encode() for code in part.categories.tolist()]
                    found[f"fields.{number}.ends"] = np.cumsum([len(text) for text in texts], dtype=np.uint32)
                    found[f"fields.{number}.bytes"] = np.frombuffer(b"".join(texts), np.uint8)
            elif part.encoding == "bins":
                found[f"fields.{number}.edges"] = part.edges
            elif part.encoding == "interpolated":
                found[f"fields.{number}.knots"] = part.edges
        return found

    @classmethod
    def restore(cls, described: Sequence[Any], tensors: Mapping[str, NDArray[Any]]) -> Encoder:
        """The encoder that `describe` and `tensors` wrote.

        Raises:
            ValueError: They do not belong together, or are no encoder.
        """
        if not 1 <= len(described) <= MOST_FIELDS:
            raise ValueError(f"the model has {len(described)} fields, and 1 to {MOST_FIELDS} are possible")
        parts: list[Field] = []
        first = 0
        for number, part in enumerate(described):
            parts.append(restore_field(number, part, tensors, first))
            first += parts[-1].slots
        return cls(tuple(parts))


def parts_of(column: Column) -> tuple[Any, ...]:
    """The parts that a column is split into."""
    return PARTS.get(column.family, ("value",))
