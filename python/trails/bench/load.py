"""Puts recorded benchmarks into PostgreSQL, where the study's questions are queries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

from trails.bench.plan import sample
from trails.bench.relations import ARCHITECTURES, CURVES, PREDICTIONS, SCHEMA, SCORES, SETTINGS
from trails.bench.store import Store
from trails.errors import InvalidInput
from trails.loading.relations import Relation, Rows, replace
from trails.space import parse_space


def load(folder: Path, dsn: str | None = None, *, schema: str = SCHEMA) -> dict[str, int]:
    """Put one benchmark into the tables, in place of what they hold of its dataset; all of it or nothing.

    Args:
        folder: Of the benchmark.
        dsn: See `trails.loading.connection.transaction`.
        schema: That holds the tables; it is made where it is not there.

    Returns:
        Rows by table.

    Raises:
        InvalidInput: The folder holds no benchmark; a table there has other columns.
        UnusableData: A file is damaged or of another version.
        DatabaseError: The server refused, or cannot be reached.
    """
    store = Store(folder)
    setting = store.setting()
    if setting is None:
        raise InvalidInput(
            f"{folder} holds no benchmark",
            hint="Record one: python -m trails bench train --dataset NAME --architectures N.",
        )
    curves, name = store.curves(), setting.dataset
    settings = {
        "digest": [setting.digest],
        **{f"{split}_rows": [setting.rows[split]] for split in ("train", "valid", "test")},
        "fields": [setting.fields],
        "space": [setting.space],
        "sample_seed": [setting.sample_seed],
        "epochs": [setting.epochs],
        "options": [json.dumps(dict(setting.options), sort_keys=True)],
    }
    tables = [
        _rows(SETTINGS, name, pa.table(settings)),
        _rows(ARCHITECTURES, name, _architectures(store, curves, setting.space)),
        _rows(CURVES, name, curves),
        _rows(SCORES, name, store.scores()),
        _rows(PREDICTIONS, name, _predictions(store.predictions())),
    ]
    return replace(tables, name, dsn, schema)


def _rows(relation: Relation, dataset: str, table: pa.Table) -> Rows:
    """A table's rows with the dataset before them."""
    columns: dict[str, Any] = {relation.columns[0].name: pa.array([dataset] * table.num_rows, pa.string())}
    for column in relation.columns[1:]:
        values = table[column.name]
        columns[column.name] = values.cast(pa.string()) if pa.types.is_dictionary(values.type) else values
    sink = pa.BufferOutputStream()
    csv.write_csv(pa.table(columns), sink, csv.WriteOptions(include_header=False))
    return Rows(relation, sink.getvalue().to_pybytes())


def _architectures(store: Store, curves: pa.Table, space_name: str) -> pa.Table:
    """Every recorded architecture; its parameters where the parts were put into tables."""
    space = parse_space(space_name)
    places = np.unique(curves["place"].to_numpy())
    indices = np.array(sample(space.size, int(places.max()) + 1) if places.size else [], np.int64)[places]
    known = store.parameters()
    return pa.table(
        {
            "place": places,
            "index": indices,
            "architecture": pa.array([space.format(space.architecture(i)) for i in indices.tolist()], pa.string()),
            "parameters": pa.array([known.get(place) for place in places.tolist()], pa.int64()),
        }
    )


def _predictions(table: pa.Table) -> pa.Table:
    """One row a split, with an array in the server's form."""
    found: dict[str, list[Any]] = {"place": [], "seed": [], "split": [], "probabilities": []}
    for row in table.to_pylist():
        for split in ("valid", "test"):
            found["place"].append(row["place"])
            found["seed"].append(row["seed"])
            found["split"].append(split)
            found["probabilities"].append("{" + ",".join(f"{float(p):.5g}" for p in row[split]) + "}")
    kinds = {"place": pa.int32(), "seed": pa.int32(), "split": pa.string(), "probabilities": pa.string()}
    return pa.table({name: pa.array(values, kinds[name]) for name, values in found.items()})
