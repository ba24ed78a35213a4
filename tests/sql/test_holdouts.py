"""Which rows are held out, what rows count for, and what candidates are compared by, in SQL."""

from __future__ import annotations

from typing import Any

import psycopg2
import pytest

from tests.sql.stub import Stub
from tests.sql.tables import query

SHORT = "budget => '60 s', k => 2, u => 1, options => '{\"max_epochs\": 2, \"winner\": false}'"

TRAINS = """
receive(); ready(); request = receive(); plan(k=1)
(a, score) = request["candidates"][0]
epoch(a, 0, 1, 0.8); result([row(a, 0.8, score=score)])
"""

ORDERS = """
CREATE TABLE orders AS
SELECT id, label, colour, shape, 'customer "' || mod(id * 7, 50) || '"' AS "the 'customer",
    date '2026-01-01' + mod(id, 100) AS day, CASE WHEN mod(id, 4) = 0 THEN 0 ELSE mod(id, 3) + 0.5 END AS exposure
FROM train;
ALTER TABLE orders ADD PRIMARY KEY (id)
"""


def held_out(session: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the newest run held out, and its row."""
    ((row,),) = query(session, "SELECT to_jsonb(r) FROM trails.runs r ORDER BY run_id DESC LIMIT 1")
    return row["held_out"], row


def test_whole_groups_are_held_out_and_the_group_is_no_feature(session: Any) -> None:
    query(session, ORDERS)
    query(session, 'UPDATE orders SET "the \'customer" = NULL WHERE id <= 100')
    session.notices.clear()
    statement = f"SELECT * FROM trails.model_selection('orders', 'label', {SHORT}, group_by => %s)"
    assert len(query(session, statement, "the 'customer")) == 2
    told, run = held_out(session)
    assert (told["how"], told["column"], run["group_by"]) == ("group_by", "the 'customer", "the 'customer")
    assert told["training_groups"] + told["validation_groups"] == 50 and told["rows_without"] == 100
    assert told["training_rows"] + told["validation_rows"] == 3000
    # A group has 58 rows: the nearest to a fifth of 2,900 is ten of them.
    assert told["validation_groups"] == 10 and 560 < told["validation_rows"] < 600
    assert "the 'customer" not in run["features"] and "features may name it" in run["left_out"]["the 'customer"]
    said = "".join(session.notices)
    assert 'held out: 10 of 50 groups by "the \'customer"' in said
    assert 'feature "the \'customer" is left out: it says which rows are held out' in said


def test_the_latest_rows_are_held_out_and_the_time_is_a_feature_if_it_is_named(session: Any) -> None:
    query(session, ORDERS)
    features = "features => '{colour,shape,day}'"
    query(session, f"SELECT * FROM trails.model_selection('orders', 'label', {SHORT}, time_by => 'day', {features})")
    told, run = held_out(session)
    assert told["how"] == "time_by" and told["from"] == "2026-03-22" and run["time_by"] == "day"
    counted = query(session, "SELECT count(*) FROM orders WHERE day >= %s", told["from"])
    assert counted == [(told["validation_rows"],)] == [(600,)] and "day" in run["features"]


def test_weights_count_in_training_and_in_the_metric_and_rows_of_none_do_not_matter(session: Any) -> None:
    query(session, ORDERS)
    found = []
    plan = "8, 2, 1, weight => 'exposure', metric => 'log_loss', options => '{\"max_epochs\": 2}'"
    for change in (
        "",
        "UPDATE orders SET label = 1 - label, colour = 99 WHERE exposure = 0",
        "",
        "UPDATE orders SET label = 1 - label",
    ):
        if change:
            query(session, change)
        ((run,),) = query(
            session, f"SELECT DISTINCT run_id FROM trails.model_selection_workloads('orders', 'label', {plan})"
        )
        found.append(query(session, "SELECT architecture, score, validation_metric FROM trails.leaderboard(%s)", run))
    assert found[0] == found[1] == found[2] != found[3]
    values = [row[2] for row in found[0]]
    assert values == sorted(values) and all(0 < value < 1 for value in values)
    told, run = held_out(session)
    assert (run["weight"], run["metric"]) == ("exposure", "log_loss") and told["rows_of_weight_0"] == 750
    assert told["training_rows"] + told["validation_rows"] == 2250 and "exposure" not in run["features"]
    best = query(
        session,
        "SELECT min(validation_metric), min(validation_loss) FROM trails.trials WHERE run_id = %s",
        run["run_id"],
    )
    assert best == [(values_of(session, run["run_id"])[0],) * 2]


def values_of(session: Any, run: int) -> list[float]:
    return [value for (value,) in query(session, "SELECT validation_metric FROM trails.leaderboard(%s)", run)]


def test_the_refinement_process_is_told_everything(scripted: Any, stub: Stub) -> None:
    query(scripted, ORDERS)
    stub.script(TRAINS)
    query(
        scripted,
        """SELECT * FROM trails.model_selection('orders', 'label', '60 s', k => 1, u => 1, metric => 'f1',
             group_by => 'the ''customer', weight => 'exposure', features => '{colour,shape,the ''customer}')""",
    )
    rows = stub.requests()[0]
    assert (rows["group_by"], rows["time_by"], rows["weight"]) == ("the 'customer", None, "exposure")
    assert rows["metric"] == "f1" and rows["aside"] == ["exposure"]
    assert [c["name"] for c in rows["train"]["columns"]] == ["colour", "shape", "the 'customer", "exposure", "label"]
    query(
        scripted,
        "SELECT * FROM trails.model_selection('orders', 'label', '60 s', k => 1, u => 1, time_by => 'id', seed => 3)",
    )
    rows = stub.requests()[-2]
    assert rows["time_by"] == "id" and rows["aside"] == ["id"] and rows["seed"] == 3


def test_a_group_that_cannot_be_learnt_from_is_still_sent(scripted: Any, stub: Stub) -> None:
    stub.script(TRAINS)
    query(
        scripted,
        """SELECT * FROM trails.model_selection('train', 'label', '60 s', k => 1, u => 1, group_by => 'id',
             features => '{colour,id}')""",
    )
    rows = stub.requests()[0]
    assert rows["aside"] == ["id"] and [c["name"] for c in rows["train"]["columns"]] == ["colour", "id", "label"]


def test_a_run_by_a_loss_that_is_cut_has_its_best_first(scripted: Any, stub: Stub) -> None:
    stub.script("""
receive(); ready(); request = receive(); rows(metric="log_loss", less_is_better=True); plan(k=2)
(a, _), (b, _) = request["candidates"][:2]
epoch(a, 0, 1, 0.5); epoch(a, 0, 2, 0.7); epoch(b, 0, 1, 0.4); epoch(b, 0, 2, 0.6)
send("progress", done=2.0, total=4.0)
os.kill(os.getpid(), signal.SIGKILL)
""")
    query(scripted, "SET trails.progress = 'epochs'")
    scripted.notices.clear()
    rows = query(scripted, "SELECT * FROM trails.model_selection('train', 'label', '60 s', metric => 'log_loss')")
    assert [row[3] for row in rows] == [0.4, 0.5]
    assert "validation log_loss 0.4000" in "".join(scripted.notices)
    assert query(scripted, "SELECT metric, held_out FROM trails.runs") == [("log_loss", None)]
    assert query(scripted, "SELECT rank, validation_metric FROM trails.candidates ORDER BY 1") == [(1, 0.4), (2, 0.5)]


def test_a_resumed_run_goes_on_with_the_same(scripted: Any, stub: Stub) -> None:
    query(scripted, ORDERS)
    stub.script("""
asked = receive(); ready(); request = receive(); rows(metric="brier", less_is_better=True); plan(k=2)
(a, _), (b, _) = request["candidates"][:2]
epoch(a, 0, 1, 0.25); epoch(b, 0, 1, 0.125); checkpoint(asked, 0, 1, b"weights"); epoch(b, 1, 2, 0.5)
os.kill(os.getpid(), signal.SIGKILL)
""")
    query(
        scripted,
        """SELECT * FROM trails.model_selection('orders', 'label', '60 s', k => 2, u => 1, group_by => 'the ''customer',
             weight => 'exposure', metric => 'brier')""",
    )
    first = stub.requests()[0]
    ((run,),) = query(scripted, "SELECT max(run_id) FROM trails.runs")
    stub.script("""
receive(); ready(); request = receive(); rows(metric="brier", less_is_better=True); plan(k=2)
result([row("8-8-8-8", 0.0625)])
""")
    rows = query(scripted, "SELECT architecture, validation_metric FROM trails.resume(%s)", run)
    assert [value for _, value in rows] == [0.0625, 0.125, 0.25]
    again = stub.requests()[0]
    for name in ("group_by", "time_by", "weight", "aside", "metric", "train"):
        assert again[name] == first[name] or name == "train"
    assert [c["name"] for c in again["train"]["columns"]] == [c["name"] for c in first["train"]["columns"]]
    assert query(scripted, "SELECT group_by, weight, metric FROM trails.runs WHERE function = 'resume'") == [
        ("the 'customer", "exposure", "brier")
    ]


def test_a_validation_table_needs_the_weight(scripted: Any, stub: Stub) -> None:
    query(scripted, ORDERS)
    stub.script(TRAINS)
    statement = "SELECT * FROM trails.model_selection('orders', 'label', '60 s', k => 1, weight => 'exposure', %s)"
    features = "features => '{colour,shape}', validation => "
    with pytest.raises(psycopg2.Error, match='"exposure"') as caught:
        query(scripted, statement % (features + "'valid'"))
    assert caught.value.pgcode == "42703"
    query(scripted, "CREATE VIEW other AS SELECT *, 'two' AS exposure FROM valid")
    with pytest.raises(psycopg2.Error, match='"exposure" has type') as caught:
        query(scripted, statement % (features + "'other'"))
    query(scripted, "CREATE VIEW weighed AS SELECT *, 2.5::numeric AS exposure FROM valid")
    assert len(query(scripted, statement % (features + "'weighed'"))) == 1
    columns = stub.requests()[-2]["validation"]["columns"]
    assert [c["name"] for c in columns] == ["colour", "shape", "exposure", "label"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("group_by => 'shape', time_by => 'day'", "22023", "group_by and time_by cannot both say"),
        ("group_by => 'shape', split => 'shape'", "22023", "split and group_by cannot both say"),
        ("time_by => 'day', validation => 'valid'", "22023", "validation and time_by cannot both say"),
        ("group_by => 'label'", "22023", "the target cannot say which rows are held out"),
        ("weight => 'label'", "22023", "the target cannot say what rows count for"),
        ("weight => 'exposure', features => '{colour,exposure}'", "22023", "is among the features"),
        ("group_by => 'nothing'", "42703", '"nothing"'),
        ("metric => 'ndcg'", "22023", 'cannot be compared by "ndcg"'),
        ("metric => 'rmse', task => 'binary'", "22023", 'cannot be compared by "rmse"'),
        ("metric => 'rmse'", "22023", 'cannot be compared by "rmse"'),
        ("time_by => 'the ''customer'", "22023", "cannot be ordered"),
        ("weight => 'the ''customer'", "22023", "of kind text"),
        ("weight => 'below'", "22000", "negative in 3000 rows"),
        ("weight => 'gaps'", "22000", "NULL in 1500 rows"),
        ("weight => 'none'", "22000", "zero in every row"),
        ("group_by => 'none'", "22000", "one group only"),
        ("time_by => 'none'", "22000", "one time only"),
    ],
)
def test_what_says_nothing_of_the_rows_is_refused_before_anything_is_trained(
    scripted: Any, stub: Stub, arguments: str, code: str, message: str
) -> None:
    query(scripted, ORDERS)
    query(
        scripted,
        """CREATE VIEW odd AS SELECT *, -1 AS below, CASE WHEN mod(id, 2) = 0 THEN 1 END AS gaps, 0 AS none
           FROM orders""",
    )
    stub.script("receive(); ready(); receive(); time.sleep(60)")
    with pytest.raises(psycopg2.Error, match=message) as caught:
        query(scripted, f"SELECT * FROM trails.model_selection('odd', 'label', '60 s', {arguments})")
    assert caught.value.pgcode == code, caught.value
    assert caught.value.diag.message_hint or "target cannot" in message
    assert query(scripted, "SELECT count(*) FROM trails.runs") == [(0,)]


def test_rights_on_the_columns_that_say_something_of_rows_are_needed(scripted: Any, stub: Stub, connect: Any) -> None:
    query(scripted, ORDERS)
    connect(role="clerk")
    query(scripted, "GRANT trails_user TO clerk")
    query(scripted, "GRANT SELECT (label, colour, shape) ON orders TO clerk")
    stub.script(TRAINS)
    statement = (
        "SELECT count(*) FROM trails.model_selection('orders', 'label', '60 s', features => '{colour,shape}', k => 1"
    )
    query(scripted, "SET ROLE clerk")
    assert query(scripted, statement + ")") == [(1,)]
    for role in ("group_by => 'day'", "time_by => 'day'", "weight => 'exposure'"):
        with pytest.raises(psycopg2.Error) as caught:
            query(scripted, f"{statement}, {role})")
        assert caught.value.pgcode == "42501"
    query(scripted, "RESET ROLE")
    query(scripted, "GRANT SELECT (day) ON orders TO clerk")
    query(scripted, "SET ROLE clerk")
    assert query(scripted, f"{statement}, group_by => 'day')") == [(1,)]
