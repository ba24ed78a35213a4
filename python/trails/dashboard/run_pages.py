"""The pages of runs."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from trails.dashboard import runs, words
from trails.dashboard.answers import asked, asked_number, missing, page, plain, whole
from trails.dashboard.database import Database, Found, Row
from trails.errors import TrailsError
from trails.plots.common import metric_name, title_of
from trails.table.judged import is_loss

_PHASE_COLOURS = 16
"""That the style sheet has."""

STATES = ("complete", "best so far")

_WAITING_OR_FAILED = ("queued", "failed", "cancelled")


class RunPages:
    """Endpoints, each run in a thread of its own.

    Args:
        database: What they read.
        actions: Whether runs can be stopped and cancelled here.
    """

    def __init__(self, database: Database, actions: bool) -> None:
        self._database = database
        self._actions = actions

    def listed(self, request: Request) -> Response:
        """Runs, the newest first, above them those at work."""
        source, state, before = asked(request, "source"), asked(request, "state"), asked_number(request, "before")
        able = runs.abilities(self._database)
        working = runs.running(self._database) if able.live else Found()
        background = runs.in_background(self._database) if able.background else Found()
        found = runs.list_runs(self._database, before, source, state)
        older = None
        if len(found.rows) > runs.PAGE:
            kept = {"source": source, "state": state, "before": str(found.rows[runs.PAGE - 1]["run_id"])}
            older = "/?" + urlencode({name: value for name, value in kept.items() if value})
        return page(
            request,
            "runs.html",
            found=Found(found.rows[: runs.PAGE], found.fault),
            running=Found([_told(row) for row in working.rows], working.fault),
            able=able,
            background=Found(background.rows[: runs.PAGE], background.fault),
            further=len(background.rows) > runs.PAGE,
            source=source,
            state=state,
            states=STATES,
            before=before,
            older=older,
            mark=runs.mark(self._database, background),
        )

    def live_list(self, request: Request) -> Response:
        """What has changed on the page of runs, as JSON: runs at work, and whether others are recorded or wait now."""
        able = runs.abilities(self._database)
        found = runs.running(self._database)
        background = runs.in_background(self._database) if able.background else Found()
        return JSONResponse(
            {
                "running": [plain(_told(row)) for row in found.rows],
                "fault": found.fault.message if found.fault else None,
                "newer": runs.mark(self._database, background) != asked(request, "mark"),
            }
        )

    def one(self, request: Request) -> Response:
        """A recorded run, or one at work."""
        run_id = _number_of(request)
        able = runs.abilities(self._database)
        found = runs.one_run(self._database, run_id)
        if found.first is None:
            return self._at_work(request, run_id, able, found)
        run = found.first
        after = (asked_number(request, "place") or 0, asked(request, "architecture"))
        board = runs.leaderboard(self._database, run_id, after)
        rungs = runs.rungs(self._database, run_id)
        more = None
        if len(board.rows) > runs.PAGE:
            last = board.rows[runs.PAGE - 1]
            more = "?" + urlencode({"place": last["place"], "architecture": last["architecture"]}) + "#leaderboard"
        less = is_loss(run["metric"])
        curves = runs.curves(self._database, run_id, less)
        first = runs.leaderboard(self._database, run_id).first if after != (0, "") else board.first
        return page(
            request,
            "run.html",
            run=run,
            title=title_of({**run, "budget": run["budget_seconds"], "seconds": run["total_seconds"]}),
            metric=metric_name(run),
            best=first if first and first["rank"] is not None else None,
            plan=words.plan(run, rungs.rows),
            stopped=words.was_stopped(run),
            rungs=rungs,
            curves=curves,
            lines={
                **runs.as_lines(curves.rows),
                "winner": first["architecture"] if first else None,
                "less_is_better": less,
            },
            drawn=len({row["architecture"] for row in curves.rows}),
            trained=curves.first["total"] if curves.first else 0,
            board=Found(board.rows[: runs.PAGE], board.fault),
            more=more,
            continued=after != (0, ""),
            timings=_coloured(runs.timings(self._database, run_id)),
            models=runs.models_of(self._database, run_id),
            recipe=runs.recipe(self._database, run_id) if able.recipe else Found(),
        )

    def _at_work(self, request: Request, run_id: int, able: runs.Abilities, found: Found) -> Response:
        working = runs.running(self._database, run_id) if able.live else Found()
        fault = found.fault or able.fault or working.fault
        if working.first is None and fault is None:
            return self._in_background(request, run_id, able)
        return page(
            request,
            "running.html",
            code=200 if working else 403,
            run_id=run_id,
            progress=plain(_told(working.first)) if working.first else None,
            metric=_metric(working.first) if working.first else None,
            fault=fault,
            actions=self._actions and able.stop,
        )

    def live(self, request: Request) -> Response:
        """What has happened in a run at work since a place, as JSON.

        ``state`` is ``running``; ``recorded`` once its row is there; of a run in the background ``queued``, ``failed``
        or ``cancelled``, with ``message``; ``gone`` if nothing is so, which lasts a moment where a statement has ended
        and its transaction has not; ``unknown`` where the database does not answer.
        """
        run_id, after = _number_of(request), asked_number(request, "after") or 0
        working = runs.running(self._database, run_id)
        trials = runs.live_trials(self._database, run_id, after) if not working.fault else Found()
        state, message, fault = "running", None, working.fault or trials.fault
        if not working:
            state, message, fault = self._after_work(run_id, working)
        return JSONResponse(
            {
                "state": state,
                "message": message,
                "progress": plain(_told(working.first)) if working.first else None,
                "after": trials.rows[-1]["place"] if trials else after,
                "more": len(trials.rows) >= runs.EVENTS,
                "fault": fault.message if fault else None,
                **runs.as_lines([plain(row) for row in trials.rows]),
            }
        )

    def _after_work(self, run_id: int, working: Found) -> tuple[str, str | None, TrailsError | None]:
        """``state``, ``message`` and a fault of a run that is not among those at work."""
        if working.fault is not None:
            return "unknown", None, working.fault
        recorded = runs.one_run(self._database, run_id)
        if recorded.fault is not None:
            return "unknown", None, recorded.fault
        if recorded:
            return "recorded", None, None
        job = self._job(run_id, runs.abilities(self._database))
        if job is None or job["state"] not in _WAITING_OR_FAILED:
            return "gone", None, None
        return job["state"], words.fault_of(job), None

    def _job(self, run_id: int, able: runs.Abilities) -> Row | None:
        return runs.in_background(self._database, run_id).first if able.background else None

    def _in_background(self, request: Request, run_id: int, able: runs.Abilities) -> Response:
        job = self._job(run_id, able)
        if job is None:
            raise missing(f"there is no run {run_id} that this role may see")
        return page(request, "background.html", job=job, actions=self._actions and able.stop)

    def trials(self, request: Request) -> Response:
        """Every epoch of a run, some hundreds to a page."""
        run_id = _number_of(request)
        run = runs.one_run(self._database, run_id)
        if run.first is None and run.fault is None:
            raise missing(f"there is no run {run_id} that this role may see")
        epoch = min(asked_number(request, "epoch") or 0, 2**31 - 1)
        found = runs.trials(self._database, run_id, (asked(request, "architecture"), epoch))
        more = None
        if len(found.rows) > (held := 4 * runs.PAGE):
            last = found.rows[held - 1]
            more = "?" + urlencode({"architecture": last["architecture"], "epoch": last["epoch"]})
            found = Found(found.rows[:held])
        metric = metric_name(run.first) if run.first else ""
        return page(request, "trials.html", run_id=run_id, found=found, more=more, metric=metric, fault=run.fault)

    def act(self, run_id: int, action: str) -> Response:
        """Stop or cancel a run, then show it again.

        Raises:
            TrailsError: What the server answered.
        """
        runs.act(self._database, run_id, action)
        # Of what was cancelled there may be no page any more.
        return RedirectResponse("/" if action == "cancel" else f"/runs/{run_id}", 303)


def _told(row: dict[str, object]) -> dict[str, object]:
    """A row of ``trails.progress`` with what is said of it in words."""
    elapsed, budget, remaining = row["elapsed"], row["budget"], row["remaining"]
    return {
        **row,
        "metric_name": _metric(row),
        "less_is_better": is_loss(str(row["metric"])),
        "elapsed_words": words.duration(elapsed) if isinstance(elapsed, float) else "",
        "budget_words": words.duration(budget) if isinstance(budget, float) else "",
        "remaining_words": words.duration(remaining) if isinstance(remaining, float) else "",
    }


def _metric(row: Mapping[str, object]) -> str:
    """How people write the metric of a run at work, which is not known before its rows are encoded."""
    return "metric" if row["metric"] is None else metric_name(row)


def _coloured(found: Found) -> Found:
    """Phases with their ends, and the number of a colour for each name."""
    numbers: dict[str, int] = {}
    rows = [
        {
            **row,
            "end": row["begin_seconds"] + row["seconds"],
            "colour": numbers.setdefault(row["phase"], len(numbers)) % _PHASE_COLOURS,
        }
        for row in found.rows
    ]
    return Found(rows, found.fault)


def _number_of(request: Request) -> int:
    number = whole(str(request.path_params["run"]))
    if number is None:
        raise missing("runs have numbers")
    return number
