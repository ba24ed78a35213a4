"""What repeats a run, by which names its tables go, and what a model says of what made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from tests.sql.stub import Stub
from tests.sql.tables import make_table, query

TRAINS = """
receive(); ready(); request = receive(); rows(); plan(k=1)
(a, score) = request["candidates"][0]
epoch(a, 0, 1, 0.8); result([row(a, 0.8, score=score)])
"""

ASKED = """function, source, relation, target, validation, validation_relation, split, group_by, time_by, weight,
    budget, space, tfmem, refinement, options, seed, asked_n, asked_k, asked_u, batch_size, asked_task, asked_features,
    asked_architectures, model, features"""


def recipe(session: Any, run: int | None = None) -> str:
    """Of the newest run by default."""
    which = "(SELECT max(run_id) FROM trails.runs)" if run is None else str(run)
    ((text,),) = query(session, f"SELECT trails.recipe({which})")
    return str(text)


def asked(session: Any) -> list[tuple[Any, ...]]:
    """What every run was asked for, oldest first."""
    return query(session, f"SELECT {ASKED} FROM trails.runs ORDER BY run_id")


ODD = """
CREATE SCHEMA "O""dd Schema";
CREATE TABLE "O""dd Schema"."the 'table" AS
    SELECT id, label AS "la ""bel'", colour AS "a,b", shape AS "back\\slash", noise AS "{x}", mod(id, 40) AS "gro'up",
        1.5 AS "w""t" FROM train
"""

STATEMENTS = {
    "defaults": "SELECT * FROM trails.model_selection('train', 'label')",
    "everything": """SELECT * FROM trails.model_selection('"O""dd Schema"."the ''table"', 'la "bel''',
        budget => '61.5 s', features => ARRAY['a,b', 'back\\slash', '{x}', 'gro''up'], space => 'mlp3x20',
        tfmem => 'snip+naswot', refinement => 'ua', n => 40, k => 1, u => 1, seed => -5, batch_size => 16,
        options => '{"dropout": 0.25, "class_weights": {"0''": 2}}', task => 'binary', name => 'it''s "m"',
        group_by => 'gro''up', weight => 'w"t')""",
    "a split": "SELECT * FROM trails.model_selection('train', 'label', split => 'part', k => 1)",
    "a time": """SELECT * FROM trails.model_selection('train', 'label', '2 hours', time_by => 'noise',
        features => '{colour}')""",
    "a validation table": """SELECT * FROM trails.model_selection('train', 'label', validation => 'valid', k => 1,
        seed => 2)""",
    "workloads": "SELECT * FROM trails.model_selection_workloads('train', 'label', 30, 1, batch_size => 8)",
    "workloads, planned": "SELECT * FROM trails.model_selection_workloads('train', 'label', 30, 1, NULL, seed => 4)",
    "architectures": """SELECT * FROM trails.refinement_phase('train', 'label', '{16-16-16-16,8-8-8-8}', 2, '70 s',
        features => '{colour,shape}', weight => 'noise', name => 'm')""",
}


def lasting(request: dict[str, Any]) -> dict[str, Any]:
    """What a request says that no clock decides, nor which descriptors are free."""
    passing = {"started", "deadline", "score_seconds", "checkpoints", "models"}
    kept = {name: value for name, value in request.items() if name not in passing}
    for table in ("train", "validation"):
        if kept.get(table):
            kept[table] = kept[table]["columns"]
    return kept


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_a_recipe_asks_for_what_was_asked(scripted: Any, stub: Stub, statement: str) -> None:
    query(scripted, ODD)
    query(scripted, "ALTER TABLE train ADD part boolean; ALTER TABLE valid ADD part boolean")
    query(scripted, "UPDATE train SET part = id % 5 = 0, noise = noise + 1")
    stub.script(TRAINS)
    query(scripted, "SET search_path = public, pg_catalog")
    query(scripted, statement)
    text = recipe(scripted)
    first = stub.requests()
    # Whatever the session's names and spellings are.
    query(scripted, "SET search_path = pg_temp; SET IntervalStyle = sql_standard")
    stub.script(TRAINS)
    query(scripted, text)
    again, repeated = asked(scripted)
    assert again == repeated
    second = stub.requests()
    assert [lasting(request) for request in first] == [lasting(request) for request in second]
    assert recipe(scripted) == text


def test_a_recipe_names_what_is_not_the_default_and_nothing_else(scripted: Any, stub: Stub) -> None:
    stub.script(TRAINS)
    query(scripted, STATEMENTS["defaults"])
    assert recipe(scripted) == (
        "SELECT * FROM trails.model_selection(\n    source => 'public.train',\n    target => 'label'\n);"
    )
    query(scripted, "SELECT * FROM trails.model_selection('train', 'label', '90 s', n => 20, metric => 'auc')")
    assert recipe(scripted) == (
        "SELECT * FROM trails.model_selection(\n    source => 'public.train',\n    target => 'label',\n"
        "    n => 20,\n    budget => '90 s'\n);"
    )
    stub.script(TRAINS.replace("rows()", "rows(metric='f1')"))
    query(scripted, "SELECT * FROM trails.model_selection('train', 'label', metric => 'f1')")
    assert "metric => 'f1'" in recipe(scripted)


def test_a_recipe_has_the_same_leaderboard(session: Any) -> None:
    options = '{"max_epochs": 3}'
    query(
        session,
        "SELECT * FROM trails.model_selection_workloads('train', 'label', 50, 3, 1, tfmem => 'naswot', seed => 9, "
        "metric => 'log_loss', group_by => 'noise', options => %s)",
        options,
    )
    query(session, recipe(session))
    boards = [
        query(session, "SELECT architecture, score, validation_metric, epochs FROM trails.leaderboard(%s)", run)
        for (run,) in query(session, "SELECT run_id FROM trails.runs ORDER BY 1")
    ]
    assert len(boards) == 2 and boards[0] == boards[1] and len(boards[0]) == 3


def test_tables_are_called_what_they_are_called_now(scripted: Any, stub: Stub) -> None:
    stub.script(TRAINS)
    query(scripted, STATEMENTS["a validation table"])
    query(scripted, 'ALTER TABLE train RENAME TO learnt; CREATE SCHEMA "Els\'where"')
    query(scripted, 'ALTER TABLE valid SET SCHEMA "Els\'where"')
    make_table(scripted, "train", rows=10)  # another one, of the old name
    text = recipe(scripted)
    assert "source => 'public.learnt'" in text and "validation => '\"Els''where\".valid'" in text
    query(scripted, text)
    first, second = query(scripted, "SELECT relation, validation_relation FROM trails.runs ORDER BY run_id")
    assert first == second
    # What is gone is called what it was called.
    query(scripted, "DROP TABLE learnt")
    assert "source => 'public.train'" in recipe(scripted, 1)


def test_a_model_follows_its_table_and_says_what_made_it(session: Any) -> None:
    plan = "k => 1, u => 1, options => '{\"max_epochs\": 1, \"winner\": false}', seed => 3, name => 'm'"
    query(session, f"SELECT * FROM trails.model_selection('train', 'label', '60 s', group_by => 'noise', {plan})")
    query(session, "SELECT * FROM trails.deploy('m')")
    query(session, "ALTER TABLE train RENAME TO learnt; CREATE SCHEMA other; ALTER TABLE learnt SET SCHEMA other")
    assert query(session, "SELECT count(*) FROM trails.predict(NULL, 'other.learnt')") == [(3000,)]
    assert "source => 'other.learnt'" in recipe(session)
    ((row, run),) = query(
        session, "SELECT m.made_of, to_jsonb(r) FROM trails.models m JOIN trails.runs r USING (run_id)"
    )
    assert row["run_id"] == run["run_id"] and row["train_rows"] == 3000 and row["features"] == ["colour", "shape"]
    assert row["options"] == {"max_epochs": 1, "winner": False} and row["total_seconds"] == run["total_seconds"] > 0
    assert row["held_out"]["how"] == "group_by" and row["seed"] == 3 and "owner" not in row
    assert query(session, "SELECT trails.drop_run(%s)", run["run_id"]) == [(True,)]
    assert query(session, "SELECT run_id, made_of FROM trails.models") == [(None, row)]
    query(session, "SELECT trails.import_model('copy', trails.export_model('m'))")
    assert query(session, "SELECT made_of FROM trails.models WHERE name = 'copy'") == [(None,)]


def test_a_resumed_run_says_what_it_went_on_from(scripted: Any, stub: Stub) -> None:
    stub.script("""
asked = receive(); ready(); request = receive(); plan(k=1); a = request["candidates"][0][0]
epoch(a, 0, 1, 0.8); checkpoint(asked, 0, 1, b"weights"); os.kill(os.getpid(), signal.SIGKILL)
""")
    query(scripted, "SELECT * FROM trails.model_selection('train', 'label', k => 1)")
    ((run,),) = query(scripted, "SELECT max(run_id) FROM trails.runs")
    stub.script('receive(); ready(); request = receive(); rows(); plan(k=1); result([row("8-8-8-8", 0.9)])')
    query(scripted, f"SELECT * FROM trails.resume({run}, '75 s')")
    text = recipe(scripted)
    assert text == f"SELECT * FROM trails.resume(\n    run => {run},\n    budget => '75 s'\n);"
    query(scripted, text)
    query(scripted, "SELECT trails.drop_run(%s)", run)
    assert recipe(scripted).startswith("-- It went on from a run that has been dropped")


@pytest.mark.parametrize("function", ["model_selection", "model_selection_workloads", "refinement_phase"])
def test_what_is_not_known_of_an_old_run_is_said(session: Any, function: str) -> None:
    query(
        session,
        """INSERT INTO trails.runs (function, source, target, task, metric, features, space, refinement, seed, n,
             train_rows, unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds,
             asked_k, asked_u, tfmem)
           VALUES (%s, 'public.train', 'label', 'binary', 'auc', '{colour}', 'mlp4x20', 'sh', 7, 12, 3000, 0,
             'complete', now(), now(), 0.1, 1, 2, 2, 1, 'expressflow')""",
        function,
    )
    query(session, "INSERT INTO trails.candidates (run_id, architecture) VALUES (1, '8-8-8-8'), (1, '16-8-8-8')")
    text = recipe(session)
    assert text.startswith("-- An earlier release made this run") and f"trails.{function}(" in text
    assert "seed => '7'" in text and "features =>" not in text
    assert ("n => 12" in text) == (function == "model_selection_workloads")
    assert ("architectures => '{16-8-8-8,8-8-8-8}'" in text) == (function == "refinement_phase")


def test_a_recipe_is_for_those_who_may_see_the_run(scripted: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    stub.script(TRAINS)
    query(scripted, STATEMENTS["defaults"])
    for role in ("first", "second"):
        connect(role=role)
        query(scripted, f"GRANT trails_user TO {role}")
    query(scripted, "UPDATE trails.runs SET owner = 'first'::regrole")
    query(scripted, "SET ROLE first")
    assert "public.train" in recipe(scripted)
    query(scripted, "SET ROLE second")
    with pytest.raises(psycopg2.Error, match="you have no run 1") as caught:
        recipe(scripted, 1)
    assert caught.value.pgcode == "42704" and caught.value.diag.message_hint
    query(scripted, "RESET ROLE; REVOKE trails_user FROM first; SET ROLE first")
    with pytest.raises(psycopg2.Error) as caught:
        recipe(scripted, 1)
    assert caught.value.pgcode == "42501"
