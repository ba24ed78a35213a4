"""Made-up benchmarks: curves written straight into a store, which takes milliseconds where training takes minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trails.bench.plan import sample
from trails.bench.protocol import PROTOCOLS
from trails.bench.store import Setting, Store
from trails.bench.table import Benchmark
from trails.space import parse_space

MACHINE = "made up"


def curve_rows(place: int, seed: int, epochs: int, failing: bool = False, stacked: int = 1) -> list[dict[str, Any]]:
    """A curve that rises to a height of its own; of one that fails the second epoch is the last."""
    draw = np.random.default_rng((place, seed))
    height, speed, cost = draw.uniform(0.7, 0.95), draw.uniform(0.2, 0.7), draw.uniform(0.5, 1.5)
    rows = []
    for epoch in range(1, epochs + 1):
        auc = height * (1 - 0.3 * speed**epoch) + draw.normal(0, 0.002)
        bad = failing and epoch == 2
        rows.append(
            {
                "place": place,
                "seed": seed,
                "epoch": epoch,
                "train_loss": 1 - auc,
                "valid_loss": 1 - auc,
                "test_loss": 1 - auc,
                "train_auc": auc + 0.01,
                "valid_auc": float("nan") if bad else auc,
                "test_auc": float("nan") if bad else auc - 0.01,
                "train_seconds": 0.8 * cost if stacked == 1 else float("nan"),
                "valid_seconds": 0.2 * cost if stacked == 1 else float("nan"),
                "stacked": stacked,
                "machine": MACHINE,
                "stack_seconds": float("nan") if stacked == 1 else cost,
            }
        )
        if bad:
            break
    return rows


def made_up(
    folder: Path,
    count: int = 40,
    epochs: int = 9,
    *,
    seeds: tuple[int, ...] = (1,),
    space: str = "mlp2x10",
    failing: frozenset[int] = frozenset(),
    stacked: int = 1,
) -> Benchmark:
    """A benchmark of so many architectures, in a folder of its own."""
    store = Store(folder)
    rows = {"train": 600, "valid": 200, "test": 200}
    store.claim(Setting("made_up", "0" * 32, rows, 3, space, 2024, epochs, dict(PROTOCOLS["frappe"].options)))
    store.add(
        [
            row
            for place in range(count)
            for seed in seeds
            for row in curve_rows(place, seed, epochs, place in failing, stacked)
        ],
        [],
    )
    return Benchmark(folder)


def compacted(folder: Path) -> Benchmark:
    """The same with its parts put into tables."""
    store, found = Store(folder), Benchmark(folder)
    space = parse_space(found.setting.space)
    places = sorted({place for place, _ in store.done()})
    indices = sample(space.size, max(places) + 1)
    names = {place: space.format(space.architecture(indices[place])) for place in places}
    store.compact([{"place": p, "index": indices[p], "architecture": names[p], "parameters": 10 + p} for p in places])
    return Benchmark(folder)
