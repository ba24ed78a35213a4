"""Filtering as the published latency study times it: one architecture after another, a fresh batch for each.

The same scorer serves the in-database benchmark and its out-of-database twin, so that the two differ only in how a
batch gets to it.
"""

from __future__ import annotations

import configparser
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, shown
from trails.filtering.scoring import check_metrics
from trails.space import Space, parse_space
from trails.space.mlp import mlp_name
from trails.tfmem import Batch, parse_tfmems

_DENSE_IDS = 1 << 22
"""Ids below have the row of their number; more than any published table has."""
_LARGEST_EMBEDDING, _MOST_IDS = 1024, 1 << 22

_PUBLISHED_NAMES = {"express_flow": "expressflow", "jac_flow": "jacflow", "nas_wot": "naswot"}


@dataclass(frozen=True)
class LatencyConfig:
    """What a published configuration file says that still means something.

    Args:
        space: ``[MLP] num_layers`` and ``hidden_choice_len``.
        tfmem: ``[SYS_PERFORMANCE] tfmem``: any metric, or several joined by ``+``.
        embedding: ``[MLP_TRAINER] nemb``, numbers per category.
        ids: ``[MLP_TRAINER] nfeat``, rows of the embedding table at the start; it grows when a larger id comes, up to
            4,194,304 rows. An id beyond these is given a row when it is met, so that memory follows the number of
            different ids, and not the largest of them.
        embedding_cache: ``[SYS_PERFORMANCE] embedding_cache_filtering``; off means that the embedding table is
            drawn anew for every architecture, as part of its initialisation.
        seed: ``[DEFAULT] seed``; not in the published files.
    """

    space: Space
    tfmem: str = "expressflow"
    embedding: int = 10
    ids: int = 1
    embedding_cache: bool = True
    seed: int = 1


def parse_config(text: str | None) -> LatencyConfig:
    """Read a configuration in the published form; unknown sections and keys are passed over.

    Args:
        text: The file's content; None gives the published defaults.

    Raises:
        InvalidInput: Not an INI file, or a value outside what it may be.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text or "")
        layers = parser.getint("MLP", "num_layers", fallback=4)
        widths = parser.getint("MLP", "hidden_choice_len", fallback=20)
        embedding = parser.getint("MLP_TRAINER", "nemb", fallback=10)
        ids = parser.getint("MLP_TRAINER", "nfeat", fallback=1)
        tfmem = parser.get("SYS_PERFORMANCE", "tfmem", fallback="expressflow")
        cache = parser.getboolean("SYS_PERFORMANCE", "embedding_cache_filtering", fallback=True)
        seed = parser.getint("DEFAULT", "seed", fallback=1)
    except (configparser.Error, ValueError) as error:
        raise InvalidInput(
            "the configuration file cannot be read",
            detail=str(error),
            hint="It is an INI file; see benchmarks/config.",
        ) from error
    for name, value, most in (("nemb", embedding, _LARGEST_EMBEDDING), ("nfeat", ids, _MOST_IDS)):
        if not 1 <= value <= most:
            raise InvalidInput(
                f"{name} = {shown(value)} in the configuration file must be 1 to {most}",
                hint="The published files have 10 and at most 1,000,000.",
            )
    tfmem = _PUBLISHED_NAMES.get(tfmem, tfmem)
    parse_tfmems(tfmem)
    # NumPy's seeds are not negative, and a file may say anything.
    return LatencyConfig(parse_space(mlp_name(layers, widths)), tfmem, embedding, ids, cache, seed % 2**64)


class LatencyScorer:
    """Scores seeded random architectures one at a time.

    Args:
        config: What to score and how.
        n: Architectures that will be asked for, drawn without replacement.
        fields: Features of a row.

    Raises:
        InvalidInput: ``n`` is larger than the space, or its family has no way to compute a metric.
    """

    def __init__(self, config: LatencyConfig, n: int, fields: int) -> None:
        space = config.space
        if not 1 <= n <= space.size:
            raise InvalidInput(
                f"n = {n} is not possible: space {space.name} has {space.size} architectures",
                hint=f"n is 1 to {space.size}.",
            )
        self._config, self._inputs = config, fields * config.embedding
        self._metrics = parse_tfmems(config.tfmem)
        check_metrics(self._metrics, space)
        self._order = space.sample(n, config.seed)
        self._table = self._draw_table(config.ids)
        self._far_table = self._draw_table(0, far=True)
        self._far_places: dict[int, int] = {}
        self._embedded: NDArray[np.float64] = np.empty((0, fields, config.embedding))

    def _draw_table(self, ids: int, far: bool = False) -> NDArray[np.float64]:
        generator = np.random.default_rng((self._config.seed, 1) if far else self._config.seed)
        return generator.standard_normal((ids, self._config.embedding)) * 0.01

    @property
    def needs_target(self) -> bool:
        """Whether a batch must come with its targets."""
        return any("y" in metric.needs for metric in self._metrics)

    def score(
        self, place: int, ids: NDArray[np.int64], labels: NDArray[np.int64] | None = None
    ) -> tuple[float, float, float]:
        """Score the architecture at ``place`` of the drawn order on one batch.

        The batch is brought and embedded for every metric, also for one that reads no data, since that is what the
        study times.

        Args:
            place: 0 to n - 1.
            ids: int64 (batch, fields), not negative.
            labels: int64 (batch,) classes, where a metric reads them.

        Returns:
            Seconds of initialisation, preprocessing and scoring.
        """
        config = self._config
        began = time.perf_counter()
        if not config.embedding_cache:
            self._table = self._draw_table(len(self._table))
            self._far_table = self._draw_table(len(self._far_table), far=True)
        design, scoring = config.space.architecture(int(self._order[place])), config.space.family.scoring
        network = scoring.initialise(self._metrics, design, self._inputs, config.seed)
        initialised = time.perf_counter()
        x = self.embed(ids)
        preprocessed = time.perf_counter()
        y = None if labels is None else (labels > labels.min()).astype(np.float64)
        for metric in self._metrics:
            batches = []
            if metric.needs:
                own = tuple((value,) for value in design)
                rows = scoring.jacobian_rows(own, len(x), self._inputs) if metric.within_rank else len(x)
                size = max(1, rows // metric.batches)
                parts = [slice(start, start + size) for start in range(0, size * metric.batches, size)]
                batches = [Batch(x[part], None if y is None else y[part]) for part in parts]
            with np.errstate(all="ignore"):
                network(metric, batches)
        # Letting go of large matrices takes time, too.
        del network
        return initialised - began, preprocessed - initialised, time.perf_counter() - preprocessed

    def embed(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Look a batch up in the embedding table: float64 (batch, fields * embedding), valid until the next call."""
        largest = int(ids.max(initial=0))
        if len(self._table) <= largest < _DENSE_IDS:
            self._table = self._draw_table(largest + 1)
        shape = (*ids.shape, self._config.embedding)
        if self._embedded.shape != shape:
            self._embedded = np.empty(shape)
        # Every id is in the table; not looking again makes this three times as fast. Memory that is used again has
        # been touched before.
        self._table.take(ids, axis=0, out=self._embedded, mode="clip")
        if largest >= _DENSE_IDS:
            self._embed_far(ids)
        return self._embedded.reshape(len(ids), -1)

    def _embed_far(self, ids: NDArray[np.int64]) -> None:
        far = ids >= _DENSE_IDS
        distinct, inverse = np.unique(ids[far], return_inverse=True)
        places = [self._far_places.setdefault(i, len(self._far_places)) for i in distinct.tolist()]
        if len(self._far_places) > len(self._far_table):
            self._far_table = self._draw_table(2 * len(self._far_places), far=True)
        self._embedded[far] = self._far_table[np.array(places)[inverse]]
