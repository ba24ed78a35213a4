"""Filtering as the published latency study times it: one architecture after another, a fresh batch for each.

The same scorer serves the in-database benchmark and its out-of-database twin, so that the two differ only in how a
batch gets to it.
"""

from __future__ import annotations

import configparser
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput
from trails.space.mlp import MlpSpace, parse_space
from trails.tfmem import get_tfmem
from trails.tfmem.expressflow import initialise, score

_PUBLISHED_NAMES = {"express_flow": "expressflow"}


@dataclass(frozen=True)
class LatencyConfig:
    """What a published configuration file says that still means something.

    Args:
        space: ``[MLP] num_layers`` and ``hidden_choice_len``.
        tfmem: ``[SYS_PERFORMANCE] tfmem``.
        embedding: ``[MLP_TRAINER] nemb``, numbers per category.
        ids: ``[MLP_TRAINER] nfeat``, rows of the embedding table at the start; it grows when a larger id comes.
        embedding_cache: ``[SYS_PERFORMANCE] embedding_cache_filtering``; off means that the embedding table is
            drawn anew for every architecture, as part of its initialisation.
        seed: ``[DEFAULT] seed``; not in the published files.
    """

    space: MlpSpace
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
    for name, value in (("nemb", embedding), ("nfeat", ids)):
        if value < 1:
            raise InvalidInput(f"{name} = {value} in the configuration file must be at least 1")
    tfmem = _PUBLISHED_NAMES.get(tfmem, tfmem)
    get_tfmem(tfmem)
    return LatencyConfig(parse_space(f"mlp{layers}x{widths}"), tfmem, embedding, ids, cache, seed)


class LatencyScorer:
    """Scores seeded random architectures one at a time.

    Args:
        config: What to score and how.
        n: Architectures that will be asked for, drawn without replacement.
        fields: Features of a row.

    Raises:
        InvalidInput: ``n`` is larger than the space.
    """

    def __init__(self, config: LatencyConfig, n: int, fields: int) -> None:
        space = config.space
        if not 1 <= n <= space.size:
            raise InvalidInput(
                f"n = {n} is not possible: space {space.name} has {space.size} architectures",
                hint=f"n is 1 to {space.size}.",
            )
        self._config, self._fields = config, fields
        self._order = space.sample(n, config.seed)
        self._table = self._draw_table(config.ids)

    def _draw_table(self, ids: int) -> NDArray[np.float64]:
        generator = np.random.default_rng(self._config.seed)
        return generator.standard_normal((ids, self._config.embedding)) * 0.01

    def score(self, place: int, columns: Sequence[tuple[str, NDArray[Any], object]]) -> tuple[float, float, float]:
        """Score the architecture at ``place`` of the drawn order on one batch.

        ExpressFlow itself reads no data; the batch is brought and embedded all the same, since that is what the study
        times.

        Args:
            place: 0 to n - 1.
            columns: Per field its name, an int32 or int64 (batch,) array of ids, and what is not used here.

        Returns:
            Seconds of initialisation, preprocessing and scoring.
        """
        config = self._config
        began = time.perf_counter()
        if not config.embedding_cache:
            self._table = self._draw_table(len(self._table))
        architecture = config.space.architecture(int(self._order[place]))
        network = initialise(architecture, self._fields * config.embedding, config.seed)
        initialised = time.perf_counter()
        self.embed([ids for _, ids, _ in columns])
        preprocessed = time.perf_counter()
        score(network)
        return initialised - began, preprocessed - initialised, time.perf_counter() - preprocessed

    def embed(self, columns: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Look a batch up in the embedding table: float64 (batch, fields * embedding)."""
        ids = np.stack(columns, axis=1).astype(np.int64, copy=False)
        if ids.size and int(ids.max()) >= len(self._table):
            self._table = self._draw_table(int(ids.max()) + 1)
        return self._table[ids].reshape(len(ids), -1)
