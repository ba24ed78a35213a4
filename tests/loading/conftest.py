"""A server without the extension, a database per test, and datasets that the tests write themselves."""

from __future__ import annotations

import gzip
import itertools
import lzma
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tools.server import QUICK, Server, default_pg_config
from trails.loading.fields import Fields

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "sql" / "load" / "load_data_to_db.sh"
NAMES = itertools.count(1)
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".xz": lzma.compress, ".gz": gzip.compress}

# Made up, in the shape of Frappe: its fields and id ranges, none of its rows.
FRAPPE_FIELDS = Fields.consecutive(
    ("user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city"),
    (957, 4082, 7, 7, 2, 3, 2, 9, 80, 233),
)
FRAPPE_LINES = (
    "0 111:1 1022:1 5041:1 5048:1 5054:1 5056:1 5059:1 5061:1 5079:1 5201:1",
    "1 22:1 3333:1 5044:1 5050:1 5053:1 5057:1 5058:1 5065:1 5101:1 5381:1",
    "1 956:1 957:1 5039:1 5052:1 5053:1 5055:1 5058:1 5060:1 5069:1 5149:1",
)


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither this machine's data nor its settings reach a test."""
    for name in [n for n in os.environ if n.startswith(("PG", "TRAILS_"))]:
        if name != "PG_CONFIG":
            monkeypatch.delenv(name)
    monkeypatch.setenv("TRAILS_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def plain_server() -> Iterator[Server]:
    with Server(default_pg_config(), parameters=QUICK) as server:
        yield server


@dataclass
class Database:
    """A database of its own for one test."""

    uri: str
    bin: Path

    def connect(self) -> Any:
        return psycopg2.connect(self.uri)

    def sql(self, statement: str, arguments: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        connection = self.connect()
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, arguments or None)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def script(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the shell script, with the psql of the server's version."""
        environment = os.environ | {"PATH": f"{self.bin}:{os.environ['PATH']}", "TRAILS_DSN": self.uri}
        command = [str(SCRIPT), *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def structure(self, schema: str = "public") -> list[tuple[Any, ...]]:
        """Every table's columns, keys and constraints, as a list that two loaders must agree on."""
        return self.sql(
            """select c.relname, c.relkind::text, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod),
                      a.attnotnull, pg_get_indexdef(i.indexrelid, 1, true), i.indisprimary, x.relname,
                      array(select conname::text from pg_constraint o where o.conrelid = c.oid order by 1)
               from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
               left join pg_index i on i.indrelid = c.oid left join pg_class x on x.oid = i.indexrelid
               where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'v') order by 1, 4, 9""",
            (f'"{schema}"',),
        )


@pytest.fixture
def database(plain_server: Server) -> Iterator[Database]:
    name = f"loading_{next(NAMES)}"
    plain_server.create_database(name, extension=False)
    binaries = subprocess.run(
        [str(plain_server.pg_config), "--bindir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    yield Database(plain_server.uri(name), Path(binaries))
    plain_server.drop_database(name)


def write_dataset(
    folder: Path,
    lines: Sequence[str] = FRAPPE_LINES,
    fields: Fields | None = FRAPPE_FIELDS,
    **splits: Sequence[str],
) -> Path:
    """Write a dataset's folder: ``lines`` for each split that ``splits`` does not give."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "valid", "test"):
        text = "".join(f"{line}\n" for line in splits.get(split, lines))
        (folder / f"{split}.libsvm").write_bytes(text.encode("utf-8", "surrogateescape"))
    if fields is not None:
        (folder / "fields.tsv").write_text(fields.to_tsv())
    return folder


def made_lines(fields: Fields, rows: int, seed: int = 1) -> list[str]:
    """Random well-formed lines."""
    import numpy as np

    assert fields.first_ids is not None and fields.sizes is not None
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows)
    ids = np.array(fields.first_ids) + random.integers(0, fields.sizes, (rows, len(fields)))
    return [
        " ".join([str(y), *(f"{i}:1" for i in line)]) for y, line in zip(labels.tolist(), ids.tolist(), strict=True)
    ]
