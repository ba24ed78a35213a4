"""The pages of models."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from trails.dashboard import models, words
from trails.dashboard.answers import LONGEST, asked, asked_number, asked_share, missing, page
from trails.dashboard.database import Database, Found, Row
from trails.errors import TrailsError


class ModelPages:
    """Endpoints, each run in a thread of its own.

    Args:
        database: What they read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def listed(self, request: Request) -> Response:
        """Models by name."""
        name, after, more = asked(request, "name"), _asked_place(request), None
        found = models.list_models(self._database, name, after)
        if len(found.rows) > models.PAGE:
            last = found.rows[models.PAGE - 1]
            place = {"own": "yes" if last["own"] else "no", "owner": last["owner"], "after": last["name"]}
            more = "/models?" + urlencode({**({"name": name} if name else {}), **place})
            found = Found(found.rows[: models.PAGE])
        return page(request, "models.html", found=found, name=name, more=more, continued=after is not None)

    def one(self, request: Request) -> Response:
        """A model: its versions, one of them looked at, and, on rows that the user names, how good it is."""
        versions = self._versions(request)
        wanted = asked_number(request, "version")
        shown = _version(versions, wanted) if wanted is not None else _default(versions)
        source, judged, fault = asked(request, "source"), None, None
        learnt = models.learnt_from(self._database, shown)
        if source:
            try:
                judged = models.judge(
                    self._database,
                    shown,
                    source,
                    asked(request, "target") or None,
                    asked_share(request, "threshold") if shown["task"] == "binary" else None,
                    importance=bool(asked(request, "importance")),
                )
            except TrailsError as error:
                fault = error
        return page(
            request,
            "model.html",
            versions=versions,
            shown=shown,
            learnt=learnt,
            origin=words.origin(learnt["made_of"]) if learnt and learnt["made_of"] else [],
            said=models.said(self._database, shown),
            offered=models.offered(self._database, learnt),
            source=source,
            target=asked(request, "target"),
            threshold=asked(request, "threshold"),
            importance=bool(asked(request, "importance")),
            judged=judged,
            fault=fault,
            matrix=models.matrix(judged.confusion) if judged and judged.confusion else None,
            chart=_threshold_chart(judged.thresholds, judged.threshold) if judged and judged.thresholds else None,
        )

    def compare(self, request: Request) -> Response:
        """Two versions side by side on the same rows."""
        versions = self._versions(request)
        pair = [_version(versions, asked_number(request, name)) for name in ("left", "right")]
        source, judged, fault = asked(request, "source"), None, None
        try:
            judged = models.compare(self._database, pair, source)
        except TrailsError as error:
            fault = error
        return page(
            request,
            "compare.html",
            versions=versions,
            pair=pair,
            source=source,
            judged=judged,
            fault=fault,
            lines=models.side_by_side(judged) if judged else [],
            matrices=[models.matrix(one.confusion) if one.confusion else None for one in judged or ()],
        )

    def _versions(self, request: Request) -> list[Row]:
        # A browser takes the name `..` in a path for the page above.
        name = str(request.path_params.get("name") or request.query_params.get("name", ""))[:LONGEST]
        name = name.replace("\0", "\ufffd")
        found = models.versions(self._database, name, asked(request, "owner"))
        if found.fault is not None:
            raise found.fault
        if not found:
            raise missing("there is no such model that this role may see")
        return found.rows


def _asked_place(request: Request) -> tuple[bool, str, str] | None:
    """After which model a list goes on, in its order."""
    given = request.query_params
    if "after" not in given:
        return None
    owner, name = (given.get(key, "")[:LONGEST].replace("\0", "\ufffd") for key in ("owner", "after"))
    return given.get("own") == "yes", owner, name


def _default(versions: list[Row]) -> Row:
    """What a model's bare name stands for."""
    return next((row for row in versions if row["state"] == "deployed"), versions[0])


def _version(versions: list[Row], wanted: int | None) -> Row:
    for row in versions:
        if row["version"] == wanted:
            return row
    raise missing("the model has no such version")


_SHOWN = ("precision", "recall", "f1")


def _threshold_chart(rows: list[Row], used: float | None) -> dict[str, object]:
    """Lines for the script, out of rows that have the largest threshold first, and the threshold that is used."""
    return {
        "lines": [
            {
                "name": name,
                "points": [
                    [row["threshold"], row[name]] for row in reversed(rows) if row[name] is not None and _finite(row)
                ],
            }
            for name in _SHOWN
        ],
        "threshold": used,
    }


def _finite(row: Row) -> bool:
    return 0 <= float(row["threshold"]) <= 1
