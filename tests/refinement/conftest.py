"""Made tables with a signal that a small network finds within an epoch or two."""

from __future__ import annotations

import numpy as np
import pytest

from tests.refinement.backend import Table


def make_table(rows: int, seed: int, fields: int = 4, categories: int = 12) -> Table:
    """``label`` is likely where the categories' hidden weights sum above zero."""
    weights = np.random.default_rng(7).normal(size=(fields, categories))
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, categories, (rows, fields))
    logits = 1.5 * sum(weights[field, ids[:, field]] for field in range(fields))
    labels = generator.random(rows) < 1 / (1 + np.exp(-logits))
    columns = {f"f{field}": (100 * field + ids[:, field]).astype(np.int32) for field in range(fields)}
    return Table({"label": labels.astype(np.int32), **columns})


@pytest.fixture(scope="session")
def train() -> Table:
    return make_table(6_000, 1)


@pytest.fixture(scope="session")
def validation() -> Table:
    return make_table(2_000, 2)
