"""The textbook scores against values made by hand in NumPy, worked examples, and what must not change them."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.core.reference import make_tfmem_reference as reference
from trails.errors import InvalidInput
from trails.tfmem import textbook

Metric = Callable[[nn.Sequential, Tensor, Tensor], float]

STORED = json.loads(reference.PATH.read_text())
TOLERANCE: dict[str, float] = STORED["relative_tolerance"]


def batches(x: Tensor, y: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(x.chunk(count), y.chunk(count), strict=True))


LABELLED: dict[str, Metric] = {
    "grad_norm": textbook.grad_norm,
    "grad_plain": textbook.grad_plain,
    "snip": textbook.snip,
    "grasp": textbook.grasp,
    "fisher": textbook.fisher,
    "ntk_trace_approx": textbook.ntk_trace_approx,
    "knas": textbook.knas,
}
UNLABELLED: dict[str, Callable[[nn.Sequential, Tensor], float]] = {
    "jacob_cov": textbook.jacob_cov,
    "naswot": textbook.naswot,
    "ntk_cond": textbook.ntk_cond,
    "ntk_trace": textbook.ntk_trace,
}
ROWLESS: dict[str, Callable[[nn.Sequential], float]] = {
    "synflow": lambda network: textbook.synflow(network, network[0].in_features),
    "weight_norm": textbook.weight_norm,
    "params": textbook.params,
    "flops": textbook.flops,
}


def all_scores(network: nn.Sequential, x: Tensor, y: Tensor, zico_batches: int = 4) -> dict[str, float]:
    """Everything but expressflow, whose direction is no part of the batch."""
    scores = {name: metric(network, x, y) for name, metric in LABELLED.items()}
    scores |= {name: metric(network, x) for name, metric in UNLABELLED.items()}
    scores |= {name: metric(network) for name, metric in ROWLESS.items()}
    scores["zico"] = textbook.zico(network, batches(x, y, zico_batches))
    return scores


def one_layer(*rows: list[float]) -> nn.Sequential:
    """A network without hidden layers; ``rows`` of W (fan_in, fan_out)."""
    return textbook.signed_network([np.array(rows)])


def drawn(
    architecture: list[int], inputs: int, rows: int, seed: int, outputs: int = 1, batch_norm: bool = False
) -> tuple[nn.Sequential, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    network = textbook.draw_signed_network(architecture, inputs, generator, outputs, batch_norm)
    x = torch.randn(rows, inputs, generator=generator, dtype=torch.float64)
    y = torch.randint(0, max(2, outputs), (rows,), generator=generator)
    return network, x, y


architectures = st.lists(st.integers(1, 12), min_size=1, max_size=4)
inputs_ = st.integers(2, 9)
rows_ = st.integers(4, 10)
outputs_ = st.integers(1, 4)
seeds = st.integers(0, 2**32)


# Values made by hand.


def test_the_file_of_reference_values_is_what_its_script_makes() -> None:
    made = reference.document()
    stored_cases, made_cases = STORED["cases"], made["cases"]
    assert {k: v for k, v in STORED.items() if k != "cases"} == {k: v for k, v in made.items() if k != "cases"}
    for stored, again in zip(stored_cases, made_cases, strict=True):
        assert (stored["outputs"], stored["rows"]) == (again["outputs"], again["rows"])
        assert stored["scores"].keys() == again["scores"].keys() == TOLERANCE.keys()
        for name, value in again["scores"].items():
            assert stored["scores"][name] == pytest.approx(value, rel=TOLERANCE[name]), name


@pytest.mark.parametrize("case", STORED["cases"], ids=lambda case: f"{case['outputs']}-{case['rows']}")
def test_every_score_equals_the_one_made_by_hand(case: dict[str, Any]) -> None:
    made = reference.case(case["outputs"])
    network = textbook.signed_network(made["weights"])
    x, y = torch.from_numpy(made["x"][: case["rows"]]), torch.from_numpy(made["y"][: case["rows"]])
    scores = all_scores(network, x, y, STORED["zico_batches"])
    scores["expressflow"] = textbook.expressflow(network, torch.from_numpy(made["direction"]))
    assert scores.keys() == case["scores"].keys()
    for name, score in scores.items():
        assert score == pytest.approx(case["scores"][name], rel=TOLERANCE[name]), name


def test_one_weight_in_regression() -> None:
    """L = (w x - y)^2 with w = 3, x = 1, y = 1: g = 4, H = 2."""
    network, x, y = one_layer([3.0]), torch.ones(1, 1), torch.ones(1)
    assert textbook.grad_norm(network, x, y, regression=True) == pytest.approx(4)
    assert textbook.grad_plain(network, x, y, regression=True) == pytest.approx(12)
    assert textbook.grasp(network, x, y, regression=True) == pytest.approx(-24)
    assert textbook.fisher(network, x, y, regression=True) == pytest.approx(72)  # (3 * 4)^2 / 2
    assert textbook.knas(network, x, y, regression=True) == pytest.approx(16)
    assert textbook.ntk_trace_approx(network, x, y, regression=True) == pytest.approx(16)


def test_zico_by_hand() -> None:
    """Gradients of the one weight 3 in two batches are 4 and 2: mean 3, population's deviation 1."""
    network, x = one_layer([3.0]), torch.ones(1, 1)
    pair = [(x, torch.tensor([1.0])), (x, torch.tensor([2.0]))]
    assert textbook.zico(network, pair, regression=True) == pytest.approx(math.log(3))
    assert textbook.zico(network, [pair[0], pair[0]], regression=True) == 0.0
    with pytest.raises(InvalidInput, match="two or more batches"):
        textbook.zico(network, pair[:1], regression=True)


def test_signs_tell_gain_from_loss() -> None:
    """A weight of 1 that predicts class 1: larger is better for a row of class 1, worse for one of class 0."""
    network, x = one_layer([1.0]), torch.ones(1, 1)
    right, wrong = torch.tensor([1]), torch.tensor([0])
    p = 1 / (1 + math.exp(-1))
    assert textbook.grad_plain(network, x, right) == pytest.approx(p - 1)
    assert textbook.grad_plain(network, x, wrong) == pytest.approx(p)
    assert textbook.snip(network, x, right) == pytest.approx(1 - p)
    assert textbook.grasp(network, x, right) == pytest.approx(-p * (1 - p) * (p - 1))
    assert textbook.grasp(network, x, wrong) == pytest.approx(-p * (1 - p) * p)


def test_a_loss_of_ones_own_is_used() -> None:
    network, x, y = one_layer([3.0]), torch.ones(2, 1), torch.tensor([1.0, 5.0])
    for metric in LABELLED.values():
        own = metric(network, x, y, loss=lambda logits, y: ((logits[:, 0] - y) ** 2).mean())  # type: ignore[call-arg]
        assert own == pytest.approx(metric(network, x, y, regression=True))  # type: ignore[call-arg]


def test_a_kernel_of_two_rows() -> None:
    """f = w x: the NTK of x = 1, 2 is ((1, 2), (2, 4)), of rank one; with a second input it is diag(1, 4)."""
    along = torch.tensor([[1.0], [2.0]])
    np.testing.assert_allclose(textbook.ntk(one_layer([1.0]), along), [[1, 2], [2, 4]])
    assert textbook.ntk_cond(one_layer([1.0]), along) == math.inf
    across = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert textbook.ntk_cond(one_layer([1.0], [1.0]), across) == pytest.approx(4)
    assert textbook.ntk_trace(one_layer([1.0], [1.0]), across) == pytest.approx(5)


def test_counts_of_a_network_with_everything() -> None:
    network = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3, bias=False))
    assert textbook.params(network) == 5 * 4 + 4 + 4 + 4 + 4 * 3
    assert textbook.flops(network) == 2 * (5 * 4 + 4 * 3)


# The textbook's own forward pass.


@settings(deadline=None, max_examples=30)
@given(st.booleans(), st.booleans(), st.integers(2, 3), seeds)
def test_gradients_are_those_of_the_module_itself(batch_norm: bool, biases: bool, outputs: int, seed: int) -> None:
    torch.manual_seed(seed)
    modules: list[nn.Module] = [nn.Linear(6, 8, bias=biases)]
    if batch_norm:
        modules.append(nn.BatchNorm1d(8))
        nn.init.normal_(modules[-1].weight)  # type: ignore[arg-type]
        nn.init.normal_(modules[-1].bias)  # type: ignore[arg-type]
    network = nn.Sequential(*modules, nn.ReLU(), nn.Linear(8, outputs, bias=biases)).double().train()
    x, y = torch.randn(7, 6, dtype=torch.float64), torch.randint(0, outputs, (7,))
    own = copy.deepcopy(network)
    nn.functional.cross_entropy(own(x), y).backward()
    weights = [module.weight for module in own if isinstance(module, nn.Linear)]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    expected = sum(float(g.norm()) for g in gradients)
    assert textbook.grad_norm(network, x, y) == pytest.approx(expected, rel=1e-9)
    expected = sum(float((w.detach() * g).sum()) for w, g in zip(weights, gradients, strict=True))
    assert textbook.grad_plain(network, x, y) == pytest.approx(expected, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_no_score_changes_the_network(training: bool) -> None:
    network, x, y = drawn([24, 16], 9, 8, 0, outputs=3, batch_norm=True)
    network.train(training)
    x_before = x.clone()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = all_scores(network, x, y) | {"expressflow": textbook.expressflow(network, torch.randn(9))}
    assert all(math.isfinite(score) for score in first.values())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert network.training is training
    assert torch.equal(x, x_before) and x.grad is None and not x.requires_grad
    again = all_scores(network.train(not training), x, y)
    assert again == {name: first[name] for name in again}


@settings(deadline=None, max_examples=25)
@given(architectures, inputs_, rows_, outputs_, seeds)
def test_batch_norm_makes_no_score_break(
    architecture: list[int], inputs: int, rows: int, outputs: int, seed: int
) -> None:
    network, x, y = drawn(architecture, inputs, rows, seed, outputs, batch_norm=True)
    # Two batches of two rows or more each: zico's passes need statistics too.
    scores = all_scores(network, x, y, 2)
    for name, score in scores.items():
        failed = name in ("jacob_cov", "ntk_cond") and not math.isfinite(score)
        assert math.isfinite(score) or failed, name
    plain, _, _ = drawn(architecture, inputs, rows, seed, outputs)
    assert scores["synflow"] == pytest.approx(textbook.synflow(plain, inputs))
    assert scores["params"] == textbook.params(plain) + 2 * sum(architecture)
    direction = torch.ones(inputs)
    assert textbook.expressflow(network, direction) == pytest.approx(textbook.expressflow(plain, direction))


def test_batch_norm_undoes_a_change_of_scale() -> None:
    network, x, y = drawn([12, 9], 10, 8, 3, outputs=2, batch_norm=True)
    larger = copy.deepcopy(network)
    with torch.no_grad():
        larger[0].weight *= 1000.0  # type: ignore[operator]
    for name in ("naswot", "jacob_cov"):
        assert UNLABELLED[name](larger, x) == pytest.approx(UNLABELLED[name](network, x), rel=1e-3)
    # The first layer's part of the sum vanishes with the output's invariance (but for BatchNorm's epsilon).
    assert textbook.grad_plain(larger, x, y) == pytest.approx(textbook.grad_plain(network, x, y), rel=1e-3)


@pytest.mark.parametrize("outputs", [1, 2, 5])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_float32_is_close_to_float64(outputs: int, batch_norm: bool) -> None:
    network, x, y = drawn([24, 16], 30, 8, 1, outputs, batch_norm)
    exact = all_scores(network, x, y)
    rough = all_scores(copy.deepcopy(network).float(), x.float(), y)
    assert rough["naswot"] == exact["naswot"]
    for name, score in exact.items():
        assert rough[name] == pytest.approx(score, rel=5e-3), name


def test_signed_draws_have_the_bound_of_he_and_both_signs() -> None:
    network = textbook.draw_signed_network([200, 300], 100, torch.Generator().manual_seed(0), 2, dtype=torch.float32)
    for linear in (network[0], network[2]):
        weights = linear.weight.detach()
        bound = (6 / weights.shape[1]) ** 0.5
        assert weights.dtype == torch.float32
        assert -bound <= weights.min() < -0.99 * bound
        assert 0.99 * bound < weights.max() <= bound
        assert abs(float(weights.mean())) < 0.02 * bound


# Identities and invariances.


@settings(deadline=None, max_examples=40)
@given(architectures, inputs_, st.integers(1, 10), outputs_, seeds)
def test_each_layer_carries_the_whole_plain_score(
    architecture: list[int], inputs: int, rows: int, outputs: int, seed: int
) -> None:
    """Without biases, sum(W * g) of any layer is the derivative of L when all logits grow alike."""
    network, x, y = drawn(architecture, inputs, rows, seed, outputs)
    logits = network(x).detach()
    p, wanted = (
        (logits.sigmoid(), y[:, None]) if outputs == 1 else (logits.softmax(1), nn.functional.one_hot(y, outputs))
    )
    growth = float(((p - wanted) * logits).sum() / rows)
    plain = textbook.grad_plain(network, x, y)
    assert plain == pytest.approx((len(architecture) + 1) * growth, rel=1e-8, abs=1e-10)
    assert textbook.snip(network, x, y) >= abs(plain) - 1e-10


@settings(deadline=None, max_examples=40)
@given(architectures, inputs_, outputs_, seeds)
def test_each_layer_carries_the_whole_synflow(architecture: list[int], inputs: int, outputs: int, seed: int) -> None:
    network, _, _ = drawn(architecture, inputs, 1, seed, outputs)
    positive = copy.deepcopy(network)
    for parameter in positive.parameters():
        parameter.data.abs_()
    total = float(positive(torch.ones(1, inputs, dtype=torch.float64)).sum().detach())
    assert textbook.synflow(network, inputs) == pytest.approx((len(architecture) + 1) * total, rel=1e-9)


def test_synflow_and_expressflow_make_biases_positive() -> None:
    network = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1))
    for parameter, value in zip(network.parameters(), ([[-1.0, 2.0]], [-3.0], [[-2.0]], [5.0]), strict=True):
        parameter.data.copy_(torch.tensor(value))
    # R = 2 * (1 + 2 + 3) + 5. First layer: 2 * (1 + 2); second: 2 * 6. One hidden unit: V = 6 * 2, all the weight.
    assert textbook.synflow(network, 2) == pytest.approx(6 + 12)
    assert textbook.expressflow(network, torch.tensor([1.0, 1.0])) == pytest.approx(12)


@settings(deadline=None, max_examples=40)
@given(architectures, inputs_, st.integers(1, 10), outputs_, seeds, st.booleans())
def test_knas_is_the_squared_norm_of_the_mean_gradient(
    architecture: list[int], inputs: int, rows: int, outputs: int, seed: int, batch_norm: bool
) -> None:
    network, x, y = drawn(architecture, inputs, max(rows, 2), seed, outputs, batch_norm)
    assert textbook.knas(network, x, y) == pytest.approx(textbook.ntk_trace_approx(network, x, y), rel=1e-8, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(2, 6), st.integers(1, 8), outputs_, seeds)
def test_fisher_counts_a_channel_once_for_each_of_its_weights(
    times: int, inputs: int, width: int, outputs: int, seed: int
) -> None:
    """Inputs that are always 0 change no derivative, only the first layer's fan_in."""
    network, x, y = drawn([width], inputs, 5, seed, outputs)
    padded_weights = [linear.weight.detach().numpy().T for linear in (network[0], network[2])]
    padded_weights[0] = np.concatenate([padded_weights[0], np.ones(((times - 1) * inputs, width))])
    padded = textbook.signed_network(padded_weights)
    padded_x = nn.functional.pad(x, (0, (times - 1) * inputs))
    h = network[0](x)
    loss = textbook.mean_loss(network[2](h.relu()), y)
    (derivative,) = torch.autograd.grad(loss, h)
    first = inputs * 0.5 * float((h.detach() * derivative).square().mean(0).sum())
    grown = textbook.fisher(padded, padded_x, y) - textbook.fisher(network, x, y)
    assert grown == pytest.approx((times - 1) * first, rel=1e-7, abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(2, 9), min_size=1, max_size=3), outputs_, seeds, st.booleans())
def test_the_order_of_rows_and_of_hidden_units_does_not_matter(
    architecture: list[int], outputs: int, seed: int, batch_norm: bool
) -> None:
    network, x, y = drawn(architecture, 12, 6, seed, outputs, batch_norm)
    generator = torch.Generator().manual_seed(seed)
    other = copy.deepcopy(network)
    linears = [module for module in other if isinstance(module, nn.Linear)]
    for before, after in itertools.pairwise(linears):
        order = torch.randperm(before.out_features, generator=generator)
        before.weight.data = before.weight.data[order]
        after.weight.data = after.weight.data[:, order]
    rows = torch.randperm(len(x), generator=generator)
    expected = all_scores(network, x, y, 2)
    scores = all_scores(other, x[rows], y[rows], 2)
    for name in scores.keys() - {"zico"}:  # its batches are other ones
        # An almost singular matrix magnifies rounding.
        tolerance = {"jacob_cov": 1e-4, "ntk_cond": 1e-3}.get(name, 1e-8)
        if math.isfinite(expected[name]) and (name != "ntk_cond" or expected[name] < 1e9):
            assert scores[name] == pytest.approx(expected[name], rel=tolerance, abs=1e-9), name
    turned = textbook.zico(other, batches(x, y, 2)[::-1])
    assert turned == pytest.approx(expected["zico"], rel=1e-8, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(8, 40), min_size=1, max_size=3), st.integers(2, 10), seeds)
def test_a_tie_of_codes_is_finite_and_below_every_regular_kernel(architecture: list[int], rows: int, seed: int) -> None:
    network, x, _ = drawn(architecture, 10, rows, seed)
    once = textbook.naswot(network, x)
    assert once >= -1e-9 or once == round(once)
    twice = textbook.naswot(network, torch.cat([x, x]))
    assert -2 * rows <= twice <= -rows
    if once > 0:
        assert twice == -rows
        assert textbook.naswot(network, torch.cat([x, 2 * x[:1]])) == -1  # as many codes, the same signs


def test_rows_that_are_alike_cost_jacob_cov_and_ntk_cond_most() -> None:
    network, x, _ = drawn([30, 20], 20, 8, 2)
    alike = torch.cat([x[:7], x[:1]])
    assert textbook.jacob_cov(network, alike) < -9e4 < textbook.jacob_cov(network, x)
    assert textbook.ntk_cond(network, alike) == math.inf
    assert 1 < textbook.ntk_cond(network, x) < 1e6


def test_a_dead_network_fails_where_it_must() -> None:
    network, x, y = drawn([4], 6, 5, 0, outputs=2)
    network[0].weight.data.fill_(-1.0)
    scores = all_scores(network, x.abs(), y, 2)
    assert math.isnan(scores["jacob_cov"])
    assert scores["ntk_cond"] == math.inf
    assert scores["naswot"] == -4  # every code is the same: rank 1
    assert scores["grad_norm"] == scores["fisher"] == scores["ntk_trace"] == scores["zico"] == 0


# What is refused.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n, x, y: textbook.grad_norm(n, x[:, :2], y), "rows of 6 inputs"),
        (lambda n, x, y: textbook.naswot(n, x[0]), "rows of 6 inputs"),
        (lambda n, x, y: textbook.grad_norm(n, x, y[:3]), "expected 5 targets"),
        (lambda n, x, y: textbook.knas(n, x, y[:3]), "expected 5 targets"),
        (lambda n, x, y: textbook.snip(n, x, y + 2), "from 0 to 1"),
        (lambda n, x, y: textbook.snip(n, x, y * 0.5 + 0.1), "from 0 to 1"),
        (lambda n, x, y: textbook.fisher(n, x, y, regression=True), "one output"),
        (lambda n, x, y: textbook.synflow(n, 7), "takes 6 inputs"),
        (lambda n, x, y: textbook.jacob_cov(n, x[:1]), "two or more rows"),
        (lambda n, x, y: textbook.weight_norm(nn.Sequential(*n, nn.Tanh())), "not Tanh"),
        (lambda n, x, y: textbook.weight_norm(nn.Sequential(nn.ReLU())), "at least one Linear"),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[nn.Sequential, Tensor, Tensor], float], message: str) -> None:
    network, x, y = drawn([4], 6, 5, 0, outputs=2)
    with pytest.raises(InvalidInput, match=message):
        call(network, x, y)


def test_batch_norm_of_one_row_is_refused() -> None:
    network, x, y = drawn([4], 6, 1, 0, batch_norm=True)
    with pytest.raises(InvalidInput, match="two or more rows"):
        textbook.grad_norm(network, x, y)
