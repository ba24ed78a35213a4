"""The experiments' harness: what a run records, how it goes on, and that figures come from the rows alone."""

from __future__ import annotations

import json
import lzma
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import MagicMock

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import _rivals as rivals
from benchmarks import (
    dashboard,
    explaining,
    faults,
    harness,
    plots,
    refinement_speed,
    selection,
    table_choices,
    tables,
    tfmem_cost,
    training_defaults,
    watching,
)
from benchmarks.__main__ import main
from tools.server import default_pg_config
from trails.errors import InvalidInput


class Counting:
    """Records the numbers below ten, and may stop half-way."""

    __name__ = "benchmarks.counting"
    DATASETS = ("frappe", "criteo")

    def __init__(self) -> None:
        self.measured: list[int] = []
        self.stop_at: int | None = None

    def run(self, context: harness.Context) -> None:
        for number in range(10):
            if context.recorded(number=number):
                continue
            if number == self.stop_at:
                raise KeyboardInterrupt
            self.measured.append(number)
            context.record({"number": number, "square": number**2})

    def draw(self, document: harness.Document) -> Mapping[str, Figure]:
        figure, (axes,) = plots.panels(1)
        axes.plot([row["square"] for row in document.rows])
        return {"": figure, "again": figure}


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    monkeypatch.setattr(harness, "experiments", lambda: {"counting": "Counts."})
    return Counting()


def run(module: Counting, results: Path, **options: bool) -> harness.Document:
    settings = {"quick": False, "fresh": False, **options}
    return harness.run(module, results=results, dataset=None, seed=3, **settings)


def test_an_interrupted_run_goes_on_where_it_stopped(counting: Counting, tmp_path: Path) -> None:
    counting.stop_at = 4
    with pytest.raises(KeyboardInterrupt):
        run(counting, tmp_path)
    counting.stop_at = None
    document = run(counting, tmp_path)
    assert counting.measured == list(range(10))
    assert [row["number"] for row in document.rows] == list(range(10))
    assert [row["session"] for row in document.rows] == [0] * 4 + [1] * 6
    assert "finished" not in document.sessions[0]
    assert "finished" in document.sessions[1]

    again = run(counting, tmp_path)
    assert again.rows == document.rows
    assert len(again.sessions) == 2
    assert len(run(counting, tmp_path, fresh=True).sessions) == 1
    assert counting.measured == [*range(10), *range(10)]


def test_results_say_how_they_came_about(counting: Counting, tmp_path: Path) -> None:
    document = run(counting, tmp_path)
    content = json.loads(document.path.read_text())
    assert document.path == tmp_path / "counting" / "frappe-seed3.json"
    assert content["settings"] == {"dataset": "frappe", "seed": 3, "quick": False}
    (session,) = content["sessions"]
    assert session["command"].startswith("python -m benchmarks")
    assert session["commit"] and session["started"] <= session["finished"]
    assert session["machine"]["processor"]
    assert session["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert session["machine"]["memory_bytes"] > 2**28
    assert {"python", "numpy", "torch", "postgres"} <= set(session["versions"])
    assert harness.Document.read(document.path) == document


def test_quick_runs_are_kept_apart_and_marked(counting: Counting, tmp_path: Path) -> None:
    full = run(counting, tmp_path)
    quick = run(counting, tmp_path, quick=True)
    assert full.path != quick.path
    plots.draw(counting, full)
    plots.draw(counting, quick)
    assert "REDUCED RUN" in quick.path.with_suffix(".svg").read_text()
    assert "REDUCED RUN" not in full.path.with_suffix(".svg").read_text()


def test_figures_depend_on_the_recorded_rows_alone(counting: Counting, tmp_path: Path) -> None:
    document = run(counting, tmp_path)
    lines = plots.draw(counting, document)
    assert len(lines) == 1 + 2 * 2
    names = ("frappe-seed3.svg", "frappe-seed3-again.svg", "frappe-seed3.png")
    first = [document.path.with_name(name).read_bytes() for name in names]
    plots.draw(counting, harness.Document.read(document.path))
    assert [document.path.with_name(name).read_bytes() for name in names] == first
    document.rows[3]["square"] = 50
    plots.draw(counting, document)
    assert document.path.with_name(names[0]).read_bytes() != first[0]


def test_unknown_dataset_is_refused(counting: Counting, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'movies'") as caught:
        harness.run(counting, results=tmp_path, dataset="movies", quick=True, seed=0)
    assert "frappe, criteo" in (caught.value.hint or "")
    assert not list(tmp_path.iterdir())


def test_experiments_are_listed_with_their_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"^expressflow_speed +Scoring a whole space at once", listed, re.MULTILINE)
    assert "harness" not in listed
    assert main(["no_such_thing"]) == 1
    assert "expressflow_speed" in capsys.readouterr().err


def test_no_server_is_needed_where_none_is_used(
    counting: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PG_CONFIG", "/nowhere/pg_config")
    document = run(counting, tmp_path)
    assert document.sessions[0]["versions"]["postgres"] is None and len(document.rows) == 10

    def in_a_database(_: harness.Context) -> None:
        default_pg_config()

    monkeypatch.setattr(counting, "run", in_a_database)
    monkeypatch.setattr(harness, "load", lambda _: counting)
    assert main(["counting", "--quick", "--results", str(tmp_path)]) == 1
    assert "error: PG_CONFIG=/nowhere/pg_config" in capsys.readouterr().err, "and not a traceback"


def test_pinned_functions_run_on_one_core() -> None:
    result = harness.run_pinned("benchmarks.pinned:describe")
    assert len(result["cores"]) == 1
    assert result["threads"] == "1"
    assert result["cores"][0] in os.sched_getaffinity(0)
    several = harness.run_pinned("benchmarks.pinned:describe", cores=2)
    assert len(several["cores"]) == min(2, len(os.sched_getaffinity(0)))


@pytest.fixture
def small_frappe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset of Frappe's form: ten fields, each with ids of its own."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "data" / "frappe"
    folder.mkdir(parents=True)
    ids = generator.integers(0, 20, (400, 10)) + 20 * np.arange(10)
    lines = [f"{row[0] % 2} " + " ".join(f"{value}:1" for value in row) for row in ids.tolist()]
    for split in ("train", "valid", "test"):
        (folder / f"{split}.libsvm").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("TRAILS_DATA", str(folder.parent))


@pytest.mark.usefixtures("small_frappe")
def test_costs_of_metrics_are_measured_summed_up_and_drawn(tmp_path: Path) -> None:
    settings = {"dataset": "frappe", "seed": 0, "quick": True}
    document = harness.Document(tmp_path / "r" / "cost.json", "tfmem_cost", "", settings, [harness.session()])
    common = {"dataset": "frappe", "seed": 0}
    for name in ("weight_norm", "snip", "zico", "jacob_cov"):
        document.rows += tfmem_cost.measure_textbook(name, 0, 6, **common)
    document.rows += tfmem_cost.measure_space("weight_norm", 1, 1, **common)
    for name in ("snip", "zico", "jacob_cov"):
        document.rows += tfmem_cost.measure_fast(name, 6, **common)
    json.dumps(document.rows, allow_nan=False)
    document.write()
    lines = tfmem_cost.summarise(document)
    assert [line.split()[0] for line in lines[2:]] == ["weight_norm", "snip", "zico", "jacob_cov"]
    assert all(float(row["megabytes"]) > 1 for row in document.rows)
    assert len(plots.draw(cast(harness.Experiment, tfmem_cost), document)) == 3


def document_of(tmp_path: Path, experiment: object, rows: list[harness.Row]) -> harness.Document:
    name = experiment.__name__.rpartition(".")[2]  # type: ignore[attr-defined]
    settings = {"dataset": "frappe", "seed": 0, "quick": True}
    document = harness.Document(tmp_path / name / "frappe.json", name, "", settings, [harness.session()], rows)
    document.write()
    return document


@pytest.mark.usefixtures("small_frappe")
def test_speed_of_every_loop_is_measured_summed_up_and_drawn(tmp_path: Path) -> None:
    selection.columns.cache_clear()
    rows = [
        {
            "set": "narrow",
            "loop": loop,
            "device": "cpu",
            "repeat": 0,
            **refinement_speed.measure("frappe", "narrow", loop, "cpu", 3, 0),
        }
        for loop in refinement_speed.LOOPS
    ]
    document = document_of(tmp_path, refinement_speed, rows)
    assert all(row["epochs_models_per_second"] > 0 and len(row["widths"]) == 16 for row in rows)
    lines = refinement_speed.summarise(document)
    assert "times the good loop" in lines[1] and lines[-1].strip() == "no GPU was there"
    assert len(plots.draw(cast(harness.Experiment, refinement_speed), document)) == 3


@pytest.mark.usefixtures("small_frappe")
def test_variants_of_training_are_measured_and_compared_with_the_defaults(tmp_path: Path) -> None:
    selection.columns.cache_clear()
    rows = [
        {"variant": variant, "model_seed": 0, **row}
        for variant in ("defaults", "dropout 0.2")
        for row in training_defaults.train("frappe", training_defaults.VARIANTS[variant], 2, 0)
    ]
    assert all(len(row["curve"]) == 2 and row["validation_metric"] == max(row["curve"]) for row in rows)
    document = document_of(tmp_path, training_defaults, rows)
    lines = training_defaults.summarise(document)
    assert lines[1].split()[0] == "defaults" and "(+0.0000)" in lines[1] and "dropout 0.2" in lines[2]
    assert len(plots.draw(cast(harness.Experiment, training_defaults), document)) == 3


def test_patience_takes_the_best_epoch_before_its_end() -> None:
    curve = [(0.5, 1.0, 0.1), (0.7, 0.9, 0.2), (0.6, 0.8, 0.3), (0.7, 0.8, 0.4), (0.6, 0.9, 0.5), (0.9, 0.5, 0.6)]
    assert [table_choices.waited(curve, patience) for patience in (1, 2, 3)] == [(0.2, 3), (0.6, 6), (0.6, 6)]


def test_choices_of_training_are_compared_with_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    number = random.normal(size=400)
    kinds = random.choice(["a", "b"], 400)
    label = np.where(number + (kinds == "a") + random.normal(size=400) > 0.5, "yes", "no")
    part = np.where(np.arange(400) % 4 > 0, "train", "test")
    lines = ["row_id,part,number,kind,left", *(f"{i},{part[i]},{number[i]},{kinds[i]},{label[i]}" for i in range(400))]
    (tmp_path / "employee.csv.xz").write_bytes(lzma.compress("\n".join(lines).encode()))
    monkeypatch.setattr(table_choices, "folder", lambda: tmp_path)
    rows = [
        {"variant": variant, "run_seed": 1, **table_choices.train("employee", members, options, 4, 1)}
        for variant, (members, options) in table_choices.VARIANTS.items()
        if variant in ("defaults", "no linear path", "8 members")
    ]
    assert all(len(row["curve"]) == 4 and row["metric"] == "auc" for row in rows)
    assert rows[0]["curve"][-1][2] > 0.7, "what is learnt holds on the test rows"
    document = document_of(tmp_path, table_choices, rows)
    said = table_choices.summarise(document)
    assert "(+0.0000" in said[1] and "no linear path" in said[2] and "patience 5" in said[-4]
    assert len(plots.draw(cast(harness.Experiment, table_choices), document)) == 3


@pytest.mark.usefixtures("small_frappe")
def test_a_selection_outside_the_database_keeps_its_budget_and_tests_its_winner() -> None:
    selection.columns.cache_clear()
    found = selection.select("frappe", 8.0, 1, {"max_epochs": 2})
    assert found["wall"] < 8.5 and found["trained"] >= 1
    # The label follows the first field.
    assert found["test_auc"] > 0.6


def test_watching_is_summed_up_from_runs_looks_and_lags(tmp_path: Path) -> None:
    rows: list[harness.Row] = [
        {"what": "run", "watched": watched, "seconds": seconds, "pause": 0.1}
        for watched, times in ((False, (10.0, 10.2, 10.4)), (True, (10.3, 10.4, 10.5)))
        for seconds in times
    ]
    close = {"pause": watching.CLOSE_SECONDS}
    rows += [{"what": "look", "view": "progress", "seconds": 0.001 * n, **close} for n in range(1, 4)]
    rows += [{"what": "look", "view": "live_trials", "seconds": 0.004, **close}]
    lags = (0.01, watching.CLOSE_SECONDS), (0.02, watching.CLOSE_SECONDS), (9.0, watching.POLL_SECONDS)
    rows += [{"what": "epoch", "seconds": lag, "pause": pause} for lag, pause in lags]
    rows += [{"what": "phase", "phase": "reading", "seconds": 0.05, **close}]
    document = document_of(tmp_path, watching, rows)
    lines = watching.summarise(document)
    assert "10.20 s alone and 10.40 s watched every 100 ms (+2.0%; runs alone differ by 0.40 s)" in lines[1]
    assert "trails.progress: median 2.00 ms, 99 % below 3.00 ms (3 looks)" in lines[2]
    assert "a new phase is seen after 0.050 s" in lines[4] and "at most 0.020 s" in lines[5]
    assert len(plots.draw(cast(harness.Experiment, watching), document)) == 3


def test_explaining_is_summed_up_from_made_tables_and_rows(tmp_path: Path) -> None:
    made = {"what": "importance", "true": "c1", "importance": 0.3, "deviation": 0.01}
    rows: list[harness.Row] = [
        {**made, "table": 0, "found": "c1", "next": 0.1},
        {**made, "table": 1, "found": "c2", "next": 0.25},
    ]
    told = {"what": "explanation", "key": "1", "range": 0.5, "contribution": 0.2}
    rows += [{**told, "feature": name, "residual": -0.01, "other": other} for name, other in (("a", 0.21), ("b", 0.2))]
    document = document_of(tmp_path, explaining, rows)
    lines = explaining.summarise(document)
    assert "is first in 1 of 2 made tables" in lines[0] and "an AUC of 0.050 at least" in lines[0]
    assert "explanations of 1 rows" in lines[1] and "at most 2.00e-02 of it" in lines[1]
    assert "differ by 0.0100 of the range" in lines[2]
    assert len(plots.draw(cast(harness.Experiment, explaining), document)) == 3


def test_a_rival_that_fails_keeps_nobody_from_going_on(tmp_path: Path) -> None:
    def fails(task: rivals.Task) -> NDArray[Any]:
        raise MemoryError("too many trees")

    connection = MagicMock()
    cursor = connection.cursor.return_value.__enter__.return_value
    cursor.description = [SimpleNamespace(name=name) for name in ("row_id", "a", "y")]
    cursor.fetchall.return_value = [(1, 0.5, "no"), (2, 0.7, "yes")]
    found = tables._of_rival(connection, fails, "y", "auc", 10, 0)
    assert found == {"failed": "MemoryError: too many trees"}
    common = {"run_seed": 0, "metric": "auc", "budget": 10, "seconds": 1.0}
    rows: list[harness.Row] = [{**common, "variant": "Trails", "test": 0.8}, {**common, "variant": "FLAML", **found}]
    document = document_of(tmp_path, tables, rows)
    lines = tables.summarise(document)
    assert len(lines) == 4 and "0.8000" in lines[1] and "failed with seed 0: MemoryError" in lines[3]
    assert len(plots.draw(cast(harness.Experiment, tables), document)) == 3


def test_tables_are_compared_with_the_best_of_each(tmp_path: Path) -> None:
    common = {"run_seed": 0, "budget": 10, "seconds": 1.0}
    of_table = {"income": ("auc", 0.9, 0.8), "bike": ("r2", 0.7, 0.75)}
    for table, (metric, ours, other) in of_table.items():
        rows: list[harness.Row] = [
            {**common, "metric": metric, "variant": "Trails", "test": ours},
            {**common, "metric": metric, "variant": "LightGBM", "test": other},
        ]
        settings = {"dataset": table, "seed": 0, "quick": True}
        path = tmp_path / "tables" / f"{table}-seed0-quick.json"
        document = harness.Document(path, "tables", "", settings, [harness.session()], rows)
        document.write()
    lines = tables.summarise(document)
    assert lines[-3:-2] == ["of 2 tables:"]
    assert " ".join(lines[-2].split()) == "Trails behind the best by 0.0250, rank 1.5 (means)"
    assert " ".join(lines[-1].split()) == "LightGBM behind the best by 0.0500, rank 1.5 (means)"
    assert len(plots.draw(cast(harness.Experiment, tables), document)) == 5


def test_the_dashboard_is_summed_up_from_points_and_pages(tmp_path: Path) -> None:
    rows: list[harness.Row] = dashboard._points(0, [0.0, 1.0, 2.0, 3.0, 4.5], [0.5, 2.0, 4.5], 6.0)
    rows += [{"what": "page", "page": "run", "seconds": seconds, "bytes": 24_000} for seconds in (0.1, 0.2, 0.3)]
    document = document_of(tmp_path, dashboard, rows)
    lines = dashboard.summarise(document)
    assert lines[0].startswith("4 points") and "1.75 s after" in lines[0] and "3.00 s at most" in lines[0]
    # The last one ended with the run, whose record has it.
    assert "and 2 were later, of which 1 never came" in lines[0]
    assert "run: 200 ms (median), 300 ms at most, 24 kB" in lines[1]
    assert len(plots.draw(cast(harness.Experiment, dashboard), document)) == 3


def test_faults_are_counted_against_the_promise(tmp_path: Path) -> None:
    common = {"rows": 0, "warned": False, "session_usable": True, "server_up": True, "children_left": 0}
    rows = [
        {"what": "cancel", "moment": 1.0 * n, "seconds_to_end": seconds, "error": "57014", "had_child": True, **common}
        for n, seconds in enumerate((0.01, 0.02, 0.3))
    ]
    rows += [
        {"what": "kill", "moment": 1.0, "seconds_to_end": 0.1, "error": error, "had_child": True, **common}
        for error in (None, "38000", "38000")
    ]
    document = document_of(tmp_path, faults, rows)
    lines = faults.summarise(document)
    assert "2 of 3 within 200 ms" in lines[0] and "longest 300 ms" in lines[0]
    assert "3 times; 1 results, 2 errors; server up 3 times, session usable 3 times" in lines[1]
    assert len(plots.draw(cast(harness.Experiment, faults), document)) == 3
