"""Watching a selection from another session: what that costs it, how long a look takes, how late what is seen is."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg2
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.database import loaded
from benchmarks.database import run as sql
from benchmarks.harness import Context, Document, Row

DATASETS = ("frappe", "uci_diabetes", "criteo")
POLL_SECONDS, CLOSE_SECONDS = 0.1, 0.01
"""Between two looks of the session that watches: where the cost is measured, and where is measured how late it sees. A
session that never rests takes a core from the run, and shows how late things are on a machine that has none left."""

ROWS, QUICK_ROWS = 20_000, 3_000
"""Of the dataset, those that are trained on: watching costs by the second and by the epoch, not by the row."""

ALLOWED_LOOK, ALLOWED_LAG = 0.002, 0.3
"""Seconds that a look may take, and that what is seen may be late."""

# The work is the same in every run, so that seconds can be compared.
_WORK, _QUICK_WORK = (2000, 9, 1), (200, 3, 1)
_STATEMENT = "SELECT run_id FROM trails.model_selection_workloads(%s::regclass, 'label', %s, %s, %s, validation => %s)"
_PROGRESS = "SELECT phase, epochs, extract(epoch FROM elapsed)::float8 FROM trails.progress"
_TRIALS = "SELECT max(place), extract(epoch FROM clock_timestamp() - max(at))::float8 FROM trails.live_trials"

# A phase as it is shown, and as trails.timings has it.
_PHASES = {"reading": "read", "filtering": "filter", "starting": "refine"}


def run(context: Context) -> None:
    """Do what is not recorded yet, watched and unwatched runs in turns."""
    repeats, rows = (2, QUICK_ROWS) if context.quick else (7, ROWS)
    if context.dataset is None or (
        len(context.recorded(what="run", watched=True)) >= repeats
        and context.recorded(what="epoch", pause=CLOSE_SECONDS)
    ):
        return
    with loaded(context, [context.dataset]) as session:
        for part, count in (("train", rows), ("valid", rows // 4)):
            name = f"{context.dataset}_{part}"
            sql(session, f"CREATE TABLE public.watched_{part} AS SELECT * FROM {name} ORDER BY id LIMIT {count}")
            sql(session, f"ALTER TABLE public.watched_{part} ADD PRIMARY KEY (id)")
        sql(session, "VACUUM ANALYZE")
        _select(session, context)  # whose like is not counted: files are read for the first time
        for repeat in range(repeats - len(context.recorded(what="run", watched=True))):
            context.say(f"{context.dataset}: {repeat + 1} of {repeats}")
            context.record(_unwatched(session, context), *_watched(session, context, POLL_SECONDS))
        if not context.recorded(what="epoch", pause=CLOSE_SECONDS):
            context.say(f"{context.dataset}: how late")
            context.record(*[row for row in _watched(session, context, CLOSE_SECONDS) if row["what"] != "run"])


def _select(session: Any, context: Context) -> float:
    """Seconds of one run."""
    work = _QUICK_WORK if context.quick else _WORK
    began = time.perf_counter()
    sql(session, _STATEMENT, "watched_train", *work, "watched_valid")
    return time.perf_counter() - began


def _unwatched(session: Any, context: Context) -> Row:
    return {"what": "run", "watched": False, "seconds": _select(session, context)}


class _Reader:
    """Another session, which looks again and again, and keeps what it saw and how long each look took."""

    def __init__(self, connection: Any, pause: float) -> None:
        self._connection, self._pause, self._done = connection, pause, threading.Event()
        self.looks: list[float] = []
        self.trial_looks: list[float] = []
        self.phases: dict[str, float] = {}
        self.lags: list[float] = []

    def work(self) -> None:
        newest = 0
        while not self._done.is_set():
            began = time.perf_counter()
            rows = sql(self._connection, _PROGRESS)
            between = time.perf_counter()
            ((place, age),) = sql(self._connection, _TRIALS)
            if rows:
                self.looks.append(between - began)
                self.trial_looks.append(time.perf_counter() - between)
                self.phases.setdefault(rows[0][0], rows[0][2])
            if place is not None and place > newest:
                newest = place
                self.lags.append(age)
            self._done.wait(self._pause)

    def end(self) -> None:
        self._done.set()


@contextlib.contextmanager
def _reading(session: Any, pause: float) -> Iterator[_Reader]:
    info = session.info
    connection = psycopg2.connect(
        host=info.host, port=info.port, user=info.user, password=info.password, dbname=info.dbname
    )
    connection.autocommit = True
    reader = _Reader(connection, pause)
    thread = threading.Thread(target=reader.work)
    thread.start()
    try:
        yield reader
    finally:
        reader.end()
        thread.join()
        connection.close()


def _watched(session: Any, context: Context, pause: float) -> list[Row]:
    with _reading(session, pause) as reader:
        seconds = _select(session, context)
    begins = dict(
        sql(
            session,
            "SELECT phase, begin_seconds FROM trails.timings WHERE process = 'backend' "
            "AND run_id = (SELECT max(run_id) FROM trails.runs)",
        )
    )
    seen = [(shown, reader.phases[shown] - begins[name]) for shown, name in _PHASES.items() if shown in reader.phases]
    common = {"pause": pause}
    return [
        {"what": "run", "watched": True, "seconds": seconds, **common},
        *({"what": "look", "view": "progress", "seconds": look, **common} for look in reader.looks),
        *({"what": "look", "view": "live_trials", "seconds": look, **common} for look in reader.trial_looks),
        *({"what": "epoch", "seconds": lag, **common} for lag in reader.lags),
        *({"what": "phase", "phase": phase, "seconds": lag, **common} for phase, lag in seen),
    ]


def _seconds(document: Document, **values: object) -> list[float]:
    return sorted(row["seconds"] for row in document.select(**values))


def _late(values: list[float], share: float = 0.99) -> float:
    """What so large a share is below."""
    return values[min(len(values) - 1, int(share * len(values)))]


def summarise(document: Document) -> list[str]:
    """What watching costs, what looks take, and how late a session that looks all the time sees phases and epochs."""
    lines = [f"{document.settings['dataset']}:"]
    runs = [_seconds(document, what="run", watched=watched) for watched in (False, True)]
    if all(runs):
        alone, beside = (statistics.median(seconds) for seconds in runs)
        spread = runs[0][-1] - runs[0][0]
        lines.append(
            f"  a run takes {alone:.2f} s alone and {beside:.2f} s watched every {POLL_SECONDS * 1000:.0f} ms "
            f"({beside / alone - 1:+.1%}; runs alone differ by {spread:.2f} s)"
        )
    for view in ("progress", "live_trials"):
        if looks := _seconds(document, what="look", view=view):
            lines.append(
                f"  a look at trails.{view}: median {statistics.median(looks) * 1000:.2f} ms, "
                f"99 % below {_late(looks) * 1000:.2f} ms ({len(looks)} looks)"
            )
    for what in ("phase", "epoch"):
        if lags := _seconds(document, what=what, pause=CLOSE_SECONDS):
            lines.append(f"  a new {what} is seen after {statistics.median(lags):.3f} s, at most {lags[-1]:.3f} s")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Seconds of runs alone and watched; what looks take; how late phases and epochs are seen."""
    figure, (left, middle, right) = plots.panels(3)
    for place, watched in enumerate((False, True)):
        seconds = _seconds(document, what="run", watched=watched)
        left.scatter([place] * len(seconds), seconds, s=14, color=plots.COLOURS[0], alpha=0.6)
        if seconds:
            left.scatter([place], [statistics.median(seconds)], marker="_", s=400, color=plots.COLOURS[1])
    left.set_xticks([0, 1], ["alone", "watched"])
    left.set_xlim(-0.6, 1.6)
    left.set_ylim(bottom=0)
    left.set_ylabel("seconds of the run")
    left.set_title("What watching costs")
    for view, colour in zip(("progress", "live_trials"), plots.COLOURS, strict=False):
        looks = [1000 * look for look in _seconds(document, what="look", view=view)]
        shares = [(place + 1) / len(looks) for place in range(len(looks))]
        middle.plot(looks, shares, drawstyle="steps-post", color=colour, label=f"trails.{view}")
    middle.axvline(1000 * ALLOWED_LOOK, color="grey", linestyle="--", linewidth=1, label="allowed")
    middle.set_xscale("log")
    middle.set_xlabel("milliseconds of a look")
    middle.set_ylabel("share of the looks")
    middle.set_title("What a look takes")
    middle.legend(loc="lower right")
    for place, what in enumerate(("phase", "epoch")):
        lags = _seconds(document, what=what, pause=CLOSE_SECONDS)
        right.scatter([place] * len(lags), lags, s=14, color=plots.COLOURS[0], alpha=0.6)
    right.axhline(ALLOWED_LAG, color="grey", linestyle="--", linewidth=1)
    right.set_xticks([0, 1], ["a phase", "an epoch"])
    right.set_xlim(-0.6, 1.6)
    right.set_ylim(0, 1.2 * ALLOWED_LAG)
    right.set_ylabel("seconds until it is seen")
    right.set_title("How late it is")
    return {"": figure}
