"""The demo: Frappe into PostgreSQL, one SQL statement, a leaderboard of trained models.

Run it with `make demo`. It starts the development server or uses the running one, loads the data unless they
are there, runs the selection while showing what the server reports, prints the leaderboard and draws it.
Ctrl-C cancels the statement, as in psql; the server goes on running.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
from tqdm import tqdm

from trails import Run, TrailsError

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from tools.server import Server, ServerError, major_version, prepare_development_server  # noqa: E402

DATASET = "frappe"
BUDGET = os.environ.get("BUDGET") or "60 s"
STATEMENT = """\
SELECT * FROM trails.model_selection('{name}_train', 'label',
                                     budget => {budget}, validation => '{name}_valid');"""
PROGRESS = re.compile(r"progress: ([\d.]+)/([\d.]+) epochs(?:, best validation AUC ([\d.]+))?")
SHOWN = 15


class Display:
    """Shows the server's notices as they come: sentences as lines, training as a bar.

    Without a terminal the bar becomes a line every few seconds.
    """

    QUIET_SECONDS = 5.0

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.bar: Any = None
        self.last_line = self.started

    def notice(self, text: str) -> None:
        """Shows one notice, given without its severity."""
        if not (found := PROGRESS.fullmatch(text)):
            self.line(text)
            return
        done, total, auc = float(found[1]), float(found[2]), found[3]
        if not sys.stdout.isatty():
            if time.monotonic() - self.last_line >= self.QUIET_SECONDS:
                self.line(text)
            return
        if self.bar is None:
            shape = "  training {percentage:3.0f}% |{bar}| {n:.1f}/{total:.1f} epochs, {elapsed}{postfix}"
            self.bar = tqdm(total=total, bar_format=shape, leave=False, file=sys.stdout, dynamic_ncols=True)
        self.bar.total, self.bar.n = total, min(done, total)
        if auc:
            self.bar.set_postfix_str(f"best validation AUC {auc}", refresh=False)
        self.bar.refresh()

    def line(self, text: str) -> None:
        """Prints a line with the seconds since the statement began, above the bar if there is one."""
        self.last_line = time.monotonic()
        line = f"  {self.last_line - self.started:5.1f} s  {text}"
        if self.bar is not None:
            self.bar.write(line, file=sys.stdout)
        else:
            print(line, flush=True)

    def close(self) -> None:
        """Takes the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def wait_and_show(display: Display) -> Any:
    """A psycopg2 wait callback that shows notices at once and turns Ctrl-C into a cancel request."""

    def wait(connection: Any) -> None:
        while True:
            try:
                state = connection.poll()
                for notice in connection.notices:
                    display.notice(notice.split(":", 1)[1].strip())
                del connection.notices[:]
                if state == psycopg2.extensions.POLL_OK:
                    return
                reading = [connection.fileno()] if state == psycopg2.extensions.POLL_READ else []
                writing = [connection.fileno()] if state == psycopg2.extensions.POLL_WRITE else []
                select.select(reading, writing, [], 1.0)
            except KeyboardInterrupt:
                # The server answers the statement with an error, which ends this loop in the usual way.
                connection.cancel()

    return wait


def load(server: Server) -> str:
    """Loads Frappe unless it is loaded, or what stands in for it; returns the name its tables begin with.

    Raises:
        ServerError: Nothing could be loaded.
    """
    if server.has_table(f"{DATASET}_train"):
        print(f"Data: {DATASET}, loaded before")
        return DATASET
    command = [sys.executable, "-m", "trails", "load", DATASET, "--substitute", "--dsn", server.uri()]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    tables = [line.split("\t")[0].split(".", 1)[1] for line in done.stdout.splitlines()]
    if done.returncode != 0 or not tables:
        raise ServerError("the data could not be loaded")
    return tables[0].rsplit("_", 1)[0]


def print_table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints rows as psql would, numbers short and aligned to the right."""

    def text(value: Any) -> str:
        if value is None:
            return ""
        if not isinstance(value, float):
            return str(value)
        return f"{value:.4f}" if abs(value) < 1e5 else f"{value:.4g}"

    cells = [[text(value) for value in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(names, *cells, strict=True)]
    numeric = [all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(names))]
    print("  " + " | ".join(name.center(width) for name, width in zip(names, widths, strict=True)))
    print("  " + "-+-".join("-" * width for width in widths))
    for row in cells:
        aligned = zip(row, widths, numeric, strict=True)
        print("  " + " | ".join(c.rjust(w) if right else c.ljust(w) for c, w, right in aligned).rstrip())


def select_model(server: Server, name: str) -> Run:
    """Runs the statement, shows its progress and its leaderboard; returns the run as the catalogue has it."""
    display = Display()
    psycopg2.extensions.set_wait_callback(wait_and_show(display))
    connection = psycopg2.connect(server.uri(), application_name="trails demo")
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET trails.progress = 'epochs'")
            cursor.execute("SELECT quote_literal(%s)", (BUDGET,))
            statement = STATEMENT.format(name=name, budget=cursor.fetchone()[0])
            print(f"\n{statement}\n", flush=True)
            display.started = time.monotonic()
            try:
                cursor.execute(statement)
            finally:
                seconds = time.monotonic() - display.started
                display.close()
            rows = cursor.fetchall()
            names = [column.name for column in cursor.description]
        print(f"\nLeaderboard after {seconds:.1f} s:\n")
        print_table(names, rows[:SHOWN])
        if len(rows) > SHOWN:
            print(f"  ({len(rows) - SHOWN} more)")
        return Run.read(connection)
    finally:
        connection.close()


def main() -> int:
    """The demo from start to end."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # keeps the order in pipes and logs
    try:
        server = prepare_development_server()
        print(f"Server: PostgreSQL {major_version(server.pg_config)}, database trails")
        run = select_model(server, load(server))
    except (ServerError, TrailsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except psycopg2.extensions.QueryCanceledError as error:
        print(
            f"\n{error.diag.message_primary}\nThe server is still up: `make uri`, `make down`.",
            file=sys.stderr,
        )
        return 130
    except psycopg2.Error as error:
        print(f"\n{str(error).strip()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130

    stem = ROOT / "demo" / "leaderboard"
    run.draw(stem)
    print(f"\nDrawn: {os.path.relpath(stem)}.svg and .png.  The server is still up: `make uri`, `make down`.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
