"""Several networks of a run as its model: which are chosen, when it pays, what is kept, and what it predicts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trails import ModelSelector
from trails.family import MLP
from trails.family.networks import Shape
from trails.model.store import Model
from trails.refinement import ensemble, ensemble_selection
from trails.refinement.clock import MONOTONIC
from trails.refinement.ensemble import Together, most_networks, worth_keeping
from trails.refinement.ensemble_selection import choose, difference, effective, greedy, mean
from trails.refinement.ensemble_step import EnsembleStep
from trails.refinement.metrics import auc, r2
from trails.refinement.models import TrainedModels
from trails.refinement.protocol import Candidate, Refine
from trails.refinement.roster import Roster
from trails.refinement.timings import Timings
from trails.refinement.trial import Trial
from trails.training.options import Options, parse_options
from trails.training.weights import Weights

ROWS = 4000


def guesses(errors: list[float], seed: int = 0, shared: float = 0.0) -> tuple[NDArray[Any], list[NDArray[np.float32]]]:
    """Numbers, and what networks say of them that are wrong by so much, each in its own way or all in the same."""
    random = np.random.default_rng(seed)
    truth, common = random.normal(size=ROWS), random.normal(size=ROWS)
    return truth, [
        (truth + error * (shared * common + (1 - shared) * random.normal(size=ROWS))).astype(np.float32)
        for error in errors
    ]


def by_r2(truth: NDArray[Any]) -> ensemble_selection.Measure:
    return lambda outputs, rows: r2(truth if rows is None else truth[rows], outputs)


def test_networks_that_are_wrong_in_their_own_ways_are_all_taken() -> None:
    truth, outputs = guesses([0.5, 0.5, 0.5, 0.5])
    chosen = choose(outputs, by_r2(truth), by_r2(truth), 1)
    assert (chosen.reads > 0).all() and chosen.pays
    gained = r2(truth, mean(outputs, chosen.reads)) - r2(truth, outputs[0])
    assert abs(chosen.gain - gained) < 4 * chosen.standard_error and chosen.standard_error < 0.02


def test_a_network_that_is_much_worse_is_not_taken() -> None:
    truth, outputs = guesses([0.3, 3.0, 3.0])
    assert greedy(outputs, lambda found: r2(truth, found)).tolist() == [1, 0, 0]
    assert not choose(outputs, by_r2(truth), by_r2(truth), 1).pays


def test_networks_that_are_wrong_alike_do_not_pay() -> None:
    truth, outputs = guesses([0.5, 0.5, 0.5], shared=1.0)
    assert not choose(outputs, by_r2(truth), by_r2(truth), 1).pays


def test_what_is_chosen_by_luck_is_not_believed() -> None:
    """Of networks that know nothing some mean is always better than the first on the rows it is chosen on."""
    random, believed = np.random.default_rng(3), 0
    for seed in range(30):
        truth = random.normal(size=ROWS) > 0
        outputs = [random.normal(size=ROWS).astype(np.float32) for _ in range(6)]
        outputs.sort(key=lambda output: -auc(truth, output))

        def judge(found: NDArray[Any], rows: NDArray[np.intp] | None, truth: NDArray[Any] = truth) -> float:
            return auc(truth if rows is None else truth[rows], found)

        chosen = choose(outputs, judge, judge, seed)
        better = judge(mean(outputs, chosen.reads), None) - judge(outputs[0], None)
        assert better >= 0
        believed += chosen.pays
    assert believed <= 10  # a sixth by chance, were gains normal with mean 0


def test_weights_are_what_an_exhaustive_search_would_give() -> None:
    truth, outputs = guesses([0.4, 0.6], seed=5)
    # The best share of the first one, by its errors' covariance.
    one, two = (output - truth for output in outputs)
    share = float(np.mean(two * (two - one)) / np.mean((one - two) ** 2))
    reads = greedy(outputs, lambda found: r2(truth, found))
    assert abs(reads[0] / reads.sum() - share) < 0.1


def test_no_more_networks_than_asked_and_weights_in_lowest_terms() -> None:
    truth, outputs = guesses([0.5] * 12)
    for most in (1, 2, 3):
        reads = greedy(outputs, lambda found: r2(truth, found), most)
        assert np.count_nonzero(reads) <= most and np.gcd.reduce(reads) == 1
    assert greedy(outputs, lambda found: r2(truth, found), 1).tolist() == [1] + [0] * 11


def test_the_standard_error_is_that_of_the_same_rows_drawn_again() -> None:
    gains, errors = [], []
    for seed in range(60):
        random = np.random.default_rng(seed)
        truth = random.normal(size=ROWS)
        one, two = (truth + 0.5 * random.normal(size=ROWS) for _ in range(2))
        gain, error = difference(one, two, by_r2(truth), np.arange(ROWS), seed)  # type: ignore[arg-type]
        gains.append(gain)
        errors.append(error)
    assert 0.6 < np.mean(errors) / np.std(gains) < 1.6


def test_effective_rows_are_kishs() -> None:
    assert effective(np.ones(7)) == pytest.approx(7.0)
    assert effective(np.array([1.0, 0.0, 0.0])) == pytest.approx(1.0)
    assert effective(np.zeros(3)) == 0.0


@pytest.mark.parametrize(
    ("option", "k", "u", "most"),
    [("auto", None, None, 8), ("auto", 4, 2, 1), ("never", None, None, 1), (3, 4, 2, 3), (3, None, None, 3)],
)
def test_a_fixed_plan_has_one_network_unless_a_number_is_asked_for(
    option: int | str, k: int | None, u: int | None, most: int
) -> None:
    assert most_networks(Refine((), k=k, u=u, options=Options(ensemble=option))) == most


def test_the_option_is_a_number_or_a_word() -> None:
    assert parse_options({"ensemble": 4}).ensemble == 4 and parse_options({}).ensemble == "never"
    for wrong in (0, 9, 2.5, "always", True):
        with pytest.raises(Exception, match="option ensemble is"):
            parse_options({"ensemble": wrong})


# What is kept for it


def trial_of(width: int, metric: float) -> Trial:
    """A candidate that had an epoch."""
    trial = Trial.of(MLP, Candidate(f"{width}-8", (width, 8), None), Shape(10, 2, 4), 1)
    trial.best_metric, trial.best_epoch, trial.epochs = metric, 1, 1
    trial.best = Weights.zeros(trial.layout.sizes, torch.device("cpu"))
    return trial


def test_the_best_keep_their_weights_as_far_as_memory_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [trial_of(width, metric) for width, metric in ((8, 0.5), (16, 0.9), (12, 0.7), (10, 0.8))]
    assert worth_keeping(trials, 1) == {"16-8"} and worth_keeping(trials, 3) == {"16-8", "10-8", "12-8"}
    assert worth_keeping([], 3) == set()
    trials[1].best = None
    assert worth_keeping(trials, 2) == {"10-8", "12-8"}
    monkeypatch.setattr(ensemble, "MOST_BYTES", 4 * sum(trials[2].layout.sizes.values()))
    assert worth_keeping(trials, 8) == {"10-8", "12-8"}
    monkeypatch.setattr(ensemble, "MOST_BYTES", 0)
    assert worth_keeping(trials, 8) == {"10-8"}


@pytest.mark.parametrize(("networks", "left"), [(1, ["16-8"]), (2, ["16-8", "10-8"]), (8, ["8-8", "16-8", "10-8"])])
def test_candidates_that_are_out_keep_weights_only_for_an_ensemble(networks: int, left: list[str]) -> None:
    roster = Roster(trial_of(width, metric) for width, metric in ((8, 0.5), (16, 0.9), (10, 0.8)))
    roster.networks = networks
    dismissed: list[str] = []
    roster.release(SimpleNamespace(needed=frozenset(), dismiss=dismissed.append))  # type: ignore[arg-type]
    assert [trial.architecture for trial in roster.trials.values() if trial.best is not None] == left
    assert dismissed == ["8-8", "16-8", "10-8"]


# The end of a run


class Run:
    """A run's end with so many seconds left, in which a network's training on all rows takes so long."""

    def __init__(self, seconds: float, refit_seconds: float, fails: str = "") -> None:
        self.trials = [trial_of(width, metric) for width, metric in ((16, 0.9), (10, 0.8))]
        self.roster, self.models, self.fails = Roster(self.trials), self, fails
        self.written: list[tuple[Together, bool]] = []
        self.refitted: list[str] = []
        self.together_seconds, self.refit_share = 0.1, 1.25
        cost = SimpleNamespace(training=refit_seconds / 1.25 / 1.3, evaluation=0.0)
        self.remaining = SimpleNamespace(
            reserve=1.0, active=2, wall=lambda: 1, seconds=lambda: seconds, costs=SimpleNamespace(of=lambda _: cost)
        )
        self.progress = SimpleNamespace(expect=lambda _: None)

    def of_rung(self, _: int) -> Any:
        return SimpleNamespace(training_ends=lambda *_: float("inf"))

    def together(self, ranked: list[Trial], most: int) -> Together | None:
        if self.fails == "choosing":
            raise MemoryError
        assert [trial.architecture for trial in ranked] == ["16-8", "10-8"][:most]
        return Together(tuple(ranked), (2, 1), np.zeros(4, np.float32), 0.02, 0.01, 4)

    def refit(self, trial: Trial, keep_going: Any) -> Weights | None:
        self.refitted.append(trial.architecture)
        assert keep_going(0.5)
        if self.fails == "the second training" and len(self.refitted) == 2:
            return None
        return Weights.zeros(trial.layout.sizes, torch.device("cpu"))

    def finish_together(self, found: Together, refitted: bool) -> bool:
        self.written.append((found, refitted))
        return self.fails != "writing"

    def step(self, option: int | str = "auto") -> EnsembleStep:
        return EnsembleStep(Refine((), options=Options(ensemble=option)), self, Timings(0.0, MONOTONIC), MONOTONIC)  # type: ignore[arg-type]


def test_all_networks_are_trained_again_if_there_is_time_for_all() -> None:
    run = Run(10.0, 2.0)
    assert run.step().keep(1, refit=True) and run.refitted == ["16-8", "10-8"]
    ((found, refitted),) = run.written
    assert refitted and all(new.best is not old.best for new, old in zip(found.trials, run.trials, strict=True))
    assert [network["weight"] for network in found.facts("auc")["networks"]] == [2, 1]


@pytest.mark.parametrize(
    ("seconds", "refit", "kept"),
    [(1.0, True, True), (3.0, True, False), (3.0, False, True), (0.05, False, False)],
    ids=["for none", "for the winner only", "not asked for", "not even to choose"],
)
def test_where_there_is_not_time_to_train_all_again(seconds: float, refit: bool, kept: bool) -> None:
    run = Run(seconds, 2.0)
    assert run.step().keep(1, refit) is kept and not run.refitted
    assert [refitted for _, refitted in run.written] == ([False] if kept else [])
    if kept:
        assert run.written[0][0].trials[0] is run.trials[0]


@pytest.mark.parametrize("fails", ["choosing", "the second training", "writing"])
def test_whatever_fails_leaves_the_winner(fails: str) -> None:
    run = Run(10.0, 2.0, fails)
    weights = [trial.best for trial in run.trials]
    assert not run.step().keep(1, refit=True)
    assert [trial.best for trial in run.trials] == weights


def test_nothing_is_done_for_one_network() -> None:
    run = Run(10.0, 2.0, "choosing")
    step = run.step("never")
    with step.reserving():
        assert run.remaining.reserve == 1.0
    assert not step.keep(1, refit=False)


def test_a_little_of_the_time_is_kept_back_for_it_and_given_back() -> None:
    run = Run(10.0, 2.0)
    with pytest.raises(KeyError), run.step().reserving():
        assert 1.05 < run.remaining.reserve <= 1.0 + 0.03 * 10.0
        raise KeyError
    assert run.remaining.reserve == 1.0


# A whole run


def interacting(rows: int, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Whole numbers of which two decide together: few rows teach little of that, so that networks differ."""
    random, known = np.random.default_rng(seed), np.random.default_rng(9)
    X, effects = random.integers(0, 30, (rows, 3)), known.normal(size=(30, 30))
    return X, effects[X[:, 0], X[:, 1]] + known.normal(size=30)[X[:, 2]] + random.normal(size=rows)


def fitted(ensemble: int | str, validation_rows: int = 1500, **more: Any) -> ModelSelector:
    options = {"ensemble": ensemble, "dropout": 0.0, "embedding_l2": 0.0}
    plan = {"space": "mlp2x10", "refinement": "ua", "k": 4, "u": 2, "isolated": False, "task": "regression"}
    validation = interacting(validation_rows, 2)
    return ModelSelector(None, options=options, **plan, **more).fit(*interacting(4000, 1), validation=validation)


def test_a_model_of_several_networks_does_better_and_says_what_it_is_made_of() -> None:
    alone, several = fitted("never"), fitted(4)
    assert alone.leaderboard_[0]["validation_metric"] == several.leaderboard_[0]["validation_metric"]
    told = several.model_.training
    assert len(told["networks"]) > 1 and told["ensemble"]["gain"] > told["ensemble"]["standard_error"] > 0
    assert told["networks"][0]["architecture"] == several.model_.architecture == alone.model_.architecture
    assert several.model_.metrics["r2"] > alone.model_.metrics["r2"]
    X, y = interacting(3000, 3)
    assert several.score(X, y) > alone.score(X, y)
    held = interacting(1500, 2)
    assert several.score(*held) == pytest.approx(several.model_.metrics["r2"], abs=1e-5)
    assert Model.from_bytes(several.model_.to_bytes()).training == told
    again = fitted(4)
    assert again.model_.to_bytes() == several.model_.to_bytes()


def test_few_validation_rows_decide_nothing() -> None:
    assert "networks" not in fitted(4, 999).model_.training


def test_a_mean_that_cannot_be_computed_leaves_the_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("no memory")

    monkeypatch.setattr(TrainedModels, "together", fail)
    model = fitted(4).model_
    assert "networks" not in model.training and model.metrics["r2"] > 0
