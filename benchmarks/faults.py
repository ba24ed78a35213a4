"""Cancelling a selection, and killing its refinement process, at random moments: how soon it ends, and with what."""

from __future__ import annotations

import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg2
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.database import loaded
from benchmarks.database import run as sql
from benchmarks.harness import Context, Document, Row

DATASETS = ("frappe", "uci_diabetes", "criteo")
_BUDGET = 10
_CANCELS, _KILLS = 100, 20
_PROMISE = 0.2
_STATEMENT = "SELECT * FROM trails.model_selection(%s::regclass, 'label', %s, validation => %s::regclass, seed => %s)"


def run(context: Context) -> None:
    """Do what is not recorded yet; each statement has a budget of 10 s and is disturbed within it."""
    cancels, kills = (8, 4) if context.quick else (_CANCELS, _KILLS)
    wanted = [("cancel", n) for n in range(cancels)] + [("kill", n) for n in range(kills)]
    missing = [(what, n) for what, n in wanted if not context.recorded(what=what, number=n)]
    if not missing:
        return
    assert context.dataset is not None
    with loaded(context, [context.dataset]) as witness:
        for what, number in missing:
            if number % 10 == 0:
                context.say(f"{context.dataset}: {what} {number}")
            moment = random.Random(f"{context.seed}/{what}/{number}").uniform(0.0, 0.9 * _BUDGET)
            context.record(
                {"what": what, "number": number, "moment": moment, **_disturb(witness, context, what, moment)}
            )


def _disturb(witness: Any, context: Context, what: str, moment: float) -> Row:
    info = witness.info
    session = psycopg2.connect(
        host=info.host, port=info.port, user=info.user, password=info.password, dbname=info.dbname
    )
    session.autocommit = True
    backend, outcome = session.info.backend_pid, {"ended": 0.0, "error": None, "rows": 0}

    def select() -> None:
        tables = f"{context.dataset}_train", f"{context.dataset}_valid"
        try:
            outcome["rows"] = len(sql(session, _STATEMENT, tables[0], f"{_BUDGET} s", tables[1], context.seed))
        except psycopg2.Error as error:
            outcome["error"] = error.pgcode
        outcome["ended"] = time.monotonic()

    thread = threading.Thread(target=select)
    thread.start()
    time.sleep(moment)
    children = _children(backend)
    asked = time.monotonic()
    if what == "cancel":
        sql(witness, "SELECT pg_cancel_backend(%s)", backend)
    else:
        for child in children:
            os.kill(child, signal.SIGKILL)
    thread.join()
    warned = any("WARNING" in notice for notice in session.notices)
    usable = sql(session, "SELECT 1") == [(1,)]
    session.close()
    up = sql(witness, "SELECT 1") == [(1,)]
    left = [child for child in children if Path(f"/proc/{child}/exe").exists()]
    return {
        "seconds_to_end": outcome["ended"] - asked,
        "error": outcome["error"],
        "rows": outcome["rows"],
        "warned": warned,
        "had_child": bool(children),
        "session_usable": usable,
        "server_up": up,
        "children_left": len(left),
    }


def _children(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def summarise(document: Document) -> list[str]:
    """Cancels within the promise; what kills led to."""
    cancels, kills = document.select(what="cancel"), document.select(what="kill")
    lines = []
    if cancels:
        seconds = sorted(row["seconds_to_end"] for row in cancels)
        within = sum(second <= _PROMISE for second in seconds)
        lines.append(
            f"cancel to return: {within} of {len(seconds)} within {_PROMISE * 1000:.0f} ms; "
            f"median {statistics.median(seconds) * 1000:.0f} ms, longest {seconds[-1] * 1000:.0f} ms"
        )
    if kills:
        hit = [row for row in kills if row["had_child"]]
        results = sum(row["error"] is None for row in hit)
        lines.append(
            f"kill -9 of the child: {len(hit)} times; {results} results, {len(hit) - results} errors; server up "
            f"{sum(r['server_up'] for r in hit)} times, session usable {sum(r['session_usable'] for r in hit)} times"
        )
    lines.append(f"children left behind: {sum(row['children_left'] for row in document.rows)}")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Seconds from the cancel to the statement's end, by the moment of the cancel."""
    figure, (axis,) = plots.panels(1, width=5.4)
    cancels = document.select(what="cancel")
    axis.plot([r["moment"] for r in cancels], [1000 * r["seconds_to_end"] for r in cancels], "o", markersize=3)
    axis.axhline(1000 * _PROMISE, linestyle="--", color=plots.COLOURS[1], label=f"promise: {1000 * _PROMISE:.0f} ms")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("moment of the cancel, seconds into a selection of 10 s")
    axis.set_ylabel("milliseconds until the statement ended")
    axis.set_title(f"Cancelling at random moments: {document.settings['dataset']}")
    axis.legend(loc="upper right")
    return {"": figure}
