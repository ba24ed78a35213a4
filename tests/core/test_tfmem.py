"""The fast metrics against values made by hand and against the textbook; spaces of 2 to 5 layers, uneven widths."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.reference import make_tfmem_reference as reference
from trails.errors import Interrupted, InvalidInput, UnusableData
from trails.family.mlp import MLP
from trails.family.mlp.bank import SignedBank, draw_bank, draw_signed_bank, initialise
from trails.family.mlp.naswot import naswot
from trails.family.mlp.signals import MlpSignals, SignalSource
from trails.space import MlpSpace, parse_space
from trails.tfmem import REGISTRY, Batch, ScoringSetting, Tfmem, parse_tfmems, textbook
from trails.tfmem.naswot import naswot_of
from trails.tfmem.network import Network
from trails.tfmem.signals import Signals

LABELLED = ("grad_norm", "grad_plain", "snip", "grasp", "fisher", "ntk_trace_approx", "knas")
UNLABELLED = ("jacob_cov", "naswot", "ntk_cond", "ntk_trace")
ROWLESS = ("synflow", "weight_norm", "params", "flops", "expressflow")
# Where the fast formula exists without BatchNorm only.
WITHOUT_BATCH_NORM = ("grasp", "ntk_cond", "ntk_trace")

TOLERANCE = {"ntk_cond": 1e-6, "jacob_cov": 1e-6, "zico": 1e-6, "expressflow": 1e-6, "naswot": 1e-6}
"""Relative, in float64; 1e-9 where a metric is not named."""

CASES: list[dict[str, Any]] = json.loads(reference.PATH.read_text())["cases"]

widths = st.lists(st.integers(1, 40), min_size=1, max_size=3, unique=True).map(lambda w: tuple(sorted(w)))
spaces = st.builds(MlpSpace, layers=st.integers(2, 5), widths=widths)
seeds = st.integers(0, 2**32)


def same(name: str, mine: float, theirs: float) -> None:
    if not math.isfinite(theirs):
        assert not math.isfinite(mine), name
    else:
        assert mine == pytest.approx(theirs, rel=TOLERANCE.get(name, 1e-9), abs=1e-12), name


def of_signals(name: str) -> Callable[[Sequence[Signals]], float]:
    score = REGISTRY[name].of_signals
    assert score is not None
    return score


def draw_batch(generator: np.random.Generator, rows: int, inputs: int, task: Any, classes: int) -> Batch:
    y = generator.integers(0, classes if task == "multiclass" else 2, rows).astype(np.float64)
    if task == "regression":
        y = generator.standard_normal(rows)
    return Batch(generator.standard_normal((rows, inputs)), y, task, classes)


def textbook_scores(
    weights: list[np.ndarray], batches: Sequence[Batch], batch_norm: bool, names: Sequence[str]
) -> dict[str, float]:
    network = textbook.signed_network(weights, batch_norm=batch_norm)
    regression = batches[0].task == "regression"
    pairs = []
    for batch in batches:
        assert batch.y is not None
        y = torch.from_numpy(batch.y)
        pairs.append((torch.from_numpy(batch.x), y if regression else y.long()))
    scores = {}
    for name in names:
        metric = getattr(textbook, name)
        if name == "zico":
            scores[name] = metric(network, pairs, regression=regression)
        elif name in LABELLED:
            scores[name] = metric(network, *pairs[0], regression=regression)
        else:
            scores[name] = metric(network, pairs[0][0])
    return scores


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['outputs']}-{c['rows']}")
def test_fast_metrics_equal_values_made_by_hand(case: dict[str, Any]) -> None:
    drawn = reference.case(case["outputs"])
    rows, expected = case["rows"], case["scores"]
    matrices = [(weights, 1.0) for weights in drawn["weights"]]
    task: Any = "multiclass" if case["outputs"] == 2 else "binary"

    def batch(part: slice) -> Batch:
        return Batch(drawn["x"][part], drawn["y"][part].astype(np.float64), task)

    signals = MlpSignals(matrices, batch(slice(rows)))
    for name in (*LABELLED, *UNLABELLED):
        same(name, of_signals(name)([signals]), expected[name])
    size = rows // reference.BATCHES
    several = [MlpSignals(matrices, batch(slice(start, start + size))) for start in range(0, rows, size)]
    same("zico", of_signals("zico")(several), expected["zico"])
    if case["outputs"] == 1:
        network = Network(tuple(np.abs(weights) for weights in drawn["weights"]), drawn["direction"])
        for name in ("synflow", "expressflow", "weight_norm"):
            score = REGISTRY[name].of_network
            assert score is not None
            same(name, score(network), expected[name])


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 30), min_size=2, max_size=5),
    st.integers(2, 25),
    st.integers(2, 10),
    st.sampled_from([("binary", 2), ("multiclass", 2), ("multiclass", 4), ("regression", 2)]),
    st.booleans(),
    seeds,
)
def test_one_network_equals_the_textbook(
    architecture: list[int], inputs: int, rows: int, task: tuple[str, int], batch_norm: bool, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    batches = [draw_batch(generator, rows, inputs, *task) for _ in range(2)]
    bank = draw_signed_bank(len(architecture), max(architecture) + 3, inputs, batches[0].outputs, seed)
    sources = [SignalSource(bank, batch, batch_norm) for batch in batches]
    signals = [source(tuple(architecture)) for source in sources]
    names = [n for n in (*LABELLED, *UNLABELLED, "zico") if not (batch_norm and n in WITHOUT_BATCH_NORM)]
    weights = [entries * factor for entries, factor in bank.matrices(tuple(architecture))]
    expected = textbook_scores(weights, batches, batch_norm, names)
    for name in names:
        if name == "ntk_cond" and expected[name] > 1e9:
            continue  # the reciprocal of a rounding error
        if name == "jacob_cov" and (rows > min(inputs - 1, *architecture) or batch_norm):
            continue  # beyond the rank, where 1 / (0 + k) is that of a rounding error
        if name == "zico" and batch_norm:
            continue  # a gradient that BatchNorm makes 0 is left out or not by a rounding error
        with np.errstate(all="ignore"):
            mine = of_signals(name)(signals)
        if expected[name] == pytest.approx(0.0, abs=1e-9):
            assert mine == pytest.approx(0.0, abs=1e-8), name
        elif name in ("grad_plain", "grasp"):
            # Signed sums cancel: compare with the size of their terms.
            size = of_signals("snip")(signals) if name == "grad_plain" else of_signals("knas")(signals) * 10
            assert mine == pytest.approx(expected[name], rel=1e-7, abs=1e-8 * size), name
        else:
            same(name, mine, expected[name])


@settings(deadline=None, max_examples=30)
@given(spaces, st.integers(2, 30), st.integers(2, 12), seeds, st.booleans(), st.integers(1, 3), st.data())
def test_naswot_of_a_whole_space_equals_the_textbook(
    space: MlpSpace, inputs: int, rows: int, seed: int, batch_norm: bool, workers: int, data: st.DataObject
) -> None:
    batch = Batch(np.random.default_rng(seed).standard_normal((rows, inputs)))
    scores = naswot(space, batch, seed, workers=workers, batch_norm=batch_norm)
    assert scores.shape == (space.size,)
    bank = draw_signed_bank(space.layers, space.widths[-1], inputs, 1, seed)
    source = SignalSource(bank, batch, batch_norm)
    for index in data.draw(st.lists(st.integers(0, space.size - 1), min_size=1, max_size=6)):
        architecture = space.architecture(index)
        assert scores[index] == pytest.approx(naswot_of(source(architecture)), rel=1e-9)
        weights = [entries * factor for entries, factor in bank.matrices(architecture)]
        network = textbook.signed_network(weights, batch_norm=batch_norm)
        assert scores[index] == pytest.approx(textbook.naswot(network, torch.from_numpy(batch.x)), rel=1e-6, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(spaces, st.integers(1, 40), seeds, st.data())
def test_metrics_without_data_equal_the_textbook_over_whole_spaces(
    space: MlpSpace, inputs: int, seed: int, data: st.DataObject
) -> None:
    shared = draw_bank(space.layers, space.widths[-1], inputs, seed)
    indices = data.draw(st.lists(st.integers(0, space.size - 1), min_size=1, max_size=5))
    for name in ROWLESS:
        single = REGISTRY[name].of_network
        assert single is not None and MLP.scoring.at_once(REGISTRY[name], space)
        scores = MLP.scoring.whole_space(REGISTRY[name], space, ScoringSetting(inputs, seed))
        assert scores.shape == (space.size,) and scores.dtype == np.float64
        for index in indices:
            network = shared.network(space.architecture(index))
            assert scores[index] == pytest.approx(single(network), rel=1e-6), name
            module = textbook.network_from(network)
            if name == "expressflow":
                expected = textbook.expressflow(module, torch.from_numpy(network.direction))
            elif name == "synflow":
                expected = textbook.synflow(module, inputs)
            elif name == "params":
                biased = [torch.nn.Linear(*m.weight.shape[::-1]) for m in module if isinstance(m, torch.nn.Linear)]
                expected = textbook.params(torch.nn.Sequential(*biased))
            else:
                expected = getattr(textbook, name)(module)
            assert scores[index] == pytest.approx(expected, rel=1e-6), name


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=5), st.integers(1, 20), seeds)
def test_synflow_is_the_number_of_layers_times_the_output(architecture: list[int], inputs: int, seed: int) -> None:
    network = textbook.draw_network(architecture, inputs, torch.Generator().manual_seed(seed))
    output = network(torch.ones(1, inputs, dtype=torch.float64)).sum().item()
    assert textbook.synflow(network, inputs) == pytest.approx((len(architecture) + 1) * output, rel=1e-9)


def test_what_came_before_does_not_change_a_score() -> None:
    space = parse_space("mlp3x10")
    batch = draw_batch(np.random.default_rng(0), 16, 30, "binary", 2)
    bank = draw_signed_bank(3, 384, 30, 1, 0)
    source = SignalSource(bank, batch)
    for index in [0, 1, 10, 111, 112, 512, 999, 0, 5]:
        architecture = space.architecture(index)
        fresh = SignalSource(bank, batch)(architecture)
        for name in (*LABELLED, *UNLABELLED):
            assert of_signals(name)([source(architecture)]) == of_signals(name)([fresh])


@pytest.mark.parametrize("name", [n for n, m in REGISTRY.items() if m.of_signals is not None and m.single])
def test_single_precision_is_enough_where_it_is_used(name: str) -> None:
    space = parse_space("mlp4x20")
    batch = draw_batch(np.random.default_rng(1), 32, 100, "binary", 2)
    bank = draw_signed_bank(4, 512, 100, 1, 1)
    double, single = SignalSource(bank, batch), SignalSource(bank.single(), batch.single())
    for index in space.sample(40, 0).tolist():
        architecture = space.architecture(index)
        exact = of_signals(name)([double(architecture)])
        # A ReLU within rounding of 0 may open in one and not in the other.
        assert of_signals(name)([single(architecture)]) == pytest.approx(exact, rel=2e-3)


def test_large_batches_of_naswot_stay_small_in_memory() -> None:
    batch = Batch(np.random.default_rng(0).standard_normal((256, 40)))
    space = MlpSpace(3, (16, 64, 128, 200, 256))
    tracemalloc.start()
    try:
        scores = naswot(space, batch, 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60e6
    source = SignalSource(draw_signed_bank(3, 256, 40, 1, 0), batch)
    for index in (0, 31, 77, 124):
        assert scores[index] == pytest.approx(naswot_of(source(space.architecture(index))), rel=1e-9)


def test_rows_that_repeat_make_no_kernel_infinite() -> None:
    x = np.random.default_rng(0).standard_normal((8, 20))
    x[3] = x[5] = x[0]
    batch = Batch(x)
    space = MlpSpace(3, (4, 30))
    scores = naswot(space, batch, 0)
    assert np.isfinite(scores).all()
    assert (scores <= -2).all()  # two rows of eight are lost, more in narrow networks
    regular = naswot(space, Batch(np.random.default_rng(1).standard_normal((8, 20))), 0)
    assert regular.max() > 0 > scores.max()


def test_a_condition_number_of_a_singular_kernel_fails() -> None:
    x = np.random.default_rng(0).standard_normal((4, 6))
    x[1] = x[0]
    source = SignalSource(draw_signed_bank(2, 30, 6, 1, 0), Batch(x))
    assert of_signals("ntk_cond")([source((30, 30))]) == math.inf


def test_scores_depend_on_the_seed_alone() -> None:
    space = MlpSpace(3, (4, 9, 17))
    batch = Batch(np.random.default_rng(0).standard_normal((8, 20)))
    for name in (*ROWLESS[:2], "naswot"):

        def scores(seed: int, metric: Tfmem = REGISTRY[name]) -> np.ndarray:
            return MLP.scoring.whole_space(metric, space, ScoringSetting(20, seed, (batch,)))

        np.testing.assert_array_equal(scores(1), scores(1))
        assert (scores(1) != scores(2)).any()


@pytest.mark.parametrize("name", ["synflow", "weight_norm", "expressflow"])
def test_sharing_weights_keeps_the_ranking_of_independent_networks(name: str) -> None:
    space = parse_space("mlp4x20")
    metric = REGISTRY[name]
    assert metric.of_network is not None
    shared = MLP.scoring.whole_space(metric, space, ScoringSetting(100, 3))
    sample = space.sample(300, 1)
    own = [metric.of_network(initialise(space.architecture(i), 100, 0)) for i in sample.tolist()]
    ranks = [np.argsort(np.argsort(values)) for values in (shared[sample], own)]
    assert np.corrcoef(ranks[0], ranks[1])[0, 1] >= 0.99


@pytest.mark.parametrize("calls", [1, 3, 30])
def test_interrupted_leaves_at_once(calls: int) -> None:
    count = 0

    def check() -> None:
        nonlocal count
        count += 1
        if count == calls:
            raise Interrupted

    batch = Batch(np.random.default_rng(0).standard_normal((16, 50)))
    with pytest.raises(Interrupted):
        naswot(parse_space("mlp4x20"), batch, 0, check)
    assert count == calls


def test_what_cannot_be_scored_is_refused() -> None:
    x = np.random.default_rng(0).standard_normal((4, 6))
    bank = SignedBank(draw_signed_bank(2, 8, 6, 1, 0).layers)
    with pytest.raises(InvalidInput, match="two or more"):
        naswot(parse_space("mlp2x10"), Batch(x[:1]), 0)
    with pytest.raises(InvalidInput, match="needs targets"):
        of_signals("snip")([SignalSource(bank, Batch(x))((4, 4))])
    with pytest.raises(InvalidInput, match="two or more batches"):
        of_signals("zico")([SignalSource(bank, Batch(x, np.ones(4)))((4, 4))])
    normalised = SignalSource(bank, Batch(x, np.ones(4)), batch_norm=True)((4, 4))
    for name in WITHOUT_BATCH_NORM:
        with pytest.raises(InvalidInput, match="without BatchNorm"):
            of_signals(name)([normalised])
    with pytest.raises(InvalidInput, match="as many targets"):
        Batch(x, np.ones(3))
    with pytest.raises(InvalidInput, match="numbered 0 to 1"):
        Batch(x, np.array([0.0, 1.0, 2.0, 0.0]))
    with pytest.raises(UnusableData, match="not finite"):
        Batch(np.full((2, 2), np.nan))


def test_names_are_joined_by_plus_and_jacflow_is_two() -> None:
    assert [m.name for m in parse_tfmems("jacflow")] == ["naswot", "synflow"]
    assert parse_tfmems("naswot + synflow") == parse_tfmems("naswot+synflow") == parse_tfmems("jacflow")
    for text in ("naswot, synflow", "{naswot,synflow}", " {naswot, synflow} "):
        assert parse_tfmems(text) == parse_tfmems("jacflow")
    for text in ("snip+snip", "jacflow+naswot"):
        with pytest.raises(InvalidInput, match="named twice"):
            parse_tfmems(text)
    for text in ("", "snip+", "magic"):
        with pytest.raises(InvalidInput, match="no training-free metric") as caught:
            parse_tfmems(text)
        assert "naswot" in (caught.value.hint or "")
