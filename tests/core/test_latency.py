"""The latency study's scorer: every metric, published names, the embedding cache."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from trails.errors import InvalidInput
from trails.filtering.latency import LatencyScorer, parse_config
from trails.tfmem import REGISTRY

FIELDS, ROWS = 6, 16


def config(tfmem: str, cache: bool = True) -> str:
    return f"""
[MLP]
num_layers = 2
hidden_choice_len = 10
[MLP_TRAINER]
nemb = 10
nfeat = 40
[SYS_PERFORMANCE]
tfmem = {tfmem}
embedding_cache_filtering = {cache}
"""


def batch() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ids = np.random.default_rng(0).integers(0, 40, (ROWS, FIELDS))
    return ids, np.arange(ROWS) % 2


@pytest.mark.parametrize("tfmem", [*REGISTRY, "snip+naswot", "jac_flow", "express_flow", "nas_wot"])
def test_every_metric_is_timed(tfmem: str) -> None:
    scorer = LatencyScorer(parse_config(config(tfmem)), 10, FIELDS)
    ids, labels = batch()
    needs = {"snip+naswot": True, "jac_flow": False, "express_flow": False, "nas_wot": False}
    assert scorer.needs_target == (needs[tfmem] if tfmem in needs else "y" in REGISTRY[tfmem].needs)
    for place in range(10):
        seconds = scorer.score(place, ids, labels if scorer.needs_target else None)
        assert len(seconds) == 3 and all(part >= 0 for part in seconds)
        assert sum(seconds) > 0


def test_memory_follows_the_number_of_ids_and_not_the_largest() -> None:
    scorer = LatencyScorer(parse_config(config("naswot")), 5, FIELDS)
    ids, _ = batch()
    near = scorer.embed(ids).copy()
    far = ids.copy()
    far[:, 0] += 2**31
    far[3, 1] = 2**62
    tracemalloc.start()
    embedded = scorer.embed(far).copy()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
    width = 10
    # Cells of ids that stayed are embedded as before, and equal ids alike.
    same = (far == ids).repeat(width, axis=1)
    np.testing.assert_array_equal(embedded[same], near[same])
    rows = {int(far[row, 0]): embedded[row, :width] for row in range(ROWS)}
    for row in range(ROWS):
        np.testing.assert_array_equal(embedded[row, :width], rows[int(far[row, 0])])
    assert len({values.tobytes() for values in rows.values()}) == len(rows)
    np.testing.assert_array_equal(scorer.embed(far), embedded)


def test_the_embedding_cache_keeps_the_table_and_its_absence_draws_it_anew() -> None:
    ids, _ = batch()
    kept = LatencyScorer(parse_config(config("naswot")), 5, FIELDS)
    before = kept._table
    kept.score(0, ids)
    assert kept._table is before
    drawn = LatencyScorer(parse_config(config("naswot", cache=False)), 5, FIELDS)
    before = drawn._table
    drawn.score(0, ids)
    assert drawn._table is not before
    # Either way the batch is embedded alike: the seed decides.
    np.testing.assert_array_equal(kept.embed(ids), drawn.embed(ids))


def test_the_table_grows_when_a_larger_id_comes() -> None:
    scorer = LatencyScorer(parse_config(config("naswot")), 5, FIELDS)
    ids, _ = batch()
    ids[3, 2] = 1_000
    x = scorer.embed(ids).reshape(ROWS, FIELDS, 10).copy()
    assert len(scorer._table) == 1_001
    np.testing.assert_array_equal(x, scorer._table[ids])
    np.testing.assert_array_equal(scorer.embed(ids[:5]), x[:5].reshape(5, -1))


def test_an_unknown_metric_in_the_file_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'magic'") as caught:
        parse_config(config("magic"))
    assert "jacflow" in (caught.value.hint or "")


LINES = ["nemb = 0", "nemb = 1000000000", "nfeat = -1", "nfeat = 1000000000000", f"nfeat = {'9' * 9999}"]


@pytest.mark.parametrize("line", LINES)
def test_a_configuration_that_no_memory_holds_is_refused(line: str) -> None:
    with pytest.raises(InvalidInput, match="configuration file") as caught:
        parse_config(f"[MLP_TRAINER]\n{line}\n")
    assert len(caught.value.message) < 300 and caught.value.hint


@pytest.mark.parametrize("seed", [-1, 10**30])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    scorer = LatencyScorer(parse_config(f"[DEFAULT]\nseed = {seed}\n[MLP]\nhidden_choice_len = 10\n"), 2, FIELDS)
    assert sum(scorer.score(0, batch()[0])) > 0
