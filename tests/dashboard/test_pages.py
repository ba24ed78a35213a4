"""What pages say, compared with what the database says."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from tests.dashboard.conftest import ODD, ODD_MODEL, ROWS, Database, Start
from tests.dashboard.site import ROOT, Page, Site
from tests.timing import within
from trails.dashboard import run_pages

COPIES = """
INSERT INTO trails.runs (function, source, target, task, metric, features, budget, space, refinement, seed, train_rows,
    unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds, tfmem, scored, k)
SELECT 'model_selection', 'public.t' || mod(i, 3), 'y', 'binary', 'auc', '{a}', '10 s', 'mlp4x20', 'sh', 1, 100, 0,
    CASE WHEN mod(i, 10) = 0 THEN 'best so far' ELSE 'complete' END, now(), now(), 1, 1, 9, 'expressflow', 160000, 3
FROM generate_series(1, %s) i
"""


def test_runs_are_listed_with_their_best(shop: Database, site: Site) -> None:
    page = site.page("/")
    found = shop.sql(
        "SELECT r.run_id, c.architecture, to_char(c.validation_metric, 'FM0.00000') FROM trails.runs r "
        "JOIN trails.candidates c ON c.run_id = r.run_id AND c.rank = 1 ORDER BY r.run_id DESC"
    )
    rows = page.tables[0][1:]
    assert [row[0].split()[0] for row in rows] == [str(run_id) for run_id, _, _ in found]
    for row, (_, architecture, metric) in zip(rows, found, strict=True):
        assert row[4] == architecture and metric in row[3]
    assert ODD.split("\u202e")[0].replace('"', '""') in page.text


def test_a_run_is_shown_as_it_was_recorded(shop: Database, site: Site) -> None:
    page = site.page("/runs/1")
    board = shop.sql("SELECT rank, architecture, validation_metric, epochs, parameters FROM trails.leaderboard(1)")
    assert [row[:5] for row in page.tables[0][1:]] == [
        [str(rank), name, f"{metric:.5f}", str(epochs), f"{parameters:,}"]
        for rank, name, metric, epochs, parameters in board
    ]
    told = json.loads(page.data[0])
    trials = shop.sql("SELECT architecture, rung, epoch, validation_metric FROM trails.trials WHERE run_id = 1")
    assert sorted((told["names"][n], r, e, v) for n, r, e, v in told["points"]) == sorted(trials)
    assert told["winner"] == board[0][1]
    phases = shop.sql("SELECT phase, process FROM trails.timings WHERE run_id = 1 ORDER BY place")
    assert [(row[0], row[1]) for row in page.tables[1][1:]] == phases
    for said in (
        "160,000 architectures of the space mlp4x20 were scored by expressflow",
        "compared on 1,000 rows of public.later",
        "4 candidates (as asked) were planned for the first rung for 1 epoch each, by successive halving",
        "Metric auc",
        "of a budget of 60 s",
    ):
        assert said in page.text
    assert any("/model?name=buyers&" in link for link in page.links)
    epochs = site.page("/runs/1/trials").tables[0][1:]
    assert len(epochs) == len(trials)


def test_what_is_called_oddly_is_shown_and_is_no_markup(shop: Database, site: Site) -> None:
    for path in ("/", "/runs/2", "/runs/2/trials", "/models", f"/models/{quote(ODD_MODEL, safe='')}"):
        site.page(path)  # which looks for scripts, styles and handlers that are not ours
    run = site.page("/runs/2")
    assert "tar<get>" in run.text and "b<b>" in run.text and ODD_MODEL in run.text
    quoted = '"' + ODD.replace('"', '""') + '"'
    model = site.page(f"/models/{quote(ODD_MODEL, safe='')}?source={quote(quoted)}")
    assert ODD_MODEL in model.text and "Rows it was trained on" in model.text
    assert {"<script>", 'it\'s & "x"', "🦉"} <= {row[0] for row in model.tables[2]}
    error = site.get(f"/models/{quote('<script>alert(1)</script>')}")
    assert error.status == 404 and "<script>alert" not in error.text
    filtered = site.page("/?source=" + quote('"><script>alert(1)</script>'))
    assert "No run is like that" in filtered.text


@pytest.mark.parametrize(
    "path",
    ["/runs/0", "/runs/99", "/runs/-1", "/runs/x", "/runs/99999999999999999999", "/runs/1%00", "/models/none",
     "/models/buyers?version=9", "/models/a%00b", "/models/buyers/compare?left=1", "/nothing", "/static/../app.py",
     "/static/%2e%2e/app.py", "/runs/99/trials"],
)  # fmt: skip
def test_what_is_not_there_is_told(site: Site, path: str) -> None:
    answer = site.get(path)
    assert answer.status == 404 and "Traceback" not in answer.text
    Page(answer.text)


def test_odd_values_in_an_address_do_no_harm(site: Site) -> None:
    for query in ("before=99999999999999999999", "before=x", "source=%00%ff", "state=%27", "source=" + "x" * 5000):
        assert site.get(f"/?{query}").status == 200
    for query in ("epoch=99999999999", "architecture=%00", "architecture=%F0%9F"):
        assert site.get(f"/runs/1/trials?{query}").status == 200
    for query in ("threshold=x", "threshold=2", "threshold=nan"):
        assert "no probability" in site.get(f"/models/buyers?source=later&{query}").text
    for query in ("source=%00", "source=a.b.c.d", 'source="', "source=1;2"):
        answer = site.get(f"/models/buyers?{query}")
        assert answer.status == 200
        assert "cannot be evaluated" in answer.text


def test_a_model_is_judged_as_in_sql(shop: Database, site: Site) -> None:
    page = site.page("/models/buyers?source=later&importance=yes&threshold=0.3")
    metrics = {row[0]: row[1:] for row in page.tables[1][1:]}
    evaluated = shop.sql("SELECT metric, value, rows FROM trails.evaluate('buyers@1', 'later', threshold => 0.3)")
    for metric, value, rows in evaluated:
        assert metrics[metric] == [f"{value:.5f}", f"{rows:,}"]
    cells = [cell.split()[0] for row in page.tables[2][1:] for cell in row[1:]]
    confusion = shop.sql(
        "SELECT rows FROM trails.confusion_matrix('buyers@1', 'later', threshold => 0.3) ORDER BY actual, predicted"
    )
    assert cells == [f"{rows:,}" for (rows,) in confusion]
    curve = shop.sql("SELECT threshold, recall FROM trails.threshold_curve('buyers@1', 'later')")
    told = json.loads(page.data[0])
    assert told["threshold"] == 0.3
    drawn = next(line["points"] for line in told["lines"] if line["name"] == "recall")
    assert [tuple(point) for point in drawn] == curve[::-1]
    importance = shop.sql("SELECT feature FROM trails.feature_importance('buyers@1', 'later') ORDER BY rank")
    assert [(row[0],) for row in page.tables[4][1:]] == importance
    assert "Rows it was chosen on" in page.text
    own = site.page("/models/buyers?source=visits")
    assert "Rows it was trained on" in own.text and json.loads(own.data[0])["threshold"] == 0.4
    shop.sql("CREATE TABLE newer AS SELECT * FROM later")
    fresh = site.page("/models/buyers?source=newer").text
    assert "Rows it was" not in fresh and "cannot be evaluated" not in fresh
    assert "cannot be evaluated" in site.page("/models/buyers?source=newer&target=hour").text


def test_two_versions_are_compared_on_the_same_rows(shop: Database, site: Site) -> None:
    page = site.page("/models/buyers/compare?left=1&right=2&source=later")
    sides = [dict(shop.sql(f"SELECT metric, value FROM trails.evaluate('buyers@{v}', 'later')")) for v in (1, 2)]
    rows = {row[0]: row[1:] for row in page.tables[0][1:]}
    assert rows.keys() == sides[0].keys()
    for metric, (left, right, difference) in rows.items():
        assert left.split()[0] == f"{sides[0][metric]:.5f}" and right.split()[0] == f"{sides[1][metric]:.5f}"
        assert difference == f"{sides[1][metric] - sides[0][metric]:+.5f}"
        gain = (sides[1][metric] - sides[0][metric]) * (-1 if metric in ("log_loss", "brier") else 1)
        assert ("better" in right, "better" in left) == (gain > 0, gain < 0) or metric == "base_rate"


def test_runs_are_paged_and_filtered(bare: Database, start: Start) -> None:
    bare.sql(COPIES, 120)
    site = start(dsn=bare.dsn())
    seen: list[int] = []
    link: str | None = "/"
    while link:
        page = site.page(link)
        seen += [int(row[0].split()[0]) for row in page.tables[0][1:]]
        link = next((one for one in page.links if "before=" in one), None)
    assert seen == list(range(120, 0, -1))
    cut = site.page("/?state=best%20so%20far&source=T1")
    ids = [int(row[0].split()[0]) for row in cut.tables[0][1:]]
    assert ids == [100, 70, 40, 10]


def test_a_run_that_was_stopped_had_no_fault(bare: Database, start: Start) -> None:
    bare.sql(COPIES, 2)
    for run_id, fault in ((1, "run 1 was stopped by trails.stop"), (2, "it was killed")):
        bare.sql("UPDATE trails.runs SET state = 'best so far', fault = %s WHERE run_id = %s", fault, run_id)
    site = start(dsn=bare.dsn())
    stopped, cut = site.page("/runs/1").text, site.page("/runs/2").text
    assert "It was stopped" in stopped and "fault" not in stopped
    assert "A fault cut this run. it was killed" in cut and "It was stopped" not in cut


def test_a_hundred_thousand_epochs_are_listed_without_delay(bare: Database, start: Start) -> None:
    bare.sql(COPIES, 1)
    bare.sql(
        "INSERT INTO trails.candidates (run_id, architecture, rank, validation_metric, epochs, parameters) "
        "SELECT 1, 'a' || i, CASE WHEN i = 7777 THEN 1 WHEN i < 7777 THEN i + 1 ELSE i END, 1.0 / (i + 1), 10, 100 "
        "FROM generate_series(1, 10000) i"
    )
    bare.sql(
        "INSERT INTO trails.trials SELECT 1, 'a' || i, 0, e, 0.5, 0.5, 0.5, 0.01 "
        "FROM generate_series(1, 10000) i, generate_series(1, 10) e"
    )
    bare.sql("ANALYZE trails.trials, trails.candidates, trails.runs")
    site = start(dsn=bare.dsn())
    for path in (
        "/",
        "/runs/1",
        "/runs/1/trials",
        "/runs/1/trials?architecture=a5000&epoch=3",
        "/runs/1?place=5000&architecture=a1",
    ):
        began = time.monotonic()
        page = site.page(path)
        took = time.monotonic() - began
        print(f"{path}: {took:.3f} s, {len(page.html):,} bytes")
        assert within(took, 0.0, 2.0), path
        assert len(page.html) < 500_000
    told = json.loads(site.page("/runs/1").data[0])
    assert told["winner"] == "a7777" and "a7777" in told["names"] and 40 <= len(told["names"]) <= 61
    assert "of 10,000 curves are drawn" in site.page("/runs/1").text
    seen, link = 0, "/runs/1/trials?architecture=a99"
    while link:
        page = site.page(link)
        seen += len(page.tables[0]) - 1 if page.tables else 0
        link = next(("/runs/1/trials" + one for one in page.links if "epoch=" in one), "")
    rest = "SELECT count(*) FROM trails.trials WHERE (architecture, epoch) > ('a99', 0)"
    assert [(seen,)] == bare.sql(rest)


def test_the_best_epoch_of_a_long_curve_is_drawn(bare: Database, start: Start) -> None:
    bare.sql(COPIES, 1)
    bare.sql("INSERT INTO trails.candidates (run_id, architecture, rank, epochs) VALUES (1, 'a', 1, 5000)")
    bare.sql(
        "INSERT INTO trails.trials SELECT 1, 'a', 0, e, 0.5, 0.5, "
        "CASE e WHEN 1237 THEN 0.9 WHEN 7 THEN 'NaN' ELSE 0.5 END, 0.01 FROM generate_series(1, 5000) e"
    )
    site = start(dsn=bare.dsn())
    told = json.loads(site.page("/runs/1").data[0])
    points = told["points"]
    assert [0, 0, 1237, 0.9] in points and [0, 0, 1, 0.5] in points and [0, 0, 5000, 0.5] in points
    assert 150 < len(points) < 250 and told["less_is_better"] is False
    # Of a loss the smallest value is the best.
    bare.sql("UPDATE trails.runs SET metric = 'log_loss'")
    bare.sql("UPDATE trails.trials SET validation_metric = 0.1 WHERE epoch = 2111")
    told = json.loads(site.page("/runs/1").data[0])
    assert [0, 0, 2111, 0.1] in told["points"] and told["less_is_better"] is True
    assert [0, 0, 1237, 0.9] not in told["points"]


def test_models_are_paged_and_odd_names_are_links_that_lead_there(shop: Database, bare: Database, start: Start) -> None:
    weights = shop.sql("SELECT trails.export_model('buyers@1')")[0][0]
    bare.sql(f"CREATE TABLE visits AS {ROWS.format(1, 10)}")
    for name in ("..", ".", "a b?&#%", " padded "):
        bare.sql("SELECT trails.import_model(%s, %s, 'visits')", name, weights)
    bare.sql(
        """INSERT INTO trails.models
            (name, version, task, architecture, target, columns, encoder, metrics, digest, weights)
        SELECT 'm' || i, 1, task, architecture, target, columns, encoder, metrics, digest, weights
        FROM trails.models, generate_series(1, 116) i WHERE name = '.'"""
    )
    site = start(dsn=bare.dsn())
    seen: list[str] = []
    link: str | None = "/models"
    while link:
        page = site.page(link)
        assert len(page.tables[0]) <= 51
        for one in page.links:
            if one.startswith("/model?"):
                seen += parse_qs(urlsplit(one).query)["name"]
        link = next((one for one in page.links if "after=" in one), None)
    assert sorted(seen) == sorted(name for (name,) in bare.sql("SELECT name FROM trails.models")) and len(seen) == 120
    for name in ("..", ".", "a b?&#%", " padded "):
        page = site.page("/model?" + urlencode({"name": name}))
        assert f"{name.strip()}@1" in page.text.replace(" @", "@")
        assert all(one.startswith(("/", "#")) for one in page.links)
    only = site.page("/models?name=m11")
    assert sorted(row[0].split()[0] for row in only.tables[0][1:]) == ["m11", *(f"m11{i}" for i in range(7))]


def test_every_phase_has_a_colour_of_its_own() -> None:
    style = (ROOT / "python/trails/dashboard/static/style.css").read_text()
    drawn = dict(re.findall(r"\.p(\d+) \{ --phase: (#\w+); \}", style))
    assert sorted(map(int, drawn)) == list(range(run_pages._PHASE_COLOURS)) and len(set(drawn.values())) == len(drawn)
