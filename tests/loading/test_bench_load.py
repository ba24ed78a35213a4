"""Recorded benchmarks in PostgreSQL: what is there afterwards, who may load them, the study's questions as queries."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from tests.bench.records import MACHINE, compacted, made_up
from tests.loading.conftest import ROOT, Database
from trails.bench.command import PROTOCOLS
from trails.bench.load import load
from trails.bench.store import Store
from trails.bench.table import Benchmark
from trails.cli import main
from trails.errors import InvalidInput
from trails.loading.connection import DatabaseError

METRICS = ("expressflow", "params")


def scored(folder: Path, count: int = 30, epochs: int = 4) -> Benchmark:
    """A benchmark with three seeds of the first ten, two metrics, one failed training and one failed score."""
    made_up(folder, count, epochs, failing=frozenset([7]))
    store = Store(folder)
    from tests.bench.records import curve_rows

    store.add([row for place in range(10) for seed in (2, 3) for row in curve_rows(place, seed, epochs)], [])
    draw = np.random.default_rng(3)
    rows = [
        {
            "place": place,
            "tfmem": metric,
            "batch_seed": 1,
            "score": math.nan if (metric, place) == ("params", 5) else float(draw.normal()),
            "seconds": 0.001,
            "machine": MACHINE,
        }
        for metric in METRICS
        for place in range(count)
    ]
    store.add_scores(rows)
    # More digits than a half has; of two rows.
    store._add("prediction", predictions(count))
    return compacted(folder)


def predictions(count: int) -> object:
    import pyarrow as pa

    from trails.bench.schemas import PREDICTION

    half = np.array([0.12345, 0.5], np.float16)
    return pa.Table.from_pylist(
        [{"place": p, "seed": 1, "valid": half, "test": half} for p in range(count)], PREDICTION
    )


def test_every_row_is_there(database: Database, tmp_path: Path) -> None:
    benchmark = scored(tmp_path / "frappe")
    rows = load(tmp_path / "frappe", database.uri)
    curves = Store(tmp_path / "frappe").curves()
    assert rows == {"setting": 1, "architecture": 30, "curve": curves.num_rows, "score": 60, "prediction": 60}
    found = database.sql("select place, seed, epoch, valid_auc, test_auc from trails_bench.curve order by 1, 2, 3")
    expected = curves.select(["place", "seed", "epoch", "valid_auc", "test_auc"]).to_pylist()
    assert len(found) == len(expected)
    for (place, seed, epoch, valid, test), row in zip(found, expected, strict=True):
        assert (place, seed, epoch) == (row["place"], row["seed"], row["epoch"])
        assert np.array_equal(
            np.float32([valid, test]), np.float32([row["valid_auc"], row["test_auc"]]), equal_nan=True
        )
    named = dict(database.sql("select place, architecture from trails_bench.architecture"))
    assert [named[place] for place in range(30)] == benchmark.architectures
    scores = database.sql("select score from trails_bench.score where tfmem = 'expressflow' order by place")
    assert [score for (score,) in scores] == benchmark.scores("expressflow").tolist()
    ((kept,),) = database.sql("select probabilities from trails_bench.prediction where place = 4 and split = 'test'")
    assert np.float16(kept).tolist() == np.float16([0.12345, 0.5]).tolist()
    ((options, rows_of_test),) = database.sql("select options, test_rows from trails_bench.setting")
    assert options["batch"] == 1024 and rows_of_test == 200


def test_tables_and_columns_say_what_they_hold_and_have_their_keys(database: Database, tmp_path: Path) -> None:
    scored(tmp_path / "frappe")
    load(tmp_path / "frappe", database.uri)
    tables = (
        "select c.oid, c.relname from pg_class c where relnamespace = 'trails_bench'::regnamespace and relkind = 'r'"
    )
    silent = database.sql(
        f"""select relname, attname from ({tables}) t join pg_attribute a on attrelid = t.oid and attnum >= 0
            where not attisdropped and col_description(t.oid, attnum) is null"""
    )
    assert not silent
    assert not database.sql(f"select relname from ({tables}) t where obj_description(t.oid, 'pg_class') is null")
    keyed = database.sql(f"select relname from ({tables}) t join pg_index i on indrelid = t.oid where indisprimary")
    assert sorted(name for (name,) in keyed) == ["architecture", "curve", "prediction", "score", "setting"]


def test_a_second_load_replaces_one_dataset_and_leaves_the_other(database: Database, tmp_path: Path) -> None:
    scored(tmp_path / "one")
    load(tmp_path / "one", database.uri)
    # Of another dataset: the same rows under another name.
    other = tmp_path / "other"
    made_up(other, 3, 2)
    (other / "setting.json").write_text((other / "setting.json").read_text().replace('"made_up"', '"other"'))
    load(other, database.uri)
    made_up(tmp_path / "smaller", 5, 3)
    assert load(tmp_path / "smaller", database.uri)["curve"] == 15
    counts = dict(database.sql("select dataset, count(*) from trails_bench.curve group by 1"))
    assert counts == {"made_up": 15, "other": 6}
    assert database.sql("select count(*) from trails_bench.score") == [(0,)]


def test_a_load_that_fails_leaves_what_was_there(database: Database, tmp_path: Path) -> None:
    scored(tmp_path / "frappe")
    load(tmp_path / "frappe", database.uri)
    database.sql("alter table trails_bench.prediction add check (place < 3) not valid")
    before = database.sql("select count(*), max(epoch) from trails_bench.curve")
    made_up(tmp_path / "fewer", 10, 2)
    Store(tmp_path / "fewer")._add("prediction", predictions(10))
    with pytest.raises(DatabaseError, match="violates check constraint"):
        load(tmp_path / "fewer", database.uri)
    assert database.sql("select count(*), max(epoch) from trails_bench.curve") == before


@pytest.mark.parametrize("schema", ["trails_bench", 'odd "name"; drop table x', "Study"])
def test_a_schema_of_any_name_is_made(database: Database, tmp_path: Path, schema: str) -> None:
    made_up(tmp_path / "frappe", 3, 2)
    load(tmp_path / "frappe", database.uri, schema=schema)
    load(tmp_path / "frappe", database.uri, schema=schema)
    tables = database.sql("select count(*) from pg_tables where schemaname = %s", (schema,))
    assert tables == [(5,)]


def test_an_ordinary_role_needs_create_on_the_database_and_is_told_so(database: Database, tmp_path: Path) -> None:
    made_up(tmp_path / "frappe", 3, 2)
    name = database.sql("select current_database()")[0][0]
    role = f"student_{name}"
    database.sql(f"create role {role} login password 'study'")
    uri = re.sub(r"//[^@/]*@", f"//{role}:study@", database.uri)
    try:
        with pytest.raises(DatabaseError, match="may not make schema trails_bench in database") as refused:
            load(tmp_path / "frappe", uri)
        assert f'GRANT CREATE ON DATABASE "{name}" TO "{role}"' in (refused.value.hint or "")
        assert refused.value.sqlstate == "42501"
        database.sql("create schema mine")
        with pytest.raises(DatabaseError, match="may not make tables in schema mine") as refused:
            load(tmp_path / "frappe", uri, schema="mine")
        assert f'GRANT USAGE, CREATE ON SCHEMA "mine" TO "{role}"' in (refused.value.hint or "")
        database.sql(f"grant create on database {name} to {role}")
        assert load(tmp_path / "frappe", uri)["curve"] == 6
        assert load(tmp_path / "frappe", uri)["curve"] == 6
        owners = database.sql("select distinct tableowner from pg_tables where schemaname = 'trails_bench'")
        assert owners == [(role,)]
    finally:
        database.sql(f"drop owned by {role} cascade")
        database.sql(f"drop role {role}")


def test_what_cannot_be_loaded_is_told(database: Database, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no benchmark"):
        load(tmp_path / "nothing", database.uri)
    made_up(tmp_path / "frappe", 3, 2)
    database.sql("create schema taken")
    database.sql("create table taken.curve (dataset text, place int)")
    with pytest.raises(InvalidInput, match=r"taken\.curve has other columns") as refused:
        load(tmp_path / "frappe", database.uri, schema="taken")
    assert "dataset text, place integer" in (refused.value.detail or "")
    with pytest.raises(DatabaseError):
        load(tmp_path / "frappe", "host=/nowhere dbname=none")


def test_the_command_loads_all_that_there_are(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(PROTOCOLS)[:2]:
        made_up(tmp_path / name, 3, 2)
        setting = tmp_path / name / "setting.json"
        setting.write_text(setting.read_text().replace('"made_up"', f'"{name}"'))
    arguments = ["--folder", str(tmp_path), "--dsn", database.uri]
    assert main(["bench", "load", "--dataset", "all", *arguments]) == 0
    assert "uci_diabetes: 1 setting, 3 architecture, 6 curve, 0 score, 0 prediction" in capsys.readouterr().out
    assert database.sql("select count(*) from trails_bench.setting") == [(2,)]
    assert main(["bench", "load", "--dataset", "criteo", *arguments]) == 2
    assert "holds no benchmark" in capsys.readouterr().err
    assert main(["bench", "load", "--dataset", "all", "--folder", str(tmp_path / "no"), "--dsn", database.uri]) == 2


def queries() -> dict[str, str]:
    """Those of the documentation, by the sentence in the comment before each."""
    text = (ROOT / "docs" / "research.md").read_text()
    section = text.split("### In PostgreSQL\n", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```sql\n(.*?)```", section, re.S)
    return {
        statement.strip().splitlines()[0].removeprefix("-- "): statement
        for block in blocks
        for statement in re.split(r"\n\n(?=-- )", block)
    }


def test_the_studys_queries_answer_what_the_benchmark_does(database: Database, tmp_path: Path) -> None:
    made = scored(tmp_path / "frappe", 30, 14)
    setting = tmp_path / "frappe" / "setting.json"
    setting.write_text(setting.read_text().replace('"made_up"', '"frappe"'))
    load(tmp_path / "frappe", database.uri)
    found = {title: database.sql(statement) for title, statement in queries().items()}
    by_title = list(found.values())
    assert len(by_title) == 5

    best, correlation, regret, noise, reached = by_title
    assert [row[0] for row in best] == list(range(1, 15))
    for epoch, name, auc in best:
        answer = made.best(epoch=epoch, seed=1)
        assert (name, np.float32(auc)) == (answer.architecture, np.float32(answer.auc))

    final = made.column("test_auc", epoch=14, seed=1)
    for metric, rho in correlation:
        scores = made.scores(metric)
        both = np.isfinite(scores) & np.isfinite(final)
        assert rho == pytest.approx(spearmanr(scores[both], final[both]).statistic)
    assert {metric for metric, _ in correlation} == set(METRICS)

    valid, merits = made.column("valid_auc", epoch=14, seed=1), made.scores("expressflow")
    ranked = np.argsort(-merits)
    for k, lost in regret:
        assert lost == pytest.approx(np.nanmax(valid) - np.nanmax(valid[ranked[:k]]), abs=1e-6)

    ((deviation, architectures),) = noise
    several = np.stack([made.column("test_auc", epoch=14, seed=seed)[:10] for seed in (1, 2, 3)])
    several = several[:, np.isfinite(several).all(axis=0)]
    assert architectures == several.shape[1]
    assert deviation == pytest.approx(np.sqrt(several.var(axis=0, ddof=1).mean()), rel=1e-4)

    for name, epoch, seconds in reached:
        curve = made.curve(name, seed=1)
        assert epoch == int(np.argmax(curve.valid_auc >= 0.9)) + 1
        assert seconds == pytest.approx(made.seconds(name, epoch=epoch, seed=1), rel=1e-5)
    assert reached and [row[2] for row in reached] == sorted(row[2] for row in reached)


def test_searches_of_cells_are_a_table(database: Database, tmp_path: Path) -> None:
    from tests.bench.made_up_cells import written
    from trails.bench.image import score_table
    from trails.bench.image.explore import load_explored, read_run

    benchmark = written(tmp_path / "nasbench201", schedules={12: None})
    rows = [
        {"index": int(index), "tfmem": "synflow", "batch_seed": 1, "score": float(place), "seconds": 0.5}
        for place, index in enumerate(benchmark.recorded().recorded)
    ]
    score_table.add(benchmark.folder, rows)
    explored = ["bench", "explore", "--dataset", "nasbench201", "--folder", str(tmp_path), "--tfmem", "synflow"]
    load_it = ["--load", "--dsn", database.uri]
    assert main([*explored, "--runs", "2", "--steps", "30", *load_it]) == 0
    found = database.sql(
        "select run_id, current_explored_model, top_400, time_usage from trails_bench.explored where dataset = "
        "'nasbench201' order by 1, 2"
    )
    file = benchmark.folder / "explored.sqlite"
    expected = [row for run in (1, 2) for row in read_run(file, run)]
    assert [(r, c, tuple(best), s) for r, c, best, s in found] == [
        (row.run_id, row.current_explored_model, row.top_400, row.time_usage) for row in expected
    ]
    # More runs take the place of those before.
    assert main([*explored, "--runs", "3", "--steps", "30", *load_it]) == 0
    assert database.sql("select max(run_id) from trails_bench.explored") == [(3,)]
    with pytest.raises(InvalidInput, match="there is no"):
        load_explored(tmp_path / "none.sqlite", "nasbench201", database.uri)
