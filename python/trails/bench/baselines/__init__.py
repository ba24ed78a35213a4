"""Searches that others published, on the same records and the same clock as this product's.

    trainer = RecordedTrainer(bench.open("frappe"), budget=3600.0)
    BASELINES["evolution"](trainer, seed=1, epochs=14)
    trainer.trajectory.best()

Each searches until its budget is spent, or everything is trained, or it proposes nothing new. A design that was not
recorded stands for the nearest recorded one, and an architecture that is proposed again is answered from memory without
charge. Seconds are those of the recorded trainings; those of a search that thinks for more than microseconds are
real ones, and charged (`RecordedTrainer.thought`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from trails.bench.baselines import tabnas, tpe_hyperband, weight_sharing
from trails.bench.baselines.by_score import knas, move_proposal, training_free, warm_up
from trails.bench.baselines.known import AnySearch, Search
from trails.bench.baselines.trained import evolution, random, reinforcement

TRAINING_BASED: Mapping[str, AnySearch] = MappingProxyType(
    {
        "random": random,
        "evolution": evolution,
        "reinforcement": reinforcement,
        "tpe_hyperband": tpe_hyperband.tpe_hyperband,
    }
)
"""Baselines that need nothing but trainings, of tables or of cells (`trails.bench.image.trainer`)."""

BASELINES: Mapping[str, Search] = MappingProxyType(
    {
        **TRAINING_BASED,
        "tabnas": tabnas.tabnas,
        "knas": knas,
        "weight_sharing": weight_sharing.weight_sharing,
    }
)
"""Every baseline of tables by name."""

__all__ = ["BASELINES", "TRAINING_BASED", "AnySearch", "Search", "move_proposal", "training_free", "warm_up"]
