"""What the sessions of a soak do, and which errors each of it may provoke."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import psutil
import psycopg2

MODELS = ("a", "b", "c", "d")
DROPPED = "d"
"""All versions of it are dropped now and then; of the others there is always one to predict with."""

KEPT_VERSIONS, KEPT_RUNS = 4, 20

# Of a run: a budget that is too small on a crowded machine, a stop or cancel, a process that was killed.
RUN = frozenset({"53400", "57014", "38000"})
GONE = frozenset({"42704"})  # somebody has dropped the model in between


class Client(Protocol):
    """What an action sees of its session."""

    random: random.Random
    role: str

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]: ...
    def connect(self) -> Any: ...
    def reconnect(self) -> None: ...
    def postmaster(self) -> int: ...
    def told(self, what: str) -> None: ...
    def wrong(self, what: str) -> None: ...


@dataclass(frozen=True)
class Action:
    """Something that a session does.

    Args:
        weight: How often, beside the others'.
        work: Does it once.
        provokes: SQLSTATEs that it may end with.
        cuts: Whether it may lose its connection.
        trains: Whether it takes seconds and a process: of these only a few at once are begun.
    """

    weight: int
    work: Callable[[Client], None]
    provokes: frozenset[str] = frozenset()
    cuts: bool = False
    trains: bool = False


def _selection(client: Client, function: str = "* FROM trails.model_selection", least: float = 20.0) -> str:
    """One whose work is fixed: the budget, between `least` and twice that, is what a crowded machine may take."""
    draw = client.random
    name = f"'{draw.choice(MODELS)}'" if draw.random() < 0.6 else "NULL"
    held_out = draw.choice(["validation => 'public.soak_valid'", "time_by => 'day'", "group_by => 'shop'"])
    return (
        f"SELECT {function}('public.soak', 'label', '{draw.uniform(least, least * 2):.1f} s', {held_out}, n => 200,"
        f" k => {draw.randint(1, 3)}, u => 1, seed => {draw.randint(1, 9)}, name => {name})"
    )


def select(client: Client) -> None:
    client.query(_selection(client))


def select_with_next_to_no_time(client: Client) -> None:
    client.query(_selection(client, least=2.0))


def filter_only(client: Client) -> None:
    metric = client.random.choice(["expressflow", "naswot", "synflow"])
    client.query(f"SELECT count(*) FROM trails.filtering_phase('soak', 'label', n => 200, tfmem => '{metric}')")


def predict_the_same(client: Client) -> None:
    """The scores of a model that nobody touches are what they were."""
    ((same,),) = client.query(
        "SELECT (SELECT sum(score) FROM trails.predict('postgres/fixed', 'soak_valid')) = e.total FROM soak_expected e"
    )
    if same is not True:
        client.wrong("the scores of a model that nobody touches have changed")


def predict_rows(client: Client) -> None:
    name = client.random.choice(MODELS)
    client.query(
        f"SELECT trails.predict('{name}', t), trails.predict_score('{name}', t), "
        f"trails.predict_probabilities('{name}', t) FROM soak_valid t LIMIT {client.random.randint(1, 200)}"
    )


def judge(client: Client) -> None:
    name = client.random.choice(MODELS)
    call = client.random.choice(["evaluate", "confusion_matrix", "threshold_curve", "drift"])
    client.query(f"SELECT count(*) FROM trails.{call}('{name}', 'soak_valid')")


def explain(client: Client) -> None:
    name = client.random.choice(MODELS)
    client.query(f"SELECT count(*) FROM trails.explain('{name}', 'soak_valid', keys => '{{3001,3002}}')")
    client.query(f"SELECT count(*) FROM trails.feature_importance('{name}', 'soak_valid', budget => '1 s')")


def look(client: Client) -> None:
    client.query("SELECT * FROM trails.progress")
    client.query("SELECT * FROM trails.live_trials")
    client.query("SELECT * FROM trails.background_runs")
    for (run,) in client.query("SELECT run_id FROM trails.runs ORDER BY run_id DESC LIMIT 1"):
        client.query("SELECT * FROM trails.leaderboard(%s)", run)


def deploy(client: Client) -> None:
    client.query(f"SELECT * FROM trails.deploy('{client.random.choice(MODELS)}')")


def roll_back(client: Client) -> None:
    client.query(f"SELECT * FROM trails.rollback('{client.random.choice(MODELS)}')")


def retrain(client: Client) -> None:
    client.query(f"SELECT * FROM trails.retrain('{client.random.choice(MODELS)}', budget => '15 s')")


def tidy(client: Client) -> None:
    """Old versions and runs go, so that the database stays as large as it is."""
    old = client.query(
        "SELECT name || '@' || version FROM (SELECT name, version, state, row_number() OVER ("
        "PARTITION BY name ORDER BY version DESC) AS place FROM trails.models WHERE owner = current_user::regrole) m"
        f" WHERE place > {KEPT_VERSIONS} AND state <> 'deployed'"
    )
    for (model,) in old:
        client.query("SELECT trails.drop_model(%s)", model)
    client.query(f"SELECT trails.purge_runs('0 s', keep => {KEPT_RUNS}, with_models => true)")


def drop_all(client: Client) -> None:
    client.query(f"SELECT trails.drop_model('{DROPPED}', all_versions => true)")


def submit(client: Client) -> None:
    """A run in the background that is waited for, stopped, cancelled, withdrawn or left alone."""
    ((run,),) = client.query(_selection(client, "trails.submit"))
    then = client.random.choice(["wait", "stop", "cancel", "withdraw", "leave"])
    time.sleep(client.random.uniform(0.0, 4.0))
    if then == "wait":
        client.query(f"SELECT trails.wait({run}, '10 s')")
    elif then != "leave":
        client.query(f"SELECT trails.{then}({run})")


def stop_one(client: Client) -> None:
    """Whatever runs as the same role, in another session or in the background; seldom, too."""
    if client.random.random() < 0.7:
        return
    client.query(
        "SELECT trails.stop(run_id) FROM trails.progress WHERE database = current_database() "
        "AND run_id IS NOT NULL AND role = current_user LIMIT 1"
    )


def _run_until(client: Client, session: Any, seconds: float, ended: Callable[[], object]) -> None:
    """A selection that something ends after so many seconds, unless it is over by then."""
    timer = threading.Timer(seconds, ended)
    timer.start()
    try:
        _run(session, _selection(client))
    finally:
        timer.cancel()
        timer.join()


def cancel(client: Client) -> None:
    with contextlib.closing(client.connect()) as session:
        _run_until(client, session, client.random.uniform(0.0, 5.0), session.cancel)


def go_away(client: Client) -> None:
    """A client that vanishes without a word while its statement runs."""
    with contextlib.closing(client.connect()) as session:
        end = socket.socket(fileno=os.dup(session.fileno()))
        with contextlib.closing(end):
            _run_until(client, session, client.random.uniform(0.0, 5.0), lambda: end.shutdown(socket.SHUT_RDWR))


def terminate(client: Client) -> None:
    with contextlib.closing(client.connect()) as session:
        after, backend = client.random.uniform(0.5, 5.0), session.info.backend_pid

        def end() -> None:
            with contextlib.closing(client.connect()) as other, contextlib.suppress(psycopg2.Error):
                _run(other, "SELECT pg_terminate_backend(%s)", backend)

        _run_until(client, session, after, end)


def kill(client: Client) -> None:
    """Kills a refinement process, whoever's it is; seldom, or none would live to its end."""
    found = refinement_processes(client.postmaster())
    if found and client.random.random() < 0.2:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            os.kill(client.random.choice(found).pid, signal.SIGKILL)
            client.told("killed")


def reconnect(client: Client) -> None:
    client.reconnect()


def _run(session: Any, statement: str, *values: Any) -> None:
    with session.cursor() as cursor:
        cursor.execute(statement, values or None)


def refinement_processes(postmaster: int) -> list[psutil.Process]:
    """The processes that train for a server, in the order of their numbers."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(postmaster).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "trails.refinement.child" in process.cmdline():
                    found.append(process)
    return sorted(found, key=lambda process: process.pid)


ACTIONS = {
    "select": Action(8, select, RUN, trains=True),
    "select in 2 s": Action(2, select_with_next_to_no_time, RUN, trains=True),
    "filter": Action(4, filter_only),
    "predict the same": Action(20, predict_the_same),
    "predict rows": Action(20, predict_rows, GONE),
    "judge": Action(12, judge, GONE),
    "explain": Action(6, explain, GONE),
    "look": Action(20, look, GONE),
    "deploy": Action(8, deploy, GONE),
    "roll back": Action(6, roll_back, GONE | {"55000"}),
    # Its run may have been purged.
    "retrain": Action(1, retrain, RUN | GONE | {"55000"}, trains=True),
    "tidy": Action(6, tidy, GONE),
    "drop": Action(1, drop_all, GONE),
    # What is ended may have ended by itself, or be about to begin.
    "submit": Action(2, submit, frozenset({"55000", "42704", "53400"})),
    "stop": Action(1, stop_one, frozenset({"55000", "42704"})),
    "cancel": Action(2, cancel, RUN, trains=True),
    "go away": Action(1, go_away, RUN, cuts=True, trains=True),
    "terminate": Action(1, terminate, RUN | {"57P01"}, cuts=True, trains=True),
    "kill": Action(1, kill),
    "reconnect": Action(3, reconnect),
}
"""By name. Reading is soon over; of what trains, only a few are begun at once."""
