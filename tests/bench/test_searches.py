"""What experiments on published searches share: pools, what is handed over when, and how long a quality takes."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import _search_figures, _searches, baseline_system, plots
from benchmarks.harness import Document, Row
from tests.bench.made_up import EPOCHS, Scored, made_up
from trails.bench.simulate import simulate
from trails.errors import InvalidInput

TIMES = [2.0, 8.0, 32.0, 128.0, 1500.0]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    return made_up(tmp_path_factory.mktemp("table"), recorded=160)


@pytest.fixture
def searched(table: Scored, monkeypatch: pytest.MonkeyPatch) -> Scored:
    monkeypatch.setattr(_searches, "open_parts", lambda dataset: (table, EPOCHS))
    return table


def test_a_seed_searches_the_pool_that_a_selection_with_it_draws(table: Scored) -> None:
    own = _searches.pool(table, 3)
    assert own.size == 80
    names = {own.format(own.architecture(index)) for index in range(own.size)}
    picked = simulate(table, math.inf, k=80, u=EPOCHS, max_epochs=EPOCHS, seed=3, pool=80)
    trained = {i.architecture for i in picked.trajectory.incumbents}
    assert trained <= names and picked.n == 80
    # Everything was trained to the end: the winner is the best of the pool.
    aucs = table.column("valid_auc", epoch=EPOCHS, seed=1)
    whole = table.recorded(1)
    assert picked.valid_auc == pytest.approx(max(aucs[whole.index(own.architecture(i))] for i in range(own.size)))
    assert _searches.pool(table, 4).recorded.tolist() != own.recorded.tolist()


@pytest.mark.parametrize(
    "method",
    ["random", "evolution", "tabnas", "knas", "knas:random", "two_phase:expressflow", "two_phase_k:params",
     "training_free:expressflow", "training_free:expressflow:evolution", "warm_up:expressflow:reinforcement",
     "move_proposal:expressflow:random"],
)  # fmt: skip
def test_every_method_hands_over_more_with_time_and_never_more_than_there_is(method: str, searched: Scored) -> None:
    row = _searches.search("made_up", method, 1, TIMES)
    seconds, valid, test, training = np.array(row["curve"]).T
    assert (np.diff(seconds) >= 0.0).all() and (training <= seconds).all()
    assert valid.max() <= row["best_valid"] + 1e-6
    assert test == pytest.approx(valid - 0.01, abs=1e-6)
    if "spent" in row:
        assert (np.diff(valid) > 0.0).all() and seconds[-1] <= row["spent"]


def test_selections_spend_at_most_their_budgets_and_the_largest_finds_the_best(searched: Scored) -> None:
    row = _searches.search("made_up", "two_phase:expressflow", 1, TIMES)
    for budget in TIMES[1:]:
        spent = [entry[0] for entry in row["curve"] if entry[0] <= budget]
        assert spent
    assert row["curve"][-1][1] == pytest.approx(row["best_valid"])


def test_only_too_small_a_budget_leaves_a_selection_out(searched: Scored, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _searches.search("made_up", "two_phase:expressflow", 1, [1e-3, 128.0])["curve"]

    def unscored(*_: object, **__: object) -> None:
        raise InvalidInput("3 of the 160 architectures are not scored")

    monkeypatch.setattr(_searches, "simulate", unscored)
    with pytest.raises(InvalidInput, match="not scored"):
        _searches.search("made_up", "two_phase:expressflow", 1, TIMES)


def rows_of(*curves: list[tuple[float, float]]) -> list[Row]:
    return [{"curve": [[s, auc, auc - 0.1, s / 2] for s, auc in curve], "best_valid": 1.0} for curve in curves]


def test_what_is_handed_over_is_what_was_there_last() -> None:
    (row,) = rows_of([(1.0, 0.7), (4.0, 0.8)])
    found = [_searches.at(row, seconds, 1) for seconds in (0.5, 1.0, 3.9, 4.0, 99.0)]
    assert found == [pytest.approx(value, nan_ok=True) for value in (math.nan, 0.7, 0.7, 0.8, 0.8)]
    assert _searches.at(row, 2.0, 1, clock=3) == 0.8, "after two seconds of training"


def test_a_quality_is_reached_where_the_median_stays_at_it() -> None:
    # A lucky pick at second one is given up at second two.
    rows = rows_of(*[[(1.0, 0.9), (2.0, 0.7), (8.0, 0.9)]] * 3)
    assert _searches.seconds_to(rows, 0.8, [1.0, 2.0, 4.0, 8.0]) == 8.0
    assert _searches.seconds_to(rows, 0.6, [1.0, 2.0, 4.0, 8.0]) == 1.0
    assert math.isnan(_searches.seconds_to(rows, 0.85, [1.0, 2.0, 4.0, 8.0]))


@given(st.lists(st.lists(st.floats(0.5, 1.0), min_size=1, max_size=5), min_size=1, max_size=6), st.floats(0.5, 1.0))
def test_seconds_to_a_quality_agree_with_a_plain_search(aucs: list[list[float]], target: float) -> None:
    rows = rows_of(*[[(float(2**place), auc) for place, auc in enumerate(curve)] for curve in aucs])
    times = [float(2**place) for place in range(6)]
    medians = [np.median([_searches.at(row, t) for row in rows]) for t in times]
    plain = next((t for place, t in enumerate(times) if min(medians[place:]) >= target - 1e-9), math.nan)
    assert _searches.seconds_to(rows, target, times) == pytest.approx(plain, nan_ok=True)


def test_near_the_best_is_by_validation_and_where_the_median_stays() -> None:
    rows = rows_of([(1.0, 0.9), (4.0, 0.995)], [(2.0, 0.99)], [(2.0, 0.5), (8.0, 1.0)])
    times = [1.0, 2.0, 4.0, 8.0]
    assert _searches.seconds_near(rows, 0.2, times) == 2.0, "before, one of three has nothing"
    assert _searches.seconds_near(rows, 0.01, times) == 4.0
    assert _searches.seconds_near(rows, 0.005, times) == 8.0
    assert math.isnan(_searches.seconds_near(rows, 0.0, times))


def test_times_at_which_few_have_anything_are_left_out() -> None:
    rows = rows_of([(1.0, 0.7)], [(5.0, 0.8)], [(5.0, 0.9)])
    when, found = _searches.by_seconds(rows, [1.0, 5.0])
    assert when.tolist() == [5.0] and found[0, 1] == pytest.approx(0.7)


def test_facts_of_a_table_are_those_of_its_curves(table: Scored) -> None:
    facts = _searches.table_facts(table, EPOCHS, range(5))
    test = table.column("test_auc", epoch=EPOCHS, seed=1)
    assert facts["random_test"] == pytest.approx(np.median(test))
    assert facts["highest_test"] == pytest.approx(test.max())
    assert facts["random_test"] < facts["best_test"] <= facts["highest_test"]
    assert facts["noise"] is None, "one seed has no spread"
    assert facts["oracle_seconds"] == EPOCHS, "the best epoch of all is the last, an epoch a second"
    last = _searches.budgets(table, EPOCHS, 12)[-1]
    assert last == pytest.approx(1.05 * 80 * EPOCHS, rel=0.01)


def test_a_figure_and_a_summary_are_made_of_rows_alone(searched: Scored, tmp_path: Path) -> None:
    document = Document(tmp_path / "x.json", "baseline_system", "", {"dataset": "frappe", "seed": 0, "quick": True})
    document.rows = [{"method": "table", **_searches.table_facts(searched, EPOCHS, range(3)), "budgets": TIMES}]
    methods = ("random", "evolution", "reinforcement", "tpe_hyperband")
    document.rows += [_searches.search("made_up", method, seed, TIMES) for method in methods for seed in range(3)]
    lines = baseline_system.summarise(document)
    assert sum("seconds until" in line for line in lines) == 1 and len(lines) > 12
    with matplotlib.rc_context(plots.STYLE):  # type: ignore[arg-type]
        (figure,) = baseline_system.draw(document).values()
        labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {_searches.LABELS[method] for method in methods} <= labels


def test_time_spent_is_what_a_search_took_and_not_what_it_was_given() -> None:
    rows = [row | {"spent": 6.0} for row in rows_of([(1.0, 0.7), (4.0, 0.8)])]
    spent, found = _search_figures.handed_over(rows, [2.0, 100.0])
    assert spent.tolist() == [2.0, 6.0] and found[:, 1] == pytest.approx([0.6, 0.7])
    # A run that is made for its budget took what it took.
    spent, _ = _search_figures.handed_over(rows_of([(1.5, 0.7), (40.0, 0.8)]), [2.0, 100.0])
    assert spent.tolist() == [1.5, 40.0]
