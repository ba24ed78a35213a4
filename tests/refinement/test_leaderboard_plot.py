"""The figure of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trails.plots.leaderboard import draw


def made_run(k: int = 9, extra: int = 4) -> dict[str, Any]:
    generator = np.random.default_rng(3)
    names = [f"512-{512 - 32 * i}-{256 + 16 * i}-512" for i in range(k)]
    quality = generator.normal(0.985, 0.002, k)
    trials: list[dict[str, Any]] = []

    def train(i: int, rung: int, first: int, last: int) -> None:
        for epoch in range(first, last + 1):
            auc = quality[i] - 0.03 * 0.6**epoch + generator.normal(0, 0.0004)
            trials.append(
                {
                    "architecture": names[i],
                    "rung": rung,
                    "epoch": epoch,
                    "train_loss": 0.3 * 0.8**epoch,
                    "validation_loss": 0.2 * 0.9**epoch,
                    "validation_metric": auc,
                    "seconds": 2.0,
                }
            )

    order, first, rung, width = list(range(k)), 1, 0, k
    while True:
        last = 3**rung
        for i in order[:width]:
            train(i, rung, first, last)
        order.sort(key=lambda i: -quality[i])
        if width == 1:
            break
        first, rung, width = last + 1, rung + 1, max(1, width // 3)
    train(order[0], rung, 3**rung + 1, 3**rung + extra)
    candidates = []
    for name in names:
        mine = [t["validation_metric"] for t in trials if t["architecture"] == name]
        candidates.append(
            {
                "architecture": name,
                "score": 3e9 / (1 + 2 * names.index(name)),
                "validation_metric": max(mine),
                "epochs": len(mine),
                "parameters": 500_000,
                "seconds": 2.0 * len(mine),
            }
        )
    for rank, candidate in enumerate(sorted(candidates, key=lambda c: -c["validation_metric"]), start=1):
        candidate["rank"] = rank
    run = {"source": "frappe_train", "target": "label", "budget": 60.0, "seconds": 59.4}
    return {"run": {**run, "n": 160_000, "k": k, "u": 1}, "candidates": candidates, "trials": trials}


@pytest.mark.parametrize("k", [1, 9])
def test_both_files_hold_title_winner_and_rungs(tmp_path: Path, k: int) -> None:
    run = made_run(k)
    draw(run, tmp_path / "leaderboard")
    assert (tmp_path / "leaderboard.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "leaderboard.svg").read_text()
    winner = min(run["candidates"], key=lambda c: c["rank"])["architecture"]
    for text in ("frappe_train", "budget 60 s", "took 59.4 s", "160,000", f"{winner} (winner)"):
        assert text in svg
    assert ("rung 1 ends" in svg) == (k == 9)


def test_the_same_run_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw(made_run(), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_candidates_without_a_result_are_passed_over(tmp_path: Path) -> None:
    run = made_run(3)
    run["candidates"].append({"architecture": "8-8-8-8", "score": 1.0, "rank": 4, "validation_metric": None})
    draw(run, tmp_path / "leaderboard")
    assert "result of 3 trained" in (tmp_path / "leaderboard.svg").read_text()


def test_a_run_without_results_is_refused(tmp_path: Path) -> None:
    run = made_run(3)
    with pytest.raises(ValueError, match="no candidate was trained"):
        draw({**run, "candidates": []}, tmp_path / "leaderboard")
