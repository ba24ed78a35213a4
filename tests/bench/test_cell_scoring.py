"""The experiment about scores of cells: what it says of made-up rows."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks import cell_scoring, harness, plots


@pytest.fixture
def document(tmp_path: Path) -> harness.Document:
    settings = {"dataset": None, "seed": 0, "quick": True}
    document = harness.Document(tmp_path / "cells.json", "cell_scoring", "", settings, [harness.session()])
    generator = np.random.default_rng(0)
    for space in cell_scoring.SPACES:
        for position in range(8):
            scores: dict[str, float | None] = {n: float(generator.integers(0, 5)) for n in cell_scoring.METRICS}
            published: dict[str, float | None] = {n: float(generator.integers(0, 5)) for n in cell_scoring.METRICS}
            published |= {"params": 3.0 * position, "zen": None if position else 1.0}
            scores |= {"jacob_cov": float(position) if position else None, "params": 1.0 + position}
            seconds = {
                "naswot": 0.1,
                "synflow": 0.02 + position / 1000,
                "reference naswot": 0.5,
                "reference naswot without Jacobian": 0.2,
                "reference synflow": 0.04,
            }
            row = {"space": space, "position": position, "cell": str(position), "session": 0}
            document.rows.append({**row, "seconds": seconds, "scores": scores, "published": published})
    return document


def test_agreement_is_that_of_ranks_with_ties(document: harness.Document) -> None:
    lines = cell_scoring.summarise(document)
    for place, space in enumerate(cell_scoring.SPACES):
        rows = [row for row in document.rows if row["space"] == space]
        for name in ("synflow", "jacob_cov", "weight_norm", "params"):
            kept = [row for row in rows if row["scores"][name] is not None]
            expected = spearmanr(*([row[kind][name] for row in kept] for kind in ("scores", "published")))[0]
            assert f"{name} {expected:.3f}" in lines[2 * place + 1]
        assert "params 1.000" in lines[2 * place + 1] and "zen" not in lines[2 * place + 1]


def test_seconds_are_compared_cell_by_cell_with_the_published_ones_beside(document: harness.Document) -> None:
    line = cell_scoring.summarise(document)[0]
    assert line.startswith("nasbench201: naswot and synflow of a cell in 0.123 s (median of 8; published")
    assert "0.33 to 0.45 s" in line
    least, median = 0.54 / 0.127, np.median([0.54 / (0.12 + position / 1000) for position in range(8)])
    assert f"{median:.1f} times sooner than the reference computations (least: {least:.1f})" in line


def test_figures_are_drawn(document: harness.Document) -> None:
    assert len(plots.draw(cast(harness.Experiment, cell_scoring), document)) == 3
    document.rows = document.rows[:8]
    assert len(cell_scoring.summarise(document)) == 2
