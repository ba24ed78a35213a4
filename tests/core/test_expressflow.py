"""ExpressFlow by prefix sharing against the formula as written, and the identities it rests on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trails.errors import Interrupted, InvalidInput
from trails.family.mlp import MLP, bank, expressflow, prefix
from trails.filtering import rank_space
from trails.space import MlpSpace, parse_space
from trails.tfmem import REGISTRY, get_tfmem, textbook
from trails.tfmem.expressflow import expressflow_of
from trails.tfmem.network import Network

# Uneven gaps and sizes around the block limits of the implementation matter more than the published lists.
widths = st.lists(st.integers(1, 70), min_size=1, max_size=4, unique=True).map(lambda w: tuple(sorted(w)))
spaces = st.builds(MlpSpace, layers=st.integers(2, 5), widths=widths)
seeds = st.integers(0, 2**32)


def textbook_score(network: Network) -> float:
    return textbook.expressflow(textbook.network_from(network), torch.from_numpy(network.direction))


def expressflow_one(architecture: tuple[int, ...], inputs: int, seed: int) -> float:
    """The score of a network of its own, as the latency study draws and scores it."""
    metric = get_tfmem("expressflow")
    return MLP.scoring.initialise([metric], architecture, inputs, seed)(metric, [])


def correlation_of_ranks(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's coefficient; scores here have no ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


@settings(deadline=None, max_examples=40)
@given(spaces, st.integers(1, 60), seeds, st.data())
def test_whole_space_equals_the_textbook(space: MlpSpace, inputs: int, seed: int, data: st.DataObject) -> None:
    scores = expressflow.expressflow(space, inputs, seed)
    assert scores.shape == (space.size,)
    assert scores.dtype == np.float64
    shared = bank.draw_bank(space.layers, space.widths[-1], inputs, seed)
    for index in data.draw(st.lists(st.integers(0, space.size - 1), min_size=1, max_size=8)):
        expected = textbook_score(shared.network(space.architecture(index)))
        assert scores[index] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["mlp2x20", "mlp3x20", "mlp4x10", "mlp4x20", "mlp5x10"])
def test_published_spaces_equal_the_textbook(name: str) -> None:
    space = parse_space(name)
    scores = expressflow.expressflow(space, 100, 3)
    shared = bank.draw_bank(space.layers, space.widths[-1], 100, 3)
    for index in (0, space.size - 1, *space.sample(15, 5).tolist()):
        expected = textbook_score(shared.network(space.architecture(index)))
        assert scores[index] == pytest.approx(expected, rel=1e-6)


def test_widths_beyond_one_block_of_rows_equal_the_textbook() -> None:
    space = MlpSpace(3, (3, 290, 700))
    scores = expressflow.expressflow(space, 20, 1)
    shared = bank.draw_bank(3, 700, 20, 1)
    for index in range(space.size):
        expected = textbook_score(shared.network(space.architecture(index)))
        assert scores[index] == pytest.approx(expected, rel=1e-6)


@settings(deadline=None, max_examples=30)
@given(spaces, st.integers(1, 60), seeds, st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_scores_do_not_depend_on_how_the_work_is_cut(
    space: MlpSpace, inputs: int, seed: int, columns: int, last_columns: int, rows: int
) -> None:
    whole = expressflow.expressflow(space, inputs, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expressflow, "_COLUMNS", columns)
        patch.setattr(expressflow, "_LAST_LAYER_COLUMNS", last_columns)
        patch.setattr(prefix, "_ROWS", rows)
        patch.setattr(bank, "_ROWS", rows)
        cut = expressflow.expressflow(space, inputs, seed)
    np.testing.assert_allclose(cut, whole, rtol=1e-9)


@settings(deadline=None, max_examples=30)
@given(spaces, st.integers(1, 60), seeds)
def test_scores_are_positive_and_finite(space: MlpSpace, inputs: int, seed: int) -> None:
    scores = expressflow.expressflow(space, inputs, seed)
    assert np.all(np.isfinite(scores))
    assert np.all(scores > 0)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 80), min_size=2, max_size=5), st.integers(1, 60), seeds)
def test_every_hidden_layer_carries_the_whole_output(architecture: list[int], inputs: int, seed: int) -> None:
    network = textbook.draw_network(architecture, inputs, torch.Generator().manual_seed(seed))
    z = torch.ones(1, inputs, dtype=torch.float64)
    hidden = []
    for module in network:
        z = module(z)
        if isinstance(module, torch.nn.ReLU):
            z.retain_grad()
            hidden.append(z)
    z.sum().backward()  # type: ignore[no-untyped-call]
    assert len(hidden) == len(architecture)
    for activation in hidden:
        saliency = (activation * activation.grad.abs()).sum().item()
        assert saliency == pytest.approx(z.item(), rel=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 80), min_size=2, max_size=5), st.integers(1, 60), seeds)
def test_one_network_in_numpy_equals_the_textbook(architecture: list[int], inputs: int, seed: int) -> None:
    network = bank.initialise(tuple(architecture), inputs, seed)
    assert [w.shape for w in network.weights] == list(zip([inputs, *architecture], [*architecture, 1], strict=True))
    assert expressflow_of(network) == pytest.approx(textbook_score(network), rel=1e-6)
    assert expressflow_one(tuple(architecture), inputs, seed) == expressflow_of(network)


def test_sharing_weights_keeps_the_ranking_of_independent_networks() -> None:
    """Seeds 4 and 5 draw directions whose sum is near zero, which must not matter."""
    space = parse_space("mlp4x20")
    sample = space.sample(300, 1)
    own = np.array([expressflow_one(space.architecture(i), 100, 0) for i in sample.tolist()])
    for seed in range(8):
        shared = expressflow.expressflow(space, 100, seed)
        assert correlation_of_ranks(shared[sample], own) >= 0.99


@given(st.integers(1, 500), seeds)
def test_the_shared_direction_is_a_typical_one(inputs: int, seed: int) -> None:
    direction = bank.draw_bank(2, 3, inputs, seed).direction
    assert direction.sum() == pytest.approx(0.6744897501960817 * inputs**0.5, abs=1e-9)


def test_independent_weights_have_the_bound_of_he() -> None:
    network = bank.initialise((200, 300), 100, 0)
    for weights in network.weights[:2]:
        bound = (6 / weights.shape[0]) ** 0.5
        assert 0 <= weights.min() < 0.01 * bound
        assert 0.99 * bound < weights.max() <= bound
        assert weights.mean() == pytest.approx(bound / 2, rel=0.02)


def test_the_seed_decides_and_nothing_else() -> None:
    space = MlpSpace(3, (4, 9, 17))
    np.testing.assert_array_equal(expressflow.expressflow(space, 30, 1), expressflow.expressflow(space, 30, 1))
    assert np.all(expressflow.expressflow(space, 30, 1) != expressflow.expressflow(space, 30, 2))
    assert expressflow_one((4, 9), 30, 1) != expressflow_one((4, 9), 30, 2)


def test_threads_do_not_change_the_ranking() -> None:
    code = (
        "import hashlib; from trails.space import parse_space; from trails.filtering import rank_space;"
        "ranking = rank_space(parse_space('mlp4x10'), 100, 7, 1000);"
        "print(hashlib.sha256(ranking.indices.tobytes()).hexdigest())"
    )
    results = set()
    for threads in ("1", "2", "3"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        results.add(done.stdout)
    assert len(results) == 1


def longest_gap(space: MlpSpace, inputs: int) -> float:
    """Most processor seconds between two calls of check(), ranking included."""
    gaps = []
    last = time.thread_time()

    def check() -> None:
        nonlocal last
        now = time.thread_time()
        gaps.append(now - last)
        last = now

    rank_space(space, inputs, 0, min(1000, space.size), check=check)
    check()
    return max(gaps)


@pytest.mark.parametrize("name", ["mlp2x20", "mlp4x20", "mlp5x20"])
def test_check_is_called_at_least_every_50_ms_of_work(name: str) -> None:
    # The best of three: a busy machine can stretch even processor time.
    assert min(longest_gap(parse_space(name), 430) for _ in range(3)) < 0.05


def test_the_largest_space_needs_little_memory_beyond_its_scores() -> None:
    space = parse_space("mlp5x20")
    tracemalloc.start()
    try:
        scores = expressflow.expressflow(space, 430, 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert scores.size == 3_200_000
    assert peak < scores.nbytes + 80e6


@pytest.mark.parametrize("calls", [1, 2, 20, 60])
def test_interrupted_leaves_at_once(calls: int) -> None:
    count = 0

    def check() -> None:
        nonlocal count
        count += 1
        if count == calls:
            raise Interrupted

    with pytest.raises(Interrupted):
        expressflow.expressflow(parse_space("mlp4x20"), 100, 0, check)
    assert count == calls


def test_no_inputs_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one input"):
        expressflow.expressflow(parse_space("mlp2x10"), 0, 0)
    with pytest.raises(InvalidInput, match="positive widths"):
        bank.initialise((8, 0), 10, 0)


def test_registry_lists_known_metrics_when_asked_for_another() -> None:
    for name, metric in REGISTRY.items():
        assert metric.name == name
        assert metric.sentence and metric.paper
    with pytest.raises(InvalidInput, match="no training-free metric 'expresso'") as caught:
        get_tfmem("expresso")
    assert "expressflow" in (caught.value.hint or "")
