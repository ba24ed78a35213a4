"""Selection on 10^5 to 10^7 rows of twelve columns of every kind: seconds a row of each part, memory, the budget."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg2
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.database import run as sql
from benchmarks.harness import Context, Document
from tools.server import temporary_server

ROWS = (100_000, 1_000_000, 10_000_000)
_BUDGET = 120
_PARTS = (("backend", "read"), ("refinement", "encode"))

_TABLE = """
CREATE UNLOGGED TABLE big AS SELECT
    (hashint4(i) & 1023)::int AS a, (hashint4(i + 1) % 100000)::bigint * 37 AS b, (hashint4(i + 2) & 7)::smallint AS c,
    (hashint4(i + 3)::float8 / 2147483647)::real AS d, hashint4(i + 4)::float8 / 1e5 AS e,
    (hashint4(i + 5) % 100000)::numeric(12, 2) / 100 AS f, (hashint4(i + 6) & 1) = 0 AS g,
    'word ' || (hashint4(i + 7) & 4095) AS h, chr(97 + (hashint4(i + 8) & 15)) AS j,
    date '2020-01-01' + (hashint4(i + 9) & 1023) AS k,
    timestamptz '2020-01-01' + (hashint4(i + 10) & 16777215) * interval '1 second' AS l,
    CASE WHEN hashint4(i + 11) % 10 = 0 THEN NULL ELSE md5((hashint4(i + 11) & 65535)::text)::uuid END AS m,
    ((hashint4(i) & 1023) > 700) <> ((hashint4(i + 3) & 7) = 0) AS label
FROM generate_series(1, {rows}) i
"""


def run(context: Context) -> None:
    """For every size: make the table, select within the budget, record the phases and the memory."""
    sizes, budget = (ROWS[:2], 40) if context.quick else (ROWS, _BUDGET)
    missing = [rows for rows in sizes if not context.recorded(rows=rows)]
    if not missing:
        return
    with temporary_server() as server:
        connection = psycopg2.connect(server.uri())
        connection.autocommit = True
        for rows in missing:
            context.say(f"making {rows:,} rows")
            sql(connection, "DROP TABLE IF EXISTS big")
            sql(connection, _TABLE.format(rows=rows))
            sql(connection, "VACUUM ANALYZE big")
            context.say(f"selecting within {budget} s")
            with _memory(connection.info.backend_pid) as memory:
                began = time.perf_counter()
                best = sql(
                    connection,
                    "SELECT validation_metric, epochs FROM "
                    "trails.model_selection('big', 'label', %s, seed => %s) LIMIT 1",
                    f"{budget} s",
                    context.seed,
                )
                wall = time.perf_counter() - began
            timings = sql(
                connection,
                "SELECT process, phase, sum(seconds) FROM trails.timings "
                "WHERE run_id = (SELECT max(run_id) FROM trails.runs) GROUP BY 1, 2",
            )
            context.record(
                {
                    "rows": rows,
                    "budget": budget,
                    "wall_seconds": wall,
                    "validation_auc": best[0][0],
                    "epochs": best[0][1],
                    "phases": {f"{process}: {phase}": seconds for process, phase, seconds in timings},
                    **memory,
                }
            )
        connection.close()


@contextlib.contextmanager
def _memory(backend: int) -> Iterator[dict[str, int]]:
    """Most resident bytes of the backend, of its refinement process, and of both; shared memory counts twice."""
    found = {"backend_bytes": 0, "refinement_bytes": 0, "together_bytes": 0}
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            own = _resident(backend)
            child = max((_resident(pid) for pid in _children(backend)), default=0)
            for name, value in zip(found, (own, child, own + child), strict=True):
                found[name] = max(found[name], value)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        stop.set()
        watcher.join()


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
    return 0


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _seconds(row: Mapping[str, object], part: tuple[str, str]) -> float:
    phases = row["phases"]
    assert isinstance(phases, dict)
    return float(phases[": ".join(part)])


def summarise(document: Document) -> list[str]:
    """Wall time, microseconds a row, memory."""
    lines = []
    for row in document.rows:
        parts = ", ".join(f"{part[1]} {1e6 * _seconds(row, part) / row['rows']:.2f} us a row" for part in _PARTS)
        lines.append(
            f"{row['rows']:>10,} rows: {row['wall_seconds']:.1f} s of {row['budget']} s; {parts}; "
            f"{row['together_bytes'] / 2**30:.1f} GB at most; validation AUC {row['validation_auc']:.4f}"
        )
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Microseconds a row, and memory, by rows."""
    figure, (left, right) = plots.panels(2)
    rows = [row["rows"] for row in document.rows]
    for part in _PARTS:
        left.plot(rows, [1e6 * _seconds(row, part) / row["rows"] for row in document.rows], "o-", label=part[1])
    left.set_ylim(0)
    left.set_ylabel("microseconds a row")
    for name in ("backend", "refinement", "together"):
        right.plot(rows, [row[f"{name}_bytes"] / 2**30 for row in document.rows], "o-", label=name)
    right.set_yscale("log")
    right.set_ylabel("most resident memory in GB")
    for axis in (left, right):
        axis.set_xscale("log")
        axis.set_xlabel("rows of twelve columns")
        axis.legend()
    return {"": figure}
