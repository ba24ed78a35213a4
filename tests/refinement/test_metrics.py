"""AUC and log loss against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from trails.refinement.metrics import auc, log_loss

# Few distinct scores, so that ties are the rule, and any float32, so that extremes occur.
scored = st.lists(
    st.tuples(
        st.booleans(),
        st.one_of(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), st.floats(-(2.0**99), 2.0**99, width=32)),
    ),
    min_size=2,
    max_size=200,
).filter(lambda rows: len({label for label, _ in rows}) == 2)


@given(scored)
def test_auc_is_scikit_learns(rows: list[tuple[bool, float]]) -> None:
    labels = np.array([label for label, _ in rows])
    scores = np.array([score for _, score in rows], np.float32)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@given(scored)
def test_log_loss_is_scikit_learns_and_never_overflows(rows: list[tuple[bool, float]]) -> None:
    labels = np.array([label for label, _ in rows])
    logits = np.array([np.clip(score, -15, 15) for _, score in rows], np.float64)
    expected = sklearn_log_loss(labels, 1 / (1 + np.exp(-logits)))
    assert log_loss(labels, logits) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert np.isfinite(log_loss(labels, np.where(labels, 1e4, -1e4)))


def test_auc_by_hand() -> None:
    labels = np.array([True, True, False, False])
    # Pairs: .9 beats both, .4 ties with one and loses to none but .5.
    assert auc(labels, np.array([0.9, 0.4, 0.4, 0.5])) == (1 + 1 + 0.5 + 0) / 4
    assert auc(labels, np.zeros(4)) == 0.5
    assert np.isnan(auc(labels, np.array([0.1, np.nan, 0.2, 0.3])))


def test_auc_needs_both_classes_and_equal_lengths() -> None:
    with pytest.raises(ValueError, match="both classes"):
        auc(np.array([True, True]), np.zeros(2))
    with pytest.raises(ValueError, match="the same length"):
        auc(np.array([True, False]), np.zeros(3))


def test_auc_is_exact_where_ranks_exceed_float32() -> None:
    generator = np.random.default_rng(0)
    labels, scores = generator.random(300_000) < 0.5, generator.random(300_000).astype(np.float32)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
