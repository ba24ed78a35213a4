"""The dashboard: how soon a point of a live curve is on the page, and how long pages of 100,000 epochs take."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg2
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.database import loaded
from benchmarks.database import run as sql
from benchmarks.harness import ROOT, Context, Document, Row
from trails.errors import InvalidInput

RUNS, QUICK_RUNS = 5, 1
CANDIDATES, EPOCHS = 10_000, 10
"""Of the run whose pages are timed: 100,000 epochs."""

ALLOWED_LAG = 2.0
"""Seconds after the end of an epoch at which its point must be on the page."""

_LOOK_SECONDS = 0.02
_REPEATS, _QUICK_REPEATS = 20, 5
_PAGES = {
    "list of runs": "/",
    "run": "/runs/{run}",
    "epochs, first page": "/runs/{run}/trials",
    "epochs, last page": "/runs/{run}/trials?architecture={last}&epoch=1",
}
_TABLE = (
    "CREATE TABLE public.watched AS SELECT i AS id, (mod(i * 7919, 11) + mod(i * 104729, 13) > 10)::int AS label, "
    "mod(i * 7919, 11)::int AS a, mod(i * 104729, 13)::int AS b, mod(i * 31, 24)::int AS c "
    "FROM generate_series(1, 20000) i"
)
_SELECT = "SELECT rank FROM trails.model_selection('watched', 'label', '60 s', n => 200, k => 4, u => 2, options => %s)"
# Once the run is recorded, its record takes the page's place.
_POINTS = "document.querySelector('#live') ? document.querySelectorAll('#curves g.line circle').length : 0"


def run(context: Context) -> None:
    """Runs that are watched in Chromium, then pages of a run of 100,000 epochs; what is not recorded yet."""
    runs, repeats = (QUICK_RUNS, _QUICK_REPEATS) if context.quick else (RUNS, _REPEATS)
    done = len({row["run"] for row in context.recorded(what="point")})
    if done >= runs and context.recorded(what="page"):
        return
    with loaded(context, []) as session, _dashboard(session) as site:
        sql(session, _TABLE)
        sql(session, "ALTER TABLE public.watched ADD PRIMARY KEY (id)")
        try:
            chromium = _chromium()
        except InvalidInput as lacking:
            context.say(f"live runs are left out: {lacking.message} ({lacking.hint})")
        else:
            for place in range(done, runs):
                context.say(f"live run {place + 1} of {runs}")
                context.record(*_live(session, site, place, chromium))
        if not context.recorded(what="page"):
            context.say("pages")
            context.record(*_pages(session, site, repeats))


class _Site:
    """A dashboard, as its address says."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self.base, self._host, self._port = f"http://{parts.netloc}", parts.hostname or "", parts.port or 0
        self._cookie = ""
        told = self._answer(f"/?token={parse_qs(parts.query)['token'][0]}")
        self._cookie = (told.getheader("set-cookie") or "").partition(";")[0]

    def _answer(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
        connection.request("GET", path, headers={"Cookie": self._cookie} if self._cookie else {})
        return connection.getresponse()

    def get(self, path: str) -> tuple[float, int]:
        """Seconds that a page takes, and its bytes."""
        began = time.perf_counter()
        answer = self._answer(path)
        text = answer.read()
        seconds = time.perf_counter() - began
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}")
        return seconds, len(text)


@contextlib.contextmanager
def _dashboard(session: Any) -> Iterator[_Site]:
    process = subprocess.Popen(
        [sys.executable, "-m", "trails", "dashboard", "--port", "0", "--dsn", _dsn(session)],
        cwd=ROOT / "python",
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield _Site(process.stdout.readline().strip())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _dsn(session: Any) -> str:
    given = {**session.info.dsn_parameters, "password": session.info.password}
    return " ".join(
        f"{name}='{given[name]}'" for name in ("host", "port", "user", "dbname", "password") if given.get(name)
    )


def _chromium() -> str:
    """Where Chromium is.

    Raises:
        InvalidInput: It is nowhere, or nothing is there to drive it.
    """
    if importlib.util.find_spec("playwright") is None:
        raise InvalidInput("a live page needs playwright", hint="pip install playwright")
    where = shutil.which("chromium")
    if where is None:
        raise InvalidInput("a live page needs Chromium", hint="apt-get install chromium")
    return where


@contextlib.contextmanager
def _window(site: _Site, chromium: str) -> Iterator[Any]:
    """A page in Chromium that has come with the token."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            page = browser.new_page()
            page.goto(site.url)
            yield page
        finally:
            browser.close()


def _live(session: Any, site: _Site, place: int, chromium: str) -> list[Row]:
    """One selection, looked at on its page; see `_points`."""
    ended: dict[int, float] = {}
    finished: list[float] = []
    over = threading.Event()

    def train() -> None:
        with contextlib.closing(psycopg2.connect(_dsn(session))) as other:
            other.autocommit = True
            try:
                sql(other, _SELECT, '{"max_epochs": 12, "winner": false}')
            finally:
                finished.append(time.time())
                over.set()

    def follow() -> None:
        with contextlib.closing(psycopg2.connect(_dsn(session))) as other:
            other.autocommit = True
            while not over.wait(0.1):
                told = "SELECT place, extract(epoch FROM at)::float8 FROM trails.live_trials"
                ended.update(dict(sql(other, told)))

    threads = [threading.Thread(target=train), threading.Thread(target=follow)]
    with _window(site, chromium) as page:
        for thread in threads:
            thread.start()
        seen: list[float] = []
        try:
            page.wait_for_selector("#running li a", timeout=60_000)
            page.click("#running li a")
            page.wait_for_selector("#live", state="attached", timeout=60_000)
            while not over.is_set():
                points, now = page.evaluate(_POINTS), time.time()
                seen += [now] * (points - len(seen))
                time.sleep(_LOOK_SECONDS)
        finally:
            for thread in threads:
                thread.join()
    return _points(place, sorted(ended.values()), seen, finished[0])


def _points(place: int, ended: Sequence[float], seen: Sequence[float], finished: float) -> list[Row]:
    """For each epoch how long after its end its point was drawn; of one whose point never was, how long it was missing.

    Args:
        place: Number of the run.
        ended: When its epochs ended, in ascending order.
        seen: When the first point was drawn, the second, and so on.
        finished: When it ended. Epochs of its last `ALLOWED_LAG` that were not drawn in time do not count: they are on
            the page of its record, which takes the live one's place.
    """
    row: Row = {"what": "point", "run": place, "epochs": len(ended)}
    drawn = [{**row, "seconds": shown - at, "drawn": True} for at, shown in zip(ended, seen, strict=False)]
    missing = [finished - at for at in ended[len(seen) :] if finished - at > ALLOWED_LAG]
    return drawn + [{**row, "seconds": seconds, "drawn": False} for seconds in missing]


def _pages(session: Any, site: _Site, repeats: int) -> list[Row]:
    """Seconds and bytes of the pages of a run of 100,000 epochs, put there as a run would."""
    ((run_id,),) = sql(
        session,
        "INSERT INTO trails.runs (function, source, target, task, metric, features, budget, space, refinement, seed, "
        "train_rows, unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds, "
        "tfmem, scored, k) VALUES ('model_selection', 'public.watched', 'label', 'binary', 'auc', '{a,b,c}', "
        "'1 hour', 'mlp4x20', 'sh', 1, 20000, 0, 'complete', now(), now(), 1, 3500, 3590, 'expressflow', 160000, %s) "
        "RETURNING run_id",
        CANDIDATES,
    )
    sql(
        session,
        "INSERT INTO trails.candidates (run_id, architecture, score, score_rank, rank, validation_metric, epochs, "
        "parameters, seconds) SELECT %s, 'a-' || to_char(i, 'FM00000'), -i, i, i, 0.9 - i / 1e6, %s, 1000, 1 "
        "FROM generate_series(1, %s) i",
        run_id,
        EPOCHS,
        CANDIDATES,
    )
    sql(
        session,
        "INSERT INTO trails.trials SELECT %s, 'a-' || to_char(i, 'FM00000'), e / 4, e, 0.5, 0.5, "
        "0.8 + e / 1e2 - i / 1e6, 0.1 FROM generate_series(1, %s) i, generate_series(1, %s) e",
        run_id,
        CANDIDATES,
        EPOCHS,
    )
    sql(session, "VACUUM ANALYZE")
    found = []
    for name, path in _PAGES.items():
        address = path.format(run=run_id, last=f"a-{CANDIDATES - 5:05}")
        site.get(address)
        for _ in range(repeats):
            seconds, size = site.get(address)
            found.append({"what": "page", "page": name, "seconds": seconds, "bytes": size})
    return found


def summarise(document: Document) -> list[str]:
    """How late points are, and what pages take."""
    lines = []
    if lags := sorted(row["seconds"] for row in document.select(what="point")):
        late = sum(lag > ALLOWED_LAG for lag in lags)
        never = len(document.select(what="point", drawn=False))
        lines.append(
            f"{len(lags)} points of live curves: drawn {statistics.median(lags):.2f} s after their epoch (median), "
            f"{lags[-1]:.2f} s at most; allowed are {ALLOWED_LAG:g}, and {late} were later, of which {never} never came"
        )
    for name in _PAGES:
        if rows := document.select(what="page", page=name):
            seconds = [row["seconds"] for row in rows]
            lines.append(
                f"{CANDIDATES * EPOCHS:,} epochs, {name}: {statistics.median(seconds) * 1000:.0f} ms (median), "
                f"{max(seconds) * 1000:.0f} ms at most, {rows[0]['bytes'] / 1000:.0f} kB"
            )
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Share of points that are on the page after so many seconds; seconds of each page."""
    figure, (left, right) = plots.panels(2, width=3.9)
    lags = sorted(row["seconds"] for row in document.select(what="point"))
    left.plot(
        lags, [(place + 1) / len(lags) for place in range(len(lags))], drawstyle="steps-post", color=plots.COLOURS[0]
    )
    left.axvline(ALLOWED_LAG, color="grey", linestyle="--", linewidth=1)
    left.annotate("allowed", (ALLOWED_LAG, 0.1), (-4, 0), textcoords="offset points", ha="right")
    left.set_xlim(0, max(1.1 * ALLOWED_LAG, *lags, 0.0))
    left.set_xlabel("seconds after the end of the epoch")
    left.set_ylabel("share of the points on the page")
    left.set_title("Live curves")
    for place, name in enumerate(_PAGES):
        seconds = [row["seconds"] for row in document.select(what="page", page=name)]
        right.scatter([place] * len(seconds), seconds, s=14, color=plots.COLOURS[0], alpha=0.6)
    right.set_xticks(range(len(_PAGES)), [name.replace(", ", ",\n") for name in _PAGES])
    right.set_xlim(-0.6, len(_PAGES) - 0.4)
    right.set_ylim(bottom=0)
    right.set_ylabel("seconds")
    right.set_title(f"Pages of {CANDIDATES * EPOCHS:,} epochs")
    return {"": figure}
