"""A database for each document, with what its examples name: datasets, a role, a run that was cut."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.docs.blocks import ROOT, Block, statements, with_short_budgets
from tools.server import Server

ROLE = "analyst"
LONGEST_STATEMENT = "120 s"
MAKE_EXTENSION = "CREATE EXTENSION trails"

# The fields of the datasets that documents name; few rows of a label that follows from two of them.
_FIELDS = {
    "frappe": "user_id item daytime weekday isweekend homework cost weather country city",
    "uci_diabetes": " ".join(f"col{place}" for place in range(1, 44)),
    "criteo": " ".join(f"col{place}" for place in range(1, 40)),
}
_PARTS = {"train": 2000, "valid": 600, "test": 600}

# A run with a second rung that no budget holds, so that it is cut and has a checkpoint.
CUT_RUN = """
SELECT * FROM trails.refinement_phase('{table}', 'label', ARRAY['64-64-64-64', '64-32-64-32'], u => 1, budget => '8 s',
    options => '{{"eta": 1000, "max_epochs": 10000, "patience": 10000}}')
"""


@dataclass
class Reader:
    """Somebody who reads a document and runs its examples in their order."""

    pg: Server
    database: str
    text: str
    config: Path
    sessions: dict[str, Any] = field(default_factory=dict)
    extension_made: bool = True

    def prepare(self) -> None:
        """Make what the document takes for granted: the extension too, unless it begins with making that."""
        first = re.search(r"^```sql\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)
        if first is not None and MAKE_EXTENSION in first[1]:
            self.run("DROP EXTENSION trails")
            self.extension_made = False
        for dataset, columns in _FIELDS.items():
            if f"{dataset}_" in self.text or f"'{dataset}'" in self.text:
                for part, rows in _PARTS.items():
                    self.run(_table(f"{dataset}_{part}", columns.split(), rows))
                    self.run(f"ALTER TABLE {dataset}_{part} ADD PRIMARY KEY (id)")
        if ROLE in self.text and f"CREATE ROLE {ROLE}" not in self.text:
            self.run(f"CREATE ROLE {ROLE} LOGIN")

    def run(self, statement: str, role: str = "postgres") -> None:
        """Run one statement in the role's session, and fetch what it returns."""
        with self.session(role).cursor() as cursor:
            cursor.execute(statement)
            if cursor.description:
                cursor.fetchall()

    def session(self, role: str) -> Any:
        if role not in self.sessions:
            connection = psycopg2.connect(**self.pg.socket_parameters(self.database, role))
            connection.autocommit = True
            self.sessions[role] = connection
            self.run(f"SET statement_timeout = '{LONGEST_STATEMENT}'", role)
        return self.sessions[role]

    def try_out(self, block: Block) -> None:
        """Run a block, or fail with its place and what PostgreSQL says."""
        if block.skip is not None:
            return
        for statement in statements(with_short_budgets(self._filled_in(block.text))):
            self._before(statement)
            if self.extension_made:
                statement = statement.replace(MAKE_EXTENSION, "CREATE EXTENSION IF NOT EXISTS trails")
            try:
                self.run(statement, block.role or "postgres")
            except psycopg2.Error as error:
                if error.pgcode != block.error:
                    pytest.fail(f"{block.place}: {statement}\n{error.pgcode}: {error}", pytrace=False)
            else:
                if block.error is not None:
                    pytest.fail(f"{block.place}: no error {block.error}: {statement}", pytrace=False)

    def _filled_in(self, text: str) -> str:
        """With the paths of this server where a document has a placeholder."""
        return text.replace("/path/to/environment", str(self.pg.virtualenv)).replace(
            "/path/to/config.ini", str(self.config)
        )

    def _before(self, statement: str) -> None:
        if (number := re.search(r"trails\.resume\(([0-9]+)", statement)) is not None:
            self._cut_run(int(number[1]))

    def _cut_run(self, number: int) -> None:
        """A run of that number that can be resumed, unless the document has made one."""
        with self.session("postgres").cursor() as cursor:
            cursor.execute("SELECT FROM trails.runs WHERE run_id = %s", (number,))
            if cursor.rowcount:
                return
        self.run(f"SELECT setval('trails.runs_run_id_seq', {number - 1})")
        self.run(CUT_RUN.format(table="frappe_train"))


def _table(name: str, columns: list[str], rows: int) -> str:
    fields = ", ".join(f"mod(i * {7919 + 2 * place}, {5 + place})::int AS {c}" for place, c in enumerate(columns))
    label = "(mod(i * 7919, 5) + mod(i * 7921, 6) > 4)::int"
    return f"CREATE TABLE {name} AS SELECT i::int AS id, {label} AS label, {fields} FROM generate_series(1, {rows}) i"


@pytest.fixture
def reader_of(pg: Server, database: str) -> Iterator[Callable[[Path], Reader]]:
    """Makes the reader of a document; roles and server settings that its examples made are gone after the test."""
    before = {role for (role,) in pg.sql("postgres", "SELECT rolname FROM pg_roles")}
    readers: list[Reader] = []
    with tempfile.TemporaryDirectory(prefix="trails-docs-") as folder:
        Path(folder).chmod(0o755)  # the server's user reads it
        config = Path(folder, "config.ini")
        shutil.copy(ROOT / "benchmarks" / "config" / "frappe.ini", config)
        config.chmod(0o644)

        def make(path: Path) -> Reader:
            reader = Reader(pg, database, path.read_text(), config)
            readers.append(reader)
            reader.prepare()
            return reader

        yield make
    for reader in readers:
        for session in reader.sessions.values():
            session.close()
    pg.sql("postgres", "ALTER SYSTEM RESET ALL")
    pg.sql("postgres", "SELECT pg_reload_conf()")
    pg.drop_database(database)
    for (role,) in pg.sql("postgres", "SELECT rolname FROM pg_roles"):
        if role not in before:
            pg.sql("postgres", f'DROP ROLE "{role}"')
