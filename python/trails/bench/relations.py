"""The tables of recorded benchmarks in PostgreSQL, with what they and their columns say of themselves."""

from __future__ import annotations

from trails.loading.relations import Column, Relation

SCHEMA = "trails_bench"
"""That holds them unless another is named."""

_DATASET = Column("dataset", "text", "name of the dataset")
_PLACE = Column("place", "integer", "place in the sample of the space, from 0: see architecture")
_SEED = Column("seed", "integer", "of the training: 1, and of up to 100 first places 2 and 3 as well")
_MACHINE = Column("machine", "text", "processor and software")

SETTINGS = Relation(
    "setting",
    "what each recorded benchmark is of; one row a dataset",
    (
        _DATASET,
        Column("digest", "text", "of the encoded rows"),
        Column("train_rows", "integer", "training rows"),
        Column("valid_rows", "integer", "validation rows, by which architectures are chosen"),
        Column("test_rows", "integer", "test rows, for reports"),
        Column("fields", "integer", "columns that are features"),
        Column("space", "text", "name of the space of architectures"),
        Column("sample_seed", "bigint", "of the permutation of the space of which a prefix is recorded"),
        Column("epochs", "integer", "of every training"),
        Column("options", "jsonb", "how architectures are trained"),
    ),
    ("dataset",),
)

ARCHITECTURES = Relation(
    "architecture",
    "architectures that are recorded",
    (
        _DATASET,
        Column("place", "integer", "place in the sample of the space, from 0"),
        Column("index", "integer", "place in the space"),
        Column("architecture", "text", "widths of its hidden layers"),
        Column("parameters", "bigint", "trained numbers, the embedding included; NULL where it was not written down"),
    ),
    ("dataset", "place"),
    (("dataset", "architecture"),),
)

CURVES = Relation(
    "curve",
    "learning curves, one row an epoch; NaN where a training went wrong, which ends there",
    (
        _DATASET,
        _PLACE,
        _SEED,
        Column("epoch", "smallint", "from 1"),
        Column("train_loss", "real", "mean log loss of the epoch's batches, each before its step, in nats"),
        Column("valid_loss", "real", "log loss of the validation rows after the epoch, in nats"),
        Column("test_loss", "real", "log loss of the test rows after the epoch, in nats"),
        Column("train_auc", "real", "of training rows, 32,768 at most, after the epoch"),
        Column("valid_auc", "real", "of the validation rows after the epoch: by this one chooses"),
        Column("test_auc", "real", "of the test rows after the epoch: this one reports"),
        Column("train_seconds", "real", "of the epoch's training; NULL where it was stacked with others"),
        Column("valid_seconds", "real", "of predicting the validation rows once; NULL where it was stacked"),
        Column("stacked", "smallint", "how many were trained together"),
        Column("stack_seconds", "real", "of all that were trained together; NULL where it was alone"),
        _MACHINE,
    ),
    ("dataset", "place", "seed", "epoch"),
    (("dataset", "seed", "epoch", "valid_auc"),),
)

SCORES = Relation(
    "score",
    "scores of training-free metrics, one row an architecture, metric and batch",
    (
        _DATASET,
        _PLACE,
        Column("tfmem", "text", "the metric"),
        Column("batch_seed", "smallint", "of rows, embedding and network; 1 alone for metrics that read no data"),
        Column("score", "double precision", "as the metric gives it; NaN or infinite where it failed"),
        Column("seconds", "real", "of drawing and scoring one network, alone"),
        _MACHINE,
    ),
    ("dataset", "tfmem", "batch_seed", "place"),
)

PREDICTIONS = Relation(
    "prediction",
    "probabilities after the last epoch, of up to 2,048 rows of a split; of the best and of the first architectures",
    (
        _DATASET,
        _PLACE,
        _SEED,
        Column("split", "text", "valid or test"),
        Column("probabilities", "real[]", "of the same rows for every architecture, in the dataset's order"),
    ),
    ("dataset", "place", "seed", "split"),
)

EXPLORED = Relation(
    "explored",
    "searches of scored cells: what each had after so many of them",
    (
        _DATASET,
        Column("run_id", "integer", "of the search, from 1; its seed"),
        Column("current_explored_model", "integer", "cells scored so far"),
        Column("top_400", "text[]", "the best of them by published name, best first"),
        Column("time_usage", "double precision", "seconds of scoring them, one at a time on one core"),
    ),
    ("dataset", "run_id", "current_explored_model"),
)
