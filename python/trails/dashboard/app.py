"""Which page is where."""

from __future__ import annotations

import hmac
from pathlib import Path
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from trails.dashboard.answers import colours, failed, missing, whole
from trails.dashboard.database import Database
from trails.dashboard.model_pages import ModelPages
from trails.dashboard.run_pages import RunPages
from trails.errors import TrailsError

_FORM_BYTES = 4096


def make_app(database: Database, actions: bool = False) -> Starlette:
    """The pages, open to whoever asks: `Guard` goes around them.

    Args:
        database: What they show.
        actions: Whether runs can be stopped and cancelled.
    """
    of_runs, of_models = RunPages(database, actions), ModelPages(database)

    async def act(request: Request) -> Response:
        number, action = whole(str(request.path_params["run"])), str(request.path_params["action"])
        if not actions or number is None or action not in ("stop", "cancel"):
            raise missing("there is no such page; --actions lets pages stop and cancel runs")
        if not hmac.compare_digest(await _form_token(request), str(request.scope["form_token"]).encode()):
            raise HTTPException(403, "this form is not one of the dashboard's, or of one that has ended: load it again")
        return await run_in_threadpool(of_runs.act, number, action)

    return Starlette(
        routes=[
            Route("/", of_runs.listed),
            Route("/live", of_runs.live_list),
            Route("/runs/{run}", of_runs.one),
            Route("/runs/{run}/live", of_runs.live),
            Route("/runs/{run}/trials", of_runs.trials),
            Route("/runs/{run}/{action}", act, methods=["POST"]),
            Route("/models", of_models.listed),
            Route("/model", of_models.one),
            Route("/model/compare", of_models.compare),
            Route("/models/{name}", of_models.one),
            Route("/models/{name}/compare", of_models.compare),
            Route("/static/colours.css", _colours),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ],
        exception_handlers={HTTPException: failed, TrailsError: failed, Exception: failed},
    )


def _colours(request: Request) -> Response:
    return Response(colours(), media_type="text/css")


async def _form_token(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _FORM_BYTES:
            raise HTTPException(413, "this form is too long")
    return parse_qs(body.decode("utf-8", "replace")).get("form_token", [""])[0].encode()
