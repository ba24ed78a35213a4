"""The tables of a recorded benchmark: their columns, types and units."""

from __future__ import annotations

import pyarrow as pa

CURVE = pa.schema(
    [
        ("place", pa.int32()),
        ("seed", pa.int32()),
        ("epoch", pa.int16()),
        ("train_loss", pa.float32()),
        ("valid_loss", pa.float32()),
        ("test_loss", pa.float32()),
        ("train_auc", pa.float32()),
        ("valid_auc", pa.float32()),
        ("test_auc", pa.float32()),
        ("train_seconds", pa.float32()),
        ("valid_seconds", pa.float32()),
        ("stacked", pa.int16()),
        ("machine", pa.dictionary(pa.int16(), pa.string())),
        ("stack_seconds", pa.float32()),
    ]
)
"""One row an epoch, counted from 1. ``train_loss`` is the mean over the epoch's batches, each before its step; the
other metrics are those of the weights at the epoch's end, ``train_auc`` of the training rows that
`trails.bench.plan.looked_at` names. ``train_seconds`` are of the epoch's training, and
``valid_seconds`` of predicting the validation rows once: processor time of one core, which does not hang on what else
the machine does; on a GPU, wall time. ``stacked`` is how many candidates were trained at once: of several, nobody knows
what one took, and the seconds of all of them together are ``stack_seconds``; what is not known is null. NaN where a
training went wrong: the curve ends there."""

PREDICTION = pa.schema(
    [
        ("place", pa.int32()),
        ("seed", pa.int32()),
        ("valid", pa.list_(pa.float16())),
        ("test", pa.list_(pa.float16())),
    ]
)
"""One row a training: probabilities after its last epoch, of the rows that `trails.bench.plan.predicted_rows` names.
The tables keep those of the best architectures, by validation AUC, and of the first of the sample."""

ARCHITECTURE = pa.schema(
    [
        ("place", pa.int32()),
        ("index", pa.int32()),
        ("architecture", pa.string()),
        ("parameters", pa.int64()),
    ]
)
"""One row an architecture: its place in the sample, its index in the space, its trained numbers."""

SCORE = pa.schema(
    [
        ("place", pa.int32()),
        ("tfmem", pa.string()),
        ("batch_seed", pa.int16()),
        ("score", pa.float64()),
        ("seconds", pa.float32()),
        ("machine", pa.dictionary(pa.int16(), pa.string())),
    ]
)
"""One row an architecture, metric and batch: the score as the metric gives it, NaN or infinite where it failed, and the
seconds of drawing the network and scoring it, alone: processor time of one core. ``batch_seed`` draws rows, embedding
and network; metrics that read no data have the first alone."""

WHOLE_SPACE = pa.schema(
    [
        ("tfmem", pa.string()),
        ("batch_seed", pa.int16()),
        ("architectures", pa.int32()),
        ("seconds", pa.float32()),
        ("machine", pa.dictionary(pa.int16(), pa.string())),
    ]
)
"""One row a metric that scores all architectures of the space at once: the seconds of that and of ranking them,
processor time of one core."""

TIME = pa.schema(
    [
        ("place", pa.int32()),
        ("train_seconds", pa.float32()),
        ("valid_seconds", pa.float32()),
        ("machine", pa.dictionary(pa.int16(), pa.string())),
    ]
)
"""One row an architecture that was timed alone where the others train in stacks: of its first epoch."""
