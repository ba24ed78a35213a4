"""Targets: which task they are, their classes, weights and hold-out rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_encoder import texts
from trails.errors import InvalidInput, UnusableData
from trails.refinement.dataset import class_weights
from trails.refinement.metrics import accuracy, cross_entropy, macro_auc, measure, report
from trails.table.columns import Column
from trails.table.split import MOST_HELD_OUT, by_column, holdout
from trails.table.target import Target, absurd_values, as_validated, learn_target, leave_unknown_out, with_keys


def integers(values: list[int], kind: str = "int64") -> Column:
    return Column("y", kind, np.array(values, np.int64 if kind == "int64" else np.int32))


def floats(values: list[float]) -> Column:
    return Column("y", "float64", np.array(values))


@pytest.mark.parametrize(
    ("column", "task", "classes"),
    [
        (integers([3, 7, 7]), "binary", ("3", "7")),
        (integers([0, 1], "boolean"), "binary", ("false", "true")),
        (integers([5, -1, 2, 2]), "multiclass", ("-1", "2", "5")),
        (integers(list(range(21))), "regression", ()),
        (floats([0.5, 1.0]), "binary", ("0.5", "1")),
        (floats([0.5, 1.0, 2.0]), "regression", ()),
        (texts(["no", "yes", "no"]), "binary", ("no", "yes")),
        (texts(["c", "a", "b"]), "multiclass", ("a", "b", "c")),
    ],
)
def test_the_task_is_inferred(column: Column, task: str, classes: tuple[str, ...]) -> None:
    target = learn_target(column)
    assert (target.task, target.classes) == (task, classes)
    labels = target.labels(column)
    if task == "multiclass":
        spelt = {c: n for n, c in enumerate(classes)}
        assert labels.dtype == np.int64 and sorted(set(labels.tolist())) == sorted(spelt.values())
    elif task == "regression":
        assert labels.dtype == np.float32 and abs(labels.mean()) < 1e-6 and labels.std() == pytest.approx(1.0)
        assert labels * target.std + target.mean == pytest.approx(column.data)


def test_texts_are_classes_by_their_spelling() -> None:
    column = texts(["b", "a", "c", "a"])
    assert learn_target(column).labels(column).tolist() == [1, 0, 2, 0]


def test_the_caller_may_name_the_task() -> None:
    assert learn_target(integers([1, 2, 3, 4]), "regression").task == "regression"
    assert learn_target(integers(list(range(30))), "multiclass").outputs == 30
    for column, task, words in (
        (texts(["a", "b", "c"]), "regression", "no number"),
        (integers([1, 2, 3]), "binary", "3 different values"),
        (integers([1, 2]), "multiclass", "two classes"),
        (integers(list(range(2000))), "multiclass", "more than 1000 classes"),
        (texts([str(n) for n in range(1500)]), None, "more than 1000 classes"),
        (integers([4, 4]), None, "one class only"),
        (integers([4]), None, "too few"),
        (integers([]), None, "no usable row"),
        (integers([1, 2]), "ranking", "no task"),
        (Column("y", "date", np.arange(3, dtype=np.int32)), None, "cannot be predicted"),
    ):
        with pytest.raises((InvalidInput, UnusableData), match=words):
            learn_target(column, task)


def test_validation_rows_of_a_class_that_training_has_not_are_left_out() -> None:
    target = learn_target(integers([1, 2, 1]))
    assert (target.task, target.classes) == ("binary", ("1", "2"))
    with pytest.raises(UnusableData, match="not known"):
        target.labels(integers([9]))
    kept, warning = leave_unknown_out(target, integers([2, 3, 1, 3, 4]))
    assert kept.tolist() == [True, False, True, False, False]
    assert warning == '3 validation rows are left out: of "y" they hold what no training row holds (3, 4)'
    assert leave_unknown_out(target, integers([2, 1]))[1] is None
    words = learn_target(texts(["a", "b", "c"]))
    assert "(d)" in (leave_unknown_out(words, texts(["a", "d"]))[1] or "")
    assert leave_unknown_out(learn_target(floats([1.5, 2.5, 3.5])), floats([9.0]))[1] is None


@pytest.mark.parametrize(
    "values", [[1e308, -1.7e308, 1.7e308], [1e-310, 2e-310, 5e-324], [2.0**60 + n for n in (0, 512)]]
)
def test_numbers_of_every_size_are_learnt_on_a_scale_of_their_own(values: list[float]) -> None:
    column = floats(values)
    target = learn_target(column, "regression")
    labels = target.labels(column)
    assert np.isfinite(labels).all() and 0 < target.std < np.inf
    assert abs(labels.mean(dtype=np.float64)) < 1e-6 and labels.std(dtype=np.float64) == pytest.approx(1.0, rel=1e-3)


@given(
    st.integers(20, 3000), st.integers(0, 9), st.sampled_from([1e4, 1e6, 1e200]), st.sampled_from([1e-250, 1.0, 1e90])
)
def test_an_absurd_value_counts_as_the_nearest_of_the_others(rows: int, seed: int, times: float, unit: float) -> None:
    generator = np.random.default_rng(seed)
    values = generator.lognormal(size=rows)
    ordinary = learn_target(floats((values * unit).tolist()), "regression")
    place = int(generator.integers(rows))
    other = np.delete(values, place)
    for absurd, nearest in ((times, other.max()), (-times, other.min())):
        values[place] = absurd
        column = floats((values * unit).tolist())
        target = learn_target(column, "regression")
        assert target.mean == pytest.approx(ordinary.mean, rel=0.9) and target.std < 10 * ordinary.std
        labels = target.labels(column)
        assert labels[place] == np.float32((nearest * unit - target.mean) / target.std)
        told = absurd_values(target, column)
        assert told is not None and told.startswith('1 value of "y"') and f"{absurd * unit:g};" in told
        held = floats([absurd * unit, float(other[0]) * unit])
        assert target.labels(held).tolist() == [labels[place], target.labels(held)[1]], "in validation rows, too"


def test_validation_rows_that_are_all_far_away_are_what_there_is_to_predict() -> None:
    target = learn_target(floats(np.linspace(0.0, 1.0, 100).tolist()), "regression")
    far = floats([1e9, 2e9, 3e9])
    assert as_validated(target, far).labels(far)[2] > 1e9
    one = floats([*np.linspace(0.0, 1.0, 50).tolist(), 1e9])
    assert as_validated(target, one) is target and target.labels(one).max() < 3.0


@pytest.mark.parametrize("draw", ["lognormal", "exponential", "zeros", "claims", "few", "counts", "cauchy"])
def test_heavy_tails_are_believed(draw: str) -> None:
    generator = np.random.default_rng(1)
    values = {
        "lognormal": lambda: generator.lognormal(sigma=2.0, size=20_000),
        "exponential": lambda: generator.exponential(size=20_000),
        "zeros": lambda: np.where(generator.random(20_000) < 0.999, 0.0, 1e6),
        "claims": lambda: np.where(generator.random(20_000) < 0.994, 0.0, generator.lognormal(8.0, 2.0, 20_000)),
        "few": lambda: np.array([1.0, 2.0, 1e9]),
        "counts": lambda: generator.negative_binomial(1, 0.01, 20_000),
        "cauchy": lambda: np.abs(generator.standard_cauchy(2_000)),
    }[draw]()
    column = floats(values.astype(float).tolist())
    target = learn_target(column, "regression")
    assert absurd_values(target, column) is None
    assert target.mean == pytest.approx(values.mean()) and target.std == pytest.approx(values.std(), rel=1e-6)


def test_a_trained_target_reads_labels_again_whatever_other_classes_there_are() -> None:
    for column, names in (
        (integers([3, 7, 5, 7]), ("3", "7")),
        (texts(["a", "c", "b", "a"]), ("b", "c")),
        (floats([2.0, 1.5, 0.5]), ("0.5", "2")),
    ):
        stored = Target(column.name, column.family, "binary", np.empty(0), names)
        again = with_keys(column, stored)
        spelt = learn_target(column, "multiclass")
        own = [spelt.classes[label] for label in spelt.labels(column)]
        known = again.known(column)
        assert known.tolist() == [name in names for name in own]
        rows = column.take(np.flatnonzero(known))
        assert again.labels(rows).tolist() == [names.index(name) for name in own if name in names]


def test_class_weights_make_classes_weigh_the_same() -> None:
    column = integers([0] * 90 + [1] * 9 + [2])
    target = learn_target(column)
    labels = target.labels(column)
    balanced = class_weights(target, labels, "balanced")
    assert balanced is not None and balanced.mean() == pytest.approx(1.0)
    assert [balanced[labels == c].sum() for c in range(3)] == pytest.approx([100 / 3] * 3, rel=1e-5)
    named = class_weights(target, labels, {"2": 10.0})
    assert named is not None and named[-1] / named[0] == pytest.approx(10.0)
    assert class_weights(target, labels, "none") is None
    with pytest.raises(InvalidInput, match="no class"):
        class_weights(target, labels, {"7": 2.0})
    regression = learn_target(floats([1.0, 2.0, 3.0]))
    with pytest.raises(InvalidInput, match="regression"):
        class_weights(regression, np.zeros(3), "balanced")


@given(st.lists(st.integers(0, 4), min_size=6, max_size=300), st.integers(0, 5), st.sampled_from([0.1, 0.5]))
def test_every_class_is_held_out_in_its_share(classes: list[int], seed: int, fraction: float) -> None:
    labels = np.array(classes)
    train, held = holdout(labels, seed, fraction, binary=False)
    assert sorted([*train, *held]) == list(range(len(labels)))
    for label in set(classes):
        count = classes.count(label)
        expected = 0 if count == 1 else min(count - 1, max(1, round(fraction * count)))
        assert int((labels[held] == label).sum()) == expected


def test_numbers_are_held_out_at_random_and_never_too_many() -> None:
    train, held = holdout(np.random.default_rng(0).normal(size=1000).astype(np.float32), 3, binary=False)
    assert (len(train), len(held)) == (800, 200)
    assert abs(held.mean() - 500) < 60  # not the last ones
    _, held = holdout(np.zeros(2_000_000, np.int64), 0, binary=False)
    assert len(held) == MOST_HELD_OUT


def test_a_column_says_which_rows_are_held_out() -> None:
    words = texts(["train", "Valid", "test", None, "training", "validation"], "split")
    numbers = Column("split", "int32", np.array([0, 1, 2, 0, 0, 1], np.int32))
    for column in (words, numbers):
        train, held = by_column(column)
        assert (train.tolist(), held.tolist()) == ([0, 3, 4], [1, 5])
    train, held = by_column(Column("split", "boolean", np.array([1, 0, 1], np.int32)))
    assert (train.tolist(), held.tolist()) == ([1], [0, 2])
    for wrong, message in (
        (texts(["train", "valid", "fold 3"], "split"), "something else"),
        (Column("split", "float64", np.array([0.0, 1.0])), "of kind number"),
        (Column("split", "int32", np.array([0, 0], np.int32)), "no row for validation"),
    ):
        with pytest.raises((InvalidInput, UnusableData), match=message):
            by_column(wrong)


def test_metrics_agree_with_scikit_learn() -> None:
    from sklearn import metrics as oracle

    generator = np.random.default_rng(0)
    classes, logits = generator.integers(0, 4, 300), generator.normal(size=(300, 4)).astype(np.float32)
    wide = np.exp(logits.astype(np.float64))
    shares = wide / wide.sum(1, keepdims=True)
    assert accuracy(classes, logits) == pytest.approx(oracle.accuracy_score(classes, logits.argmax(1)))
    assert cross_entropy(classes, logits) == pytest.approx(oracle.log_loss(classes, shares))
    assert macro_auc(classes, logits) == pytest.approx(oracle.roc_auc_score(classes, shares, multi_class="ovr"))
    assert np.isnan(macro_auc(np.zeros(3, np.int64), logits[:3]))

    truth, predicted = generator.normal(size=300).astype(np.float32), generator.normal(size=300).astype(np.float32)
    target = Target("y", "number", "regression", np.empty(0), mean=5.0, std=3.0)
    metric, loss = measure(target, truth, predicted)
    assert metric == pytest.approx(oracle.r2_score(truth, predicted))
    assert loss == pytest.approx(3.0 * oracle.root_mean_squared_error(truth, predicted))
    told = report(target, truth, predicted)
    assert told["mae"] == pytest.approx(3.0 * oracle.mean_absolute_error(truth, predicted), rel=1e-6)
