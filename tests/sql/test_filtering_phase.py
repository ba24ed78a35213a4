"""Ranking architectures in SQL without training: every metric, what it is named with, and what is refused."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql.tables import make_table, query, wait_until
from tests.timing import within
from trails.tfmem import REGISTRY

RANKED = "SELECT rank, architecture, score, scores, parameters, flops FROM trails.filtering_phase"


def ranked(session: Any, arguments: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """What filtering_phase returns, without the seconds."""
    return query(session, f"{RANKED}({arguments})", *parameters)


def refused(session: Any, statement: str, *parameters: Any) -> tuple[str, str]:
    """SQLSTATE, and everything that the error says."""
    with pytest.raises(psycopg2.Error) as caught:
        query(session, statement, *parameters)
    told = caught.value.diag
    return str(told.sqlstate), " ".join(filter(None, [told.message_primary, told.message_detail, told.message_hint]))


def test_tfmems_lists_every_metric(session: Any) -> None:
    rows = query(session, "SELECT * FROM trails.tfmems()")
    assert {row[0] for row in rows} == set(REGISTRY) and len(rows) == len(REGISTRY)
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["expressflow"][:3] == ("higher", [], True)
    assert by_name["ntk_cond"][:3] == ("lower", ["data"], False)
    assert by_name["snip"][:2] == ("higher", ["data", "labels"])
    assert all(description and paper for *_, description, paper in by_name.values())


@pytest.mark.parametrize("metric", REGISTRY)
def test_every_metric_ranks(session: Any, metric: str) -> None:
    rows = query(
        session, "SELECT * FROM trails.filtering_phase('train', 'label', n => 20, k => 20, tfmem => %s)", metric
    )
    assert [row[0] for row in rows] == list(range(1, 21))
    assert len({row[1] for row in rows}) == 20
    assert all(row[1].count("-") == 3 and row[4] > 0 and row[5] > 0 and row[6] >= 0 for row in rows)
    parts = REGISTRY[metric].combines or (metric,)
    assert all(set(row[3]) == set(parts) for row in rows)
    if len(parts) == 1:
        scores = [row[2] for row in rows if row[2] is not None]
        assert len(scores) >= 15, "nearly every network can be scored"
        assert scores == sorted(scores, reverse=REGISTRY[metric].orientation == "higher")
        assert [row[2] for row in rows] == scores + [None] * (20 - len(scores)), "failed scores rank last"
        assert [row[3][metric] for row in rows] == [row[2] for row in rows]


def test_failed_scores_rank_last_are_null_and_are_warned_of(session: Any) -> None:
    session.notices.clear()
    arguments = "'train', 'label', n => 20, k => 20, batch_size => 1000, sampler => 'enumeration', tfmem => "
    rows = ranked(session, arguments + "'ntk_cond'")
    assert all(row[2:4] == (None, {"ntk_cond": None}) for row in rows), "1,000 rows exceed the kernel's rank"
    told = "".join(session.notices)
    assert "WARNING:  20 of 20 scores failed (not finite); these architectures rank last" in told
    assert "the best is none" in told
    rows = ranked(session, arguments + "'ntk_cond+snip'")
    assert all(row[2] is None and row[3]["ntk_cond"] is None and row[3]["snip"] > 0 for row in rows)


def test_the_whole_space_is_ranked_where_the_metric_can(session: Any) -> None:
    session.notices.clear()
    rows = ranked(session, "'train'")
    assert len(rows) == 10
    assert any("160000 architectures scored by expressflow" in notice for notice in session.notices)
    assert rows[0][1] == "512-512-512-512"
    assert ranked(session, "'train', tfmem => 'params', k => 1")[0][1] == "512-512-512-512"


def test_metrics_are_named_by_text_array_or_column(session: Any) -> None:
    jacflow = ranked(session, "'train', n => 50, tfmem => 'jacflow'")
    for form in (
        "ARRAY['naswot', 'synflow']",
        "'{naswot,synflow}'",
        "'naswot+synflow'",
        "'naswot+synflow'::varchar",
        "'jacflow'::text",
    ):
        assert ranked(session, f"'train', n => 50, tfmem => {form}") == jacflow
    assert ranked(session, "'train', n => 50, tfmem => %s", ["naswot", "synflow"]) == jacflow
    assert ranked(session, "'train', n => 50, tfmem => ARRAY['jacflow']") == jacflow
    assert set(jacflow[0][3]) == {"naswot", "synflow"}
    totals = [row[2] for row in jacflow]
    assert totals == sorted(totals, reverse=True)
    every = query(
        session,
        "SELECT t.tfmem, f.architecture FROM trails.tfmems() t, "
        "trails.filtering_phase('train', n => 20, k => 1, tfmem => t.tfmem) f WHERE NOT 'labels' = ANY (t.needs)",
    )
    assert {metric for metric, _ in every} == {m for m, tfmem in REGISTRY.items() if "y" not in tfmem.needs}


def test_the_type_of_the_argument_is_text_under_another_name(session: Any) -> None:
    assert query(session, "SELECT ARRAY['a', NULL, 'b']::trails.tfmem::pg_catalog.text, 'x'::trails.tfmem") == [
        ("a+NULL+b", "x")
    ]
    assert query(session, "SELECT 'x'::trails.tfmem = 'x', 'x'::trails.tfmem || 'y'") == [(True, "xy")]
    query(session, "CREATE TABLE named (metric trails.tfmem); INSERT INTO named VALUES ('snip'), (ARRAY['a', 'b'])")
    assert query(session, "SELECT metric FROM named ORDER BY metric::pg_catalog.text") == [("a+b",), ("snip",)]


@pytest.mark.parametrize("metric", ["naswot", "snip", "jacflow", "naswot+snip"])
def test_results_do_not_depend_on_the_number_of_threads(session: Any, metric: str) -> None:
    results = []
    for threads in (1, 2, 3, 0):
        query(session, f"SET trails.filtering_threads = {threads}")
        results.append(ranked(session, "'train', 'label', n => 150, tfmem => %s", metric))
    assert all(result == results[0] for result in results)
    with pytest.raises(psycopg2.Error, match="filtering_threads"):
        query(session, "SET trails.filtering_threads = 1025")


@pytest.mark.parametrize("sampler", ["random", "evolution", "reinforcement", "enumeration"])
def test_the_seed_decides(session: Any, sampler: str) -> None:
    arguments = "'train', 'label', n => 60, tfmem => 'snip', sampler => %s, seed => %s"
    first, second, other = (ranked(session, arguments, sampler, seed) for seed in (7, 7, 8))
    assert first == second
    assert [row[2] for row in first] != [row[2] for row in other]


def test_no_more_are_returned_than_were_scored(session: Any) -> None:
    assert len(ranked(session, "'train', n => 5")) == 5
    assert len(ranked(session, "'train', n => 50")) == 10


def test_enumeration_begins_at_the_beginning(session: Any) -> None:
    rows = ranked(session, "'train', n => 20, k => 20, tfmem => 'synflow', sampler => 'enumeration'")
    assert {row[1] for row in rows} == {
        f"8-8-8-{width}"
        for width in (8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 384, 512)
    }


@pytest.mark.parametrize("space", ["mlp2x10", "mlp3x20", "mlp5x20"])
def test_other_spaces(session: Any, space: str) -> None:
    rows = ranked(session, "'train', 'label', n => 30, k => 30, tfmem => 'grad_norm', space => %s", space)
    assert len(rows) == 30 and all(row[1].count("-") == int(space[3]) - 1 for row in rows)


def test_a_small_space_can_be_scored_to_its_last_architecture(session: Any) -> None:
    for sampler in ("random", "evolution", "reinforcement", "enumeration"):
        rows = ranked(
            session, "'train', n => 100, k => 100, tfmem => 'ntk_trace', space => 'mlp2x10', sampler => %s", sampler
        )
        assert len({row[1] for row in rows}) == 100


def test_parameters_and_flops_are_those_of_the_architecture(session: Any) -> None:
    for _, architecture, _, scores, parameters, flops in ranked(
        session, "'train', 'label', n => 10, tfmem => 'params+flops'"
    ):
        widths = [30, *map(int, architecture.split("-")), 1]
        weights = sum(a * b for a, b in itertools.pairwise(widths))
        assert parameters == scores["params"] == weights + sum(widths[1:])
        assert flops == scores["flops"] == 2 * weights


def test_the_batch_is_a_batch_of_the_table(session: Any) -> None:
    for size in (2, 8, 64):
        rows = ranked(session, "'train', n => 200, tfmem => 'naswot', batch_size => %s", size)
        assert all(0 <= row[2] < size * math.log(size * 4 * 512) for row in rows), "Hadamard's bound"
    query(
        session,
        """
        CREATE VIEW ones AS SELECT label, colour || ':1' AS a, shape || ':1' AS b FROM train;
        CREATE VIEW weighted AS SELECT label, colour || ':' || (noise - 50) AS a, shape || ':1' AS b FROM train;
        """,
    )
    weighted, ones = (ranked(session, "%s, 'label', n => 20, tfmem => 'snip'", t) for t in ("weighted", "ones"))
    assert [row[2] for row in weighted] != [row[2] for row in ones], "the values of id:value columns count"


def test_without_a_target_every_column_but_the_key_is_a_feature(session: Any) -> None:
    three, four = (ranked(session, f"'train'{target}, k => 1, tfmem => 'params'") for target in (", 'label'", ""))
    assert four[0][4] - three[0][4] == 10 * 512
    named = ranked(session, "'train', k => 1, tfmem => 'params', features => '{colour,shape}'")
    assert three[0][4] - named[0][4] == 10 * 512


def test_names_of_any_kind_and_nulls(session: Any) -> None:
    query(
        session,
        """
        CREATE TABLE "Odd ""table"" für 数据" AS
        SELECT label = 1 AS "Ziel Größe", colour || ':0.5' AS "col ""1"" x",
               CASE WHEN noise > 50 THEN NULL ELSE noise END AS "Noise, mit NULL", shape AS "SELECT"
        FROM train;
        INSERT INTO "Odd ""table"" für 数据" SELECT NULL, '1:1', 1, 1 FROM generate_series(1, 7);
        """,
    )
    session.notices.clear()
    rows = ranked(
        session,
        """$$"Odd ""table"" für 数据"$$, 'Ziel Größe', n => 20, tfmem => 'snip+naswot',
           features => ARRAY['col "1" x', 'Noise, mit NULL', 'SELECT']""",
    )
    assert len(rows) == 10 and all(row[2] is not None for row in rows)
    assert any("7 rows have no target" in notice for notice in session.notices)


def test_features_that_cannot_help_are_left_out_and_named(session: Any) -> None:
    query(session, "CREATE VIEW wide AS SELECT label, colour, shape, 7 AS constant, id AS key FROM train")
    session.notices.clear()
    rows = ranked(session, "'wide', 'label', n => 20, tfmem => 'params+naswot'")
    told = "".join(session.notices)
    assert 'feature "constant" is left out' in told and 'feature "key" is left out' in told
    widths = [20, *map(int, rows[0][1].split("-")), 1]
    assert rows[0][5] == 2 * sum(a * b for a, b in itertools.pairwise(widths))


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "words"),
    [
        ("'nowhere'", "42P01", ["nowhere"]),
        ("NULL", "22023", ["source", "NULL"]),
        ("'train', 'nothing'", "42703", ["nothing", "colour"]),
        ("'train', tfmem => 'magic'", "22023", ["magic", "expressflow", "jacflow", "ntk_cond"]),
        ("'train', tfmem => 'naswot+magic'", "22023", ["magic", "expressflow"]),
        ("'train', tfmem => ARRAY['naswot', NULL]", "22023", ["NULL", "expressflow"]),
        ("'train', tfmem => ARRAY['naswot', 'naswot']", "22023", ["naswot", "twice"]),
        ("'train', tfmem => NULL", "22023", ["tfmem must not be NULL"]),
        ("'train', tfmem => ARRAY[]::pg_catalog.text[]", "22023", ["tfmem names no metric", "trails.tfmems()"]),
        ("'train', tfmem => ''", "22023", ["tfmem names no metric"]),
        ("'train', tfmem => 'snip', n => 20", "22023", ["snip", "target"]),
        ("'train', tfmem => ARRAY['naswot', 'snip'], n => 20", "22023", ["snip", "target"]),
        ("'train', 'label', tfmem => 'naswot', n => 20, batch_size => 1", "22023", ["naswot", "batch_size", "2"]),
        ("'train', batch_size => 0", "22023", ["batch_size", "at least 1", "0"]),
        ("'train', batch_size => NULL", "22023", ["batch_size must not be NULL"]),
        ("'train', n => 0", "22023", ["n", "0"]),
        ("'train', n => 160001", "22023", ["160001", "160000"]),
        ("'train', k => 0", "22023", ["k", "0"]),
        ("'train', k => 160001", "22023", ["160001", "160000"]),
        ("'train', space => 'cnn'", "22023", ["cnn", "mlp4x20"]),
        ("'train', space => NULL", "22023", ["space must not be NULL"]),
        ("'train', seed => NULL", "22023", ["seed must not be NULL"]),
        ("'train', sampler => 'luck', n => 20", "22023", ["luck", "random", "evolution"]),
        ("'train', 'label', features => '{colour,label}'", "22023", ["target", "among the features"]),
        ("'dates', 'day', tfmem => 'snip', n => 20", "0A000", ["day", "date", "EXTRACT"]),
        ("'one_class', 'label', tfmem => 'snip', n => 20", "22000", ["one class"]),
        ("'identical', 'label', tfmem => 'naswot', n => 20", "22000", ["identical", "can help"]),
        ("'identical', 'label'", "22000", ["identical", "can help"]),
        ("'empty', tfmem => 'naswot', n => 20", "22000", ["empty"]),
        ("'nulls', 'label'", "22000", ["no row with a target"]),
        ("'arrays', features => '{list}'", "0A000", ["list", "smallint[]", "features =>"]),
    ],
)
def test_bad_input_gets_a_clear_error(session: Any, arguments: str, sqlstate: str, words: list[str]) -> None:
    query(
        session,
        """
        CREATE TABLE empty (LIKE train);
        CREATE VIEW one_class AS SELECT 1 AS label, colour, shape FROM train;
        CREATE VIEW identical AS SELECT label, 3 AS colour, '7:0.5'::text AS shape FROM train;
        CREATE VIEW nulls AS SELECT NULL::int AS label, colour FROM train;
        CREATE VIEW dates AS SELECT label, colour, current_date + colour AS day FROM train;
        CREATE VIEW arrays AS SELECT label, colour, ARRAY[noise] AS list FROM train;
        """,
    )
    code, told = refused(session, f"{RANKED}({arguments})")
    assert code == sqlstate
    for word in words:
        assert word in told
    assert len(ranked(session, "'train', n => 3, k => 3, tfmem => 'synflow'")) == 3, "the session goes on"


def test_rights_and_row_level_security_apply(session: Any, connect: Callable[..., Any]) -> None:
    alice = connect(role="alice")
    statement = f"{RANKED}('train', 'label', n => 20, tfmem => 'naswot+snip')"
    assert refused(alice, statement)[0] == "42501"
    query(session, "GRANT trails_user TO alice")
    assert refused(alice, statement)[0] == "42501"
    assert refused(alice, "SELECT * FROM trails.profile_filtering('train', tfmem => 'naswot')")[0] == "42501"
    query(
        session,
        "GRANT SELECT ON train TO alice; ALTER TABLE train ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY low ON train FOR SELECT TO alice USING (id <= 500);"
        "CREATE VIEW low AS SELECT label, colour, shape, noise FROM train WHERE id <= 500",
    )
    seen = query(alice, statement)
    assert seen == query(session, statement.replace("train", "low"))
    assert seen != query(session, statement)


@pytest.mark.parametrize("threads", [1, 3])
def test_cancel_ends_a_long_call_at_once(session: Any, connect: Callable[..., Any], threads: int) -> None:
    other = connect()
    query(session, f"SET trails.filtering_threads = {threads}")
    ranked(session, "'train', n => 10, tfmem => 'ntk_cond', space => 'mlp5x20'")
    asked: list[float] = []

    def cancel() -> None:
        asked.append(time.monotonic())
        query(other, "SELECT pg_cancel_backend(%s)", session.info.backend_pid)

    timer = threading.Timer(1.5, cancel)
    timer.start()
    code, _ = refused(session, f"{RANKED}('train', n => 200000, tfmem => 'ntk_cond', space => 'mlp5x20')")
    ended = time.monotonic()
    timer.join()
    assert code == "57014"
    assert within(ended - asked[0], 0.0, 1.0)
    assert len(ranked(session, "'train', n => 5, k => 5, tfmem => 'ntk_cond'")) == 5, "the session goes on"


def test_a_backend_that_is_terminated_among_its_threads_takes_nothing_along(connect: Callable[..., Any]) -> None:
    witness = connect()
    make_table(witness, "train")
    statement = f"{RANKED}('train', n => 160000, tfmem => 'ntk_cond', batch_size => 128)"
    for threads in (2, 8) * 4:
        session = connect()
        query(session, f"SET trails.filtering_threads = {threads}")
        backend = session.info.backend_pid
        running = threading.Thread(target=refused, args=(session, statement))
        running.start()
        time.sleep(0.8)
        query(witness, "SELECT pg_terminate_backend(%s)", backend)
        running.join(60)
        wait_until(lambda backend=backend: not Path(f"/proc/{backend}").exists(), 5)
        time.sleep(0.05)
        assert query(witness, "SELECT 1") == [(1,)], "a crash would have closed this session"


def test_profile_tells_what_scoring_costs(session: Any) -> None:
    for metric in ("expressflow", "naswot", "snip", "jacflow"):
        rows = query(session, "SELECT * FROM trails.profile_filtering('train', 'label', tfmem => %s)", metric)
        parts = set(REGISTRY[metric].combines or (metric,))
        assert {row[0] for row in rows} == parts
        for _, route, architectures, seconds, each in rows:
            assert route and architectures > 0 and seconds > 0
            assert each == pytest.approx(seconds / architectures)
    code, told = refused(session, "SELECT * FROM trails.profile_filtering('train', tfmem => 'snip')")
    assert code == "22023" and "target" in told
    code, told = refused(session, "SELECT * FROM trails.profile_filtering('train', tfmem => NULL)")
    assert code == "22023" and "tfmem must not be NULL" in told


SELECTED = (
    "SELECT architecture, score, validation_metric FROM trails.model_selection('train', 'label', budget => '40 s', "
    "validation => 'valid', k => 2, u => 1, tfmem => {}) ORDER BY rank"
)


def test_model_selection_filters_by_any_metric(session: Any) -> None:
    jacflow = query(session, SELECTED.format("'jacflow'"))
    assert len(jacflow) == 2 and jacflow[0][2] > 0.9
    assert query(session, SELECTED.format("ARRAY['naswot', 'synflow']")) == jacflow
    snip = query(session, SELECTED.format("'snip', n => 200, batch_size => 16"))
    assert len(snip) == 2
    runs = query(session, "SELECT tfmem, scored FROM trails.runs ORDER BY run_id")
    assert runs[0] == ("jacflow", 160_000)
    assert runs[1] == ("naswot+synflow", 160_000)
    assert runs[2] == ("snip", 200)


def test_model_selection_scores_what_a_tenth_of_the_budget_can(session: Any) -> None:
    statement = SELECTED.replace("40 s", "20 s").format("'grasp'")
    assert len(query(session, statement)) == 2
    ((scored, seconds),) = query(session, "SELECT scored, filtering_seconds FROM trails.runs")
    assert 10 <= scored < 160_000
    assert within(seconds, 2.0, 2.0)


def test_model_selection_does_not_train_what_could_not_be_scored(session: Any) -> None:
    query(session, SELECTED.format("'ntk_cond', n => 50, batch_size => 1000, space => 'mlp2x10'"))
    ((scored, failed),) = query(session, "SELECT scored, failed_scores FROM trails.runs")
    assert scored == 50 and 0 < failed < 50, "1,000 rows exceed the rank of some kernels"
    assert query(session, "SELECT count(*) FROM trails.candidates WHERE score IS NULL") == [(0,)]
    # This seed draws architectures of fewer weights than rows, so that no kernel is regular.
    arguments = "tfmem => 'ntk_cond', n => 2, seed => 142, space => 'mlp2x10', batch_size => 1000"
    code, told = refused(session, f"SELECT * FROM trails.model_selection('train', 'label', {arguments})")
    assert code == "22000" and "every score by ntk_cond failed" in told and "batch_size" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("n => 0", ["n", "0"]),
        ("n => 160001", ["160001"]),
        ("tfmem => 'naswot', batch_size => 1", ["naswot", "batch_size"]),
        ("tfmem => 'naswot+magic'", ["magic", "expressflow"]),
        ("tfmem => ARRAY[]::pg_catalog.text[]", ["no metric"]),
        ("tfmem => NULL", ["tfmem must not be NULL"]),
    ],
)
def test_model_selection_refuses_bad_filtering(session: Any, arguments: str, words: list[str]) -> None:
    code, told = refused(session, f"SELECT * FROM trails.model_selection('train', 'label', {arguments})")
    assert code == "22023"
    assert all(word in told for word in words)
