"""Runs and models to look at, made once; dashboards of roles; Chromium."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.dashboard.site import Site
from tools.server import Server

_numbers = itertools.count(1)

ODD = 'we"ird <script>alert(1)</script> \u202e🦉'
ODD_MODEL = '<img src=x onerror=alert(1)> "q" & 🦉' + "long" * 30

ROWS = """
SELECT i AS id, (ARRAY['home', 'search', 'product', 'basket'])[1 + mod(i * 7919, 4)] AS page, mod(i * 31, 24) AS hour,
    (10 + mod(i * 104729, 97))::float8 AS seconds,
    mod(i * 7919, 4) * 20 + mod(i * 104729, 97) + mod(i * 613, 41) > 105 AS bought
FROM generate_series({}, {}) i
"""


@dataclass
class Database:
    """A database with the extension."""

    server: Server
    name: str

    def dsn(self, role: str = "postgres") -> str:
        """Of a role, over the socket."""
        return " ".join(f"{key}={value}" for key, value in self.server.socket_parameters(self.name, role).items())

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a superuser's statement."""
        return self.server.sql(self.name, statement, *values)


@pytest.fixture(scope="session")
def shop(pg: Server) -> Iterator[Database]:
    """Two selections that were really made, one of a table with odd names; `buyers` has two versions.

    For tests that only read: the next one finds what this one leaves.
    """
    made = Database(pg, f"shop_{os.getpid()}")
    pg.create_database(made.name)
    made.sql(f"CREATE TABLE visits AS {ROWS.format(1, 3000)}")
    made.sql(f"CREATE TABLE later AS {ROWS.format(3001, 4000)}")
    made.sql(
        f"""CREATE TABLE {_quoted(ODD)} AS SELECT i AS id, mod(i * 7, 11) AS a, mod(i * 5, 13) AS "b<b>",
            (ARRAY['<script>', 'it''s & "x"', '🦉'])[1 + mod(i * 7, 11) / 4] AS "tar<get>"
        FROM generate_series(1, 2000) i"""
    )
    made.sql(
        "SELECT 1 FROM trails.model_selection('visits', 'bought', '60 s', k => 4, u => 1, name => 'buyers', "
        "validation => 'later', features => ARRAY['page', 'hour', 'seconds'])"
    )
    made.sql(
        "SELECT 1 FROM trails.model_selection(pg_catalog.quote_ident(%s)::regclass, 'tar<get>', '60 s', k => 2, "
        "u => 1, name => %s)",
        ODD,
        ODD_MODEL,
    )
    made.sql("SELECT trails.import_model('buyers', trails.export_model('buyers@1'), 'visits')")
    made.sql("SELECT 1 FROM trails.deploy('buyers@1', 0.4)")
    yield made
    pg.drop_database(made.name)


@pytest.fixture
def bare(pg: Server) -> Iterator[Database]:
    """A fresh database with the extension and nothing else."""
    made = Database(pg, f"bare_{os.getpid()}_{next(_numbers)}")
    pg.create_database(made.name)
    yield made
    pg.drop_database(made.name)


@pytest.fixture
def role(pg: Server) -> Iterator[Callable[..., str]]:
    """Makes roles that may log in; with whatever else CREATE ROLE is told. Dropped after the test."""
    made: list[tuple[Database, str]] = []

    def make(database: Database, more: str = "") -> str:
        name = f"dashboard_{os.getpid()}_{next(_numbers)}"
        pg.sql("postgres", f"CREATE ROLE {name} LOGIN {more}")
        made.append((database, name))
        return name

    yield make
    for database, name in made:
        database.sql(f"DROP OWNED BY {name} CASCADE")
        pg.sql("postgres", f"DROP ROLE {name}")


Start = Callable[..., Site]


@pytest.fixture
def start(role: Any) -> Iterator[Start]:
    """Starts dashboards that end with the test, before the roles that they have are dropped."""
    sites: list[Site] = []

    def one(*arguments: str, dsn: str | None, **options: Any) -> Site:
        sites.append(Site(*arguments, dsn=dsn, **options))
        return sites[-1]

    yield one
    for site in sites:
        site.stop()


@pytest.fixture(scope="session")
def site(shop: Database) -> Iterator[Site]:
    """The superuser's dashboard of `shop`."""
    made = Site(dsn=shop.dsn())
    yield made
    made.stop()
    assert "Traceback" not in made.log, made.log


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium as Debian packs it; nothing is fetched."""
    where = shutil.which("chromium")
    if where is None:
        reason = "Chromium is missing: apt-get install chromium (tools/setup.sh does so as root)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Root has no user namespaces of Chromium's sandbox.
        launched = playwright.chromium.launch(executable_path=where, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield launched
        launched.close()


def make_watchable(database: Database) -> None:
    """Tables in place of the views of runs at work, with their columns, and functions that write down what they do."""
    for kind, name in (("VIEW", "live_trials"), ("VIEW", "progress"), ("FUNCTION", "stop"), ("FUNCTION", "cancel")):
        whole = f"trails.{name}" if kind == "VIEW" else f"trails.{name}(bigint)"
        known = "to_regclass" if kind == "VIEW" else "to_regprocedure"
        if database.sql(f"SELECT {known}(%s) IS NOT NULL", whole)[0][0]:
            database.sql(f"ALTER EXTENSION trails DROP {kind} {whole}")
            database.sql(f"DROP {kind} {whole} CASCADE")
    database.sql(
        """CREATE TABLE trails.progress (pid integer, run_id bigint, function text, database name, role name,
            source text, model text, phase text, started timestamptz, elapsed interval, budget interval,
            percent double precision, remaining interval, scored bigint,
            candidates integer, k integer, u integer, rung integer, epochs bigint,
            metric text, best_architecture text, best_metric double precision, stopping boolean);
        CREATE TABLE trails.live_trials (pid integer, run_id bigint, place bigint, architecture text, rung integer,
            epoch integer, train_loss double precision, validation_loss double precision,
            validation_metric double precision, seconds double precision, at timestamptz);
        CREATE TABLE trails.done (action text, run bigint);
        CREATE FUNCTION trails.stop(run bigint) RETURNS boolean LANGUAGE sql AS
            $$ WITH asked AS (
                UPDATE trails.progress SET stopping = true WHERE run_id = run AND NOT stopping RETURNING run_id
            ) SELECT EXISTS (SELECT FROM asked) $$;
        GRANT SELECT ON trails.progress, trails.live_trials TO trails_user"""
    )


def begin_run(
    database: Database, run_id: int, source: str = "visits", metric: str | None = "auc", pid: int = 1
) -> None:
    """A run at work, of `make_watchable`'s. Of the process 1 it is one of this database, of others elsewhere."""
    database.sql(
        """INSERT INTO trails.progress VALUES (%s, %s, 'model_selection', CASE %s WHEN 1 THEN current_database()
            ELSE 'elsewhere' END, 'postgres', %s, NULL,
            'rung 0', now(), '3 s', '20 s', 15, '17 s', 160000, 1000, 8, 2, 0, 0, %s, NULL, NULL, false)""",
        pid,
        run_id,
        pid,
        source,
        metric,
    )


def epoch_ends(
    database: Database, run_id: int, place: int, architecture: str, epoch: int, metric: float, pid: int = 1
) -> None:
    """One more event of a run at work."""
    database.sql(
        "INSERT INTO trails.live_trials VALUES (%s, %s, %s, %s, 0, %s, 0.5, 0.5, %s, 0.1, clock_timestamp())",
        pid,
        run_id,
        place,
        architecture,
        epoch,
        metric,
    )


def submitted(database: Database, run_id: int, state: str, message: str | None = None) -> None:
    """A run in the background, as ``trails.submit`` and the workers write it."""
    database.sql(
        """INSERT INTO trails.jobs (run_id, owner, source, target, budget, request, settings, state, finished, sqlstate,
            message, detail, hint)
        VALUES (%s, trails.caller(), 'public.visits', 'bought', '20 s', '{}', '{}', %s,
            CASE %s WHEN 'queued' THEN NULL ELSE now() END, CASE WHEN %s IS NOT NULL THEN '22023' END, %s,
            CASE WHEN %s IS NOT NULL THEN 'A row is odd.' END, CASE WHEN %s IS NOT NULL THEN 'Leave it out.' END)""",
        run_id, state, state, message, message, message, message,
    )  # fmt: skip


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
