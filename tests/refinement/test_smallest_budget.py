"""A budget that is too small names one that works, at the first try and not far above what is needed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.refinement.simulated import Case, ask, dataset, smallest
from trails.errors import BudgetTooSmall

CASES = {
    "few rows": Case(1_000),
    "few rows and columns, kept": Case(1_000, fields=2, ids=50, named=True),
    "one candidate for one epoch of many rows": Case(500_000, k=1, u=1),
    "the same, kept": Case(500_000, k=1, u=1, named=True, ids=300_000),
    "three candidates at once": Case(100_000, k=3, u=2),
    "nine candidates on eight cores": Case(200_000, k=9, u=1, cores=8),
    "k alone": Case(50_000, k=4, fields=40),
    "u alone": Case(50_000, u=3, fields=40),
    "filtering takes what it is given": Case(100_000, share=0.1, k=1, u=1),
    "classes": Case(200_000, task="multiclass", outputs=12, k=2, u=1, named=True),
    "numbers with a validation table": Case(300_000, 200_000, task="regression", validation=True, k=1, u=1),
    "hyperband": Case(100_000, refinement="hyperband", k=5),
    "many columns, left free": Case(500_000, fields=80, ids=100_000),
    "a slow machine": Case(500_000, k=1, u=1, product=0.6e-9, start=9.0, cores=1),
}


def named_by(case: Case, budget: float, data: object) -> float | None:
    """The budget that is named; None if this one works."""
    try:
        told = ask(case, budget, data)  # type: ignore[arg-type]
    except BudgetTooSmall as error:
        assert error.minimum is not None and error.minimum > budget
        assert f"{error.minimum:g} s" in (error.hint or "")
        return error.minimum
    assert told.result["event"] == "result" and told.result["leaderboard"]
    assert told.seconds <= 1.03 * budget + 0.2, "then the process would have been ended before its answer"
    return None


@pytest.mark.parametrize("optimism", [1.0, 1.4])
@pytest.mark.parametrize("name", CASES)
def test_the_budget_that_is_named_works_at_the_first_try(name: str, optimism: float) -> None:
    case = replace(CASES[name], optimism=optimism)
    data = dataset(case)
    least = smallest(case, data, lambda budget: named_by(case, budget, data) is None)
    tried = [2.0, 8.0, 11.0, *(least * share for share in (0.5, 0.8, 0.95))]
    for budget in (budget for budget in tried if budget < least):
        minimum = named_by(case, budget, data)
        if minimum is None:
            continue  # what is less may work by chance, where a measurement ends sooner
        assert named_by(case, minimum, data) is None, f"{budget} s named {minimum} s, and {least:.2f} s are needed"
        assert minimum <= 2.0 * least + 3.0, f"{budget} s named {minimum} s, where {least:.2f} s are enough"
