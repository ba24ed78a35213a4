"""Refinement in SQL: named candidates, fixed workloads, profiles, options, settings, timings, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from tests.sql.stub import Stub
from tests.sql.tables import children, make_table, query
from tests.timing import within

NAMES = ["64-32-16-8", "32-32-32-32", "16-16-16-16"]
CURVES = (
    "SELECT * FROM trails.refinement_phase('train', 'label', ARRAY['64-32-16-8', '32-32-32-32', '16-16-16-16'], "
    "u => 1, budget => '40 s', validation => 'valid'"
)
WORKLOADS = "SELECT * FROM trails.model_selection_workloads('train', 'label', 500, 4, validation => 'valid'"

DONE = """
rows = receive(); ready(); request = receive(); plan(k=request["k"], u=request["u"])
send("rows", seconds=0.1, first_batch=0.4, task="binary", metric="auc")
a = request["candidates"][0][0]
epoch(a, 0, 1, 0.8)
result([row(a, 0.8)], timings=[{"phase": "encode", "begin": 0.3, "seconds": 0.1},
                               {"phase": "rung 0", "begin": 0.5, "seconds": 0.2}])
"""


def test_returns_learning_curves_and_is_a_run_in_the_catalogue(session: Any) -> None:
    rows = query(session, CURVES + ")")
    assert {row[1] for row in rows} == set(NAMES)
    assert rows == sorted(rows, key=lambda row: (row[0], row[3]))
    for name in NAMES:
        epochs = [row for row in rows if row[1] == name]
        assert [row[3] for row in epochs] == list(range(1, len(epochs) + 1))
        assert len({row[0] for row in epochs}) == 1
        assert all(row[4] > 0 and row[5] > 0 and 0 < row[6] <= 1 and row[7] > 0 for row in epochs)
    best = [max(row[6] for row in rows if row[0] == place) for place in (1, 2, 3)]
    assert best == sorted(best, reverse=True) and best[0] > 0.7

    ((run, *told),) = query(
        session, "SELECT run_id, function, tfmem, n, scored, k, u, refinement, state, continues FROM trails.runs"
    )
    assert told == ["refinement_phase", None, None, None, 3, 1, "sh", "complete", None]
    candidates = query(
        session, "SELECT architecture, score, score_rank, rank FROM trails.candidates ORDER BY score_rank"
    )
    assert [(c[0], c[1], c[2]) for c in candidates] == [(name, None, place) for place, name in enumerate(NAMES, 1)]
    assert query(session, "SELECT count(*) FROM trails.trials WHERE run_id = %s", run) == [(len(rows),)]


@pytest.mark.parametrize("scheduler", ["sh", "sj", "ua", "hyperband"])
def test_every_scheduler(session: Any, scheduler: str) -> None:
    rows = query(session, CURVES.replace("u => 1, ", "") + f", refinement => '{scheduler}')")
    assert {row[0] for row in rows} >= {1}
    assert query(session, "SELECT refinement FROM trails.runs") == [(scheduler,)]


def test_same_seed_and_plan_give_the_same_curves(session: Any) -> None:
    first, second = (query(session, CURVES + ", seed => 11)") for _ in range(2))
    assert [(*row[:4], row[6]) for row in first] == [(*row[:4], row[6]) for row in second]
    # Sums of many losses may be added up in another order.
    for place in (4, 5):
        assert [row[place] for row in first] == pytest.approx([row[place] for row in second], rel=1e-6)


def test_process_is_sent_the_names_the_plan_and_the_deadline(scripted: Any, stub: Stub) -> None:
    stub.script(DONE)
    query(scripted, "SELECT * FROM trails.refinement_phase('train', 'label', ARRAY['64-32-16-8', '8-8-8-8'], u => 3)")
    rows, request = stub.requests()
    assert request["candidates"] == [["64-32-16-8", None], ["8-8-8-8", None]]
    assert (request["k"], request["u"], request["resume"], request["options"]) == (2, 3, None, {})
    assert rows["budget"] == 60 and rows["started"] < rows["deadline"] < rows["started"] + 60
    assert len(set(rows["checkpoints"])) == 2 and rows["validation"] is None


def test_a_validation_table_may_have_types_that_stand_for_the_sources(scripted: Any, stub: Stub) -> None:
    query(
        scripted,
        "CREATE TABLE src AS SELECT id, label, colour::float8 AS colour, shape, "
        "(DATE '2020-01-01' + noise)::timestamp AS day FROM train",
    )
    query(
        scripted,
        "CREATE TABLE held AS SELECT id, label, colour, shape > 3 AS shape, DATE '2020-01-01' + noise AS day "
        "FROM valid",
    )
    stub.script(DONE)
    run = (
        "SELECT * FROM trails.refinement_phase('{}', 'label', ARRAY['8-8-8-8'], u => 1, features => '{}', "
        "validation => '{}')"
    )
    query(scripted, run.format("src", "{colour,day,shape}", "held"))
    told = stub.requests()[0]
    kinds = [{column["name"]: column["kind"] for column in told[of]["columns"]} for of in ("train", "validation")]
    assert kinds[0] == {"colour": "float64", "day": "timestamp", "shape": "int64", "label": "int32"}
    assert kinds[1] == {"colour": "int32", "day": "date", "shape": "boolean", "label": "int32"}
    for column, cast in (("colour", "bigint"), ("day", "date"), ("shape", "boolean")):
        with pytest.raises(psycopg2.Error, match=f'column "{column}" has type') as caught:
            query(scripted, run.format("held", f"{{{column}}}", "src"))
        hint = caught.value.diag.message_hint
        assert caught.value.pgcode == "42804"
        assert f"CAST({column} AS {cast})" in hint or "There is no cast" in hint, hint


def test_columns_that_cannot_be_read_are_left_out_and_recorded(scripted: Any, stub: Stub) -> None:
    query(scripted, "ALTER TABLE train ADD note pg_catalog.jsonb, ADD cost money, ADD address inet")
    stub.script(DONE)
    scripted.notices.clear()
    query(scripted, "SELECT * FROM trails.refinement_phase('train', 'label', ARRAY['8-8-8-8'], u => 1)")
    told = "".join(scripted.notices)
    reasons = {
        name: f"type {name_of} cannot be learned from"
        for name, name_of in (("note", "jsonb"), ("cost", "money"), ("address", "inet"))
    }
    assert all(
        f'feature "{name}" is left out: {reason}' in told.replace("pg_catalog.", "") for name, reason in reasons.items()
    )
    ((left_out, features),) = query(scripted, "SELECT left_out, features::pg_catalog.text[] FROM trails.runs")
    left_out = {name: reason.replace("pg_catalog.", "") for name, reason in left_out.items()}
    assert left_out == reasons and features == ["colour", "shape", "noise"]


def test_options_reach_the_process_and_the_catalogue(scripted: Any, stub: Stub) -> None:
    stub.script(DONE)
    query(scripted, CURVES + ', options => \'{"dropout": 0.25, "eta": 4, "winner": false}\')')
    assert stub.requests()[1]["options"] == {"dropout": 0.25, "eta": 4, "winner": False}
    assert query(scripted, "SELECT options FROM trails.runs") == [({"dropout": 0.25, "eta": 4, "winner": False},)]


def test_options_are_listed_with_their_defaults(session: Any) -> None:
    options = {row[0]: row[1:] for row in query(session, "SELECT * FROM trails.refinement_options()")}
    assert options["eta"][0] == 3 and options["max_epochs"][0] >= 1
    assert all(default is not None and description for default, description in options.values())
    of_columns = {name for name, (default, _) in options.items() if isinstance(default, list)}
    assert of_columns == {"categories", "numbers", "texts", "id_values"}


def test_settings_reach_the_process(scripted: Any, stub: Stub) -> None:
    stub.script(DONE)
    query(
        scripted,
        "SET trails.refinement_memory_limit = '3 GB'; SET trails.ray_address = ' 10.0.0.7:6379 ';"
        "SET trails.ray_gpus = 0.5; SET trails.refinement_threads = 2; SET trails.device = 'cpu'",
    )
    query(scripted, CURVES + ")")
    (rows, _) = stub.requests()
    assert (rows["memory_limit"], rows["ray_address"], rows["ray_gpus"]) == (3 << 30, "10.0.0.7:6379", 0.5)
    assert (rows["threads"], rows["device"]) == (2, "cpu")
    query(scripted, "RESET ALL; SET trails.virtualenv = %s", str(stub.path))
    stub.script(DONE)
    query(scripted, CURVES + ")")
    (rows, _) = stub.requests()
    assert (rows["memory_limit"], rows["ray_address"], rows["ray_gpus"]) == (0, None, 0)


def test_only_superusers_name_a_cluster(session: Any, connect: Callable[..., Any]) -> None:
    alice = connect(role="alice")
    query(session, "GRANT trails_user TO alice")
    query(alice, "SELECT * FROM trails.coordinator(0.001, 1, '600 s')")  # loads the library
    with pytest.raises(psycopg2.Error) as caught:
        query(alice, "SET trails.ray_address = '10.0.0.7:6379'")
    assert caught.value.pgcode == "42501"
    query(alice, "SET trails.ray_gpus = 1; SET trails.refinement_memory_limit = '1 GB'")
    for setting in ("trails.ray_gpus = -1", "trails.ray_gpus = 65", "trails.refinement_memory_limit = -1"):
        with pytest.raises(psycopg2.Error) as caught:
            query(alice, f"SET {setting}")
        assert caught.value.pgcode == "22023"
    # Named before the library is loaded, it is not taken over.
    early = connect(role="alice")
    query(early, "SET trails.ray_address = '10.0.0.7:6379'")
    query(early, "SELECT * FROM trails.coordinator(0.001, 1, '600 s')")
    assert query(early, "SHOW trails.ray_address") == [("",)]


@pytest.mark.parametrize(
    ("setup", "call", "sqlstate", "words"),
    [
        ("", "model_selection('train', 'label', refinement => 'magic')", "22023", ["magic", "hyperband"]),
        ("", "model_selection('train', 'label', refinement => NULL)", "22023", ["refinement", "NULL"]),
        ("", "model_selection('train', 'label', u => 0)", "22023", ["u ", "at least 1"]),
        ("", "model_selection('train', 'label', refinement => 'sj', u => 2)", "22023", ["u = 2", "sj"]),
        ("", "model_selection('train', 'label', options => '{\"eta\": 1}')", "22023", ["eta", "at least 2"]),
        ("", "model_selection('train', 'label', options => '{\"colour\": 1}')", "22023", ["colour", "dropout"]),
        ("", "model_selection('train', 'label', options => '[1]')", "22023", ["object"]),
        ("", "model_selection('train', 'label', options => '{\"dropout\": \"much\"}')", "22023", ["dropout", "much"]),
        ("SET trails.device = 'tpu'", "model_selection('train', 'label')", "22023", ["tpu", "cuda"]),
        ("SET trails.device = 'cuda:0,cuda:0'", "model_selection('train', 'label')", "22023", ["twice"]),
        ("", "refinement_phase('train', 'label', '{}')", "22023", ["no architecture"]),
        ("", "refinement_phase('train', 'label', NULL)", "22023", ["architectures", "NULL"]),
        ("", "refinement_phase('train', 'label', ARRAY['8-8-8-8', NULL])", "22023", ["architectures", "NULL"]),
        ("", "refinement_phase('train', 'label', ARRAY['8-8-8-7'])", "22023", ["8-8-8-7"]),
        ("", "refinement_phase('train', 'label', ARRAY['8-8-8'])", "22023", ["8-8-8"]),
        ("", "refinement_phase('train', 'label', ARRAY['wide'])", "22023", ["wide"]),
        ("", "refinement_phase('train', 'label', ARRAY['8-8-8-8', '8-8-8-8'])", "22023", ["more than once"]),
        ("", "refinement_phase('train', 'label', ARRAY['8-8-8-8'], u => 0)", "22023", ["u ", "at least 1"]),
        ("", "refinement_phase('train', 'label', ARRAY['8-8-8-8'], budget => '1 s')", "53400", ["too small"]),
        ("", "refinement_phase('train', 'nothing', ARRAY['8-8-8-8'])", "42703", ["nothing"]),
        ("", "profile_refinement('train', 'label', ARRAY['8-8-8-7'])", "22023", ["8-8-8-7"]),
        ("", "profile_refinement('train', 'label', space => 'cnn')", "22023", ["cnn"]),
        ("", "profile_refinement('train', 'label', options => '{\"batch\": 0}')", "22023", ["batch"]),
        ("", "model_selection_workloads('train', 'label', NULL, 2)", "22023", ["n must not be NULL"]),
        ("", "model_selection_workloads('train', 'label', 10, NULL)", "22023", ["k must not be NULL"]),
        ("", "model_selection_workloads('train', 'label', 10, 11)", "22023", ["k = 11", "n = 10"]),
        ("", "model_selection_workloads('train', 'label', 10, 0)", "22023", ["k must be at least 1"]),
        ("", "model_selection_workloads('train', 'label', 10, 2, 0)", "22023", ["u ", "at least 1"]),
        ("", "model_selection_workloads('train', 'label', 10, 2, refinement => 'sj')", "22023", ["u => NULL"]),
    ],
)
def test_bad_input_gets_a_clear_error_before_anything_is_started(
    scripted: Any, stub: Stub, setup: str, call: str, sqlstate: str, words: list[str]
) -> None:
    stub.script("receive(); ready(); receive()")
    if setup:
        query(scripted, setup)
    with pytest.raises(psycopg2.Error) as caught:
        query(scripted, f"SELECT * FROM trails.{call}")
    diagnostics = caught.value.diag
    told = f"{diagnostics.message_primary} {diagnostics.message_detail} {diagnostics.message_hint}"
    assert diagnostics.sqlstate == sqlstate, told
    for word in words:
        assert word in told
    assert not (stub.path / "requests" / "log").exists(), "no process was sent anything"
    assert not children(scripted.info.backend_pid)
    assert query(scripted, "SELECT count(*) FROM trails.runs") == [(0,)]


def test_workloads_have_no_budget_and_tell_where_the_time_went(session: Any) -> None:
    rows = query(session, WORKLOADS + ")")
    ((run, n, k, u, budget, state, function, total),) = query(
        session, "SELECT run_id, n, k, u, budget, state, function, total_seconds FROM trails.runs"
    )
    assert (n, k, u, budget, state, function) == (500, 4, 1, None, "complete", "model_selection_workloads")
    assert {row[0] for row in rows} == {run}
    assert [row[1] for row in rows if row[2] == "backend"] == ["prepare", "read", "filter", "refine", "write"]
    assert any(row[1] == "start" for row in rows if row[2] == "refinement")
    stored = query(
        session, "SELECT run_id, phase, process, begin_seconds, seconds FROM trails.timings ORDER BY run_id, place"
    )
    assert stored == rows
    assert [row[3] for row in rows] == sorted(row[3] for row in rows)
    assert within(abs(sum(row[4] for row in rows if row[2] == "backend") - total), 0.0, 0.3)
    assert all(row[4] >= 0 and row[3] >= -0.01 and within(row[3], total, 0.3) for row in rows)


def test_workloads_send_what_was_asked(scripted: Any, stub: Stub) -> None:
    stub.script(DONE)
    rows = query(scripted, WORKLOADS + ", refinement => 'sj', u => NULL, tfmem => 'jacflow')")
    sent_rows, request = stub.requests()
    assert (sent_rows["budget"], sent_rows["deadline"]) == (None, None)
    assert (request["scored"], request["k"], request["u"], request["refinement"]) == (500, 4, None, "sj")
    assert request["score_seconds"] > 0 and len(request["candidates"]) >= 4
    assert ("encode", "refinement", 0.3, 0.1) in [row[1:] for row in rows]
    assert ("rung 0", "refinement", 0.5, 0.2) in [row[1:] for row in rows]
    assert query(scripted, "SELECT first_batch_seconds, start_seconds FROM trails.runs") == [(0.4, 0.1)]


def test_timings_sum_up_to_the_run(session: Any) -> None:
    query(
        session, "SELECT * FROM trails.model_selection('train', 'label', '30 s', validation => 'valid', k => 3, u => 1)"
    )
    ((total,),) = query(session, "SELECT total_seconds FROM trails.runs")
    sums = dict(query(session, "SELECT process, sum(seconds) FROM trails.timings GROUP BY process"))
    assert within(abs(sums["backend"] - total), 0.0, 0.3)
    assert within(sums["refinement"], total, 0.3)


def test_rows_travel_while_architectures_are_filtered(session: Any) -> None:
    make_table(session, "large", 10_000, 100_000)
    # Filtering takes longer here than loading torch and encoding the rows.
    query(
        session,
        "SELECT * FROM trails.model_selection('large', 'label', '60 s', tfmem => 'naswot', n => 60000, k => 1, u => 1)",
    )
    ((first_batch, filtering),) = query(session, "SELECT first_batch_seconds, filtering_seconds FROM trails.runs")
    ((refinement_begins,),) = query(
        session, "SELECT begin_seconds FROM trails.timings WHERE phase = 'refine' AND process = 'backend'"
    )
    if filtering >= 6:
        assert 0 < first_batch <= refinement_begins
    else:
        # On a machine where filtering is over sooner, rows are encoded as soon as the libraries are there.
        ((ready,),) = query(
            session,
            "SELECT begin_seconds + seconds FROM trails.timings WHERE phase = 'start' AND process = 'refinement'",
        )
        assert first_batch > 0 and within(first_batch, ready, 2.0)


def test_profile_measures_an_epoch_and_records_nothing(session: Any) -> None:
    rows = query(
        session,
        "SELECT architecture, parameters, workers, training_seconds, evaluation_seconds, seconds_alone, "
        "seconds_shared, megabytes "
        "FROM trails.profile_refinement('train', 'label', ARRAY['512-512-512-512', '8-8-8-8'])",
    )
    assert [row[0] for row in rows] == ["512-512-512-512", "8-8-8-8"]
    assert rows[0][1] > rows[1][1] > 0
    for row in rows:
        assert row[2] >= 1 and all(value is not None and value > 0 for value in row[3:7])
    assert query(session, "SELECT count(*) FROM trails.runs") == [(0,)]


def test_profile_of_what_filtering_offers(scripted: Any, stub: Stub) -> None:
    stub.script("""
rows = receive(); ready(); request = receive()
cost = {"parameters": 7, "training_seconds": 1.0, "evaluation_seconds": 0.5, "seconds_alone": 2.0,
        "seconds_shared": None, "bytes": 3 << 20}
send("profile", workers=2, device="cpu", rows=[{"architecture": a, **cost} for a in request["architectures"]])
""")
    rows = query(scripted, "SELECT * FROM trails.profile_refinement('train', 'label', options => '{\"eta\": 2}')")
    assert len(rows) == 5
    assert {row[1:] for row in rows} == {(7, 2, 1.0, 0.5, 2.0, None, 3.0)}
    offered = query(scripted, "SELECT architecture FROM trails.filtering_phase('train', 'label', k => 1)")
    assert rows[0][0] == offered[0][0], "the best one comes first"
    sent_rows, request = stub.requests()
    assert sent_rows["budget"] is None and request["options"] == {"eta": 2}


def test_new_tables_belong_to_their_owner(scripted: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    stub.script(DONE.replace("result([row(a, 0.8)]", 'checkpoint(rows, 0, 0, b"w"); result([row(a, 0.8)], False'))
    query(scripted, CURVES + ")")
    ((run,),) = query(scripted, "SELECT run_id FROM trails.runs")
    alice = connect(role="alice")
    query(scripted, "GRANT trails_user TO alice")
    for table, count in (("timings", 5), ("checkpoints", 1)):
        assert query(scripted, f"SELECT count(*) >= {count} FROM trails.{table}") == [(True,)]
        assert query(alice, f"SELECT count(*) FROM trails.{table}") == [(0,)]
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            query(alice, f"DELETE FROM trails.{table}")
    with pytest.raises(psycopg2.Error) as caught:
        query(alice, f"INSERT INTO trails.checkpoints VALUES ({run} + 1, 0, 'x'), ({run}, 0, 'x')")
    assert caught.value.pgcode == "42501"
    assert query(alice, f"SELECT trails.drop_run({run}), trails.drop_run({run}, true)") == [(False, False)]
    assert query(scripted, f"SELECT trails.drop_run({run}, checkpoint_only => true)") == [(True,)]
    assert query(scripted, "SELECT count(*) FROM trails.checkpoints") == [(0,)]
    query(scripted, "DELETE FROM trails.runs")
    assert query(scripted, "SELECT count(*) FROM trails.timings") == [(0,)]
    assert query(scripted, "SELECT count(*) FROM trails.checkpoints") == [(0,)]


def test_dumps_hold_runs_and_timings_but_no_checkpoints(session: Any) -> None:
    dumped = query(session, "SELECT unnest(extconfig)::regclass::text FROM pg_extension WHERE extname = 'trails'")
    names = {name for (name,) in dumped}
    runs = ("runs", "runs_run_id_seq", "candidates", "trials", "timings")
    models = ("models", "models_model_id_seq", "model_grants", "unregistered_models")
    assert names == {f"trails.{table}" for table in (*runs, *models)}


def test_every_table_and_function_has_a_comment(session: Any) -> None:
    assert query(
        session,
        "SELECT relname FROM pg_class WHERE relnamespace = 'trails'::regnamespace AND relkind = 'r' "
        "AND obj_description(oid, 'pg_class') IS NULL",
    ) == []  # fmt: skip
    assert query(
        session,
        "SELECT proname FROM pg_proc WHERE pronamespace = 'trails'::regnamespace AND obj_description(oid, 'pg_proc') "
        "IS NULL AND proname NOT LIKE 'tfmem%'",
    ) == []  # fmt: skip
