"""Models for tests of prediction: a table of every kind of column, and networks of random weights on it.

What the server predicts does not depend on how good a model is, so nothing is trained.
"""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import psycopg2
import torch
import xxhash
from numpy.typing import NDArray

from tests.sql.tables import query
from trails.model.operations import Linear, Relu
from trails.model.store import Model, digest
from trails.table.columns import Column, Columns, Texts
from trails.table.encoder import Encoder
from trails.table.fitting import Fitting
from trails.table.target import Target, Task
from trails.table.texts import cut

EPOCH = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
MOODS = ("sad", "so so", "glücklich")

CREATE = """
CREATE TYPE mood AS ENUM ('sad', 'so so', 'glücklich');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TABLE things (
    id integer PRIMARY KEY, flag boolean, small smallint, number positive, big bigint, ratio real,
    size double precision, amount numeric, word text, "Größe ""x"" y" varchar, code char(6), mood mood, tag uuid,
    published text, day date, moment timestamptz, local timestamp, clock time, span interval
)
"""

KINDS = {
    "flag": "boolean",
    "small": "int32",
    "number": "int32",
    "big": "int64",
    "ratio": "float32",
    "size": "float64",
    "amount": "float64",
    "word": "text",
    'Größe "x" y': "text",
    "code": "text",
    "mood": "text",
    "tag": "text",
    "published": "idvalue",
    "day": "date",
    "moment": "timestamp",
    "local": "timestamp",
    "clock": "time",
    "span": "interval",
}
"""Kind of every column of `things` but the key, in the table's order."""


def things(rows: int, seed: int = 1, first: int = 1) -> list[tuple[Any, ...]]:
    """Rows of `things`: repeated and rare values, extremes, and NULLs in every column but the key."""
    random = np.random.default_rng(seed)

    def pick(values: Sequence[Any]) -> Any:
        return values[int(random.integers(len(values)))]

    def day() -> datetime.date:
        if random.random() < 0.1:
            return pick([datetime.date(1, 1, 1), datetime.date(9999, 12, 31), datetime.date(2000, 2, 29)])
        return datetime.date(1990, 1, 1) + datetime.timedelta(days=int(random.integers(20_000)))

    def moment() -> datetime.datetime:
        offset = datetime.timedelta(microseconds=int(random.integers(-(10**15), 10**15)))
        return EPOCH + offset

    made = []
    for row in range(rows):
        cells: list[Any] = [
            bool(random.integers(2)),
            int(random.integers(-5, 30)),
            int(random.integers(1, 2000)) ** 2,
            pick([0, 1, -(2**63), 2**63 - 1, 10**12, int(random.integers(10**15))]),
            float(np.float32(random.normal() * 100)),
            pick([0.0, -1e100, 1e-300, float("nan"), float(random.normal())]),
            decimal.Decimal(int(random.integers(-(10**9), 10**9))).scaleb(-4),
            pick(["", "red", "green", "a longer text, with 'quotes'", "日本語", f"rare {row}"]),
            pick(["x", "y", "X"]),
            pick(["ab", "abc   ", " b"]),
            pick(MOODS),
            str(uuid.UUID(int=int(random.integers(20)) * 10**30)).upper(),
            f"{int(random.integers(40))}:{pick(['1', '0.5', '-3', '7e1'])}",
            day(),
            moment(),
            moment().replace(tzinfo=None),
            (EPOCH + datetime.timedelta(microseconds=int(random.integers(86_400 * 10**6)))).time(),
            datetime.timedelta(seconds=float(np.round(random.normal() * 1e6, 3))),
        ]
        made.append((first + row, *(None if random.random() < 0.08 else cell for cell in cells)))
    return made


def make_things(connection: Any, rows: list[tuple[Any, ...]], name: str = "things") -> None:
    """Creates the table, or fills another one that is like it."""
    if name == "things":
        query(connection, CREATE)
    with connection.cursor() as cursor:
        places = ", ".join(["%s"] * (len(KINDS) + 1))
        cursor.executemany(f"INSERT INTO {name} VALUES ({places})", rows)


def columns_of(rows: list[tuple[Any, ...]], kinds: Mapping[str, str] = KINDS) -> Columns:
    """The rows as the reader makes them, worked out here on its own; what comes before the first kind is the key."""
    cells = list(zip(*rows, strict=True))[1:]
    return Columns(
        len(rows), tuple(_column(name, kind, list(of)) for (name, kind), of in zip(kinds.items(), cells, strict=True))
    )


def _column(name: str, kind: str, cells: list[Any]) -> Column:
    nulls = np.array([cell is None for cell in cells], np.uint8)
    if kind == "text":
        texts = [None if cell is None else _text(name, cell) for cell in cells]
        hashes = np.array([0 if t is None else xxhash.xxh3_64_intdigest(t.encode()) for t in texts], np.uint64)
        distinct = [t for t in dict.fromkeys(texts) if t is not None]
        known = np.array([xxhash.xxh3_64_intdigest(t.encode()) for t in distinct], np.uint64).view(np.int64)
        kept = [cut(t) for t in distinct]  # of a long text the reader keeps the beginning
        ends = np.cumsum([len(t) for t in kept], dtype=np.uint32)
        spelt = Texts(known, ends, np.frombuffer(b"".join(kept), np.uint8))
        return Column(name, kind, hashes.view(np.int64), None, nulls, spelt)
    if kind == "idvalue":
        pairs = [(0, 0.0) if cell is None else _pair(cell) for cell in cells]
        ids, values = np.array([p[0] for p in pairs], np.int32), np.array([p[1] for p in pairs], np.float32)
        return Column(name, kind, ids, values, nulls)
    dtype = {"boolean": np.int32, "int32": np.int32, "int64": np.int64, "float32": np.float32, "date": np.int32}
    numbers = [0 if cell is None else _number(kind, cell) for cell in cells]
    other = np.float64 if kind in ("float64", "interval") else np.int64
    return Column(name, kind, np.array(numbers, dtype.get(kind, other)), None, nulls)


def _text(name: str, cell: str) -> str:
    return {"code": cell.rstrip(" "), "tag": cell.lower()}.get(name, cell)


def _pair(cell: str) -> tuple[int, float]:
    number, _, value = cell.partition(":")
    return int(number), float(value)


def _number(kind: str, cell: Any) -> Any:
    micro = datetime.timedelta(microseconds=1)
    if kind == "date":
        return (cell - EPOCH.date()).days
    if kind == "timestamp":
        return (cell.replace(tzinfo=datetime.UTC) - EPOCH) // micro
    if kind == "time":
        return ((cell.hour * 60 + cell.minute) * 60 + cell.second) * 10**6 + cell.microsecond
    if kind == "interval":
        return cell.total_seconds()
    return cell


def make_model(
    columns: Columns,
    task: Task = "binary",
    widths: Sequence[int] = (32, 16),
    seed: int = 0,
    fitting: Fitting | None = None,
    classes: Sequence[str] | None = None,
) -> Model:
    """A network of random weights whose encoder is fitted on ``columns``; its outputs differ from row to row."""
    random = np.random.default_rng(seed)
    encoder = Encoder.fit(columns, fitting)
    known = {"binary": ("no", "yes"), "multiclass": ("one", "zwei", "三"), "regression": ()}[task]
    target = Target("y", "text", task, np.empty(0), tuple(classes or known), 5.0, 3.0)
    sizes = [encoder.fields * 6, *widths, target.outputs]
    layers = tuple(
        ((random.normal(size=pair) / pair[0] ** 0.5).astype(np.float32), random.normal(size=pair[1]).astype(np.float32))
        for pair in pairwise(sizes)
    )
    embedding = random.normal(size=(encoder.ids, 6)).astype(np.float32)
    architecture = "-".join(map(str, widths))
    return Model.of_layers(architecture, target, encoder, embedding, layers, {"auc": 0.5}, {"rows": columns.rows})


def store(
    connection: Any,
    name: str,
    model: Model,
    version: int = 1,
    state: str = "candidate",
    source: str | None = "public.things",
    weights: bytes | None = None,
) -> None:
    """A row of the registry that belongs to the connection's role; ``weights`` in place of the model's own.

    Only superusers can write one by hand.
    """
    blob = model.to_bytes()
    ((owner, may),) = query(
        connection, "SELECT current_user::text, rolsuper FROM pg_roles WHERE rolname = current_user"
    )
    if not may:
        info = connection.info
        connection = psycopg2.connect(host=info.host, port=info.port, dbname=info.dbname, user="postgres")
        connection.autocommit = True
    query(
        connection,
        "INSERT INTO trails.models (owner, name, version, state, task, architecture, source, relation, target, columns,"
        " classes, encoder, metrics, digest, weights, deployed) VALUES"
        " (quote_ident(%s)::regrole, %s, %s, %s, %s, %s, %s, trails.relation_identity(to_regclass(%s)), %s, %s, %s,"
        " '[]', '{}', %s, %s, CASE WHEN %s = 'deployed' THEN clock_timestamp() END)",
        owner,
        name,
        version,
        state,
        model.target.task,
        model.architecture,
        source,
        source,
        model.target.name,
        json.dumps(dict(model.encoder.columns)),
        list(model.target.classes) or None,
        digest(blob),
        blob if weights is None else weights,
        state,
    )
    if not may:
        connection.close()


def torch_embedded(model: Model, columns: Columns) -> torch.Tensor:
    """The fields' vectors as torch looks them up, float32 (rows, fields, embedding)."""
    encoded = model.encoder.transform(columns)
    ids, table = torch.from_numpy(encoded.ids), torch.from_numpy(model.embedding)
    row = torch.nn.functional.embedding(ids, table)
    if encoded.shares is not None:
        shares = torch.from_numpy(encoded.shares)
        row = torch.lerp(row, torch.nn.functional.embedding(ids + (shares > 0), table), shares.unsqueeze(2))
    if encoded.values is not None:
        row = row * torch.from_numpy(encoded.values).unsqueeze(2)
    return row


def torch_outputs(model: Model, columns: Columns) -> NDArray[np.float32]:
    """What torch computes with the model's weights, float32 (rows, outputs)."""
    row = torch_embedded(model, columns).flatten(1)
    for operation in model.operations:  # of a plain network: each reads the one before
        match operation:
            case Linear(_, weight, bias):
                row = row @ torch.from_numpy(weight) + torch.from_numpy(bias)
            case Relu():
                row = torch.relu(row)
    found: NDArray[np.float32] = row.numpy()
    return found


def expected(model: Model, columns: Columns) -> list[tuple[str | None, float, list[float] | None]]:
    """Prediction, score and probabilities of every row; of a regression the text is None, because its digits differ."""
    outputs = torch.from_numpy(torch_outputs(model, columns)).double()
    task, classes = model.target.task, model.target.classes
    if task == "regression":
        return [(None, value, None) for value in (outputs[:, 0] * model.target.std + model.target.mean).tolist()]
    if task == "binary":
        outputs = torch.cat([torch.zeros_like(outputs), outputs], 1)
    shares = torch.softmax(outputs, 1)
    best = shares.argmax(1).tolist()
    score = [row[1] if task == "binary" else row[place] for row, place in zip(shares.tolist(), best, strict=True)]
    return [(classes[place], value, row) for place, value, row in zip(best, score, shares.tolist(), strict=True)]
