"""Runs at work and runs that wait or failed in the background, as pages tell of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import quote

from tests.dashboard.conftest import ODD, Database, Start, begin_run, epoch_ends, make_watchable, submitted
from tests.dashboard.site import Site
from tests.dashboard.test_pages import COPIES


def test_a_run_at_work_is_told_from_where_its_reader_is(bare: Database, start: Start, role: Callable[..., str]) -> None:
    make_watchable(bare)
    begin_run(bare, 7, ODD)
    epoch_ends(bare, 7, 1, "<b>8-8", 1, 0.5)
    site = start(dsn=bare.dsn())
    before = f"/live?mark={quote(mark(site))}"
    listed = json.loads(site.get(before).text)
    assert [run["run_id"] for run in listed["running"]] == [7] and listed["newer"] is False
    assert "/runs/7" in site.page("/").links
    site.page("/runs/7")
    first = json.loads(site.get("/runs/7/live?after=0").text)
    assert first["state"] == "running" and first["after"] == 1 and first["points"] == [[0, 0, 1, 0.5]]
    epoch_ends(bare, 7, 2, "16-8", 1, float("nan"))
    second = json.loads(site.get("/runs/7/live?after=1").text)
    assert second["names"] == ["16-8"] and second["points"] == [[0, 0, 1, None]] and second["after"] == 2
    assert json.loads(site.get("/runs/7/live?after=2").text)["points"] == []
    bare.sql("DELETE FROM trails.progress")
    assert json.loads(site.get("/runs/7/live?after=2").text)["state"] == "gone"
    bare.sql(COPIES, 7)
    assert json.loads(site.get("/runs/7/live?after=2").text)["state"] == "recorded"
    assert json.loads(site.get(before).text)["newer"] is True


def mark(site: Site) -> str:
    """What the page of runs has seen."""
    return site.get("/").text.partition('data-mark="')[2].partition('"')[0]


def test_every_new_record_is_told_of_whatever_its_number(bare: Database, start: Start) -> None:
    make_watchable(bare)
    bare.sql(COPIES, 9)
    bare.sql("DELETE FROM trails.runs WHERE run_id = 4")
    site = start(dsn=bare.dsn())
    seen = f"/live?mark={quote(mark(site))}"
    assert json.loads(site.get(seen).text)["newer"] is False
    bare.sql("ALTER TABLE trails.runs ALTER run_id RESTART WITH 4")
    bare.sql(COPIES, 1)
    bare.sql("UPDATE trails.runs SET finished = '2000-01-01' WHERE run_id = 4")
    assert json.loads(site.get(seen).text)["newer"] is True


def test_a_run_whose_metric_is_not_known_yet_has_none(bare: Database, start: Start) -> None:
    make_watchable(bare)
    begin_run(bare, 7, metric=None)
    page = start(dsn=bare.dsn()).page("/runs/7")
    assert page.tables[0][0][2] == "metric" and "validation metric" in page.html and "AUC" not in page.html


def test_runs_of_other_databases_are_not_mixed_in(bare: Database, start: Start) -> None:
    make_watchable(bare)
    for pid, name in ((2, "elsewhere-8"), (1, "here-8")):
        begin_run(bare, 7, pid=pid)
        epoch_ends(bare, 7, 1, name, 1, 0.5, pid)
    site = start(dsn=bare.dsn())
    assert json.loads(site.get("/runs/7/live?after=0").text)["names"] == ["here-8"]
    bare.sql("DELETE FROM trails.progress WHERE pid = 1")
    told = json.loads(site.get("/runs/7/live?after=0").text)
    assert told["names"] == [] and told["state"] == "gone"


def test_what_cannot_be_asked_has_not_ended(bare: Database, start: Start) -> None:
    make_watchable(bare)
    begin_run(bare, 7)
    site = start(dsn=bare.dsn())
    bare.sql("ALTER TABLE trails.progress RENAME COLUMN k TO other")
    told = json.loads(site.get("/runs/7/live?after=0").text)
    assert told["state"] == "unknown" and "k" in told["fault"]
    bare.sql("ALTER TABLE trails.progress RENAME COLUMN other TO k")
    assert json.loads(site.get("/runs/7/live?after=0").text)["state"] == "running"


def test_runs_in_the_background_are_there_whatever_becomes_of_them(bare: Database, start: Start) -> None:
    site, reading = start("--actions", dsn=bare.dsn()), start(dsn=bare.dsn())
    seen = f"/live?mark={quote(mark(site))}"
    assert "In the background" not in site.page("/").text
    submitted(bare, 41, "failed", "the target is a <constant>")
    submitted(bare, 42, "queued")
    assert json.loads(site.get(seen).text)["newer"] is True
    page = site.page("/")
    assert [row[:1] + row[2:4] for row in page.tables[0][1:]] == [
        ["42", "queued", "\u2013"],
        ["41", "failed", "the target is a <constant>"],
    ]
    assert {"/runs/41", "/runs/42"} <= set(page.links)
    failed = site.page("/runs/41").text
    for said in ("Run 41 failed", "the target is a <constant>.", "22023", "A row is odd.", "Leave it out."):
        assert said in failed
    assert "trails.cancel" not in failed and "<form" not in site.get("/runs/41").text
    told = json.loads(site.get("/runs/41/live?after=0").text)
    assert told["state"] == "failed"
    assert told["message"] == "the target is a <constant>. A row is odd. Leave it out."
    assert "trails.cancel(42)" in reading.page("/runs/42").text and "Run 42 queued" in reading.page("/runs/42").text
    assert json.loads(site.get("/runs/42/live?after=0").text)["state"] == "queued"
    token = site.get("/runs/42").text.partition('name="form_token" value="')[2].partition('"')[0]
    answer = site.ask("POST", "/runs/42/cancel", f"form_token={token}")
    assert answer.status == 303 and answer.headers["location"] == "/"
    assert bare.sql("SELECT state FROM trails.background_runs WHERE run_id = 42") == [("cancelled",)]
    assert "Run 42 cancelled" in site.page("/runs/42").text
    assert json.loads(site.get("/runs/42/live?after=0").text)["state"] == "cancelled"
    assert site.get("/runs/43").status == 404


def test_a_database_without_the_views_is_told_of(bare: Database, start: Start) -> None:
    make_watchable(bare)
    bare.sql("DROP TABLE trails.progress")
    site = start(dsn=bare.dsn())
    assert "has no trails.progress" in site.page("/").text
