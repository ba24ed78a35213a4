"""Metrics of networks of cells: against plain computations, on networks that nothing passes, by the Scorer."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.core.cells import CELLS_101, CELLS_201, counted, pictures
from trails.errors import InvalidInput
from trails.family import Design
from trails.family.cell import nasbench101, nasbench201, textbook
from trails.family.cell.batches import Pictures
from trails.family.cell.blocks import CellNetwork
from trails.family.cell.measures import MEASURES, Measures
from trails.family.cell.networks import measures_of, network_of
from trails.family.cell.passes import Codes, Flow
from trails.family.cell.scoring import SCORING_101, SCORING_201
from trails.filtering import score_pool
from trails.filtering.scoring import Scorer
from trails.space.nasbench101 import Nasbench101Space
from trails.space.nasbench201 import Nasbench201Space
from trails.tfmem import REGISTRY, Batch, ScoringSetting, parse_tfmems
from trails.tfmem.registry import ZEN

SIDE = 8
BATCHES = (pictures(1), pictures(2))
PICTURES = tuple(Pictures.of(batch) for batch in BATCHES)
NETWORKS: list[tuple[str, Design]] = [
    *(("nasbench201", nasbench201.read(text)) for text in CELLS_201),
    *(("nasbench101", nasbench101.read(text)) for text in (CELLS_101[1], CELLS_101[3])),
]
DEAD = [(0,) * 6, (3, 0, 0, 0, 0, 0), (0, 0, 3, 0, 3, 2)]

every_network = pytest.mark.parametrize(("family", "design"), NETWORKS)


def measured(family: str, design: Design) -> tuple[CellNetwork, Measures]:
    network = network_of(family, design, 1)
    return network, Measures(network, PICTURES, SIDE, 1)


@every_network
def test_scores_are_those_of_plain_computations(family: str, design: Design) -> None:
    network, measures = measured(family, design)
    x, y = PICTURES[0].x, PICTURES[0].y
    assert y is not None
    found = textbook.gradients(network, x, y)
    flat = torch.cat([g.flatten() for _, g in found]).double()
    kernel = textbook.tangent_kernel(network, x)
    eigenvalues = torch.linalg.eigvalsh(kernel)
    correlations = torch.linalg.eigvalsh(torch.corrcoef(textbook.jacobian(network, x).double())) + 1e-5
    expected = {
        "synflow": textbook.synflow(network, SIDE),
        "naswot": textbook.naswot(network, x),
        "grad_norm": sum(float(g.norm()) for _, g in found),
        "snip": sum(float((w * g).abs().sum()) for w, g in found),
        "fisher": textbook.fisher(network, x, y),
        "ntk_trace": float(kernel.trace()),
        "ntk_trace_approx": float(flat @ flat),
        "knas": float(flat @ flat),
        "weight_norm": sum(float(layer.weight.detach().norm()) for layer in textbook.layers_of(network)),
        "jacob_cov": -float((correlations.log() + 1 / correlations).sum()),
    }
    for name, value in expected.items():
        assert measures.of(name) == pytest.approx(value, rel=2e-3), name
    if eigenvalues[0] > 1e-4 * eigenvalues[-1]:
        assert measures.of("ntk_cond") == pytest.approx(float(eigenvalues[-1] / eigenvalues[0]), rel=2e-2)
    # Sums in which most cancels out: against the size of what is added.
    scale = sum(float((w * g).abs().sum()) for w, g in found)
    plain = sum(float((w * g).sum()) for w, g in found)
    assert measures.of("grad_plain") == pytest.approx(plain, abs=1e-4 * scale)


@pytest.mark.parametrize(("family", "design"), NETWORKS[:4])
def test_grasp_differentiates_twice(family: str, design: Design) -> None:
    network, measures = measured(family, design)
    x, y = PICTURES[0].x, PICTURES[0].y
    assert y is not None
    assert measures.of("grasp") == pytest.approx(textbook.grasp(network, x, y), rel=2e-2, abs=1e-3)


@every_network
def test_zico_compares_the_gradients_of_two_batches(family: str, design: Design) -> None:
    network, measures = measured(family, design)
    passes = []
    for batch in PICTURES:
        assert batch.y is not None
        passes.append([g.double().numpy() for _, g in textbook.gradients(network, batch.x, batch.y)])
    total = 0.0
    for first, second in zip(*passes, strict=True):
        kept = np.abs(first - second) > 0
        if kept.any():
            ratio = (np.abs(first) + np.abs(second))[kept] / np.abs(first - second)[kept]
            total += math.log(ratio.sum())
    assert measures.of("zico") == pytest.approx(total, rel=2e-2)


@every_network
def test_expressflow_is_its_formula_over_relus(family: str, design: Design) -> None:
    network, measures = measured(family, design)
    generator = torch.Generator().manual_seed(1)
    step = torch.randn(1, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    # The trajectory is a difference of numbers of which eleven digits are alike.
    assert measures.of("expressflow") == pytest.approx(textbook.expressflow(network, step), rel=1e-4)
    assert measures.of("expressflow") != Measures(network, (), SIDE, 2).of("expressflow")


@every_network
def test_zen_is_of_its_seed_and_leaves_the_network_alone(family: str, design: Design) -> None:
    network, measures = measured(family, design)
    assert math.isfinite(measures.of("zen"))
    assert measures.of("zen") == Measures(network, (), SIDE, 1).of("zen")
    assert measures.of("zen") == pytest.approx(
        Measures(network, (), SIDE, 2).of("zen"), abs=0.1 * abs(measures.of("zen"))
    )


@every_network
def test_scoring_changes_no_network(family: str, design: Design) -> None:
    network, measures = measured(family, design)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for name in MEASURES:
        measures.of(name)
    textbook.naswot(network, PICTURES[0].x)
    textbook.synflow(network, SIDE)
    after = network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert all(tensor.grad is None for tensor in network.parameters())


@pytest.mark.parametrize("design", DEAD)
def test_networks_that_nothing_passes_are_scored_and_rank_behind(design: Design) -> None:
    measures = measured("nasbench201", design)[1]
    alive = measured("nasbench201", nasbench201.read(CELLS_201[0]))[1]
    for name in MEASURES:
        value, better = measures.of(name), alive.of(name)
        assert (
            not value > better
            or REGISTRY[name].orientation == "lower"
            or name in ("weight_norm", "grasp", "grad_plain")
        ), name
    assert measures.of("synflow") == measures.of("snip") == measures.of("expressflow") == 0.0
    assert math.isnan(measures.of("jacob_cov")) and measures.of("zen") == -math.inf


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_codes_are_counted_as_bits_whatever_their_number_and_how_often_a_tensor_comes(
    memory: torch.memory_format,
) -> None:
    codes, expected = Codes(5), torch.zeros(5, 5, dtype=torch.float64)
    shapes = [(3, 3, 3), (1, 1, 1), (64, 4, 4), (7, 5, 5), (2, 33, 33)]
    tensors = [torch.randn(5, *shape).to(memory_format=memory) for shape in shapes]
    tensors[1][0] = math.nan
    for x in [tensors[0], *tensors, tensors[3], tensors[2], tensors[0]]:
        assert torch.equal(codes.relu(torch.nn.ReLU(), x), torch.relu(x)) or x is tensors[1]
        on = (x > 0).flatten(1).double()
        expected += on @ on.T + (1 - on) @ (1 - on).T
    np.testing.assert_array_equal(codes.kernel, expected.numpy())


@pytest.mark.parametrize(("window", "stride"), [(3, 1), (3, 2), (1, 1), (5, 2)])
@pytest.mark.parametrize("side", [9, 111, 118])
def test_large_pictures_flow_strip_by_strip(window: int, stride: int, side: int) -> None:
    layer = torch.nn.Conv2d(16, 4, window, stride, window // 2, bias=False)
    layer.weight.data.abs_()
    x = torch.rand(2, 16, side, side, dtype=torch.float64)
    with torch.no_grad():
        expected = functional.conv2d(x, layer.weight.double(), None, stride, window // 2)
        expected[1] += expected[0]
        torch.testing.assert_close(Flow().convolve(layer, x), expected, rtol=1e-12, atol=0)


def test_codes_keep_no_more_tensors_than_a_cell_has() -> None:
    codes, kept = Codes(2), []
    for _ in range(9):
        x = torch.randn(2, 3, 4, 4)
        kept.append(weakref.ref(x))
        codes.relu(torch.nn.ReLU(), x)
    del x
    assert [found() is not None for found in kept] == [False] * 6 + [True] * 3


def test_every_metric_of_the_registry_is_known() -> None:
    plain = [metric for metric in REGISTRY.values() if not metric.combines]
    for scoring in (SCORING_101, SCORING_201):
        assert all(scoring.knows(metric) for metric in (*plain, ZEN))
        assert not scoring.knows(REGISTRY["jacflow"])
    assert set(MEASURES) | {"params", "flops"} == {metric.name for metric in (*plain, ZEN)}


def test_a_scorer_scores_cells_as_one_network_after_another() -> None:
    space = Nasbench201Space()
    setting = ScoringSetting(3 * SIDE * SIDE, 5, BATCHES)
    names = "naswot+synflow+params+weight_norm+snip"
    indices = np.array([15_000, 7, 4321])
    scores = Scorer(space, parse_tfmems(names), setting).scores(indices).scores
    for row, name in zip(scores, names.split("+"), strict=True):
        for score, index in zip(row.tolist(), indices.tolist(), strict=True):
            design = space.architecture(index)
            if name == "params":
                assert score == nasbench201.parameters(design)
            else:
                measures = measures_of("nasbench201", design, 5, setting.inputs, BATCHES[:1])
                assert score == measures.of(name)
    own = SCORING_201.initialise(parse_tfmems("snip+naswot+flops"), space.architecture(7), setting.inputs, 5)
    assert own(REGISTRY["naswot"], BATCHES[:1]) == scores[0, 1] and own(REGISTRY["snip"], BATCHES[:1]) == scores[4, 1]
    assert own(REGISTRY["flops"], ()) == nasbench201.flops(space.architecture(7), SIDE)
    again = Scorer(space, parse_tfmems(names), ScoringSetting(3 * SIDE * SIDE, 5, BATCHES, workers=2)).scores(indices)
    np.testing.assert_array_equal(again.scores, scores)


@pytest.mark.parametrize("space", [Nasbench101Space(), Nasbench201Space()])
def test_pools_of_cells_are_ranked_by_jacflow(space: Nasbench101Space | Nasbench201Space) -> None:
    setting = ScoringSetting(3 * 4 * 4, 1, (pictures(1, 4, 4),))
    pool = score_pool(space, parse_tfmems("jacflow"), setting, n=4, sampler="random")
    assert len(pool.best(2)) == 2 and pool.scores.shape == (2, 4)


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        (pictures(1, 4, 3), "no square picture of three channels"),
        (type(BATCHES[0])(np.random.default_rng(0).standard_normal((4, 100))), "no square picture"),
    ],
)
def test_rows_that_are_no_pictures_are_refused(batch: object, told: str) -> None:
    assert isinstance(batch, type(BATCHES[0]))
    with pytest.raises(InvalidInput, match=told) as refused:
        measures_of("nasbench201", (3,) * 6, 1, batch.inputs, (batch,))
    assert "3072" in (refused.value.hint or "")


@pytest.mark.parametrize(("side", "classes"), [(16, 120), (8, 1000), (12, 2)])
@pytest.mark.parametrize("kind", [Nasbench101Space, Nasbench201Space])
def test_spaces_count_and_score_networks_of_other_sizes_and_classes(
    kind: type[Nasbench101Space] | type[Nasbench201Space], side: int, classes: int
) -> None:
    space = kind(classes)
    design = space.parse((CELLS_201 if kind is Nasbench201Space else CELLS_101)[1])
    network = network_of(space.name, design, 1, classes)
    inputs = 3 * side * side
    assert space.parameters(design, inputs) == sum(tensor.numel() for tensor in network.parameters())
    assert space.parameters(design, inputs) - kind().parameters(design, inputs) == (classes - 10) * (
        network.classifier.in_features + 1
    )
    last = 64 * (side // 4 + 1) ** 2 if space.name == "nasbench201" else 0
    assert space.flops(design, inputs) == counted(network, side) + last
    batch = Batch(
        np.random.default_rng(1).standard_normal((4, inputs)), np.arange(4.0) % classes, "multiclass", classes
    )
    own = space.family.scoring.initialise(parse_tfmems("naswot+synflow"), design, inputs, 1)
    x = Pictures.of(batch).x
    assert own(REGISTRY["naswot"], [batch]) == pytest.approx(textbook.naswot(network, x), rel=1e-5)
    # Without a batch the space's classes count.
    assert own(REGISTRY["synflow"], []) == pytest.approx(textbook.synflow(network, side), rel=1e-9)
    assert space.index(design) == kind().index(design)


def test_sizes_and_classes_that_no_network_has_are_refused() -> None:
    with pytest.raises(InvalidInput, match="side of 10 pixels") as refused:
        measures_of("nasbench201", (3,) * 6, 1, 300, (pictures(1, 4, 10),)).of("naswot")
    assert "multiple of four" in (refused.value.hint or "")
    design = nasbench101.read(CELLS_101[3])
    assert math.isfinite(measures_of("nasbench101", design, 1, 300, (pictures(1, 4, 10),)).of("naswot"))
    for kind in (Nasbench101Space, Nasbench201Space):
        with pytest.raises(InvalidInput, match="two classes or more, not 1"):
            kind(1)


def test_what_a_metric_lacks_is_told() -> None:
    x = BATCHES[0].x
    unlabelled = Pictures.of(type(BATCHES[0])(x))
    measures = Measures(network_of("nasbench201", (2,) * 6, 1), (unlabelled,), SIDE, 1)
    with pytest.raises(InvalidInput, match="needs the pictures' classes"):
        measures.of("snip")
    with pytest.raises(InvalidInput, match="reads 2 batches"):
        Measures(measures.network, PICTURES[:1], SIDE, 1).of("zico")
    with pytest.raises(InvalidInput, match="a batch of pictures"):
        Measures(measures.network, (), SIDE, 1).of("naswot")
    for design in ((2,) * 6, (0,) * 6):
        one = Measures(network_of("nasbench201", design, 1), (Pictures.of(Batch(x[:1, :48])),), 4, 1)
        with pytest.raises(InvalidInput, match="one picture of 4 pixels a side is too little"):
            one.of("ntk_trace")
    with pytest.raises(InvalidInput, match="have a class each"):
        Pictures.of(type(BATCHES[0])(x, x[:, 0], "regression"))


def test_counting_cells_and_knowing_metrics_imports_no_torch() -> None:
    code = """
import sys
from trails.space import picture_space
for name in ("nasbench101", "nasbench201"):
    space = picture_space(name)
    space.flops(space.architecture(7), 3072), space.parameters(space.architecture(7), 3072)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": "python"})
