"""A price that is learnt by its logarithm, in SQL: whatever is said of it is said in its unit."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from tests.core.exported import fed
from tests.sql.tables import query
from trails.model.store import Model
from trails.table.columns import Column, Columns
from trails.table.texts import text_column

MAKE = """
SELECT setseed(0.5);
CREATE TABLE raw AS SELECT i AS id, random() AS a, random() AS b, (ARRAY['x', 'y', 'z'])[1 + i % 3] AS kind
FROM generate_series(1, 1500) i;
CREATE TABLE prices AS SELECT *, exp(2 + 3 * a - 2 * b + CASE kind WHEN 'x' THEN 1 ELSE 0 END + 0.2 * random()) AS price
FROM raw WHERE id <= 1000;
CREATE TABLE later AS SELECT *, exp(2 + 3 * a - 2 * b + CASE kind WHEN 'x' THEN 1 ELSE 0 END + 0.2 * random()) AS price
FROM raw WHERE id > 1000;
ALTER TABLE later ADD PRIMARY KEY (id);
"""
SELECT = """
SELECT count(*) FROM trails.model_selection('prices', 'price', '60 s', validation => 'later', k => 2, u => 4,
    features => ARRAY['a', 'b', 'kind'], name => %s, options => %s)
"""


def onnx_values(blob: bytes, columns: Columns) -> Any:
    import onnxruntime

    from trails import bridge

    session = onnxruntime.InferenceSession(bridge.export_model(blob, "onnx"))
    return session.run(None, fed(session, columns))[0]


def test_what_is_learnt_by_its_logarithm_is_told_in_its_unit(session: Any) -> None:
    query(session, MAKE)
    query(session, SELECT, "m", json.dumps({"target_scale": "log", "max_epochs": 4, "winner": False}))
    (blob, metrics), *_ = query(session, "SELECT trails.export_model('m'), metrics FROM trails.models")
    model = Model.from_bytes(bytes(blob))
    assert model.target.scale is not None and model.target.scale.shift == metrics["log_shift"] > 0.0

    rows = query(session, "SELECT id, a, b, kind, price FROM later ORDER BY id")
    ids, a, b, kinds, truth = (list(part) for part in zip(*rows, strict=True))
    columns = Columns(
        len(rows),
        (Column("a", "float64", np.array(a)), Column("b", "float64", np.array(b)), text_column("kind", kinds)),
    )
    expected = model.values(columns)
    found = query(session, "SELECT key::int, score FROM trails.predict('m', 'later') ORDER BY 1")
    assert [key for key, _ in found] == ids
    scores = np.array([score for _, score in found])
    np.testing.assert_allclose(scores, expected, rtol=1e-4)
    np.testing.assert_allclose(onnx_values(bytes(blob), columns), expected, rtol=1e-4)
    assert (scores >= 0.0).all()
    (one,) = query(session, "SELECT trails.predict_score('m', r), r.id FROM later r ORDER BY r.id LIMIT 1")
    assert one[0] == pytest.approx(scores[0], rel=1e-6)

    judged = dict(query(session, "SELECT metric, value FROM trails.evaluate('m', 'later')"))
    errors = scores - np.array(truth)
    assert judged["rmse"] == pytest.approx(math.sqrt(np.mean(errors**2)), rel=1e-6)
    assert judged["r2"] == pytest.approx(metrics["r2"], abs=1e-4) and judged["r2"] > 0.7
    assert judged["mae"] == pytest.approx(metrics["mae"], rel=1e-3)
    ((ranked,),) = query(session, "SELECT max(validation_metric) FROM trails.candidates")
    assert ranked == pytest.approx(metrics["r2"], abs=1e-6)

    # What is put together of predictions is of numbers, too.
    parts = query(
        session,
        "SELECT score, baseline, contribution FROM trails.explain('m', 'later', top => NULL, keys => ARRAY[%s], "
        "samples => 16)",
        str(ids[0]),
    )
    (score, baseline, _), *_ = parts
    assert len(parts) == 3 and score == pytest.approx(scores[0], rel=1e-6)
    assert baseline + sum(contribution for _, _, contribution in parts) == pytest.approx(score, rel=1e-6)
    assert 0.5 * scores.mean() < baseline < 2.0 * scores.mean()
    ((baseline,),) = query(
        session, "SELECT DISTINCT baseline FROM trails.feature_importance('m', 'later', repeats => 1)"
    )
    assert baseline == pytest.approx(judged["r2"], abs=1e-6)
    ((least, most),) = query(session, "SELECT min(score), max(score) FROM trails.partial_dependence('m', 'later', 'a')")
    assert 0.0 < least < most < 2.0 * max(truth)
    assert query(session, "SELECT count(*) FROM trails.drift('m', 'later') WHERE value > 0.5") == [(0,)]


def test_a_retrained_model_is_compared_in_the_unit(session: Any) -> None:
    query(session, MAKE)
    query(session, SELECT, "m", json.dumps({"target_scale": "log", "max_epochs": 4, "winner": False}))
    query(session, "SELECT * FROM trails.deploy('m@1')")
    ((new, value, deployed),) = query(
        session, "SELECT new_model, value, deployed_value FROM trails.retrain('m', budget => '60 s', deploy => 'never')"
    )
    assert new == "m@2" and value == pytest.approx(deployed, abs=0.02)
    ((judged,),) = query(session, "SELECT value FROM trails.evaluate('m@1', 'later') WHERE metric = 'r2'")
    assert deployed == pytest.approx(judged, abs=1e-4)
