"""What a model says of its networks and of whether the architecture mattered, in sentences."""

from __future__ import annotations

from typing import Any

import pytest

from trails.model_words import finalists, members, networks, sentences

FACTS: dict[str, Any] = {
    "candidates": 17, "epochs": 1, "metric": "auc", "spread": 0.0004, "standard_error": 0.0011, "alike": 17,
    "smallest": "64-32", "parameters": 12_000, "parameters_of_best": 480_000,
}  # fmt: skip
NETWORKS = [{"architecture": "8-4", "weight": 3}, {"architecture": "16-8", "weight": 1}]


def test_candidates_that_are_alike() -> None:
    assert finalists(FACTS) == (
        "The last rung's 17 candidates differ by no more than chance (spread 0.0004 auc, one standard error 0.0011): "
        "64-32 would do, with 12,000 weights instead of 480,000."
    )
    assert "would do" not in finalists({**FACTS, "parameters": 480_000})


def test_candidates_of_which_some_are_alike() -> None:
    assert finalists({**FACTS, "alike": 5}).startswith("Of the last rung's 17 candidates the best 5 differ by no more")
    assert "ahead of the others by more than chance" in finalists({**FACTS, "alike": 1})
    assert "ahead of the other by" in finalists({**FACTS, "alike": 1, "candidates": 2})


def test_members_are_counted() -> None:
    assert members(8) == "The network has 8 members that share weights." and members(1) == members(None) == ""
    assert sentences({"members": "many"}) == []


def test_networks_have_shares() -> None:
    assert networks(NETWORKS) == "The model is the mean of 2 networks: 8-4 (75%), 16-8 (25%)."
    assert networks(NETWORKS[:1]) == networks(None) == finalists(None) == ""


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"networks": 3, "finalists": []},
        {"networks": [{}, {}], "finalists": {"alike": 1}},
        {"networks": [{"architecture": "a", "weight": 0}] * 2, "finalists": "yes"},
        {"networks": [{"architecture": "a" * 3000, "weight": 1}] * 2, "finalists": {**FACTS, "spread": None}},
        {"networks": "ab", "finalists": {**FACTS, "spread": "x"}},
    ],
)
def test_a_file_that_says_something_else_says_nothing(training: dict[str, Any]) -> None:
    assert sentences(training) == []


def test_all_that_there_is_to_say() -> None:
    assert len(sentences({"networks": NETWORKS, "finalists": FACTS})) == 2
