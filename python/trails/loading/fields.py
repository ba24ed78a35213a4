"""The fields of a LibSVM dataset: their names and the range of ids each of them owns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trails.loading.malformed import MalformedLine

HEADER = "field\tfirst_id\tn_values"
LARGEST_ID = 2**31 - 1
"""Ids are stored in columns of type integer."""

LONGEST_NAME = 63
"""Bytes of a PostgreSQL identifier; a longer one would be cut, and two could become one."""

MOST_FIELDS = 1598
"""A PostgreSQL table holds 1,600 columns, of which id and label take two."""


@dataclass(frozen=True)
class Fields:
    """Names of the fields and, where they are known, their id ranges.

    Attributes:
        names: One name per field, in the order of the line.
        first_ids: First id of each field, or None when no fields.tsv says so.
        sizes: Number of ids of each field, or None.
    """

    names: tuple[str, ...]
    first_ids: tuple[int, ...] | None = None
    sizes: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def numbered(cls, count: int) -> Fields:
        """Fields of a dataset that comes without a fields.tsv: ``col1`` to ``colN``, any id."""
        return cls(tuple(f"col{i}" for i in range(1, count + 1)))

    @classmethod
    def consecutive(cls, names: tuple[str, ...], sizes: tuple[int, ...]) -> Fields:
        """Fields whose id ranges follow one another from 0, as in every published dataset."""
        first_ids, following = [], 0
        for size in sizes:
            first_ids.append(following)
            following += size
        return cls(names, tuple(first_ids), sizes)

    def to_tsv(self) -> str:
        """The text of a fields.tsv that :func:`read_fields` reads back."""
        if self.first_ids is None or self.sizes is None:
            raise ValueError("fields without id ranges have no fields.tsv")
        rows = zip(self.names, self.first_ids, self.sizes, strict=True)
        return "".join([f"{HEADER}\n", *(f"{name}\t{first}\t{size}\n" for name, first, size in rows)])


def read_fields(path: Path) -> Fields:
    """Read and check a fields.tsv (header, then name, first id and number of ids, tab-separated).

    Raises:
        MalformedLine: A line that does not fit, with its number and the reason.
    """
    names: list[str] = []
    first_ids: list[int] = []
    sizes: list[int] = []
    for number, raw in enumerate(path.read_bytes().removesuffix(b"\n").split(b"\n"), 1):

        def refuse(reason: str, number: int = number) -> MalformedLine:
            return MalformedLine(str(path), number, reason)

        try:
            line = raw.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise refuse(f"byte {error.start + 1} is not UTF-8") from None
        if number == 1:
            if line != HEADER:
                raise refuse("the header must be field, first_id, n_values, separated by tabs")
            continue
        parts = line.split("\t")
        if len(parts) != 3:
            raise refuse(f"{len(parts)} tab-separated values instead of 3")
        name, first, size = parts
        if not name or len(name.encode()) > LONGEST_NAME or "\0" in name:
            raise refuse(f"a field's name must have 1 to {LONGEST_NAME} bytes: {name!r}")
        if name in ("id", "label"):
            raise refuse(f"the name {name!r} belongs to a column that every table has")
        if name in names:
            raise refuse(f"the field {name!r} is there twice")
        if not (first.isascii() and first.isdigit() and size.isascii() and size.isdigit()):
            raise refuse("first_id and n_values must be integers of 0 and more")
        if int(size) < 1 or int(first) + int(size) - 1 > LARGEST_ID:
            raise refuse(f"ids must lie between 0 and {LARGEST_ID}, at least one per field")
        names.append(name)
        first_ids.append(int(first))
        sizes.append(int(size))
        if len(names) > MOST_FIELDS:
            raise refuse(f"more than {MOST_FIELDS} fields, which no table can hold")
    if not names:
        raise MalformedLine(str(path), 1, "no field is listed")
    return Fields(tuple(names), tuple(first_ids), tuple(sizes))
