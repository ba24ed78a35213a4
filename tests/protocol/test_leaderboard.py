"""The leaderboard that is made of epochs: ``leaderboard.json``, which the Rust tests of ``leaderboard.rs`` read too,
and that of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trails.family import MLP
from trails.family.networks import Shape
from trails.refinement.leaderboard import from_epochs, in_order
from trails.refinement.trial import EpochResult, Trial, ranking
from trails.training.weights import Weights

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("leaderboard.json").read_text())
NAMES = "a", "b", "c", "d"
LAYOUT = MLP.networks.layout(Shape(4, 3, 2), (8, 8))
WEIGHTS = Weights({"table": torch.zeros(1)})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["about"])
def test_epochs_make_the_leaderboard_that_the_extension_makes_of_them(case: dict[str, Any]) -> None:
    less = case.get("less_is_better", False)
    assert from_epochs(case["epochs"], dict(case["candidates"]), less) == case["leaderboard"]


class Run:
    """Trials as a run has them, and the events that it sends of their epochs."""

    def __init__(self, offered: list[str]) -> None:
        self.trials = {name: Trial(MLP, name, float(place), LAYOUT, 1) for place, name in enumerate(offered)}
        self.scores = {name: trial.score for name, trial in self.trials.items()}
        self.events: list[dict[str, Any]] = []

    def train(self, name: str, metric: float, loss: float) -> None:
        trial = self.trials[name]
        result = EpochResult(name, trial.epochs + 1, 0.5, metric, loss, 0.25)
        trial.add(result, WEIGHTS)
        self.events.append(
            {
                "architecture": name,
                "rung": 0,
                "epoch": result.epoch,
                "train_loss": result.train_loss,
                "validation_loss": loss,
                "validation_metric": metric,
                "seconds": result.seconds,
            }
        )

    @property
    def leaderboard(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = [{**trial.row()} for trial in self.trials.values() if trial.ranked]
        return in_order(rows)


# Few different values, so that there are ties.
names, metrics, losses = st.sampled_from(NAMES), st.sampled_from([0.25, 0.5, 1.0]), st.sampled_from([0.5, 1.0, 2.0])
trainings = st.lists(st.tuples(names, metrics, losses), max_size=20)


@given(trainings, st.permutations(NAMES))
@settings(max_examples=200, deadline=None)
def test_it_is_that_of_the_run_itself(told: list[tuple[str, float, float]], offered: list[str]) -> None:
    run = Run(offered)
    for training in told:
        run.train(*training)
    assert from_epochs(run.events, run.scores) == [{**row, "parameters": None} for row in run.leaderboard]


@given(st.lists(st.tuples(names, metrics, losses, st.sets(names)), min_size=1, max_size=20), st.permutations(NAMES))
@settings(max_examples=300, deadline=None)
def test_its_first_is_the_one_whose_model_is_kept(
    told: list[tuple[str, float, float, set[str]]], offered: list[str]
) -> None:
    run, out = Run(offered), set[str]()
    for name, metric, loss, dismissed in told:
        if name in out:
            continue
        run.train(name, metric, loss)
        # As a run does: who is out gives up its weights, unless it is the best so far.
        out |= {name for name in dismissed if run.trials[name].ranked}
        best = ranking(run.trials.values())[0]
        for name in out:
            run.trials[name].release(run.trials[name] is not best)
    first = ranking(run.trials.values())[0]
    assert first.best is not None
    assert from_epochs(run.events, run.scores)[0]["architecture"] == first.architecture
