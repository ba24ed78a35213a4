"""ONNX files that take a table's columns: what an ONNX runtime says of the test rows, beside what the server says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import plots, tables
from benchmarks.database import loaded
from benchmarks.database import run as sql
from benchmarks.harness import Context, Document

ALLOWED = 1e-6
"""The largest difference of a probability; of a number by its size, or by the spread of all if that is larger."""

_STUDY = ("frappe", "uci_diabetes", "criteo")
DATASETS = (*_STUDY, *tables.DATASETS)
_ROWS, _BUDGET, _BUDGET_OF_STUDY = 5_000, 15, 60


def run(context: Context) -> None:
    """Select a model, export it, and let both predict the same test rows."""
    table = context.dataset or DATASETS[0]
    if context.recorded(table=table):
        return
    with _rows(context, table) as (connection, train, test, target, key):
        # Training rows of the large ones are too many for a short budget, and their models are as any others.
        budget = _BUDGET_OF_STUDY if table in _STUDY else _BUDGET
        ((architecture, model),) = sql(
            connection,
            "SELECT architecture, model FROM trails.model_selection(%s, %s, budget => %s, name => 'm') LIMIT 1",
            train,
            target,
            f"{budget} s",
        )
        sql(connection, f"CREATE TEMPORARY TABLE judged AS SELECT * FROM {test} ORDER BY {key} LIMIT {_ROWS}")
        sql(connection, f"ALTER TABLE judged ADD PRIMARY KEY ({key})")
        context.record({"table": table, "architecture": architecture, **_compared(connection, model, key)})


def _compared(connection: Any, model: str, key: str) -> dict[str, Any]:
    import onnxruntime

    ((blob,),) = sql(connection, "SELECT trails.export_model(%s, 'onnx')", model)
    session = onnxruntime.InferenceSession(bytes(blob))
    (made,) = session.run(None, _fed(connection, session, key))
    found = sql(
        connection,
        "SELECT p.score, p.probabilities FROM trails.predict(%s, 'judged') p "
        f"JOIN judged t ON t.{key}::text = p.key ORDER BY t.{key}",
        model,
    )
    said = np.array([score if shares is None else shares for score, shares in found])
    size = np.maximum(np.abs(said), said.std()) if made.ndim == 1 else 1.0
    return {"rows": len(found), "bytes": len(blob), "largest": float((np.abs(made - said) / size).max())}


def _fed(connection: Any, session: Any, key: str) -> dict[str, NDArray[Any]]:
    """The rows' columns as the graph takes them; dates become numbers in SQL."""
    described = json.loads(session.get_modelmeta().custom_metadata_map["columns"])
    given = {}
    for column in described:
        name = '"' + column["name"].replace('"', '""').replace("%", "%%") + '"'
        shown = f"{name} - DATE '1970-01-01'" if column["kind"] == "date" else name
        cells = [row[0] for row in sql(connection, f"SELECT {shown} FROM judged ORDER BY {key}")]
        null = np.nan if column["type"] == "double" else column["null"]
        dtype = {"string": object, "double": np.float64, "int64": np.int64}[column["type"]]
        given[column["name"]] = np.array([null if cell is None else cell for cell in cells], dtype).reshape(-1, 1)
    return given


@contextmanager
def _rows(context: Context, table: str) -> Iterator[tuple[Any, str, str, str, str]]:
    """A connection, the training rows, the test rows, the target and the test rows' key."""
    if table in _STUDY:
        with loaded(context, [table]) as connection:
            ((key,),) = sql(
                connection,
                "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = "
                "i.indkey[0] WHERE i.indisprimary AND i.indrelid = %s::regclass",
                f"{table}_test",
            )
            yield connection, f"{table}_train", f"{table}_test", "label", key
    else:
        target = tables.TABLES[table][0]
        with tables.loaded_table(table, target) as connection:
            yield connection, "train", "test", target, "row_id"


def summarise(document: Document) -> list[str]:
    """The largest difference of any row."""
    return [
        f"{row['table']}: {row['rows']:,} rows, {row['architecture']}, {row['bytes'] / 1e6:.1f} MB of ONNX: "
        f"largest difference {row['largest']:.1e}, allowed are {ALLOWED:.0e}"
        for row in document.rows
    ]


def draw(document: Document) -> Mapping[str, Figure]:
    """The largest difference beside what is allowed."""
    figure, (axis,) = plots.panels(1, width=5.0, height=1.8)
    axis.scatter([row["largest"] for row in document.rows], [row["table"] for row in document.rows], s=30)
    axis.axvline(ALLOWED, color="grey", linestyle="--", linewidth=1)
    axis.set_xscale("log")
    axis.set_xlabel("largest difference of a probability, or of a number by its size; dashed: allowed")
    return {"": figure}
