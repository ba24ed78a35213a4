"""What pages ask of runs: those that are recorded, and those that are at work.

Statements run with ``pg_catalog`` as their whole search path; see `Database.rows`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from trails.dashboard.database import Database, Found, Row, rows_of

PAGE = 50
"""Rows of a list on one page."""

_BEST, _OTHERS, _POINTS = 30, 30, 200
"""Curves drawn: so many of the best candidates and so many spread evenly over the others; points of each, about."""

EVENTS = 2000
"""Epochs of a running run in one answer, at most."""

_RUNS = """
SELECT r.run_id, pg_get_userbyid(r.owner) AS owner, r.function, r.source, r.target, r.state, r.metric, r.started,
    r.total_seconds, date_part('epoch', r.budget) AS budget_seconds, best.architecture, best.validation_metric
FROM trails.runs r LEFT JOIN LATERAL (
    SELECT c.architecture, c.validation_metric FROM trails.candidates c
    WHERE c.run_id = r.run_id AND c.rank = 1 LIMIT 1
) best ON true
WHERE (%s::bigint IS NULL OR r.run_id < %s) AND (%s = '' OR r.state = %s)
    AND strpos(lower(r.source), lower(%s)) > 0
ORDER BY r.run_id DESC LIMIT %s
"""

_RUN = """
SELECT r.*, pg_get_userbyid(r.owner) AS owner, date_part('epoch', r.budget) AS budget_seconds,
    r.options::text AS options, r.left_out::text AS left_out, r.features::text[] AS features
FROM trails.runs r WHERE r.run_id = %s
"""

_BOARD = """
SELECT rank, architecture, score, score_rank, validation_metric, epochs, parameters, seconds,
    coalesce(rank, 2147483647) AS place
FROM trails.candidates
WHERE run_id = %s AND (coalesce(rank, 2147483647), architecture) > (%s, %s)
ORDER BY coalesce(rank, 2147483647), architecture LIMIT %s
"""

_TIMINGS = "SELECT place, phase, process, begin_seconds, seconds FROM trails.timings WHERE run_id = %s ORDER BY place"

_RUNGS = """
SELECT rung, count(*) AS candidates, sum(epochs) AS epochs FROM (
    SELECT rung, architecture, count(*) AS epochs FROM trails.trials WHERE run_id = %s GROUP BY rung, architecture
) trained GROUP BY rung ORDER BY rung
"""

# Of a long curve every so-manieth epoch, and always the first, the last and the best one.
_CURVES = """
WITH placed AS (
    SELECT architecture, row_number() OVER (ORDER BY rank NULLS LAST, architecture) AS place, count(*) OVER () AS total
    FROM trails.candidates WHERE run_id = %s AND epochs > 0
), kept AS (
    SELECT architecture, place, total FROM placed
    WHERE place <= %s OR mod(place - %s, greatest(1, (total - %s + %s - 1) / %s)) = 0
), numbered AS (
    SELECT k.place, k.total, t.architecture, t.rung, t.epoch, t.validation_metric,
        row_number() OVER epochs AS number, count(*) OVER curve AS epochs,
        t.epoch = first_value(t.epoch) OVER (
            PARTITION BY t.architecture
            ORDER BY CASE WHEN %s THEN -t.validation_metric ELSE t.validation_metric END DESC NULLS LAST, t.epoch
        ) AS best
    FROM kept k JOIN trails.trials t ON t.run_id = %s AND t.architecture = k.architecture
    WHERE t.validation_metric IS NOT NULL AND t.validation_metric <> 'NaN'
    WINDOW curve AS (PARTITION BY t.architecture), epochs AS (PARTITION BY t.architecture ORDER BY t.epoch)
)
SELECT architecture, rung, epoch, validation_metric, total FROM numbered
WHERE best OR number = 1 OR number = epochs OR mod(number, greatest(1, epochs / %s)) = 0
ORDER BY place, epoch
"""

_TRIALS = """
SELECT architecture, rung, epoch, train_loss, validation_loss, validation_metric, seconds FROM trails.trials
WHERE run_id = %s AND (architecture, epoch) > (%s, %s) ORDER BY architecture, epoch LIMIT %s
"""

_MODELS = """
SELECT name, version, pg_get_userbyid(owner) AS owner, state FROM trails.models WHERE run_id = %s
ORDER BY owner, name, version
"""

_THERE = """
SELECT to_regclass('trails.progress') IS NOT NULL AND to_regclass('trails.live_trials') IS NOT NULL AS live,
    to_regprocedure('trails.recipe(bigint)') IS NOT NULL AS recipe,
    to_regprocedure('trails.stop(bigint)') IS NOT NULL AS stop,
    to_regclass('trails.background_runs') IS NOT NULL AS background
"""

_PROGRESS = """
SELECT run_id, function, role, source, phase, started, date_part('epoch', elapsed) AS elapsed,
    date_part('epoch', budget) AS budget, percent, date_part('epoch', remaining) AS remaining, scored, candidates, k, u,
    rung, epochs, metric, best_architecture, best_metric, stopping
FROM trails.progress WHERE database = current_database() AND (%s::bigint IS NULL OR run_id = %s)
ORDER BY started DESC, run_id DESC
"""

_LIVE = """
SELECT place, architecture, rung, epoch, train_loss, validation_loss, validation_metric, seconds FROM trails.live_trials
WHERE run_id = %s AND place > %s AND pid = (
    SELECT p.pid FROM trails.progress p WHERE p.database = current_database() AND p.run_id = %s LIMIT 1
) ORDER BY place LIMIT %s
"""

# Of those that wait and those that came to nothing; the others are at work, or recorded.
_BACKGROUND = """
SELECT run_id, pg_get_userbyid(owner) AS owner, source, target, date_part('epoch', budget) AS budget_seconds, model,
    state, submitted, started, finished, sqlstate, message, detail, hint
FROM trails.background_runs
WHERE CASE WHEN %s::bigint IS NULL THEN state IN ('queued', 'failed', 'cancelled') ELSE run_id = %s END
ORDER BY run_id DESC LIMIT %s
"""

# Numbers are drawn when runs begin, and transactions end in any order: neither alone tells of every new record.
_NEWEST = "SELECT concat(count(*), '-', date_part('epoch', max(finished))) AS mark FROM trails.runs"


@dataclass(frozen=True)
class Abilities:
    """What this database's extension has; ``fault`` says why that is not known."""

    live: bool = False
    recipe: bool = False
    stop: bool = False
    background: bool = False
    fault: Exception | None = None


def abilities(database: Database) -> Abilities:
    """Asked anew for every page: an extension can be updated under a dashboard."""
    found = database.find(_THERE)
    return Abilities(**found.first) if found.first else Abilities(fault=found.fault)


def list_runs(database: Database, before: int | None, source: str, state: str) -> Found:
    """Recorded runs, the newest first; one more than a page holds if there are more.

    Args:
        database: Where.
        before: Only runs with a smaller number.
        source: What the name of their source contains.
        state: Their state; empty: any.
    """
    return database.find(_RUNS, before, before, state, state, source, PAGE + 1)


def running(database: Database, run_id: int | None = None) -> Found:
    """Runs at work in this database as far as the role may see them, the newest first; or one of them."""
    return database.find(_PROGRESS, run_id, run_id)


def live_trials(database: Database, run_id: int, after: int) -> Found:
    """Epochs of a run at work that come after a place, as they ended. Other databases have runs of the same number."""
    return database.find(_LIVE, run_id, after, run_id, EVENTS)


def in_background(database: Database, run_id: int | None = None) -> Found:
    """Runs that were submitted and wait, or that failed or were cancelled, the latest first; one more than a page holds
    if there are more. Or one of them, whatever its state."""
    return database.find(_BACKGROUND, run_id, run_id, PAGE + 1)


def mark(database: Database, background: Found) -> str:
    """What changes with every run that is recorded, and with what waits or failed in the background."""
    found = database.find(_NEWEST).first
    states = ",".join(f"{row['run_id']}{row['state'][:1]}" for row in background.rows)
    return f"{found['mark'] if found else ''}.{zlib.crc32(states.encode()):x}"


def one_run(database: Database, run_id: int) -> Found:
    """A row of ``trails.runs``, with ``owner`` as a name and ``budget_seconds``."""
    return database.find(_RUN, run_id)


def leaderboard(database: Database, run_id: int, after: tuple[int, str] = (0, "")) -> Found:
    """Candidates by rank, those that were never trained last; one more than a page holds if there are more.

    Args:
        database: Where.
        run_id: Of which run.
        after: ``place`` and ``architecture`` of the last one before.
    """
    return database.find(_BOARD, run_id, *after, PAGE + 1)


def trials(database: Database, run_id: int, after: tuple[str, int] = ("", 0)) -> Found:
    """Epochs by architecture; one more than a page holds if there are more."""
    return database.find(_TRIALS, run_id, *after, 4 * PAGE + 1)


def timings(database: Database, run_id: int) -> Found:
    """Phases of a run."""
    return database.find(_TIMINGS, run_id)


def rungs(database: Database, run_id: int) -> Found:
    """How many candidates each rung trained, and for how many epochs in all."""
    return database.find(_RUNGS, run_id)


def models_of(database: Database, run_id: int) -> Found:
    """Models that a run made."""
    return database.find(_MODELS, run_id)


def recipe(database: Database, run_id: int) -> Found:
    """The statement that repeats a run."""
    return database.find("SELECT trails.recipe(%s)::text AS statement", run_id)


def curves(database: Database, run_id: int, less_is_better: bool) -> Found:
    """Points of the curves that are drawn: all of few candidates, the best and an even share of many.

    Args:
        database: Where.
        run_id: Of which run.
        less_is_better: Whether its metric is a loss.
    """
    return database.find(
        _CURVES, run_id, _BEST, _BEST, _BEST, _OTHERS, _OTHERS, less_is_better, run_id, _POINTS
    )  # fmt: skip


def as_lines(rows: list[Row]) -> dict[str, object]:
    """Epochs as the script takes them: names once, and for each epoch which name, rung, epoch and metric."""
    names: dict[str, int] = {}
    points = [
        [names.setdefault(row["architecture"], len(names)), row["rung"], row["epoch"], row["validation_metric"]]
        for row in rows
    ]
    return {"names": list(names), "points": points}


def act(database: Database, run_id: int, action: str) -> None:
    """Stop or cancel a run; nothing happens where that was asked for before.

    Args:
        database: Where.
        run_id: Which one.
        action: ``stop`` or ``cancel``.

    Raises:
        DatabaseError: What the server answered.
    """
    statement = {"stop": "SELECT trails.stop(%s) AS done", "cancel": "SELECT trails.cancel(%s) AS done"}[action]
    with database.reading(acting=True) as cursor:
        rows_of(cursor, statement, run_id)
