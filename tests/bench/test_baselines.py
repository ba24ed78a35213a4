"""Published searches on records: they find what is good, keep to their budget, and do what their papers say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.bench.made_up import EPOCHS, Scored, made_up
from trails.bench.baselines import BASELINES, Search, move_proposal, training_free, warm_up
from trails.bench.baselines.by_score import GUIDED, KNAS_SCORED, KNAS_TRAINED
from trails.bench.baselines.known import Known
from trails.bench.baselines.tabnas import Policy, conditional_gradient, size_limit
from trails.bench.trainer import RecordedTrainer
from trails.errors import InvalidInput
from trails.filtering.samplers import ReinforceSampler

GOOD = 0.89
"""What 7 of the thousand architectures reach, a few of the recorded ones."""

GUIDED_SEARCHES: dict[str, Callable[[str], Search]] = {
    "warm_up": lambda sampler: (
        lambda trainer, seed, epochs: warm_up(trainer, "expressflow", 500, sampler, seed, epochs)
    ),
    "move_proposal": lambda sampler: (
        lambda trainer, seed, epochs: move_proposal(trainer, "expressflow", sampler, seed, epochs)
    ),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    return made_up(tmp_path_factory.mktemp("table"))


class Watched(RecordedTrainer):
    """Remembers what was trained, in order, and to which epoch."""

    def __init__(self, benchmark: Scored, budget: float = np.inf) -> None:
        super().__init__(benchmark, budget=budget)
        self.trained: dict[int, int] = {}

    def train(self, index: int, epochs: int, *, again: bool = False) -> float:
        auc = super().train(index, epochs, again=again)
        self.trained[index] = max(epochs, self.trained.get(index, 0))
        return auc


def seconds_to(search: Search, table: Scored, seed: int, epochs: int = 1) -> float:
    """Seconds until an architecture was trained that is `GOOD` in the end; 150 epochs' where none was before."""
    trainer = RecordedTrainer(table, budget=150.0 * epochs)
    search(trainer, seed, epochs)
    reached = GOOD - 0.2 / epochs
    return next((i.seconds for i in trainer.trajectory.incumbents if i.valid_auc >= reached - 1e-6), trainer.budget)


@pytest.mark.parametrize("name", ["evolution", "reinforcement", "tabnas", "tpe_hyperband"])
def test_a_search_that_learns_finds_the_best_far_sooner_than_a_random_one(name: str, table: Scored) -> None:
    seeds = range(3 if name == "tpe_hyperband" else 15)
    found = np.mean([seconds_to(BASELINES[name], table, seed) for seed in seeds])
    assert found < 0.7 * np.mean([seconds_to(BASELINES["random"], table, seed) for seed in range(15)])


@pytest.mark.parametrize("way", GUIDED_SEARCHES)
@pytest.mark.parametrize("sampler", GUIDED)
def test_scores_that_are_right_help_a_search_along(way: str, sampler: str, table: Scored) -> None:
    seeds = range(10)
    helped = np.mean([seconds_to(GUIDED_SEARCHES[way](sampler), table, seed, epochs=9) for seed in seeds])
    assert helped < 0.8 * np.mean([seconds_to(BASELINES[sampler], table, seed, epochs=9) for seed in seeds])


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "weight_sharing"])
@pytest.mark.parametrize("budget", [0.5, 37.5])
def test_a_budget_is_kept_and_a_whole_number_of_epochs_is_trained_in_it(
    name: str, budget: float, table: Scored
) -> None:
    trainer = RecordedTrainer(table, budget=budget)
    BASELINES[name](trainer, 3, EPOCHS)
    assert trainer.spent == budget
    assert all(found.seconds <= budget for found in trainer.trajectory.incumbents)
    assert trainer.epochs <= int(budget)


@pytest.mark.parametrize("name", ["random", "evolution", "reinforcement"])
def test_a_search_without_an_end_exhausts_the_table_and_trains_everything_once(name: str, tmp_path: Path) -> None:
    table = made_up(tmp_path, recorded=40)
    trainer = RecordedTrainer(table)
    BASELINES[name](trainer, 0, 2)
    assert trainer.epochs == trainer.spent == 80.0
    assert trainer.trajectory.best().valid_auc == pytest.approx(table.best(epoch=2, seed=1).auc)


@pytest.mark.parametrize("name", ["tabnas", "tpe_hyperband"])
def test_a_search_that_proposes_nothing_new_ends_without_a_budget(name: str, tmp_path: Path) -> None:
    trainer = Watched(made_up(tmp_path, recorded=12))
    BASELINES[name](trainer, 0, 3)
    assert trainer.spent == pytest.approx(trainer.epochs + trainer.thought)
    assert trainer.thought > 0.0


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "weight_sharing"])
def test_trainings_that_went_wrong_end_no_search(name: str, tmp_path: Path) -> None:
    table = made_up(tmp_path, recorded=20, wrong=tuple(range(0, 20, 2)))
    trainer = RecordedTrainer(table, budget=200.0)
    BASELINES[name](trainer, 0, 3)
    assert np.isfinite(trainer.trajectory.best().valid_auc)


@pytest.mark.parametrize("name", ["random", "evolution", "reinforcement", "knas"])
def test_a_seed_fixes_a_search(name: str, table: Scored) -> None:
    def trained(seed: int) -> list[int]:
        trainer = Watched(table, budget=60.0)
        BASELINES[name](trainer, seed, 3)
        return list(trainer.trained)

    assert trained(5) == trained(5) != trained(6)


def test_merits_are_ranks_among_what_was_trained_and_failures_have_none(tmp_path: Path) -> None:
    table = made_up(tmp_path, recorded=10, wrong=(4,))
    known = Known(RecordedTrainer(table), 3)
    aucs = np.array([known.train(index) for index in range(10)])
    merits = np.array([known.merit(index) for index in range(10)])
    assert merits[4] == 0.0 and merits[np.nanargmax(aucs)] == 1.0
    sound = np.delete(np.arange(10), 4)
    assert (np.argsort(aucs[sound], kind="stable") == np.argsort(merits[sound], kind="stable")).all()


def test_knas_scores_a_hundred_and_trains_the_best_five_of_them(table: Scored) -> None:
    trainer = Watched(table)
    BASELINES["knas"](trainer, 2, EPOCHS)
    assert len(trainer.trained) == KNAS_TRAINED
    assert trainer.spent == pytest.approx(KNAS_SCORED * 0.1 + KNAS_TRAINED * EPOCHS)
    # Right scores: of a hundred of six hundred, five that are better than most.
    aucs = table.column("valid_auc", epoch=EPOCHS, seed=1)
    assert np.median(aucs[list(trainer.trained)]) > np.quantile(aucs, 0.9)


@pytest.mark.parametrize("sampler", GUIDED)
def test_a_training_free_search_pays_for_its_scores_and_one_training(sampler: str, table: Scored) -> None:
    trainer = Watched(table)
    training_free(trainer, "expressflow", 50, sampler, 1, EPOCHS)
    assert list(trainer.trained.values()) == [EPOCHS]
    assert trainer.spent == pytest.approx(50 * 0.1 + EPOCHS)


def test_evolution_warms_up_with_the_best_scored(table: Scored) -> None:
    trainer = Watched(table, budget=10.0 + 10.0)
    warm_up(trainer, "expressflow", 100, "evolution", 4, 1)
    aucs = table.column("valid_auc", epoch=1, seed=1)
    assert len(trainer.trained) == 10
    assert np.mean(aucs[list(trainer.trained)]) > np.quantile(aucs, 0.9)


def test_scores_guide_known_searches_alone(table: Scored) -> None:
    with pytest.raises(InvalidInput, match="annealing"):
        move_proposal(RecordedTrainer(table), "expressflow", "annealing", 0, 1)


def test_hyperband_trains_the_bad_less_than_the_good(table: Scored) -> None:
    trainer = Watched(table, budget=400.0)
    BASELINES["tpe_hyperband"](trainer, 1, EPOCHS)
    aucs = table.column("valid_auc", epoch=EPOCHS, seed=1)
    reached = np.array([trainer.trained[index] for index in trainer.trained])
    found = aucs[list(trainer.trained)]
    assert reached.min() < EPOCHS == reached.max()
    assert found[reached == EPOCHS].mean() > found[reached <= 2].mean() + 0.01
    assert trainer.epochs == reached.sum(), "a pruned trial is charged for what it trained, and no more"


def test_tabnas_trains_nothing_above_the_limit_and_moves_its_policy(
    table: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies: list[Policy] = []
    climb = Policy.climb

    def watched(policy: Policy, gradient: NDArray[np.float64]) -> None:
        climb(policy, gradient)
        policies.append(policy)

    monkeypatch.setattr(Policy, "climb", watched)
    trainer = Watched(table, budget=150.0)
    BASELINES["tabnas"](trainer, 1, 1)
    space = trainer.space
    sizes = [space.parameters(space.architecture(index), 100) for index in trainer.trained]
    assert max(sizes) <= size_limit(space.whole, 100)
    policy = policies[-1].probabilities
    assert policy == pytest.approx(policy / policy.sum(axis=1, keepdims=True))
    assert policy.max() > 0.3, "it was 0.1 to begin with"


def test_half_of_a_space_is_below_tabnas_limit(table: Scored) -> None:
    whole = table.space
    sizes = [whole.parameters(whole.architecture(index), 100) for index in range(whole.size)]
    assert abs(np.mean(np.array(sizes) <= size_limit(whole, 100)) - 0.5) < 0.01


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_corrected_gradient_is_that_of_the_conditional_probability(seed: int) -> None:
    generator = np.random.default_rng(seed)
    policy = Policy(np.array([3, 3]))
    policy.logits = generator.normal(size=(2, 3))
    designs = np.array([(a, b) for a in range(3) for b in range(3)])
    feasible = designs.sum(axis=1) <= 2

    def log_probability(logits: NDArray[np.float64], design: NDArray[np.int64]) -> float:
        policy.logits = logits
        each = policy.probabilities[np.arange(2), designs].prod(axis=1)
        return float(np.log(each[(designs == design).all(axis=1)][0] / each[feasible].sum()))

    logits = policy.logits.copy()
    # Draws whose frequencies are the exact probabilities, as near as whole numbers can be.
    probabilities = policy.probabilities[np.arange(2), designs].prod(axis=1)[feasible]
    draws = np.repeat(designs[feasible], np.round(1e5 * probabilities).astype(int), axis=0)
    found = conditional_gradient(np.array([1, 0]), draws, 3)
    for place in np.ndindex(2, 3):
        step = np.zeros((2, 3))
        step[place] = 1e-5
        difference = log_probability(logits + step, designs[3]) - log_probability(logits - step, designs[3])
        assert found[place] == pytest.approx(difference / 2e-5, abs=1e-3)


def test_reinforcement_steps_along_the_gradient_of_one_architectures_log_probability(table: Scored) -> None:
    merits = {0: 0.25}
    sampler = ReinforceSampler(table.recorded(1), 0, lambda index: merits.get(index, 0.75), learning_rate=1.0)
    # The first merit is the baseline, and moves nothing; the second is the gradient alone, and nothing is left of it.
    first = sampler.ask(1)[0]
    merits[first] = 0.25
    sampler.tell(first)
    second = sampler.ask(1)[0]
    uniform = sampler.policy
    assert uniform == pytest.approx(np.full((3, 10), 0.1))
    sampler.tell(second)
    sampler.ask(0)
    design = table.recorded(1).architecture(second)
    own = np.array([[width == choice for choice in table.space.choices[0]] for width in design], dtype=float)

    def log_probability(logits: NDArray[np.float64]) -> float:
        powers = np.exp(logits)
        return float(np.log((powers / powers.sum(axis=1, keepdims=True))[own == 1.0]).sum())

    gradient = np.zeros((3, 10))
    for place in np.ndindex(3, 10):
        step = np.zeros((3, 10))
        step[place] = 1e-6
        gradient[place] = (log_probability(step) - log_probability(-step)) / 2e-6
    powers = np.exp((0.75 - 0.25) * gradient)
    assert sampler.policy == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-6)


def test_every_design_stands_for_the_nearest_recorded_one(tmp_path: Path) -> None:
    space = made_up(tmp_path, recorded=30).recorded(1)
    places = np.array(list(np.ndindex(10, 10, 10)))
    recorded = np.array([np.unravel_index(index, (10, 10, 10)) for index in space.recorded])
    distances = np.abs(places[:, None] - recorded[None]).sum(axis=2)
    assert (space.indices(places) == distances.argmin(axis=1)).all()
