"""Scores an architecture of a recorded benchmark without training it, on real rows of the dataset's training part.

Every network is drawn for itself alone and scored alone, as the published study does; the seconds are of both. What the
product does instead, scoring all architectures of a space through weights that they share, is `Scored.whole_space`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trails.bench.protocol import Protocol
from trails.filtering.pool import combine_ranks
from trails.filtering.rows import TableRows
from trails.filtering.scoring import Scorer, jacobian_rows
from trails.filtering.whole_space import rank_scores
from trails.loading.columns import LABEL, dataset_columns
from trails.loading.sources import find_dataset
from trails.space import Space, parse_space
from trails.tfmem import REGISTRY, Batch, ScoringSetting, Tfmem, get_tfmem
from trails.training.options import parse_options

BATCH = 32
"""Rows of a batch, as in the published study."""

OFFERED = 1000
"""Architectures that a ranking of the whole space is made for: as many as filtering offers to refinement."""

SCORED: tuple[Tfmem, ...] = tuple(metric for metric in REGISTRY.values() if not metric.combines)
"""Metrics that are scored; those that add up the ranks of others are made of these (`trails.bench.table`)."""


class Score(NamedTuple):
    """A score and the processor seconds of drawing the network and scoring it."""

    score: float
    seconds: float


@dataclass(frozen=True)
class Scored:
    """What the architectures of a benchmark are scored on.

    Features that cannot help (the same in every training row) are left out, as filtering leaves them out.

    Args:
        space: Of the architectures.
        rows: Of the training part.
    """

    space: Space
    rows: TableRows

    @classmethod
    def read(cls, protocol: Protocol) -> Scored:
        """Read a dataset in its published form, one id a field.

        Raises:
            NotAvailable: The dataset is nowhere to be had.
        """
        columns = dataset_columns(find_dataset(protocol.dataset), "train")
        features = columns.without(LABEL)
        for useless in TableRows(features).useless:
            features = features.without(useless)
        options = parse_options({**protocol.options, "categories": [column.name for column in features]})
        rows = TableRows(features, columns[LABEL], None, options.fitting(), options.embedding)
        return cls(parse_space(protocol.space), rows)

    @cached_property
    def _batches(self) -> dict[int, tuple[Batch, ...]]:
        return {}

    def batches(self, seed: int) -> tuple[Batch, ...]:
        """The batches that ``seed`` draws, with embedding and targets: as many as any metric compares."""
        if seed not in self._batches:
            self._batches[seed], _ = self.rows.batches(SCORED, BATCH, seed)
        return self._batches[seed]

    def score(self, index: int, tfmem: str, batch_seed: int) -> Score:
        """Score one architecture.

        Args:
            index: In the space.
            tfmem: Name of a metric of `SCORED`.
            batch_seed: Draws rows, embedding and network; of a metric that reads no data the network alone.
        """
        metric, design = get_tfmem(tfmem), self.space.architecture(index)
        batches = self._of(metric, batch_seed)
        began = time.process_time()
        count = {"params": self.space.parameters, "flops": self.space.flops}.get(tfmem)
        if count is not None:
            # The controls need no network, and are not charged for drawing one.
            return Score(float(count(design, self.rows.inputs)), time.process_time() - began)
        # A dead or saturated network divides by zero: that is a failed score, not a warning.
        with np.errstate(all="ignore"):
            network = self.space.family.scoring.initialise([metric], design, self.rows.inputs, batch_seed)
            found = float(network(metric, batches))
        return Score(found, time.process_time() - began)

    def _of(self, metric: Tfmem, batch_seed: int) -> tuple[Batch, ...]:
        if not metric.needs:
            return ()
        batches = self.batches(batch_seed)[: metric.batches]
        return (
            tuple(batch.head(jacobian_rows(self.space, batch)) for batch in batches) if metric.within_rank else batches
        )

    def whole_space(self, tfmem: str, batch_seed: int) -> tuple[NDArray[np.float64], float] | None:
        """Score and rank all architectures at once, as the product does, on one core.

        Args:
            tfmem: Name of a metric, one that adds up the ranks of others included.
            batch_seed: Draws rows, embedding and the weights that all networks share.

        Returns:
            float64 (space's size,): the scores, or merits of several metrics; and processor seconds. None where the
            metric is paid for one architecture at a time.
        """
        metric = get_tfmem(tfmem)
        parts = [get_tfmem(name) for name in metric.combines] or [metric]
        batches = self.batches(batch_seed) if metric.needs else ()
        scorer = Scorer(self.space, parts, ScoringSetting(self.rows.inputs, batch_seed, batches))
        if not all(scorer.at_once(part) for part in parts):
            return None
        everything = np.arange(self.space.size)
        began = time.process_time()
        scores = list(scorer.scores(everything).scores)
        merits = scores[0] if len(parts) == 1 else combine_ranks(scores, [part.orientation for part in parts])
        rank_scores(merits, min(OFFERED, merits.size), metric.orientation)
        return merits, time.process_time() - began


def batch_seeds_of(metric: Tfmem, seeds: Sequence[int]) -> tuple[int, ...]:
    """The batch seeds that a metric is scored with: the first where it reads no data."""
    return tuple(seeds) if metric.needs else tuple(seeds[:1])
