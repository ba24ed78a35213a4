"""The sessions of a soak: each draws what it does next, does it, and says what became of it."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from tools.server import DATABASE, Server, ServerError
from tools.soak.actions import ACTIONS, MODELS, Action

ROLES = 4
TRAIN_AT_ONCE = 2
"""In the foreground: more would take each other's budgets, and come to nothing."""

STATEMENT_SECONDS = 300
"""Whatever takes longer than this has hung; its error is one that nobody provoked."""

_SETTINGS = (
    f"SET statement_timeout = '{STATEMENT_SECONDS}s'; SET trails.progress = 'off'; "
    "SET trails.refinement_threads = 1; SET trails.filtering_threads = 1; SET trails.model_cache_size = '8MB'"
)
"""The cache is full soon, so that what grows after that is no cache."""

_TABLE = """
CREATE TABLE {} AS
SELECT i AS id, ((mod(i * 7919, 13) + mod(i * 104729, 7)) IN (2, 3, 4, 7, 8, 12, 13))::int AS label,
       'colour ' || mod(i * 7919, 13) AS colour, mod(i * 104729, 7) AS shape, mod(i * 31, 101)::float8 AS noise,
       mod(i, 17) AS shop, date '2024-01-01' + i / 20 AS day
FROM generate_series({}, {}) i
"""


@dataclass
class Tally:
    """What became of all actions: how often each was done, or ended with which error, and what nobody provoked.

    Of each provoked error the first is kept whole.
    """

    done: Counter[str] = field(default_factory=Counter)
    provoked: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    instances: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    over: bool = False
    training: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(TRAIN_AT_ONCE))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, counter: Counter[str], what: str) -> None:
        with self._lock:
            counter[what] += 1

    def blame(self, what: str) -> None:
        with self._lock:
            self.wrong.append(what)


def prepare(server: Server) -> None:
    """The tables, the roles, and a model of the superuser's that stays what it is."""
    for name, first, last in (("soak", 1, 3000), ("soak_valid", 3001, 4000)):
        server.sql(DATABASE, _TABLE.format(name, first, last))
        server.sql(DATABASE, f"ALTER TABLE {name} ADD PRIMARY KEY (id)")
    roles = ", ".join(role_of(number) for number in range(ROLES))
    server.sql(DATABASE, "".join(f"CREATE ROLE {role_of(number)} LOGIN; " for number in range(ROLES)))
    server.sql(
        DATABASE,
        "SELECT * FROM trails.model_selection('soak', 'label', '60 s', validation => 'soak_valid', n => 200, k => 2,"
        " u => 1, name => 'fixed')",
    )
    server.sql(DATABASE, "SELECT trails.deploy('fixed'), trails.grant_model('fixed', 'public')")
    server.sql(
        DATABASE, "CREATE TABLE soak_expected AS SELECT sum(score) AS total FROM trails.predict('fixed', 'soak_valid')"
    )
    for role in roles.split(", "):  # what each begins with: two versions of every name, so that there is a way back
        for name in MODELS:
            for _ in range(2):
                copied = "trails.import_model(%s, trails.export_model('fixed'), source => 'soak', deploy => true)"
                server.sql(DATABASE, f"SELECT {copied}", name)
        server.sql(
            DATABASE, f"UPDATE trails.models SET owner = '{role}' WHERE name <> 'fixed' AND owner = 'postgres'::regrole"
        )
    server.sql(DATABASE, f"GRANT trails_user TO {roles}")
    server.sql(DATABASE, f"GRANT SELECT ON soak, soak_valid, soak_expected TO {roles}")


def role_of(number: int) -> str:
    """Sessions share roles, and with them models, two by two if there are eight."""
    return f"soaker_{number % ROLES}"


def wind_down(server: Server, tally: Tally) -> None:
    """Cancels what runs and what waits; a cancel that comes late may hit what a session does next."""
    tally.over = True
    for view in ("trails.background_runs WHERE state", "trails.progress WHERE phase"):
        runs = f"SELECT run_id FROM {view} NOT IN ('complete', 'best so far', 'failed', 'cancelled')"
        for (run,) in server.sql(DATABASE, f"{runs} AND run_id IS NOT NULL"):
            with contextlib.suppress(ServerError):  # it has ended, or is about to begin
                server.sql(DATABASE, "SELECT trails.cancel(%s)", run)


class Session:
    """One session in a thread of its own; see `tools.soak.actions.Client`.

    Args:
        number: From 0. Even ones keep their connection for the whole time, so that its backend's memory can be watched.
    """

    def __init__(self, server: Server, number: int, seed: int, tally: Tally) -> None:
        self.number, self.role = number, role_of(number)
        self.random = random.Random(f"{seed}/{number}")
        self._server, self._tally, self._until = server, tally, 0.0
        self._connection = self.connect()
        self.doing = ""
        self.thread = threading.Thread(target=self._run, name=f"soak-{number}", daemon=True)

    @property
    def stays(self) -> bool:
        return self.number % 2 == 0

    @property
    def backend(self) -> int:
        return int(self._connection.info.backend_pid)

    def connect(self) -> Any:
        connection = psycopg2.connect(**self._server.socket_parameters(DATABASE, self.role))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(_SETTINGS)
        return connection

    def reconnect(self) -> None:
        self._connection.close()
        self._connection = self.connect()

    def start(self, until: float) -> None:
        """Begins, and begins nothing new from `until` on, of `time.monotonic()`."""
        self._until = until
        self.thread.start()

    def close(self) -> None:
        with contextlib.suppress(psycopg2.Error):
            self._connection.close()

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        del self._connection.notices[:]
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def postmaster(self) -> int:
        return int((self._server.data_dir / "postmaster.pid").read_text().splitlines()[0])

    def told(self, what: str) -> None:
        self._tally.count(self._tally.told, what)

    def wrong(self, what: str) -> None:
        self._tally.blame(f"{self.doing}: {what}")

    def warm_up(self) -> None:
        """Has the backend load what it will need, so that memory is seen to grow only by what it does."""
        self.query("SELECT count(*) FROM trails.filtering_phase('soak', 'label', n => 200)")
        for call in ("predict('postgres/fixed', 'soak_valid')", "evaluate('postgres/fixed', 'soak_valid')",
                     "explain('postgres/fixed', 'soak_valid', keys => '{3001}')"):  # fmt: skip
            self.query(f"SELECT count(*) FROM trails.{call}")

    def _run(self) -> None:
        names = [name for name in ACTIONS if name != "reconnect" or not self.stays]
        weights = [ACTIONS[name].weight for name in names]
        while time.monotonic() < self._until:
            (self.doing,) = self.random.choices(names, weights)
            action = ACTIONS[self.doing]
            if action.trains and not self._tally.training.acquire(blocking=False):
                continue
            try:
                action.work(self)
                self._tally.count(self._tally.done, self.doing)
            except psycopg2.Error as error:
                self._judge(error, action)
            except Exception as error:
                self.wrong(f"{type(error).__name__}: {error}")
            finally:
                if action.trains:
                    self._tally.training.release()
            if self._connection.closed:
                self.wrong("the session was lost")
                with contextlib.suppress(psycopg2.Error):
                    self._connection = self.connect()
                time.sleep(1.0)

    def _judge(self, error: psycopg2.Error, action: Action) -> None:
        code, message = error.pgcode, str(error).strip()
        # A timeout has the code of a cancel, and nobody asked for it; a refinement process fails when it is killed.
        provoked = action.provokes | {"57014"} if self._tally.over else action.provokes
        expected = code in provoked and "statement timeout" not in message
        if code == "38000":
            expected = expected and "killed (signal 9)" in message
        if expected or (code is None and action.cuts):
            what = f"{self.doing}: {code or 'connection lost'}"
            self._tally.count(self._tally.provoked, what)
            self._tally.instances.setdefault(what, message)
        else:
            self.wrong(f"{code} {message}")
