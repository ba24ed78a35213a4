"""Parquet files of a recorded benchmark: read with a check, written so that there is either all of one or nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trails.errors import UnusableData


def first_of_each(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """In order of some columns, and each of their values once: what was recorded twice is what came first."""
    if _in_order(table, keys):
        return table
    # By row numbers, since lists cannot be sorted along.
    order = table.select(keys).append_column("_row", pa.array(np.arange(table.num_rows)))
    order = order.sort_by([*((key, "ascending") for key in keys), ("_row", "ascending")])
    again = np.ones(max(0, order.num_rows - 1), np.bool_)
    for key in keys:
        column = order[key].combine_chunks()
        values = (column.dictionary_encode().indices if pa.types.is_string(column.type) else column).to_numpy()
        again &= values[1:] == values[:-1]
    rows = order["_row"].to_numpy()[np.r_[np.ones(min(1, order.num_rows), np.bool_), ~again]]
    return table.take(pa.array(rows, pa.int64())).combine_chunks()


def _in_order(table: pa.Table, keys: Sequence[str]) -> bool:
    """Whether nothing is to be done, as with a table that was compacted; texts are not looked at."""
    rows = max(0, table.num_rows - 1)
    above, equal = np.zeros(rows, np.bool_), np.ones(rows, np.bool_)
    for key in keys:
        if pa.types.is_string(table.schema.field(key).type):
            return False
        values = table[key].to_numpy()
        above |= equal & (values[1:] > values[:-1])
        equal &= values[1:] == values[:-1]
    return bool(above.all())


def read_any(file: Path) -> pa.Table:
    """A table as it is.

    Raises:
        UnusableData: It is no Parquet file, or a damaged one.
    """
    try:
        return pq.read_table(file, memory_map=True, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise UnusableData(f"{file} is damaged or no Parquet file", detail=str(error)) from error


def read_table(file: Path, schema: pa.Schema) -> pa.Table:
    """A table of these columns.

    Raises:
        UnusableData: It is damaged, or of other columns or kinds.
    """
    table = read_any(file)
    if table.schema.names != schema.names:
        raise UnusableData(
            f"{file} is no table of a benchmark", detail=f"It has the columns {', '.join(table.schema.names)}."
        )
    try:
        return table.cast(schema)
    except pa.ArrowException as error:
        raise UnusableData(f"{file} is no table of a benchmark", detail=str(error)) from error


def write_table(file: Path, table: pa.Table) -> None:
    """Replace a table at once; see `write_file`."""
    # The bytes of like numbers lie together: scores and curves take a third less space so.
    split = [field.name for field in table.schema if pa.types.is_floating(field.type) and field.type.bit_width > 16]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=15,
        use_byte_stream_split=split,
        use_dictionary=[field.name for field in table.schema if field.name not in split],
        # Without them a few damaged bytes are read as other numbers.
        write_page_checksum=True,
    )
    write_file(file, sink.getvalue().to_pybytes())


def write_file(file: Path, content: bytes) -> None:
    """Replace a file at once, so that it survives a loss of power."""
    partial = file.with_name(f".{file.name}.partial")
    with partial.open("wb") as output:
        output.write(content)
        output.flush()
        os.fsync(output.fileno())
    partial.replace(file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
